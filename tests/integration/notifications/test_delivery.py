"""Notices on their way, with two real workers and real receivers that fail in every way."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.channels import TOKEN, Webhooks, variable, write_config
from support.faulty_backend import FaultyBackend, Reply
from support.polling import wait_until
from support.redis_server import RedisServer
from support.services import POWER, POWER_HOST, SLACK, SLACK_HOST, SLACK_OK, TEAMS_OK, Services
from support.stack import ROOT, Process, Stack

from bionewsbot.notifications.notices import ENTRY, Notice
from bionewsbot.notifications.outbox import Outbox
from bionewsbot.runs.model import Run

OK = Reply(200, {})
DOWN = Reply(503, {})

SLOW = 150.0
"""Seconds to wait for what takes a few: CI's machines have much else to do."""

COMPANIES = [
    each["id"]
    for each in yaml.safe_load((ROOT / "config" / "companies.yaml").read_text())["companies"]
]

CHANNELS = {
    "ONCE": ["once_team", "once_ops"],
    "MOMENT": ["moment_team", "moment_ops"],
    "BACK": ["down", "hangs", "refuses", "works"],
    "REAL": ["slack", "teams"],
}
"""Each test has a company and channels of its own."""


class Stage:
    """Two workers that go on from test to test, and what they send to."""

    def __init__(self, stack: Stack, services: Services, webhooks: Webhooks) -> None:
        self.stack, self.services, self.webhooks = stack, services, webhooks
        self.workers: list[Process] = []

    def start(self) -> None:
        """Write the file and start the workers."""
        env = self.stack.env
        env.update(self.services.environment)
        env["BIONEWSBOT_CONFIG_DIR"] = str(self.stack.folder)
        # A worker that gets no time for so long would be taken for dead and its notices be doubled.
        env["RUN_LEASE_SECONDS"] = "10"
        env["RETRY_ATTEMPTS"] = "2"
        env["RETRY_BASE_SECONDS"] = "1"
        env["LOG_LEVEL"] = "DEBUG"
        channels = [one for group in CHANNELS.values() for one in group] + ["analysts"]
        for channel in channels:
            # What hangs is given up on soon.
            patience = 1 if channel == "hangs" else 600
            env[variable(channel)] = self.webhooks.on(channel, OK, rto=patience)
        env[variable("slack")], env[variable("teams")] = SLACK, POWER
        rules: list[dict[str, Any]] = [
            {"events": ["alert"], "companies": [company], "channels": names}
            for company, names in CHANNELS.items()
        ]
        alerts = {"events": ["alert"], "severity": "high", "companies": COMPANIES}
        write_config(self.stack.folder, channels, *rules, {**alerts, "channels": ["analysts"]})
        self.workers = [self.stack.worker("one"), self.stack.worker("two")]

    def tell(self, company: str, *names: object) -> None:
        """Put an alert of the company into the outbox for each name."""
        outbox = Outbox(self.stack.server.client(1))
        outbox.put(
            [
                Notice(f"{company}/{name}", "alert", str(name), "body", company, "high")
                for name in names
            ]
        )
        outbox.close()

    def ended(self, company: str) -> list[Run]:
        """Return the runs that told of the company, if all have ended."""
        ledger = self.stack.ledger
        found = [
            run
            for run in ledger.latest(1000, ENTRY)
            if any(f"/{company}/" in item.target for item in ledger.items(run.run_id))
        ]
        return found if all(run.ended for run in found) else []

    def statuses(self, company: str) -> list[str]:
        """Return how the runs that told of the company ended, if all have."""
        return sorted(run.status for run in self.ended(company))

    def letters(self, *channels: str) -> list[dict[str, Any]]:
        """Return the dead letters of some channels."""
        found = self.stack.celery_json("dlq", "list", "--run", ENTRY)
        return [letter for letter in found if letter["kwargs"]["channel"] in channels]

    def assert_no_secret(self, shown: str = "") -> None:
        """Nothing of an address stands in a log or in what a command shows."""
        for text in (shown, *(worker.log.read_text(encoding="utf-8") for worker in self.workers)):
            assert TOKEN not in text and "passw0rd" not in text


@pytest.fixture(scope="module")
def stage(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two workers on an empty Redis."""
    redis_server.thaw()
    redis_server.start()
    redis_server.flush()
    folder: Path = tmp_path_factory.mktemp("stage")
    services = Services(folder)
    with services.serving(), FaultyBackend().serving() as hooks:
        stack = Stack(redis_server, folder)
        stage = Stage(stack, services, Webhooks(hooks))
        try:
            stage.start()
            yield stage
        finally:
            stack.close()


def test_each_notice_once_by_each_channel(stage: Stage) -> None:
    """More than a batch, while two workers look after the outbox."""
    names = [f"n{number}" for number in range(60)]
    stage.tell("ONCE", *names)
    stage.tell("ONCE", "late", *names)

    def sent() -> bool:
        runs = stage.ended("ONCE")
        return sum(run.totals.get("notices", 0) for run in runs) == 2 * 61

    wait_until(sent, "all are sent", seconds=SLOW)
    assert set(stage.statuses("ONCE")) == {"succeeded"}
    once = Counter(["late", *names])
    assert Counter(stage.webhooks.titles("once_team")) == once
    assert Counter(stage.webhooks.titles("once_ops")) == once
    stage.assert_no_secret()


def test_a_channel_that_is_down_for_a_moment(stage: Stage) -> None:
    """It gets the notice with the next attempt."""
    stage.webhooks.on("moment_team", DOWN, OK)
    stage.tell("MOMENT", "news")
    (run,) = wait_until(lambda: stage.ended("MOMENT"), "the run has ended", seconds=SLOW)
    assert (run.status, run.done) == ("succeeded", 2)
    assert stage.webhooks.titles("moment_team") == ["news", "news"]
    assert stage.webhooks.titles("moment_ops") == ["news"]


def test_channels_that_fail_hold_nobody_back(stage: Stage) -> None:
    """One is down, one hangs, one refuses: their notices end as dead letters, and a replay sends
    them; what refuses isn't asked again."""
    hooks = stage.webhooks
    hooks.on("down", DOWN)
    hooks.on("hangs", Reply(silent=True))
    hooks.on("refuses", Reply(404))
    stage.tell("BACK", "first")
    wait_until(lambda: hooks.titles("works") == ["first"], "the other channel has it", seconds=SLOW)
    stage.tell("BACK", "second")
    wait_until(
        lambda: stage.statuses("BACK") == ["partial"] * 2, "all are given up on", seconds=SLOW
    )
    assert hooks.titles("works") == ["first", "second"]
    letters = stage.letters("down", "hangs", "refuses")
    assert Counter((one["kwargs"]["channel"], one["stories"][0]["why"]) for one in letters) == {
        ("down", "all 2 attempts are used up"): 2,
        ("hangs", "all 2 attempts are used up"): 2,
        ("refuses", "the error is permanent"): 2,
    }
    asked = [len(hooks.got(name)) for name in ("down", "hangs", "refuses")]
    assert asked == [4, 4, 2]

    # Which mend it names, and nothing of an address wherever one looks.
    refused = next(one for one in letters if one["kwargs"]["channel"] == "refuses")
    shown = stage.stack.celery("dlq", "show", refused["id"]).stdout
    assert "Is what REFUSES_URL holds still right?" in " ".join(shown.split())
    details = stage.stack.celery("runs", "show", refused["run_id"]).stdout
    report = stage.stack.celery("report").stdout
    stage.assert_no_secret(shown + str(letters) + details + report)

    mended = [one["id"] for one in letters if one["kwargs"]["channel"] != "hangs"]
    hooks.on("down", OK)
    hooks.on("refuses", OK)
    stage.stack.celery("dlq", "replay", *mended)
    wait_until(
        lambda: [run.done for run in stage.ended("BACK")] == [3, 3], "they are sent", seconds=SLOW
    )
    assert sorted(hooks.titles("down")[4:]) == ["first", "second"]
    assert sorted(hooks.titles("refuses")[2:]) == ["first", "second"]


def test_slack_and_teams(stage: Stage) -> None:
    """By HTTPS and their own names: a limit is waited for, a wrong signature is not."""
    stage.services.slack(Reply(429, b"rate_limited", headers={"Retry-After": "1"}), SLACK_OK)
    stage.services.teams(Reply(401, {"error": {"code": "AuthorizationFailed"}}), TEAMS_OK)
    stage.tell("REAL", "news")
    (run,) = wait_until(lambda: stage.ended("REAL"), "the run has ended", seconds=SLOW)
    assert (run.status, run.done, run.failed) == ("partial", 1, 1)
    assert len(stage.services.got(SLACK_HOST)) == 2
    assert len(stage.services.got(POWER_HOST)) == 1
    (letter,) = stage.letters("slack", "teams")
    (story,) = letter["stories"]
    assert story["why"] == "the error is permanent"
    assert story["error"].endswith("error=401. Is what TEAMS_URL holds still right?")
    stage.stack.celery("dlq", "replay", letter["id"])
    wait_until(lambda: stage.statuses("REAL") == ["succeeded"], "it is put right", seconds=SLOW)
    _, card = stage.services.got(POWER_HOST)
    assert "news" in str(card.body)
    stage.assert_no_secret(str(letter))


def test_alerts_of_an_analysis(stage: Stage) -> None:
    """Each story that is severe enough is told once, and not again by the next analysis."""
    stack, hooks = stage.stack, stage.webhooks
    shutil.copy(ROOT / "config" / "companies.yaml", stack.folder)
    stack.backend()
    stack.celery("companies", "sync")
    assert stack.wait_for_end(stack.start_run()).status == "succeeded"
    alerts: list[dict[str, Any]] = [
        row for row in stack.get("alerts") if row["severity"] in ("high", "critical")
    ]
    expected = Counter(
        f"{row['company_id']}: {row['title']} ({row['severity']}, {row['polarity']})"
        for row in alerts
    )
    assert expected
    wait_until(lambda: len(hooks.titles("analysts")) >= len(alerts), "all are told", seconds=SLOW)
    assert stack.wait_for_end(stack.start_run("hourly_quick_scan")).status == "succeeded"
    assert stack.wait_for_end(stack.start_run()).status == "succeeded"
    stage.tell("GILD", "the end")
    wait_until(lambda: "the end" in hooks.titles("analysts"), "what came after is told")
    wait_until(lambda: stage.ended("GILD"), "all runs of notices have ended")
    assert Counter(hooks.titles("analysts")) == expected + Counter(["the end"])
