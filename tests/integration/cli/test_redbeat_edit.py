"""`redbeat set|add|remove|enable|disable|pause|resume|reset`: each change and each refusal."""

import os
import pwd
import socket
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from redbeat import RedBeatSchedulerEntry
from support.apps import Lines
from support.operating import Console

from bionewsbot.cli import errors
from bionewsbot.runs.ledger import ledger
from bionewsbot.scheduling.changes import ATTEMPTS
from bionewsbot.scheduling.store import Store

Tick = Callable[[], None]
ME = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"
SCAN = "bionewsbot.hourly_quick_scan"
BROKEN = {"definition": "{not json"}


def test_set_changes_what_is_given_and_no_more(console: Console, tick: Tick) -> None:
    """Every option reaches its field; the rest stays."""
    tick()
    before = console.entry("daily").definition.as_dict()
    console("set", "daily", "--cron", "0 7 * * *", "--tz", "Europe/Berlin", "--queue", "low")
    policies = ("--catch-up", "all", "--overlap", "queue", "--deadline", "2h", "--jitter", "90s")
    console("set", "daily", *policies, "--run-deadline", "1d", "--args", "[]", "--kwargs", "{}")
    after = console.entry("daily").definition.as_dict()
    schedule = after.pop("schedule")
    assert (schedule["hour"], schedule["minute"]) == ("7", "0")
    assert after == {
        **{name: value for name, value in before.items() if name != "schedule"},
        **{"timezone": "Europe/Berlin", "queue": "low", "catch_up": "all", "overlap": "queue"},
        **{"starting_deadline": 7200, "jitter": 90, "run_deadline": 86400},
    }
    console("set", "daily", "--deadline", "default", "--jitter", "0", "--every", "15m")
    entry = console.entry("daily")
    assert (entry.definition.starting_deadline, entry.definition.jitter) == (None, 0)
    assert entry.definition.schedule.run_every.total_seconds() == 900


def test_set_says_what_changed(console: Console, tick: Tick) -> None:
    """Old value, new value and the next run; the same as JSON."""
    tick()
    fields = ("--queue", "low", "--jitter", "90s", "--deadline", "2h")
    said = console("set", "daily", "--cron", "0 7 * * *", *fields).stdout.splitlines()
    assert said[:5] == [
        "daily: changed",
        "  schedule: 0 6 * * * -> 0 7 * * *",
        "  queue: default -> low",
        "  starting_deadline: default -> 2h",
        "  jitter: 0s -> 1m30s",
    ]
    assert said[5].startswith("  next run: 20")
    shown = console.json("set", "daily", "--cron", "0 8 * * *")
    assert (shown["entry"], shown["action"], shown["missed"]) == ("daily", "changed", [])
    assert shown["fields"] == {"schedule": {"from": "0 7 * * *", "to": "0 8 * * *"}}
    assert "T08:00:00Z" in shown["next_run"]["scheduled_for"]


def test_what_is_so_already_is_not_written(console: Console, tick: Tick) -> None:
    """No change, nothing on record, exit code 0."""
    tick()
    before = console.contents()
    assert console("set", "daily", "--queue", "default").stdout == (
        "daily: unchanged, it is so already\n"
    )
    assert console.json("enable", "daily")["action"] == "unchanged"
    assert console.json("reset", "daily")["action"] == "unchanged"
    assert console.contents() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cron", "0 7 * *"], "crontab '0 7 * *': 4 instead of five; it has five fields"),
        (["--cron", "61 * * * *"], "Invalid end range: 61 > 59"),
        (["--cron", "0 0 30 2 *"], "never occurs in month_of_year"),
        (["--cron", "*/0 * * * *"], "slice step cannot be zero"),
        (["--every", "soon"], "'soon' is not a duration such as 90s, 15m"),
        (["--every", "0"], "its interval must be a whole number of seconds from 1"),
        (["--every", "1.5s"], "its interval must be a whole number of seconds from 1"),
        (["--every", "99999999999999d"], "is too long"),
        (["--cron", "0 7 * * *", "--every", "1h"], "give one of --cron and --every"),
        (["--tz", "Mars/Olympus"], "timezone 'Mars/Olympus' is not an IANA name"),
        (["--queue", "hihg"], "queue 'hihg' is not one of high, default, low"),
        (["--task", "gone.task"], "task 'gone.task' is not registered; there are bionewsbot."),
        (["--task", "bionewsbot.analyze_company"], "its arguments don't fit"),
        (["--task", "celery.backend_cleanup"], "keeps no run"),
        (["--kwargs", '{"hours": 2}'], "its arguments don't fit bionewsbot.daily_company_analysis"),
        (["--kwargs", "[]"], "'[]' is not an object such as"),
        (["--kwargs", "{"], "'{' is not JSON"),
        (["--args", '["GILD"]'], "its arguments don't fit bionewsbot.daily_company_analysis"),
        (["--args", "{}"], "'{}' is not a list such as"),
        (["--catch-up", "never"], "catch_up 'never' is not one of latest, all, none"),
        (["--overlap", "kill"], "overlap 'kill' is not one of skip, queue, allow"),
        (["--deadline", "0"], "starting_deadline must be a number of seconds above 0"),
        (["--run-deadline", "0"], "run_deadline must be a number of seconds above 0"),
        (["--jitter", "1d"], "jitter must be less than the time between two runs"),
        (["--jitter", "-5"], "'-5' is not a duration"),
        ([], "nothing to change: give at least one option"),
    ],
)
def test_a_wrong_change_is_refused(
    console: Console, tick: Tick, options: list[str], said: str
) -> None:
    """With what is allowed, exit code 2; the entry stays as it is."""
    tick()
    assert said in console.refused("set", "daily", *options)


def test_all_that_is_wrong_is_told_at_once(console: Console, tick: Tick) -> None:
    """One line each."""
    tick()
    said = console.refused("set", "daily", "--queue", "hihg", "--catch-up", "never")
    assert said.count("daily: ") == 2


def test_a_change_is_on_record_and_logged_by_beat(
    console: Console, tick: Tick, log_lines: Lines
) -> None:
    """Who and what; the beat that leads logs it with its next look."""
    tick()
    console("set", "daily", "--cron", "0 7 * * *")
    (said,) = console.store.changes(5)
    assert said.by == ME
    assert said.what == "changed daily: schedule from 0 6 * * * to 0 7 * * *"
    tick()
    (line,) = [line for line in log_lines() if line["event"] == "schedule_changed"]
    assert (line["by"], line["what"]) == (ME, said.what)
    assert console.json("show", "daily")["changed_by"].startswith(f"{ME}, 20")


def test_every_write_is_on_record(console: Console, tick: Tick) -> None:
    """Added and removed entries with all that they say."""
    tick()
    console("add", "mine", "--task", SCAN, "--every", "15m")
    console("disable", "mine")
    console("enable", "mine")
    console("remove", "mine")
    console("disable", "daily")
    console("reset", "daily")
    console("pause", "-m", "tea")
    console("resume")
    told = [one.what for one in reversed(console.store.changes(20))]
    assert told[0].startswith('added mine: {"task": "bionewsbot.hourly_quick_scan", "every": "15m"')
    assert told[1:3] == [
        "changed mine: enabled from yes to no",
        "changed mine: enabled from no to yes",
    ]
    assert told[3].startswith('removed mine: {"task": "bionewsbot.hourly_quick_scan"')
    assert told[4:] == [
        "changed daily: enabled from yes to no",
        "reset daily: enabled from no to yes",
        "paused everything: tea",
        "resumed everything",
    ]


def test_changed_times_count_from_now(console: Console, tick: Tick) -> None:
    """What was due under the old ones and wasn't sent is on record as missed, and told."""
    tick()
    console.rewind("hourly", hours=3)
    said = console("set", "hourly", "--every", "20m").stdout
    assert "due and not sent yet, on record as missed: 3, hourly@20" in said
    runs = ledger().latest(10, "hourly")
    assert [run.status for run in runs] == ["missed"] * 3
    assert runs[0].reason == "its entry was changed before it could start"
    assert console.due() == []
    tick()
    assert len(ledger().latest(10, "hourly")) == 3


def test_other_fields_leave_the_count_alone(console: Console, tick: Tick) -> None:
    """An overdue occurrence is still sent after a change of its queue."""
    tick()
    console.rewind("hourly", minutes=61)
    last_run_at = console.entry("hourly").last_run_at
    console("set", "hourly", "--queue", "low")
    assert console.entry("hourly").last_run_at == last_run_at
    assert console.due() == ["hourly"]
    assert ledger().latest(10, "hourly") == []


def test_enabling_an_overdue_entry_does_not_fire_it(console: Console, tick: Tick) -> None:
    """It counts from then on; what passed while it was disabled is nobody's."""
    tick()
    console("disable", "hourly")
    assert not console.entry("hourly").definition.enabled
    console.rewind("hourly", days=1)
    console("enable", "hourly")
    tick()
    assert ledger().latest(10, "hourly") == []
    assert console.entry("hourly").definition.enabled


def test_an_unseen_edit_with_plain_redbeat_still_counts_from_now(
    app: Celery, console: Console, tick: Tick
) -> None:
    """A command that meets it first doesn't take the old count over; what was due is missed."""
    tick()
    console.rewind("hourly", hours=5)
    plain = RedBeatSchedulerEntry.from_key("redbeat:hourly", app=app)
    plain.schedule = type(plain.schedule)(minute="*/10")
    plain.save()
    console("set", "hourly", "--queue", "low")
    tick()
    assert [run.status for run in ledger().latest(10, "hourly")] == ["missed"] * 5
    assert console.json("show", "hourly")["schedule"] == "every 10 minutes"


def test_a_change_of_the_file_s_entry_before_the_first_beat(console: Console, tick: Tick) -> None:
    """It stands when beat comes, and is known as the operator's."""
    console("set", "daily", "--cron", "0 7 * * *")
    assert console.store.statics() == {"daily"}
    tick()
    shown = console.json("show", "daily")
    assert (shown["from_file"], shown["changed_fields"]) == (True, ["schedule"])


def test_a_change_in_between_is_not_overwritten(
    console: Console, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command reads anew and tries again; both changes stand."""
    tick()
    disturbed: list[bool] = []
    write = Store.write

    def disturbing(self: Store, *args: Any, **kwargs: Any) -> list[str]:
        if not disturbed:
            disturbed.append(True)
            console("set", "daily", "--jitter", "5s")
        return write(self, *args, **kwargs)

    monkeypatch.setattr(Store, "write", disturbing)
    console("set", "daily", "--queue", "low")
    definition = console.entry("daily").definition
    assert (definition.queue, definition.jitter) == ("low", 5)


def test_a_change_that_is_always_too_late_is_given_up(
    console: Console, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a few attempts, exit code 1; nothing is changed."""
    tick()
    attempts: list[bool] = []

    def stale(self: Store, changes: Any, **_: Any) -> list[str]:
        attempts.append(True)
        return [change.name for change in changes]

    monkeypatch.setattr(Store, "write", stale)
    said = console.refused("set", "daily", "--queue", "low", code=errors.EXIT_FAILED)
    assert "daily: somebody else changed it in each of 5 attempts; nothing was changed" in said
    assert len(attempts) == ATTEMPTS


def test_add(console: Console, tick: Tick) -> None:
    """The entry is an operator's, counts from now, and stays when beat brings the file."""
    said = console("add", "mine", "--task", SCAN, "--cron", "0 9 * * *", "--kwargs", "{}").stdout
    assert said.splitlines()[:2] == ["mine: added", "  daily at 09:00"]
    tick()
    shown = console.json("show", "mine")
    assert (shown["from_file"], shown["stored"], shown["broken"]) == (False, True, None)
    assert ledger().latest(1, "mine") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["daily", "--task", SCAN, "--every", "1h"], "there is an entry 'daily'; change it with"),
        (["mine", "--task", SCAN], "say when: give --cron or --every"),
        (["mine", "--every", "1h"], "Missing option '--task'"),
        (["mine", "--task", "no.task", "--every", "1h"], "mine: task 'no.task' is not registered"),
        (["a b", "--task", SCAN, "--every", "1h"], "letters, digits, '_', '.' and '-' only"),
        ([":lock", "--task", SCAN, "--every", "1h"], "letters, digits, '_', '.' and '-' only"),
    ],
)
@pytest.mark.parametrize("beaten", [True, False])
def test_a_wrong_addition_is_refused(
    console: Console, tick: Tick, arguments: list[str], said: str, beaten: bool
) -> None:
    """Whether or not a beat has brought the file."""
    if beaten:
        tick()
    assert said in console.refused("add", *arguments)


def test_remove(console: Console, tick: Tick) -> None:
    """The entry is gone; what was due is on record as missed, its history stays."""
    tick()
    console("add", "mine", "--task", SCAN, "--every", "1h")
    console.rewind("mine", hours=2)
    said = console("remove", "mine").stdout
    assert "mine: removed" in said
    assert "on record as missed: 2" in said
    assert not console.redis.exists("redbeat:mine")
    assert "missed" in console("history", "mine").stdout
    tick()
    assert [one["name"] for one in console.json("list")["entries"]] == ["daily", "hourly"]


def test_removing_an_entry_of_the_file_is_refused(console: Console, tick: Tick) -> None:
    """With the mend, before and after beat has brought it."""
    for _ in range(2):
        said = console.refused("remove", "daily")
        assert "daily comes from beat_schedule.py, and beat would bring it back: disable it" in said
        tick()


@pytest.mark.parametrize("name", [":lock", ":schedule", ":statics"])
def test_redbeats_own_keys_are_no_entries(console: Console, tick: Tick, name: str) -> None:
    """`redbeat::lock` looks like an entry, and can't be removed as one."""
    tick()
    assert f"no entry {name!r}" in console.refused("remove", name)


def test_reset(console: Console, tick: Tick) -> None:
    """All values of the file are back, and nothing is said to be changed."""
    tick()
    before = console.entry("daily").definition
    console("set", "daily", "--cron", "0 7 * * *", "--queue", "low", "--jitter", "5m")
    console("disable", "daily")
    assert "schedule: 0 7 * * * -> 0 6 * * *" in console("reset", "daily").stdout
    entry = console.entry("daily")
    assert entry.definition.as_dict() == before.as_dict()
    assert (entry.changed_fields, entry.changed_by) == ((), None)


def test_reset_of_an_operators_entry_is_refused(console: Console, tick: Tick) -> None:
    """There is nothing in the file to take."""
    tick()
    console("add", "mine", "--task", SCAN, "--every", "1h")
    assert "mine doesn't come from beat_schedule.py" in console.refused("reset", "mine")
