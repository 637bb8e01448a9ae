"""`redbeat` on broken entries, on the schedule as a whole, and beside a running beat."""

import json
import os
import pwd
import socket
from collections.abc import Callable

import pytest
from support.operating import Console
from support.polling import wait_until
from support.stack import Stack

from bionewsbot import celeryconfig, settings
from bionewsbot.runs.ledger import ledger

Tick = Callable[[], None]
ME = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"
SCAN = "bionewsbot.hourly_quick_scan"
BROKEN = {"definition": "{not json"}


@pytest.mark.parametrize("fields", [BROKEN, {}], ids=["json", "key"])
@pytest.mark.parametrize("command", [["reset", "daily"], ["set", "daily", "--queue", "low"]])
def test_a_broken_entry_of_the_file_is_mended(
    console: Console, tick: Tick, fields: dict[str, str], command: list[str]
) -> None:
    """By reset, and by set on top of what the file says."""
    tick()
    console.redis.delete("redbeat:daily")
    console.poison("daily", **fields)
    tick()
    assert "daily" in console.store.set_aside()
    console(*command)
    assert console.store.set_aside() == {}
    entry = console.entry("daily")
    assert entry.definition.queue == ("default" if command[0] == "reset" else "low")
    assert entry.definition.task == "bionewsbot.daily_company_analysis"
    assert entry.from_file is not None
    tick()
    assert console.json("show", "daily")["broken"] is None


@pytest.mark.parametrize("fields", [BROKEN, {}], ids=["json", "key"])
def test_a_broken_entry_of_an_operator_is_mended(
    console: Console, tick: Tick, fields: dict[str, str]
) -> None:
    """By a set that says all that it is, or by remove; half of it is refused with the mend."""
    tick()
    for mend in (["set", "ill", "--task", SCAN, "--every", "1h"], ["remove", "ill"]):
        console.redis.delete("redbeat:ill")
        console.poison("ill", **fields)
        tick()
        said = console.refused("set", "ill", "--queue", "low")
        assert "Nothing of it can be kept: say all that it is, with --task and --cron" in said
        console(*mend)
        assert console.store.set_aside() == {}


def test_one_wrong_field_is_mended_and_what_passed_is_caught_up(
    console: Console, tick: Tick
) -> None:
    """A readable entry keeps its count through being set aside."""
    tick()
    console.rewind("hourly", minutes=61)
    definition = json.loads(console.redis.hget("redbeat:hourly", "definition"))
    definition["options"] = {"queue": "hihg"}
    console.redis.hset("redbeat:hourly", "definition", json.dumps(definition))
    tick()
    assert "queue 'hihg'" in console.store.set_aside()["hourly"]
    assert "queue 'hihg'" in console.refused("set", "hourly", "--jitter", "5s")
    console("set", "hourly", "--queue", "low")
    tick()
    assert [run.status for run in ledger().latest(5, "hourly")] != []


def test_pause_and_resume(console: Console, tick: Tick) -> None:
    """Nothing is sent in between; what passed is then dealt with by the entry's policy."""
    tick()
    assert console.json("pause", "-m", "tea")["paused"]["why"] == "tea"
    console.rewind("hourly", minutes=61)
    tick()
    assert ledger().latest(5, "hourly") == []
    assert console.json("resume") == {"paused": None, "was_paused": True}
    tick()
    assert len(ledger().latest(5, "hourly")) >= 1
    assert console("resume").stdout == "It was not paused.\n"


def test_redis_that_is_away_is_told(console: Console, configured: pytest.MonkeyPatch) -> None:
    """Exit code 1, no traceback."""
    configured.setattr(celeryconfig, "_REDIS_RETRIES", 0)
    configured.setenv("REDIS_PORT", "1")
    settings.current.cache_clear()
    for command in (["list"], ["set", "daily", "--queue", "low"], ["doctor"]):
        assert "Redis doesn't answer" in console(*command, code=1).stderr


def test_a_running_beat_heeds_a_change_at_once(stack: Stack) -> None:
    """A real beat and the real command line: runs open, and then they don't."""
    beat = stack.beat()
    wait_until(lambda: bool(beat.events("beat_leads")), "beat leads")
    every = ("add", "often", "--task", SCAN, "--every", "1s", "--overlap", "allow")
    stack.celery("redbeat", *every)
    wait_until(lambda: bool(stack.ledger.latest(1, "often")), "a run opens")
    (said,) = beat.events("schedule_changed")
    assert said["what"].startswith("added often")
    stack.celery("redbeat", "disable", "often")
    wait_until(lambda: len(beat.events("schedule_changed")) == 2, "beat logs it")
    opened = len(stack.ledger.latest(100, "often"))
    entry = stack.celery_json("redbeat", "show", "often")
    assert (entry["enabled"], entry["next_run"]) == (False, None)
    stack.celery("redbeat", "doctor")
    assert len(stack.ledger.latest(100, "often")) == opened
