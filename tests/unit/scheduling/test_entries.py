"""A schedule entry: its form in Redis, its defaults, and when it is due."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.schedules import BaseSchedule, crontab
from celery.schedules import schedule as interval
from hypothesis import given
from hypothesis import strategies as st
from redbeat import RedBeatSchedulerEntry
from redbeat.decoder import RedBeatJSONEncoder
from redbeat.schedules import rrule
from support.broken_entries import (
    BROKEN_DEFINITIONS,
    BROKEN_METAS,
    BROKEN_OWNS,
    plain_definition,
)
from support.jobs import APP, NOW, at, definition, entry, stored

from bionewsbot.errors import EntryError
from bionewsbot.runs.model import JOB, Message, Occurrence
from bionewsbot.scheduling.entries import (
    BATCH,
    DEFAULT_RUN_DEADLINE,
    NEVER,
    POLICY_FIELDS,
    Definition,
    Entry,
    Row,
    default_starting_deadline,
    read_entry,
)
from bionewsbot.scheduling.timetable_sync import given_up

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)

SCHEDULES: list[BaseSchedule] = [
    interval(90),
    interval(timedelta(days=2)),
    crontab(hour=6, minute=0),
    crontab("*/5", "1-3", "mon-fri", "1,15", "jan,jul"),
    crontab(hour=[18, 6], minute=(30,)),
    crontab(hour={6, 18}, minute=0),
    rrule("WEEKLY", dtstart=datetime(2026, 1, 1, 8, tzinfo=UTC), count=3),
]


def row(definition: str | None = None, meta: str | None = None, own: str | None = None) -> Row:
    """Return a row that plain RedBeat wrote, but for what is given."""
    return Row("entry", plain_definition() if definition is None else definition, meta, own)


def test_all_of_an_entry_survives_redis() -> None:
    """Written and read, every field is as it was."""
    one = Entry(
        "entry",
        Definition(
            task="tests.job",
            schedule=crontab(hour=6, minute=30),
            queue="high",
            args=(["a", "b"],),
            kwargs={"loud": True},
            enabled=False,
            timezone="Europe/Berlin",
            catch_up="all",
            overlap="queue",
            starting_deadline=60.5,
            run_deadline=3600.0,
            jitter=2.5,
        ),
        last_run_at=at("2026-01-15 05:30"),
        total_run_count=7,
        from_file={"task": "tests.job"},
        changed_by="anna at noon",
    )
    written = one.to_row()
    again = read_entry(written)
    assert replace(again, row=None, seen=None) == one
    assert (again.row, again.seen) == (written, one.times)
    assert again.to_row() == written


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_every_schedule_survives_redis(schedule: BaseSchedule) -> None:
    """However the file writes it, it is due when it was, and it doesn't count as changed."""
    before = Entry("entry", definition(schedule=schedule), last_run_at=NOW)
    from_file = json.loads(json.dumps(before.definition.as_dict()))
    after = stored(replace(before, from_file=from_file))
    assert after.next_scheduled(NOW) == before.next_scheduled(NOW)
    assert after.changed_fields == ()
    assert after.seen == after.times == before.times
    assert Definition.from_dict(from_file).as_dict() == before.definition.as_dict()


def test_two_ways_to_write_a_crontab_are_one() -> None:
    """6 and "6", a list and a string: no operator changed anything."""
    one, two = crontab(hour=[6, 18], minute=0), crontab(hour="6,18", minute="0")
    assert definition(schedule=one).as_dict() == definition(schedule=two).as_dict()


def test_plain_redbeat_reads_our_entries() -> None:
    """Its decoder meets nothing that it doesn't know, and its entry says the same."""
    one = entry(schedule=crontab(hour=6, minute=30), queue="low", kwargs={"loud": True}, last=NOW)
    assert one.row is not None
    found = RedBeatSchedulerEntry.decode_definition(one.row.definition)
    found |= RedBeatSchedulerEntry.decode_meta(one.row.meta)
    with pytest.warns(DeprecationWarning, match="RedBeat will stop falling back"):
        plain = RedBeatSchedulerEntry(app=APP, **found)
    assert (plain.name, plain.task, plain.kwargs, plain.enabled) == (
        "entry",
        "tests.job",
        {"loud": True},
        True,
    )
    assert (plain.options, plain.schedule) == ({"queue": "low"}, crontab(hour=6, minute=30))
    assert (plain.last_run_at, plain.total_run_count) == (NOW, 0)


def test_we_read_plain_redbeats_entries() -> None:
    """What it doesn't say has the defaults; it is nobody's but the operator's."""
    meta = json.dumps({"last_run_at": NOW}, cls=RedBeatJSONEncoder)
    one = read_entry(row(meta=meta))
    assert one.definition.as_dict() == definition().as_dict()
    assert (one.last_run_at, one.total_run_count, one.from_file, one.seen) == (NOW, 0, None, None)
    assert one.changed_fields == ()
    assert read_entry(row()).last_run_at is None


def test_the_defaults() -> None:
    """As the documentation has them."""
    given_ = definition()
    assert {name: getattr(given_, name) for name in POLICY_FIELDS} == {
        "timezone": "UTC",
        "catch_up": "latest",
        "overlap": "skip",
        "starting_deadline": None,
        "run_deadline": DEFAULT_RUN_DEADLINE,
        "jitter": 0.0,
    }
    assert (given_.queue, given_.enabled, DEFAULT_RUN_DEADLINE) == ("default", True, 6 * 3600)


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"schedule": interval(1)}, 60),
        ({"schedule": interval(90)}, 90),
        ({"schedule": crontab(minute=0)}, 3600),
        ({"schedule": crontab(hour="*/2", minute=0)}, 7200),
        ({"schedule": crontab(hour=6, minute=0), "timezone": "Europe/Berlin"}, 6 * 3600),
        ({"schedule": crontab(0, 0, day_of_month=29, month_of_year=2)}, 6 * 3600),
        ({"schedule": interval(1), "catch_up": "all"}, 86_400),
        ({"schedule": crontab(hour=6, minute=0), "catch_up": "all"}, 86_400),
    ],
)
def test_the_starting_deadline_by_the_schedule(changes: dict[str, Any], seconds: int) -> None:
    """As long as its occurrences lie apart, from a minute to six hours; a day under `all`."""
    assert default_starting_deadline(definition(**changes)).total_seconds() == seconds
    assert entry(**changes).starting_deadline.total_seconds() == seconds


def test_a_starting_deadline_that_is_given_counts() -> None:
    """In seconds."""
    assert entry(starting_deadline=1.5).starting_deadline == timedelta(seconds=1.5)


@pytest.mark.parametrize("text", BROKEN_DEFINITIONS.values(), ids=BROKEN_DEFINITIONS)
def test_a_broken_definition_is_told(text: str) -> None:
    """Whatever stands there, it is an EntryError with the reason, and nothing else."""
    with pytest.raises(EntryError, match="it can't be read|its|option"):
        read_entry(row(definition=text))


@pytest.mark.parametrize("text", BROKEN_METAS.values(), ids=BROKEN_METAS)
def test_a_broken_progress_is_told(text: str) -> None:
    """It isn't guessed: an entry that ran is not to run again."""
    with pytest.raises(EntryError, match="it can't be read|its"):
        read_entry(row(meta=text))


@pytest.mark.parametrize("text", BROKEN_OWNS.values(), ids=BROKEN_OWNS)
def test_broken_fields_of_our_own_are_told(text: str) -> None:
    """An entry isn't run by other policies than it was given."""
    with pytest.raises(EntryError, match="it can't be read|its"):
        read_entry(row(own=text))


def test_a_key_of_another_type_is_told() -> None:
    """With the mend."""
    with pytest.raises(EntryError, match="its key is not a hash; delete it and add the entry anew"):
        read_entry(Row("entry", None, None, None, readable=False))


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


@given(
    field=st.sampled_from(["task", "args", "kwargs", "options", "schedule", "enabled", "name"]),
    value=JSON,
    type_=st.sampled_from([None, "interval", "crontab", "rrule", "datetime", "weekday"]),
)
def test_nothing_that_can_stand_in_a_hash_is_worse(field: str, value: Any, type_: Any) -> None:
    """Any JSON in any field either makes an entry that can be written again, or an EntryError."""
    if isinstance(value, dict) and type_ is not None:
        value = {**value, "__type__": type_}
    try:
        one = read_entry(row(definition=plain_definition(**{field: value})))
    except EntryError:
        return
    assert read_entry(one.to_row()).to_row() == one.to_row()


def test_values_that_cannot_be_read_are_told() -> None:
    """As an import or an older version may hold them."""
    right = definition().as_dict()
    assert Definition.from_dict(right).as_dict() == right
    for wrong in (
        {},
        {**right, "schedule": {"__type__": "crontab", "minute": "x"}},
        {**right, "schedule": {"__type__": "rrule"}},
        {**right, "schedule": {"__type__": "crontab", "minute": "1-99"}},
        {**right, "schedule": 5},
        {**right, "kwargs": 5},
        {**right, "x": 1},
    ):
        with pytest.raises(EntryError, match="its values can't be read"):
            Definition.from_dict(wrong)


def test_due_lists_what_is_not_decided_on() -> None:
    """From the last one that was, up to now, oldest first."""
    one = entry(last=at("2026-01-15 11:58"))
    assert one.due(NOW) == ([at("2026-01-15 11:59"), at("2026-01-15 12:00")], False)
    assert entry(last=None).due(NOW) == ([], False)
    assert entry(last=at("2026-01-15 11:58"), enabled=False).due(NOW) == ([], False)


def test_a_long_absence_is_gone_through_in_parts() -> None:
    """A part at a time, and it says that there are more; the last part has the latest."""
    one = entry(
        last=NOW.replace(second=0) - timedelta(minutes=BATCH + 1), starting_deadline=86_400.0
    )
    first, more = one.due(NOW)
    assert (len(first), more) == (BATCH, True)
    runs = one.runs_due(APP, NOW)
    assert [run.missed for run in runs.runs] == [
        f"{BATCH} occurrences up to 2026-01-15T11:59:00Z were missed"
    ]
    one = one.advanced(runs.until, 0)
    rest = one.runs_due(APP, NOW)
    assert [(run.occurrence.scheduled_for, run.missed) for run in rest.runs] == [
        (at("2026-01-15 12:00"), None)
    ]
    assert rest.until == at("2026-01-15 12:00")


@pytest.mark.parametrize("seen", [{"schedule": 5}, {"timezone": []}, {"x": 1}], ids=str)
def test_what_was_seen_may_be_anything(seen: Any) -> None:
    """Nobody knows then when the entry was due before, so nothing of that time is."""
    one = replace(entry(last=at("2026-01-15 11:00")), seen=seen)
    assert one.edited
    assert given_up(APP, one, None, NOW) == []


def test_exactly_a_part_is_no_absence() -> None:
    """As many as a part holds leave nothing for a next part."""
    one = entry(last=NOW.replace(second=0) - timedelta(minutes=BATCH))
    due, more = one.due(NOW)
    assert (len(due), more) == (BATCH, False)
    assert one.runs_due(APP, NOW).runs[-1].missed is None


def test_when_it_is_looked_at_next() -> None:
    """At its next time; never if it has none or is disabled; at once if it is overdue."""
    assert entry(last=NOW).score(NOW) == at("2026-01-15 12:01").timestamp()
    assert entry(last=NOW - DAY).score(NOW) <= NOW.timestamp()
    assert entry(last=None).score(NOW) == at("2026-01-15 12:01").timestamp()
    assert entry(last=NOW, enabled=False).score(NOW) == NEVER
    over = rrule("DAILY", dtstart=datetime(2026, 1, 1, tzinfo=UTC), count=1)
    assert entry(last=NOW, schedule=over).score(NOW) == NEVER
    # One whose clock was ahead is not put off by it.
    assert entry(last=NOW + DAY).score(NOW) == at("2026-01-15 12:01").timestamp()


def test_jitter_puts_off_and_keeps_the_name() -> None:
    """The same wait on every host; the scheduled time stays what it was."""
    one = entry(last=at("2026-01-15 05:59"), schedule=crontab(hour=6, minute=0), jitter=600)
    scheduled_for = at("2026-01-15 06:00")
    due_at = one.due_at(scheduled_for)
    assert due_at == stored(one).due_at(scheduled_for)
    assert due_at == at("2026-01-15 06:05:17.070599")
    assert one.score(NOW) == due_at.timestamp()
    assert one.due(due_at - timedelta(microseconds=1)) == ([], False)
    assert one.due(due_at) == ([scheduled_for], False)
    (run,) = one.runs_due(APP, due_at).runs
    assert run.occurrence == Occurrence("entry", scheduled_for)


def test_jitter_does_not_make_a_run_late() -> None:
    """With `catch_up: none` its own delay is allowed for."""
    one = entry(
        last=at("2026-01-15 05:59"),
        schedule=crontab(hour=6, minute=0),
        jitter=600,
        catch_up="none",
    )
    late = one.due_at(at("2026-01-15 06:00")) + timedelta(seconds=14)
    assert [run.missed for run in one.runs_due(APP, late).runs] == [None]


def test_advanced_after_a_decision() -> None:
    """Up to the time that was decided on, and with the runs that started counted."""
    one = entry(last=at("2026-01-15 11:58")).advanced(at("2026-01-15 12:00"), 2)
    assert (one.last_run_at, one.total_run_count) == (at("2026-01-15 12:00"), 2)
    assert one.advanced(NOW, 1).total_run_count == 3


def test_the_run_of_an_occurrence() -> None:
    """It may start until its deadline, counts as beat's, and its message is the job's."""
    one = entry(
        schedule=crontab(hour=6, minute=0),
        queue="low",
        overlap="queue",
        starting_deadline=30.0,
        run_deadline=40.0,
        args=(["a"],),
        kwargs={"loud": True},
    )
    run = one.run(APP, at("2026-01-15 06:00"))
    assert run.occurrence.run_id == "entry@2026-01-15T06:00:00Z"
    assert run.job == Message(JOB, "tests.job", "low", {"words": ["a"], "loud": True})
    assert (run.origin, run.deadline, run.start_by) == ("beat", 40.0, at("2026-01-15 06:00:30"))
    assert (run.overlap, run.again, run.missed) == ("queue", False, None)


@pytest.mark.parametrize(
    ("kwargs", "zone"), [({}, "Europe/Zurich"), ({"timezone": "Asia/Tokyo"}, "Asia/Tokyo")]
)
def test_a_job_that_asks_for_its_entrys_zone(kwargs: dict[str, Any], zone: str) -> None:
    """It has it in its message, unless the entry says another one."""
    one = entry(task="tests.zoned", timezone="Europe/Zurich", kwargs=kwargs)
    assert one.run(APP, NOW).job == Message(JOB, "tests.zoned", "default", {"timezone": zone})


def test_a_run_that_an_operator_wants() -> None:
    """It starts however late it is and whatever else runs."""
    run = entry(overlap="skip").run_by_operator(APP, at("2020-01-01 06:00"), again=True)
    assert (run.origin, run.start_by, run.overlap, run.again) == ("operator", None, "allow", True)


def test_what_an_operator_changed() -> None:
    """The fields that differ from the file's, by name; an entry of the operator's own has none."""
    one = entry(queue="high", jitter=5.0)
    assert one.changed_fields == ()
    with_file = replace(one, from_file=definition().as_dict())
    assert with_file.changed_fields == ("queue", "jitter")
