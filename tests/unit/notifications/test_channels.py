"""A channel against real receivers: what arrives, what a failure says, what is never said."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.apps import Lines
from support.channels import TOKEN, Webhooks
from support.faulty_backend import Reply
from support.smtp_sink import SmtpSink

from bionewsbot.errors import ChannelFailed, ChannelRefused
from bionewsbot.notifications import channels
from bionewsbot.notifications.channels import Channel
from bionewsbot.notifications.notices import Notice

NOTICE = Notice(
    id="alert/GILD/1",
    event="alert",
    title="GILD: <b>Form 8-K</b>\n& more",
    body="first line\nhttps://www.sec.gov/1 *kept*",
    severity="high",
)


def test_a_webhook(webhooks: Webhooks) -> None:
    """Title on one line, body and mood, as they are."""
    Channel("team", webhooks.on("team", Reply(200, {})), "TEAM_URL").send(NOTICE)
    (got,) = webhooks.got("team")
    assert got["title"] == "GILD: <b>Form 8-K</b> & more"
    assert got["message"] == NOTICE.body
    assert got["type"] == "failure"


def test_a_mail(smtp_sink: SmtpSink) -> None:
    """Subject and text arrive as they are, to whom the address names."""
    address = f"mailto://127.0.0.1:{smtp_sink.port}?from=bot@example.com&to=ops@example.com"
    Channel("mail", address, "TEAM_URL").send(NOTICE)
    (mail,) = smtp_sink.mails
    assert mail["Subject"] == "GILD: <b>Form 8-K</b> & more"
    assert mail["To"] == "ops@example.com"
    assert mail.get_content().split("\r\n")[:2] == NOTICE.body.split("\n")


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        (Reply(307, {}, headers={"Location": "/elsewhere"}), ChannelRefused, "error=307"),
        (Reply(403, {}), ChannelRefused, "error=403.*Is what TEAM_URL holds still right"),
        (Reply(429, {}), ChannelFailed, "error=429"),
        (Reply(500, {}), ChannelFailed, "error=500"),
        (Reply(reset=True), ChannelFailed, "Connection error"),
    ],
    ids=["307", "403", "429", "500", "reset"],
)
def test_a_failure_says_why(
    webhooks: Webhooks, reply: Reply, error: type[Exception], said: str
) -> None:
    """With the channel's name, and nothing of its address; what no retry mends is a refusal."""
    channel = Channel("team", webhooks.on("team", reply), "TEAM_URL")
    with pytest.raises(error, match="channel 'team': .*" + said) as raised:
        channel.send(NOTICE)
    for secret in (TOKEN, "passw0rd", "127.0.0.1"):
        assert secret not in str(raised.value) + repr(channel) + channel.shown


@pytest.mark.parametrize(
    ("reply", "options", "said"),
    [
        (Reply(silent=True), {"rto": 0.2}, "Connection error"),
        (Reply(trickle=True), {}, "it took more than 0.2 s"),
    ],
    ids=["silent", "trickle"],
)
def test_a_receiver_that_never_ends(
    webhooks: Webhooks,
    monkeypatch: pytest.MonkeyPatch,
    reply: Reply,
    options: dict[str, float],
    said: str,
) -> None:
    """One that says nothing has apprise's time, one that goes on and on has ours."""
    if reply.trickle:
        monkeypatch.setattr(channels, "LONGEST_SECONDS", 0.2)
    channel = Channel("team", webhooks.on("team", reply, **options), "TEAM_URL")
    began = time.monotonic()
    with pytest.raises(ChannelFailed, match=said):
        channel.send(NOTICE)
    # Far more than 0.2 s for a busy machine, and less than any other time-out on the way.
    assert time.monotonic() - began < 4


def test_recipients_that_fail_in_different_ways() -> None:
    """A refusal of one is none of all: the notice is tried again for the others' sake."""
    channel = Channel("team", "json://127.0.0.1:1", "TEAM_URL")
    gone, away = "Failed to send: error=404.", "A Connection error occurred."
    assert isinstance(channel._failure([gone, gone]), ChannelRefused)
    for mixed in ([gone, away], [gone, "error=503."], []):
        assert isinstance(channel._failure(mixed), ChannelFailed)


def test_nothing_of_an_address_is_logged(
    webhooks: Webhooks, configured: pytest.MonkeyPatch, log_lines: Lines
) -> None:
    """At DEBUG, with a send that succeeds, one that is refused, and an address that is none."""
    from bionewsbot import logs, settings

    configured.setenv("LOG_LEVEL", "DEBUG")
    settings.current.cache_clear()
    logs.configure(settings.current())
    channel = Channel("team", webhooks.on("team", Reply(200, {}), Reply(401, {})), "TEAM_URL")
    channel.send(NOTICE)
    with pytest.raises(ChannelRefused):
        channel.send(NOTICE)
    with pytest.raises(ValueError, match="not one address"):
        Channel("bad", f"nothing://{TOKEN}", "TEAM_URL")
    logging.getLogger("bionewsbot").debug("the log works")
    lines = log_lines()
    assert [line["event"] for line in lines][-1] == "the log works"
    assert not [line for line in lines if TOKEN in str(line) or "passw0rd" in str(line)]
    assert not [line for line in lines if line["logger"].startswith("apprise")]


def test_a_plugin_that_breaks(webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of apprise is a failure of the channel, without the address that it mentions."""
    from apprise import Apprise

    channel = Channel("team", webhooks.on("team", Reply(200, {})), "TEAM_URL")

    def broken(*_: object, **__: object) -> bool:
        raise RuntimeError(f"no way to http://user:passw0rd@host/team/{TOKEN.lower()}")

    monkeypatch.setattr(Apprise, "notify", broken)
    with pytest.raises(ChannelFailed, match="RuntimeError: no way") as raised:
        channel.send(NOTICE)
    assert TOKEN.lower() not in str(raised.value) and "passw0rd" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_threads_hear_their_own_failures(webhooks: Webhooks) -> None:
    """Two channels that fail at the same time don't speak of each other."""
    codes = {"one": 502, "two": 503}
    both = [Channel(name, webhooks.on(name, Reply(codes[name], {})), "URL") for name in codes]

    def fail(channel: Channel) -> str:
        with pytest.raises(ChannelFailed) as raised:
            channel.send(NOTICE)
        return str(raised.value)

    run: Callable[[Channel], str] = fail
    with ThreadPoolExecutor(2) as pool:
        for channel, said in zip(both * 5, pool.map(run, both * 5), strict=True):
            other = codes["two" if channel.name == "one" else "one"]
            assert f"error={codes[channel.name]}" in said and str(other) not in said
