"""`redbeat list|show|next|diff|history`: what a person and a program see of the schedule."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from celery.schedules import crontab
from redbeat import RedBeatSchedulerEntry
from support.ledgers import new_run
from support.operating import TIMETABLE, Console

from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import Occurrence

Tick = Callable[[], None]
FIELDS = {
    *("name", "schedule", "timezone", "enabled", "next_run", "overdue_since", "last_run"),
    *("from_file", "stored", "changed_fields", "changed_by", "broken"),
}
COMMANDS = [
    *("list", "show", "next", "set", "add", "remove", "enable", "disable", "pause", "resume"),
    *("diff", "reset", "export", "import", "history", "backfill", "doctor"),
]


def in_new_process() -> None:
    """Have the timetable read anew, as a command does that starts now."""
    sys.modules.pop("beat_schedule", None)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(console: Console, command: str) -> None:
    """And each that takes arguments an example, or a sentence that needs none."""
    said = console(command, "--help").stdout
    assert "--json" in said
    if command in ("set", "add", "import", "backfill", "list", "next", "doctor", "history"):
        assert "Example" in said


def test_the_group_documents_its_exit_codes(console: Console) -> None:
    """So that a script's author finds them."""
    said = console("--help").stdout
    assert "Exit codes: 0 done; 1 it failed" in said
    assert set(COMMANDS) <= set(said.split())


def test_list_before_the_first_beat(console: Console) -> None:
    """The file's entries, which don't stand in Redis yet."""
    shown = console.json("list")
    assert shown["paused"] is None
    assert [one["name"] for one in shown["entries"]] == ["daily", "hourly"]
    for one in shown["entries"]:
        assert set(one) == FIELDS
        assert (one["stored"], one["from_file"], one["last_run"]) == (False, True, None)
    assert "not in Redis yet; the next beat brings it there" in console("show", "daily").stdout
    assert console.contents() == {}


def test_show_tells_the_last_run(console: Console) -> None:
    """Its status and, where there is one, the reason."""
    past = datetime(2026, 1, 15, 6, tzinfo=UTC)
    ledger().open(new_run(Occurrence("daily", past), missed="nobody was there"))
    said = console("show", "daily").stdout
    assert "daily@2026-01-15T06:00:00Z  missed (nobody was there)" in said
    assert console.json("show", "daily")["last_run"]["status"] == "missed"


def test_list_as_a_table(console: Console, tick: Tick) -> None:
    """Schedule in words, zone, next run, last run and its result, enabled, what was changed."""
    tick()
    console("set", "daily", "--cron", "30 7 * * mon-fri", "--tz", "Europe/Berlin")
    console("add", "mine", "--task", "bionewsbot.hourly_quick_scan", "--every", "15m")
    console("disable", "hourly")
    past = datetime(2026, 1, 15, 6, tzinfo=UTC)
    ledger().open(new_run(Occurrence("daily", past), missed="nobody was there"))
    head, daily, hourly, mine = console("list").stdout.splitlines()
    for words in ("ENTRY", "SCHEDULE", "ZONE", "NEXT RUN", "LAST RUN", "RESULT", "OPERATOR"):
        assert words in head
    assert "at 07:30 from Monday to Friday" in daily
    assert "Europe/Berlin" in daily
    assert "Z (in " in daily
    assert "2026-01-15T06:00:00Z  missed" in daily
    assert "changed: schedule, timezone" in daily
    assert hourly.split() == "hourly every hour UTC - - - no changed: enabled".split()
    assert "every 15 minutes" in mine
    assert mine.rstrip().endswith("yes      added")


def test_list_as_json(console: Console, tick: Tick) -> None:
    """The same fields for each; times are RFC 3339."""
    tick()
    console("set", "daily", "--jitter", "5m")
    daily, hourly = console.json("list")["entries"]
    assert set(daily) == set(hourly) == FIELDS
    assert (daily["changed_fields"], hourly["changed_fields"]) == (["jitter"], [])
    assert "@" in daily["changed_by"]
    scheduled_for = datetime.fromisoformat(daily["next_run"]["scheduled_for"])
    due_at = datetime.fromisoformat(daily["next_run"]["due_at"])
    assert scheduled_for.hour == 6
    assert timedelta() < due_at - scheduled_for < timedelta(minutes=5)


def test_an_overdue_entry_is_told(console: Console, tick: Tick) -> None:
    """Since when, in place of its next run."""
    tick()
    console.rewind("hourly", hours=3)
    assert "OVERDUE since 20" in console("list").stdout
    assert "OVERDUE" in console("show", "hourly").stdout
    _, hourly = console.json("list")["entries"]
    assert hourly["overdue_since"] is not None


def test_markup_in_a_name_is_text(console: Console) -> None:
    """Anybody may write a key beside the entries."""
    console.poison("[/x]")
    for command in (("list",), ("next",), ("show", "[/x]")):
        console(*command)
    assert "[/x] is set aside" in console("list").stdout


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"definition": "{not json"}, "it can't be read"),
        ({"definition": '{"task": 5, "schedule": 1}'}, "its task can't be 5"),
        ({}, "its key is not a hash"),
        (
            {
                "definition": '{"task": "gone.task", "schedule": '
                '{"__type__": "interval", "every": 60, "relative": false}}'
            },
            "task 'gone.task' is not registered",
        ),
    ],
    ids=["json", "type", "key", "task"],
)
def test_a_broken_entry_is_shown(
    console: Console, tick: Tick, fields: dict[str, str], why: str
) -> None:
    """With its reason and the mend, before and after beat has set it aside; all others as ever."""
    console.poison("ill", **fields)
    for looked in (False, True):
        if looked:
            tick()
            tick()
            assert "ill" in console.store.set_aside()
        said = console("list").stdout
        assert "SET ASIDE" in said
        assert f"ill is set aside: {why}" in said
        assert "Mend it with" in said
        assert why in console("show", "ill").stdout
        shown = {one["name"]: one for one in console.json("list")["entries"]}
        assert why in shown["ill"]["broken"]
        assert shown["daily"]["broken"] is None
        assert "none, it is set aside" in console("next").stdout
    assert console.json("show", "ill")["stored_as"]["definition"] == fields.get("definition")


def test_bytes_that_are_no_text_are_shown(console: Console, tick: Tick) -> None:
    """In a field and in a name; the terminal gets what it can show."""
    tick()
    console.redis.hset(b"redbeat:\xffodd", "definition", b"\xff{")
    console.redis.zadd("redbeat::schedule", {b"redbeat:\xffodd": 0})
    tick()
    assert "\\udcffodd is set aside" in console("list").stdout
    assert "\\udcff{" in console("show", "\udcffodd").stdout
    console("remove", "\udcffodd")
    assert [one["name"] for one in console.json("list")["entries"]] == ["daily", "hourly"]


def test_a_wrong_file_is_no_hindrance(console: Console, tick: Tick) -> None:
    """What is stored is shown and can be changed; the file's problem is told."""
    tick()
    in_new_process()
    (console.folder / "beat_schedule.py").write_text("beat_schedule = {}", encoding="utf-8")
    done = console("list")
    assert "Warning: the file is left out, it is wrong:" in done.stderr
    assert "hourly" in done.stdout
    console("disable", "hourly")
    console("reset", "hourly")
    assert console.entry("hourly").definition.enabled
    assert "at least one entry" in console.refused("diff")


def test_paused_is_said_loudly(console: Console, tick: Tick) -> None:
    """By list, show, next and doctor: since when, by whom, why, and how to go on."""
    tick()
    console("pause", "-m", "the backend moves")
    for command in (["list"], ["show", "daily"], ["next"], ["doctor"]):
        said = console(*command, code=3 if command == ["doctor"] else 0).stdout
        assert "EVERYTHING IS PAUSED since" in said
        assert "the backend moves" in said
        assert "redbeat resume" in said
    assert console.json("list")["paused"]["why"] == "the backend moves"


def test_show(console: Console, tick: Tick) -> None:
    """Each field, the file's value where it is another, who changed it, the next runs."""
    tick()
    console("set", "daily", "--cron", "0 7 * * *", "--tz", "America/New_York")
    said = console("show", "daily").stdout
    assert "0 7 * * *  (the file says 0 6 * * *)" in said
    assert "America/New_York  (the file says UTC)" in said
    assert "by its schedule: 6h" in said
    assert "07:00:00 E" in said
    shown = console.json("show", "daily")
    assert set(shown) == FIELDS | {
        *("paused", "definition", "file", "next_runs", "starting_deadline_seconds")
    }
    assert shown["definition"]["cron"] == "0 7 * * *"
    assert shown["file"] == {"cron": "0 6 * * *", "timezone": "UTC"}
    assert len(shown["next_runs"]) == 5
    console("set", "daily", "--every", "15m")
    lines = [line.split(maxsplit=1) for line in console("show", "daily").stdout.splitlines()]
    assert ["cron", "(the file says 0 6 * * *)"] in [
        [one.strip() for one in line] for line in lines
    ]


def test_an_unknown_entry_is_told(console: Console) -> None:
    """With those that there are; exit code 2."""
    for command in ("show", "next", "enable", "disable", "remove", "reset", "history"):
        said = console.refused(command, "dayly")
        assert "no entry 'dayly'; there are daily" in said


def test_next_is_in_order(console: Console, tick: Tick) -> None:
    """All entries' occurrences, the soonest first, with their jitter; disabled ones have none."""
    tick()
    console("set", "daily", "--every", "20m", "--jitter", "10m")
    shown = console.json("next", "-n", "7")["next"]
    due = [one["due_at"] for one in shown]
    assert due == sorted(due)
    assert len(due) == 7
    assert {one["entry"] for one in shown} == {"daily", "hourly"}
    assert "+" in console("next", "daily").stdout
    console("disable", "daily")
    assert {one["entry"] for one in console.json("next")["next"]} == {"hourly"}
    assert "daily: none, it is disabled" in console("next", "daily").stdout


def test_next_in_the_entrys_zone(console: Console) -> None:
    """The local time stands beside UTC."""
    console("set", "daily", "--tz", "Asia/Tokyo")
    (one,) = console.json("next", "daily", "-n", "1")["next"]
    assert one["scheduled_for"].endswith("T21:00:00Z")
    assert one["local"].endswith("06:00:00 JST")


def test_diff(console: Console, tick: Tick) -> None:
    """Operators' values against the file's, and what only the file has changed since."""
    assert "only in the file" in console("diff", code=3).stdout
    tick()
    assert console("diff").stdout == "The schedule is what beat_schedule.py says.\n"
    console("set", "daily", "--cron", "0 7 * * *")
    console("add", "mine", "--task", "bionewsbot.hourly_quick_scan", "--every", "15m")
    in_new_process()
    text = TIMETABLE.replace("hour=6", "hour=5").replace('"high"', '"low"')
    (console.folder / "beat_schedule.py").write_text(text, encoding="utf-8")
    shown = console.json("diff", code=3)
    assert shown["differences"] == [
        {
            "entry": "daily",
            "field": "schedule",
            "in_use": "0 7 * * *",
            "file": "0 5 * * *",
            "stays": "in_use",
        },
        {"entry": "hourly", "field": "queue", "in_use": "high", "file": "low", "stays": "file"},
    ]
    assert shown["by_operators"] == ["mine"]
    daily, hourly, mend, mine = console("diff", code=3).stdout.splitlines()[1:]
    assert daily.split() == "daily schedule 0 7 * * * 0 5 * * * the operator's stays".split()
    assert "beat takes the file's when it starts" in hourly
    assert "redbeat reset" in mend
    assert mine == "mine: an operator's own entry"


def test_an_operators_own_entry_is_no_difference(console: Console, tick: Tick) -> None:
    """It is told, and the exit code is 0."""
    tick()
    console("add", "mine", "--task", "bionewsbot.hourly_quick_scan", "--every", "15m")
    assert console("diff").stdout == "mine: an operator's own entry\n"


def test_an_edit_with_plain_redbeat_is_an_operators(
    app: Celery, console: Console, tick: Tick
) -> None:
    """Beat keeps it and diff shows it; nobody's name stands beside it."""
    tick()
    plain = RedBeatSchedulerEntry.from_key("redbeat:daily", app=app)
    plain.schedule = crontab(hour=9, minute=0)
    plain.save()
    tick()
    (one,) = console.json("diff", code=3)["differences"]
    assert (one["in_use"], one["file"], one["stays"]) == ("0 9 * * *", "0 6 * * *", "in_use")
    assert console.json("show", "daily")["changed_by"] is None


def test_diff_tells_what_has_left_the_file(console: Console, tick: Tick) -> None:
    """Beat removes it with its next start."""
    tick()
    in_new_process()
    text = TIMETABLE.replace('"hourly"', '"other"')
    (console.folder / "beat_schedule.py").write_text(text, encoding="utf-8")
    shown = console.json("diff", code=3)
    assert (shown["gone_from_file"], shown["only_in_file"]) == (["hourly"], ["other"])


def test_history(console: Console) -> None:
    """The ledger's runs of this entry, the latest first; missed ones with the reason."""
    assert console("history", "daily").stdout == "daily has no runs yet\n"
    for day, why in ((14, None), (15, "nobody was there")):
        occurrence = Occurrence("daily", datetime(2026, 11, day, 6, tzinfo=UTC))
        ledger().open(new_run(occurrence, missed=why))
    ledger().open(new_run(Occurrence("hourly", datetime(2026, 11, 15, 7, tzinfo=UTC))))
    head, last, first = console("history", "daily").stdout.splitlines()
    assert "SCHEDULED FOR" in head
    assert last.split(maxsplit=4)[:2] == ["2026-11-15T06:00:00Z", "missed"]
    assert "nobody was there" in last
    assert first.split()[:2] == ["2026-11-14T06:00:00Z", "running"]
    ids = [one["run_id"] for one in console.json("history", "daily", "-n", "1")]
    assert ids == ["daily@2026-11-15T06:00:00Z"]
