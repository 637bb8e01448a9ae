"""`redbeat export|import|backfill`: the schedule as a file, and runs for what has passed."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from celery import Celery
from redbeat import RedBeatSchedulerEntry
from redbeat.schedules import rrule
from support.apps import Broker
from support.ledgers import new_run
from support.operating import Console

from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import Occurrence, format_time
from bionewsbot.scheduling import backfill

Tick = Callable[[], None]
SCAN = "bionewsbot.hourly_quick_scan"


def write(folder: Path, text: str) -> str:
    """Write a file to import; return its path."""
    path = folder / "schedule.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_export_and_import_on_an_empty_redis(console: Console, tick: Tick) -> None:
    """Every entry comes back with all its fields, an operator's own too."""
    tick()
    console("set", "daily", "--cron", "5,35 7-9 1 jan,jul *", "--tz", "Asia/Tokyo")
    policies = ("--catch-up", "all", "--deadline", "90m", "--jitter", "0.5s", "--overlap", "queue")
    console("add", "mine", "--task", SCAN, "--every", "90s", "--queue", "low", *policies)
    console("disable", "hourly")
    path = str(console.folder / "out.yaml")
    console("export", "-o", path)
    names = ("daily", "hourly", "mine")
    before = {name: console.entry(name).definition.as_dict() for name in names}
    console.redis.flushdb()
    said = console("import", path).stdout
    assert said.splitlines()[-1] == "1 added, 2 changed"
    assert {name: console.entry(name).definition.as_dict() for name in names} == before
    assert console("import", path).stdout == "3 unchanged\n"
    # The file's entries are still the file's.
    tick()
    shown = {one["name"]: one for one in console.json("list")["entries"]}
    assert shown["daily"]["changed_fields"] == ["schedule", "timezone"]
    assert [shown[name]["from_file"] for name in names] == [True, True, False]


def test_a_rule_of_plain_redbeats_is_kept(app: Celery, console: Console, tick: Tick) -> None:
    """A rrule, which has no short form, goes out and comes back as RedBeat writes it."""
    tick()
    schedule = rrule("WEEKLY", dtstart=datetime(2026, 1, 5, 9, tzinfo=UTC), byhour=[9, 15])
    RedBeatSchedulerEntry("ruled", SCAN, schedule, app=app).save()
    tick()
    shown = console.json("show", "ruled")
    assert (shown["broken"], shown["schedule"][:14]) == (None, "<rrule: freq: ")
    before = console.entry("ruled").definition.as_dict()
    path = str(console.folder / "out.yaml")
    console("export", "-o", path)
    console("remove", "ruled")
    console("import", path)
    assert console.entry("ruled").definition.as_dict() == before


def test_export_is_readable(console: Console) -> None:
    """Crontabs as text, durations with units; as JSON the same."""
    text = console("export").stdout
    table = yaml.safe_load(text)
    assert table == json.loads(console("export", "--json").stdout)
    assert table["entries"]["daily"] == {
        **{"task": "bionewsbot.daily_company_analysis", "cron": "0 6 * * *", "queue": "default"},
        **{"args": [], "kwargs": {}, "enabled": True, "timezone": "UTC", "catch_up": "latest"},
        **{"overlap": "skip", "starting_deadline": None, "run_deadline": "30m", "jitter": "0s"},
    }


def test_export_names_what_it_leaves_out(console: Console, tick: Tick) -> None:
    """A broken entry can't be exported: exit code 3."""
    tick()
    console.poison("ill", definition="{not json")
    done = console("export", code=3)
    assert set(yaml.safe_load(done.stdout)["entries"]) == {"daily", "hourly"}
    assert "Left out: ill: it can't be read" in done.stderr


def test_export_to_where_nothing_can_be_written(console: Console) -> None:
    """Exit code 1, with the path."""
    assert "No such file" in console("export", "-o", "no/such/folder.yaml", code=1).stderr


def test_a_dry_run_of_import_writes_nothing(console: Console, tick: Tick) -> None:
    """And says what would change."""
    tick()
    path = write(console.folder, f"entries: {{mine: {{task: {SCAN}, every: 15m}}}}")
    before = console.contents()
    said = console("import", path, "--dry-run").stdout
    assert "mine: added" in said
    assert said.splitlines()[-1] == "1 added (dry run: nothing was written)"
    shown = console.json("import", path, "--dry-run")
    assert (shown["dry_run"], shown["entries"][0]["action"]) == (True, "added")
    assert console.contents() == before


def test_import_from_standard_input(console: Console, tick: Tick) -> None:
    """`-` is what comes through the pipe."""
    tick()
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "bionewsbot", "redbeat", "import", "-"],
        input=f"entries: {{mine: {{task: {SCAN}, cron: '0 9 * * *', queue: high}}}}",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "1 added" in done.stdout, done.stderr
    assert console.entry("mine").definition.queue == "high"


def test_import_leaves_other_entries_alone(console: Console, tick: Tick) -> None:
    """And what was due under the old times is on record as missed."""
    tick()
    console.rewind("hourly", hours=2)
    untouched = console.entry("daily")
    path = write(console.folder, f"entries: {{hourly: {{task: {SCAN}, every: 7m, queue: high}}}}")
    shown = console.json("import", path)
    (hourly,) = shown["entries"]
    assert len(hourly["missed"]) == 2
    assert hourly["fields"]["catch_up"] == {"from": "all", "to": "latest"}
    assert console.entry("daily") == untouched


def test_import_mends_a_broken_entry(console: Console, tick: Tick) -> None:
    """The file says all that it is."""
    tick()
    console.poison("ill")
    path = write(console.folder, f"entries: {{ill: {{task: {SCAN}, every: 7m}}}}")
    console("import", path)
    assert console.json("show", "ill")["broken"] is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{every: 1h}", "task must be the name of a task"),
        ("{task: gone.task, every: 1h}", "task 'gone.task' is not registered"),
        (f"{{task: {SCAN}}}", "give one of cron and every"),
        (f"{{task: {SCAN}, every: 1h, cron: '0 6 * * *'}}", "give one of cron and every"),
        (f"{{task: {SCAN}, cron: '0 6 * *'}}", "cron: crontab '0 6 * *': 4 instead of five"),
        (f"{{task: {SCAN}, every: soon}}", "every: 'soon' is not a duration"),
        (f"{{task: {SCAN}, every: 1h, jiter: 5m}}", "unknown key 'jiter'; did you mean jitter?"),
        (f"{{task: {SCAN}, every: 1h, jitter: soon}}", "jitter: 'soon' is not a duration"),
        (f"{{task: {SCAN}, every: 1h, jitter: [1]}}", "jitter must be a number of seconds"),
        (f"{{task: {SCAN}, every: 1h, enabled: maybe}}", "enabled must be true or false"),
        (f"{{task: {SCAN}, every: 1h, queue: hihg}}", "queue 'hihg' is not one of"),
        (f"{{task: {SCAN}, every: 1h, timezone: 5}}", "timezone 5 is not an IANA name"),
        (f"{{task: {SCAN}, every: 1h, args: 5}}", "args must be a list, not 5"),
        (f"{{task: {SCAN}, every: 1h, kwargs: [5]}}", "kwargs must be a mapping, not [5]"),
        (f"{{task: {SCAN}, every: 1h, kwargs: {{a: 1}}}}", "its arguments don't fit"),
        (f"{{task: {SCAN}, rrule: {{freq: 9}}}}", "schedule must be a crontab"),
        ("5", "must have task, and cron or every"),
    ],
)
def test_a_wrong_import_is_refused_as_a_whole(
    console: Console, tick: Tick, line: str, said: str
) -> None:
    """With file and line; the right entries beside it are not written either."""
    tick()
    path = write(console.folder, f"entries:\n  good: {{task: {SCAN}, every: 15m}}\n  bad: {line}\n")
    refused = console.refused("import", path)
    assert f"{path}:3: entry 'bad': " in refused
    assert said in refused


@pytest.mark.parametrize(
    "text", ["", "[]", "entries: {}", "entries: 5", "{", "more: 1", "{more: 1, entries: {a: 5}}"]
)
def test_a_file_without_entries_is_refused(console: Console, text: str) -> None:
    """With the place, exit code 2."""
    assert "schedule.yaml:1" in console.refused("import", write(console.folder, text))


def test_a_missing_file_is_refused(console: Console) -> None:
    """As click does."""
    assert "does not exist" in console.refused("import", "nowhere.yaml")


def hours_ago(console: Console, hours: int) -> str:
    """Return the time so many hours before the last full one."""
    now = console.store.now().replace(minute=0, second=0, microsecond=0)
    return format_time(now - timedelta(hours=hours))


def test_backfill_starts_what_has_no_run(console: Console, tick: Tick, broker: Broker) -> None:
    """Both ends included, oldest first, on the entry's queue; a second time finds nothing."""
    tick()
    start, ran, end = (hours_ago(console, hours) for hours in (5, 4, 2))
    ledger().open(new_run(Occurrence.parse(f"hourly@{ran}")))
    span = ("backfill", "hourly", "--from", start, "--to", end)
    before = console.redis.dbsize()
    dry = console(*span, "--dry-run").stdout.splitlines()
    wanted = [start, hours_ago(console, 3), end]
    assert dry == [*(f"would start hourly@{one}" for one in wanted), "3 to start, 1 had a run"]
    assert console.redis.dbsize() == before
    assert broker.messages("high") == []
    done = console(*span).stdout.splitlines()
    assert done == [*(f"started hourly@{one}" for one in wanted), "3 started, 1 had a run"]
    assert len(broker.messages("high")) == 3
    assert {ledger().get(f"hourly@{one}").origin for one in wanted} == {"operator"}
    shown = console.json(*span)
    assert shown == {
        **{"dry_run": False, "runs": [], "started": []},
        **{"have_runs": 4, "missed_left": []},
    }


def test_backfill_of_what_is_on_record_as_missed(
    console: Console, tick: Tick, broker: Broker
) -> None:
    """Only when it is asked for; the run's history keeps that it was missed."""
    tick()
    missed = hours_ago(console, 3)
    ledger().open(new_run(Occurrence.parse(f"hourly@{missed}"), missed="beat was away"))
    span = ("backfill", "hourly", "--from", missed, "--to", missed)
    said = console(*span).stdout.splitlines()
    assert said[0] == "0 started, 0 had a run"
    assert said[1] == "1 are on record as missed or skipped; --missed starts those too"
    assert console.json(*span)["missed_left"] == [f"hourly@{missed}"]
    assert console.json(*span, "--missed")["started"] == [f"hourly@{missed}"]
    run = ledger().get(f"hourly@{missed}")
    assert (run.status, run.generation, run.earlier[0]["status"]) == ("running", 2, "missed")


def test_backfill_in_the_entrys_zone(console: Console) -> None:
    """An occurrence is where its zone's clocks say."""
    console("set", "daily", "--tz", "Asia/Tokyo")
    day = console.store.now().replace(hour=0, minute=0, second=0, microsecond=0)
    start = format_time(day - timedelta(days=1))
    span = ("backfill", "daily", "--from", start, "--to", format_time(day), "--dry-run")
    assert console.json(*span)["runs"] == [f"daily@{start.replace('T00', 'T21')}"]


def test_a_wrong_backfill_is_refused(console: Console, tick: Tick) -> None:
    """The future, a reversed span, what the ledger has forgotten, too much, a broken entry."""
    tick()
    console("set", "hourly", "--every", "1m")
    console.poison("ill", definition="{not json")
    last = hours_ago(console, 1)
    for arguments, said in (
        (("hourly", "--from", last, "--to", "2999-01-01"), "has not passed"),
        (("hourly", "--from", last, "--to", hours_ago(console, 2)), "is after --to"),
        (("hourly", "--from", "2020-01-01"), "RUN_RETENTION_DAYS=90"),
        (("hourly", "--from", hours_ago(console, 20)), "more than 500 occurrences"),
        (("hourly", "--from", "then"), "'then' is not a time such as"),
        (("ill", "--from", last), "ill is set aside: it can't be read"),
        (("nope", "--from", last), "no entry 'nope'"),
    ):
        assert said in console.refused("backfill", *arguments)


def test_a_backfill_in_parts_is_told_where_to_cut(
    console: Console, monkeypatch: pytest.MonkeyPatch, broker: Broker
) -> None:
    """The first part, as the message gives it, is just as large as allowed."""
    monkeypatch.setattr(backfill, "MAX_RUNS", 3)
    start = hours_ago(console, 9)
    said = console.refused("backfill", "hourly", "--from", start)
    end = said.split("--to ")[1].split(")")[0]
    assert len(console.json("backfill", "hourly", "--from", start, "--to", end)["runs"]) == 3
