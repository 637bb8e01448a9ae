"""A channel against real receivers: what arrives, what a failure says, what is never said."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.apps import Lines
from support.channels import TOKEN, Webhooks
from support.faulty_backend import Reply
from support.smtp_sink import SmtpSink

from bionewsbot.errors import ChannelFailed
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
    Channel("team", webhooks.on("team", Reply(200, {}))).send(NOTICE)
    (got,) = webhooks.got("team")
    assert got["title"] == "GILD: <b>Form 8-K</b> & more"
    assert got["message"] == NOTICE.body
    assert got["type"] == "failure"


def test_a_mail(smtp_sink: SmtpSink) -> None:
    """Subject and text arrive as they are, to whom the address names."""
    address = f"mailto://127.0.0.1:{smtp_sink.port}?from=bot@example.com&to=ops@example.com"
    Channel("mail", address).send(NOTICE)
    (mail,) = smtp_sink.mails
    assert mail["Subject"] == "GILD: <b>Form 8-K</b> & more"
    assert mail["To"] == "ops@example.com"
    assert mail.get_content().split("\r\n")[:2] == NOTICE.body.split("\n")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(403, {}), "error=403"),
        (Reply(500, {}), "error=500"),
        (Reply(reset=True), "Connection error"),
    ],
    ids=["403", "500", "reset"],
)
def test_a_failure_says_why(webhooks: Webhooks, reply: Reply, said: str) -> None:
    """With the channel's name, and nothing of its address."""
    channel = Channel("team", webhooks.on("team", reply))
    with pytest.raises(ChannelFailed, match="channel 'team': .*" + said) as raised:
        channel.send(NOTICE)
    for secret in (TOKEN, "passw0rd", "127.0.0.1"):
        assert secret not in str(raised.value) + repr(channel) + channel.shown


def test_nothing_of_an_address_is_logged(
    webhooks: Webhooks, configured: pytest.MonkeyPatch, log_lines: Lines
) -> None:
    """At DEBUG, with a send that succeeds, one that is refused, and an address that is none."""
    from bionewsbot import logs, settings

    configured.setenv("LOG_LEVEL", "DEBUG")
    settings.current.cache_clear()
    logs.configure(settings.current())
    channel = Channel("team", webhooks.on("team", Reply(200, {}), Reply(401, {})))
    channel.send(NOTICE)
    with pytest.raises(ChannelFailed):
        channel.send(NOTICE)
    with pytest.raises(ValueError, match="not one address"):
        Channel("bad", f"nothing://{TOKEN}")
    logging.getLogger("bionewsbot").debug("the log works")
    lines = log_lines()
    assert [line["event"] for line in lines][-1] == "the log works"
    assert not [line for line in lines if TOKEN in str(line) or "passw0rd" in str(line)]
    assert not [line for line in lines if line["logger"].startswith("apprise")]


def test_a_plugin_that_breaks(webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of apprise is a failure of the channel, without the address that it mentions."""
    from apprise import Apprise

    channel = Channel("team", webhooks.on("team", Reply(200, {})))

    def broken(*_: object, **__: object) -> bool:
        raise RuntimeError(f"no way to http://user:passw0rd@host/team/{TOKEN.lower()}")

    monkeypatch.setattr(Apprise, "notify", broken)
    with pytest.raises(ChannelFailed, match="RuntimeError: no way") as raised:
        channel.send(NOTICE)
    assert TOKEN.lower() not in str(raised.value) and "passw0rd" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_threads_hear_their_own_failures(webhooks: Webhooks) -> None:
    """Two channels that fail at the same time don't speak of each other."""
    codes = {"one": 401, "two": 503}
    channels = [Channel(name, webhooks.on(name, Reply(codes[name], {}))) for name in codes]

    def fail(channel: Channel) -> str:
        with pytest.raises(ChannelFailed) as raised:
            channel.send(NOTICE)
        return str(raised.value)

    run: Callable[[Channel], str] = fail
    with ThreadPoolExecutor(2) as pool:
        for channel, said in zip(channels * 5, pool.map(run, channels * 5), strict=True):
            other = codes["two" if channel.name == "one" else "one"]
            assert f"error={codes[channel.name]}" in said and str(other) not in said
