"""Slack and Teams: the bodies that they get by HTTPS, and what comes of their refusals."""

import pytest
from support.channels import TOKEN
from support.faulty_backend import Reply
from support.services import (
    PATIENT,
    POWER,
    POWER_HOST,
    SLACK,
    SLACK_HOST,
    SLACK_OK,
    TEAMS,
    TEAMS_HOST,
    TEAMS_OK,
    Services,
)

from bionewsbot.errors import ChannelFailed, ChannelRefused
from bionewsbot.notifications.channels import Channel
from bionewsbot.notifications.notices import Notice

LINK = "https://www.sec.gov/Archives/edgar/a_b_c/"
NOTICE = Notice(
    id="alert/GILD/1",
    event="alert",
    title="GILD: 8-K <b>R&D</b> (high, negative)",
    body=f"Revenue *fell* by 1_000 & more\n{LINK}\n2026-01-14 21:05 UTC, sec",
    severity="high",
)

SLACK_SHORT = f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN}?{PATIENT}"
TEAMS_SHORT = f"workflows://{TEAMS_HOST}:443/643e69f83c89/{TOKEN}?{PATIENT}"


@pytest.fixture(autouse=True)
def internet(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slack's and Teams' hosts are those of the tests."""
    for name, value in services.environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("address", [SLACK, SLACK_SHORT])
def test_slack(services: Services, address: str) -> None:
    """Title, text and link, escaped as Slack wants it and not read as markup; red for `high`."""
    services.slack(SLACK_OK)
    Channel("team", address, "TEAM_URL").send(NOTICE)
    (got,) = services.got(SLACK_HOST)
    (attachment,) = got.body["attachments"]
    assert attachment["title"] == "GILD: 8-K &lt;b&gt;R&amp;D&lt;/b&gt; (high, negative)"
    assert attachment["text"] == (
        f"Revenue *fell* by 1_000 &amp; more\n{LINK}\n2026-01-14 21:05 UTC, sec"
    )
    assert got.body["mrkdwn"] is False
    assert (attachment["color"], attachment["footer"]) == ("#A32037", "BioNewsBot")


@pytest.mark.parametrize(
    ("address", "host"), [(TEAMS, TEAMS_HOST), (POWER, POWER_HOST), (TEAMS_SHORT, TEAMS_HOST)]
)
def test_teams(services: Services, address: str, host: str) -> None:
    """An adaptive card: title, text whose marks are escaped, and a link that can be clicked."""
    services.teams(TEAMS_OK)
    Channel("team", address, "TEAM_URL").send(NOTICE)
    (got,) = services.got(host)
    assert got.query["sig"] == [TOKEN]
    (attachment,) = got.body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    texts = {one["id"]: one["text"] for one in attachment["content"]["body"] if "text" in one}
    assert texts["title"] == NOTICE.title
    assert texts["body"].split("\n\n") == [
        r"Revenue \*fell\* by 1\_000 & more",
        f"[www.sec.gov]({LINK})",
        r"2026\-01\-14 21:05 UTC, sec",
    ]


@pytest.mark.parametrize("address", [SLACK, TEAMS])
def test_the_longest_notice_is_one_message(services: Services, address: str) -> None:
    """It is neither split nor cut by apprise."""
    services.slack(SLACK_OK)
    services.teams(TEAMS_OK)
    Channel("team", address, "TEAM_URL").send(Notice("1", "run_failed", "t" * 300, "b" * 3000))
    (got,) = services.received
    assert "b" * 1997 + "..." in str(got.body).replace("\\", "")


@pytest.mark.parametrize(
    ("address", "reply"),
    [
        (SLACK, Reply(400, b"invalid_payload")),
        (SLACK, Reply(403, b"action_prohibited")),
        (SLACK, Reply(404, b"no_service")),
        (SLACK, Reply(410, b"channel_is_archived")),
        (TEAMS, Reply(400, {"error": {"code": "WorkflowTriggerIsNotEnabled"}})),
        (POWER, Reply(401, {"error": {"code": "AuthorizationFailed"}})),
        (POWER, Reply(404, {"error": {"code": "WorkflowNotFound"}})),
    ],
)
def test_a_refusal_is_for_good(services: Services, address: str, reply: Reply) -> None:
    """It names channel, status and the variable to look at, and nothing of the address."""
    services.slack(reply)
    services.teams(reply)
    said = rf"channel 'team': .*error={reply.status}\. Is what TEAM_URL holds still right\?$"
    with pytest.raises(ChannelRefused, match=said) as raised:
        Channel("team", address, "TEAM_URL").send(NOTICE)
    assert len(services.received) == 1
    for secret in (TOKEN, "T1JJ3T3L2", "643e69f83c89"):
        assert secret not in str(raised.value)


@pytest.mark.parametrize("address", [SLACK, POWER])
@pytest.mark.parametrize(
    "reply",
    [
        Reply(429, b"rate_limited", headers={"Retry-After": "30"}),
        Reply(408, b""),
        Reply(500, b"rollup_error"),
        Reply(503, b""),
        Reply(reset=True),
    ],
    ids=["429", "408", "500", "503", "reset"],
)
def test_an_outage_is_for_now(services: Services, address: str, reply: Reply) -> None:
    """The task tries again, and apprise doesn't by itself."""
    services.slack(reply)
    services.teams(reply)
    with pytest.raises(ChannelFailed) as raised:
        Channel("team", address, "TEAM_URL").send(NOTICE)
    assert len(services.received) == 1
    assert TOKEN not in str(raised.value)


def test_a_service_whose_certificate_is_wrong(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent to it."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    services.slack(SLACK_OK)
    with pytest.raises(ChannelFailed, match="Connection error"):
        Channel("team", SLACK, "TEAM_URL").send(NOTICE)
    assert services.received == []
