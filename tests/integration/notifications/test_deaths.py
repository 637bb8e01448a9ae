"""A worker that dies while it sends, and one that isn't started."""

import pytest
from support.channels import Webhooks, variable, write_config
from support.faulty_backend import Reply
from support.polling import wait_until
from support.stack import Stack

from bionewsbot.notifications.notices import ENTRY, Notice
from bionewsbot.notifications.outbox import Outbox
from bionewsbot.runs.model import Run

OK = Reply(200, {})
RULE = {"events": ["alert"]}

SLOW = 150.0
"""Seconds to wait for what takes up to twenty here: a killed worker's lease runs out in it."""


@pytest.fixture(autouse=True)
def config(stack: Stack, webhooks: Webhooks) -> None:
    """Alerts go to the channels `team`, `ops` and `gone`, whose replies are OK."""
    stack.env["BIONEWSBOT_CONFIG_DIR"] = str(stack.folder)
    # A worker that gets no time for so long would be taken for dead and its notices be doubled.
    stack.env["RUN_LEASE_SECONDS"] = "10"
    channels = ["team", "ops", "gone"]
    for channel in channels:
        stack.env[variable(channel)] = webhooks.on(channel, OK)
    write_config(stack.folder, channels, {**RULE, "channels": channels})


def ended(stack: Stack) -> list[Run]:
    """Return the runs of notices, if all that there are have ended."""
    found = stack.ledger.latest(1000, ENTRY)
    return found if all(run.ended for run in found) else []


def test_a_worker_killed_between_sending_and_marking(stack: Stack, webhooks: Webhooks) -> None:
    """The one case in which a channel gets a notice twice; another gets it once, and what was
    under way for a channel that is taken out meanwhile is given up on at once, in words."""
    for channel in ("team", "gone"):
        webhooks.on(channel, Reply(silent=True), OK)
    outbox = Outbox(stack.server.client(1))
    outbox.put([Notice("alert/1", "alert", "news", "body", company="GILD", severity="high")])
    outbox.close()
    worker = stack.worker("first")
    wait_until(
        lambda: webhooks.titles("team") == webhooks.titles("gone") == ["news"],
        "both channels have it",
        seconds=SLOW,
    )
    wait_until(lambda: stack.ledger.latest(1, ENTRY)[0].done == 1, "ops is done", seconds=SLOW)
    worker.kill()
    write_config(stack.folder, ["team", "ops"], {**RULE, "channels": ["team", "ops"]})
    stack.worker("second")
    (run,) = wait_until(lambda: ended(stack), "the run has ended", seconds=SLOW)
    assert (run.status, run.done, run.failed) == ("partial", 2, 1)
    assert webhooks.titles("team") == ["news", "news"]
    assert webhooks.titles("ops") == webhooks.titles("gone") == ["news"]
    (letter,) = stack.celery_json("dlq", "list")
    (story,) = letter["stories"]
    assert story["why"] == "the error is permanent"
    assert "no channel 'gone'; it has ops, team" in story["error"]


def test_a_worker_is_not_started_with_a_wrong_file(stack: Stack) -> None:
    """It says where and what, like a wrong setting; other commands work on."""
    del stack.env[variable("team")]
    done = stack.celery("worker", code=1)
    assert "notifications.yaml:" in done.stderr
    assert "neither TEAM_URL nor TEAM_URL_FILE is set" in done.stderr
    stack.celery("runs", "list")
