"""Notices on their way, with real workers, real receivers, deaths and failures."""

import shutil
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from support.channels import TOKEN, Webhooks, variable, write_config
from support.faulty_backend import Reply
from support.polling import wait_until
from support.stack import ROOT, Process, Stack

from bionewsbot.notifications.notices import ENTRY, Notice
from bionewsbot.notifications.outbox import Outbox
from bionewsbot.runs.model import Run

OK = Reply(200, {})
DOWN = Reply(503, {})

SLOW = 150.0
"""Seconds to wait for what takes up to twenty here: a killed worker's lease runs out in it."""

Tell = Callable[..., None]


@pytest.fixture
def tell(stack: Stack, webhooks: Webhooks) -> Tell:
    """Put alerts into the outbox; all go to the channels `team` and `ops`, whose replies are OK."""
    stack.env["BIONEWSBOT_CONFIG_DIR"] = str(stack.folder)
    # A worker that gets no time for so long would be taken for dead and its notices be doubled.
    stack.env["RUN_LEASE_SECONDS"] = "10"
    stack.env["RETRY_ATTEMPTS"] = "2"
    stack.env["RETRY_BASE_SECONDS"] = "1"
    stack.env["LOG_LEVEL"] = "DEBUG"
    both = ["team", "ops"]
    for channel in both:
        stack.env[variable(channel)] = webhooks.on(channel, OK)
    write_config(stack.folder, both, {"events": ["alert"], "severity": "high", "channels": both})

    def tell(*names: object) -> None:
        outbox = Outbox(stack.server.client(1))
        outbox.put(
            [
                Notice(f"alert/{name}", "alert", str(name), "body", company="GILD", severity="high")
                for name in names
            ]
        )
        outbox.close()

    return tell


def runs(stack: Stack) -> list[Run]:
    """Return the runs of notices, if all that there are have ended."""
    found = stack.ledger.latest(1000, ENTRY)
    return found if all(run.ended for run in found) else []


def told_in_all(stack: Stack) -> int:
    """Return how many notices are known to be sent, by one channel or another."""
    return sum(run.totals.get("notices", 0) for run in stack.ledger.latest(1000, ENTRY))


def assert_no_secret(*workers: Process, shown: str = "") -> None:
    """Nothing of an address stands in a log or in what a command shows."""
    for text in (shown, *(worker.log.read_text(encoding="utf-8") for worker in workers)):
        assert TOKEN not in text and "passw0rd" not in text


def test_two_workers_send_each_notice_once_by_each_channel(
    stack: Stack, webhooks: Webhooks, tell: Tell
) -> None:
    """More than a batch, while both look after the outbox."""
    names = [f"n{number}" for number in range(60)]
    tell(*names)
    workers = [stack.worker("one"), stack.worker("two")]
    tell("late", *names)
    wait_until(lambda: told_in_all(stack) == 2 * 61, "all are sent", seconds=SLOW)
    once = Counter(["late", *names])
    assert Counter(webhooks.titles("team")) == Counter(webhooks.titles("ops")) == once
    assert {
        run.status for run in wait_until(lambda: runs(stack), "all have ended", seconds=SLOW)
    } == {"succeeded"}
    assert_no_secret(*workers)


def test_a_channel_that_is_down_for_a_moment(stack: Stack, webhooks: Webhooks, tell: Tell) -> None:
    """It gets the notice with the next attempt."""
    webhooks.on("team", DOWN, OK)
    tell("news")
    stack.worker()
    (run,) = wait_until(lambda: runs(stack), "the run has ended", seconds=SLOW)
    assert (run.status, run.done) == ("succeeded", 2)
    assert webhooks.titles("team") == ["news", "news"]
    assert webhooks.titles("ops") == ["news"]


def test_a_channel_that_is_down_holds_nobody_back(
    stack: Stack, webhooks: Webhooks, tell: Tell
) -> None:
    """Its notices end as dead letters, which name it and no address; a replay sends them."""
    webhooks.on("team", DOWN)
    tell("first")
    worker = stack.worker()
    wait_until(lambda: webhooks.titles("ops") == ["first"], "the other channel has it")
    tell("second")
    wait_until(
        lambda: [run.status for run in runs(stack)] == ["partial"] * 2,
        "both have been given up",
        seconds=SLOW,
    )
    assert webhooks.titles("ops") == ["first", "second"]
    letters = stack.celery_json("dlq", "list", "--run", ENTRY)
    assert {letter["kwargs"]["channel"] for letter in letters} == {"team"}
    assert {letter["stories"][0]["why"] for letter in letters} == {"all 2 attempts are used up"}
    shown = stack.celery("dlq", "show", letters[0]["id"]).stdout
    assert "channel 'team'" in shown and "error=503" in shown
    details = stack.celery("runs", "show", letters[0]["run_id"]).stdout
    assert_no_secret(worker, shown=shown + str(letters) + details)
    webhooks.on("team", OK)
    sent_before = len(webhooks.got("team"))
    stack.celery("dlq", "replay", "--all")
    wait_until(
        lambda: [run.status for run in runs(stack)] == ["succeeded"] * 2,
        "both are put right",
        seconds=SLOW,
    )
    assert sorted(webhooks.titles("team")[sent_before:]) == ["first", "second"]
    assert stack.celery_json("dlq", "list") == []


def test_a_worker_killed_between_sending_and_marking(
    stack: Stack, webhooks: Webhooks, tell: Tell
) -> None:
    """The one case in which a channel gets a notice twice; the other channel gets it once."""
    webhooks.on("team", Reply(silent=True), OK)
    tell("news")
    worker = stack.worker("first", "-c", "1")
    wait_until(lambda: webhooks.titles("team") == ["news"], "the channel has it")
    worker.kill()
    stack.worker("second")
    (run,) = wait_until(lambda: runs(stack), "the run has ended", seconds=SLOW)
    assert (run.status, run.done) == ("succeeded", 2)
    assert webhooks.titles("team") == ["news", "news"]
    assert webhooks.titles("ops") == ["news"]


def test_a_channel_that_is_taken_out(stack: Stack, webhooks: Webhooks, tell: Tell) -> None:
    """Its notices that were under way are given up on at once, in words."""
    webhooks.on("team", Reply(silent=True))
    tell("news")
    worker = stack.worker("first", "-c", "1")
    wait_until(lambda: webhooks.titles("team"), "the channel has it")
    worker.kill()
    write_config(stack.folder, ["ops"], {"events": ["alert"], "channels": ["ops"]})
    stack.worker("second")
    (run,) = wait_until(lambda: runs(stack), "the run has ended", seconds=SLOW)
    assert run.status == "partial"
    (letter,) = stack.celery_json("dlq", "list")
    assert "no channel 'team'; it has ops" in letter["stories"][0]["error"]


def test_a_worker_is_not_started_with_a_wrong_file(stack: Stack, tell: Tell) -> None:
    """It says where and what, like a wrong setting; other commands work on."""
    del stack.env[variable("team")]
    done = stack.celery("worker", code=1)
    assert "notifications.yaml:" in done.stderr
    assert "neither TEAM_URL nor TEAM_URL_FILE is set" in done.stderr
    stack.celery("runs", "list")


def test_alerts_of_an_analysis(stack: Stack, webhooks: Webhooks, tell: Tell) -> None:
    """Each story that is severe enough is told once, and not again by the next analysis."""
    shutil.copy(ROOT / "config" / "companies.yaml", stack.folder)
    stack.backend()
    stack.celery("companies", "sync")
    stack.worker()
    assert stack.wait_for_end(stack.start_run()).status == "succeeded"
    alerts: list[dict[str, Any]] = [
        row for row in stack.get("alerts") if row["severity"] in ("high", "critical")
    ]
    expected = Counter(
        f"{row['company_id']}: {row['title']} ({row['severity']}, {row['polarity']})"
        for row in alerts
    )
    assert expected
    wait_until(lambda: len(webhooks.titles("team")) >= len(alerts), "all are told")
    assert stack.wait_for_end(stack.start_run("hourly_quick_scan")).status == "succeeded"
    assert stack.wait_for_end(stack.start_run()).status == "succeeded"
    tell("the end")
    wait_until(lambda: "the end" in webhooks.titles("team"), "what came after is told")
    wait_until(lambda: runs(stack), "all runs of notices have ended")
    assert Counter(webhooks.titles("team")) == expected + Counter(["the end"])
