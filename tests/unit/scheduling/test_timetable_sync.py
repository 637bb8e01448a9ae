"""What an operator changed stays changed: the file's entries meet those in Redis."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from celery.schedules import crontab
from celery.schedules import schedule as interval
from support.jobs import APP, NOW, at, definition, stored

from bionewsbot.runs.model import format_time
from bionewsbot.scheduling.entries import Definition, Entry, Row, read_entry
from bionewsbot.scheduling.store import Change
from bionewsbot.scheduling.timetable_sync import Sync, changed, given_up, plan

BEFORE = at("2026-01-15 12:00")
"""The last occurrence that was decided on: at NOW none is due."""


def from_file(last: Any = BEFORE, **changes: Any) -> Entry:
    """Return an entry as it stands in Redis after beat took it from the file."""
    given = definition(**changes)
    return stored(Entry("entry", given, last_run_at=last, from_file=given.as_dict()))


def edited(one: Entry, **changes: Any) -> Entry:
    """Return an entry after an operator's command changed it."""
    return stored(replace(one, definition=replace(one.definition, **changes)))


def edited_plainly(one: Entry, **changes: Any) -> Entry:
    """Return an entry after plain RedBeat changed it, which keeps our field as it was."""
    assert one.row is not None
    return read_entry(replace(one.row, definition=edited(one, **changes).to_row().definition))


def bring(
    timetable: Mapping[str, Definition], *there: Entry, statics: set[str] | None = None
) -> Sync:
    """Bring a file to entries that are there, by default all from the file before."""
    rows = {one.name: one.row for one in there if one.row is not None}
    return plan(APP, timetable, rows, set(rows) if statics is None else statics, NOW)


def after(sync: Sync) -> Entry:
    """Return the one entry that is changed, as it is afterwards."""
    (change,) = sync.changes
    assert not change.delete
    fields = change.fields
    return read_entry(Row("entry", fields["definition"], fields["meta"], fields["bionewsbot"]))


CHANGES: dict[str, Any] = {
    "task": "tests.other",
    "schedule": crontab(hour=6, minute=0),
    "queue": "high",
    "kwargs": {"loud": True},
    "enabled": False,
    "timezone": "Europe/Berlin",
    "catch_up": "all",
    "overlap": "queue",
    "starting_deadline": 5.0,
    "run_deadline": 6.0,
    "jitter": 7.0,
}
"""A change of each field."""

OTHERS: dict[str, Any] = {
    "schedule": interval(30),
    "queue": "low",
    "kwargs": {"words": ["a"]},
    "timezone": "America/New_York",
    "catch_up": "none",
    "overlap": "allow",
    "starting_deadline": 50.0,
    "run_deadline": 60.0,
    "jitter": 8.0,
}
"""Another one of most."""

PLAIN = ("task", "schedule", "queue", "kwargs", "enabled")
"""Fields that plain RedBeat knows."""


def test_a_new_entry_is_brought() -> None:
    """It counts from now, is one of the file's, and knows what the file said."""
    sync = bring({"entry": definition(queue="low")})
    (change,) = sync.changes
    assert (change.was, change.static, change.delete) == (None, True, False)
    assert change.score == at("2026-01-15 12:01").timestamp()
    one = after(sync)
    assert (one.definition.queue, one.last_run_at, one.changed_fields) == ("low", NOW, ())
    assert one.from_file == definition(queue="low").as_dict()
    assert (sync.missed, sync.kept) == ((), {})


def test_nothing_new_changes_nothing() -> None:
    """A restart keeps when an entry last ran, and all of its fields."""
    there = from_file()
    one = after(bring({"entry": definition()}, there))
    assert one.to_row() == there.row


@pytest.mark.parametrize("field", CHANGES)
def test_the_file_is_followed(field: str) -> None:
    """Where nobody changed a field, the file's new value counts."""
    wanted = definition(**{field: CHANGES[field]})
    sync = bring({"entry": wanted}, from_file())
    assert after(sync).definition.as_dict() == wanted.as_dict()
    assert (after(sync).changed_fields, sync.kept) == ((), {})


@pytest.mark.parametrize(
    ("edit", "field"),
    [(edited, name) for name in CHANGES] + [(edited_plainly, name) for name in PLAIN],
)
def test_an_operators_value_stays(edit: Any, field: str) -> None:
    """Through restarts, whatever it was made with, field by field."""
    there = edit(from_file(), **{field: CHANGES[field]})
    for _ in range(2):
        sync = bring({"entry": definition()}, there)
        there = after(sync)
        assert getattr(there.definition, field) == CHANGES[field]
        assert there.changed_fields == (field,)
        assert sync.kept == {"entry": (field,)}
    assert there.from_file == definition().as_dict()


@pytest.mark.parametrize("field", OTHERS)
def test_the_files_later_change_is_seen_beside_it(field: str) -> None:
    """The operator's value counts; the file's new one stands beside it for `diff` and `reset`."""
    there = edited(from_file(), **{field: CHANGES[field]})
    sync = bring({"entry": definition(**{field: OTHERS[field]})}, there)
    one = after(sync)
    assert getattr(one.definition, field) == CHANGES[field]
    assert one.from_file == definition(**{field: OTHERS[field]}).as_dict()
    assert sync.kept == {"entry": (field,)}
    # And it isn't forgotten with the next start.
    again = after(bring({"entry": definition(**{field: OTHERS[field]})}, one))
    assert getattr(again.definition, field) == CHANGES[field]


def test_a_value_that_the_file_comes_to_have_is_nobodys_change() -> None:
    """From then on the field follows the file again."""
    there = edited(from_file(), queue="high")
    one = after(bring({"entry": definition(queue="high")}, there))
    assert one.changed_fields == ()
    assert after(bring({"entry": definition(queue="low")}, one)).definition.queue == "low"


def test_other_fields_follow_the_file() -> None:
    """An operator's queue doesn't hold back the file's new jitter."""
    there = edited(from_file(), queue="high")
    one = after(bring({"entry": definition(jitter=5.0)}, there))
    assert (one.definition.queue, one.definition.jitter) == ("high", 5.0)
    assert one.changed_fields == ("queue",)


def test_a_schedule_of_the_files_counts_from_now() -> None:
    """Its past occurrences are nobody's; those of the old one that were due are on record."""
    there = from_file(last=at("2026-01-15 11:57"))
    sync = bring({"entry": definition(schedule=interval(30))}, there)
    assert after(sync).last_run_at == NOW
    assert [(format_time(run.occurrence.scheduled_for), run.missed) for run in sync.missed] == [
        (f"2026-01-15T{time}Z", "its entry was changed before it could start")
        for time in ("11:58:00", "11:59:00", "12:00:00")
    ]


def test_what_is_due_is_left_to_the_next_look() -> None:
    """Where the times stay, so does the progress: nothing is given up."""
    there = from_file(last=at("2026-01-15 11:57"))
    sync = bring({"entry": definition(queue="high")}, there)
    assert after(sync).last_run_at == at("2026-01-15 11:57")
    assert sync.missed == ()
    (change,) = sync.changes
    assert change.score <= NOW.timestamp()


@pytest.mark.parametrize(
    "changes", [{"enabled": True}, {"schedule": interval(30)}], ids=["enabled", "schedule"]
)
def test_times_edited_with_plain_redbeat_while_no_beat_ran(changes: dict[str, Any]) -> None:
    """They count from now: what lies in the past under them isn't fired, nor missed."""
    there = from_file(last=NOW - timedelta(days=3), enabled=False)
    there = edited_plainly(there, **changes, **({} if "enabled" in changes else {"enabled": True}))
    assert there.edited
    sync = bring({"entry": definition(enabled=False)}, there)
    one = after(sync)
    assert (one.last_run_at, one.edited, sync.missed) == (NOW, False, ())
    assert one.definition.enabled


@pytest.mark.parametrize(
    "changes", [{"enabled": False}, {"schedule": interval(30)}], ids=["enabled", "schedule"]
)
def test_what_plain_redbeat_gave_up_is_missed(changes: dict[str, Any]) -> None:
    """What was due under the times that beat saw last is on record, whoever changed them."""
    there = edited_plainly(from_file(last=at("2026-01-15 11:58")), **changes)
    sync = bring({"entry": definition()}, there)
    assert after(sync).last_run_at == NOW
    assert [run.occurrence.run_id for run in sync.missed] == [
        "entry@2026-01-15T11:59:00Z",
        "entry@2026-01-15T12:00:00Z",
    ]


def test_an_entry_that_left_the_file_is_removed() -> None:
    """With what was due of it on record."""
    there = from_file(last=at("2026-01-15 11:59"))
    sync = bring({}, there)
    assert sync.changes == (Change("entry", there.row, delete=True),)
    assert [run.occurrence.run_id for run in sync.missed] == ["entry@2026-01-15T12:00:00Z"]


def test_an_entry_that_is_there_only_by_name_is_removed() -> None:
    """Its name is taken off the list."""
    sync = plan(APP, {}, {}, {"entry"}, NOW)
    assert sync.changes == (Change("entry", None, delete=True),)


def test_an_operators_entry_is_left_alone() -> None:
    """The file doesn't know it."""
    own = stored(Entry("own", definition(), last_run_at=BEFORE))
    assert bring({}, own, statics=set()).changes == ()


def test_an_operators_entry_that_the_file_names_too() -> None:
    """It becomes one of the file's, and every value of the operator's stays."""
    own = stored(Entry("entry", definition(queue="high", jitter=5.0), last_run_at=BEFORE))
    sync = bring({"entry": definition(queue="low")}, own, statics=set())
    one = after(sync)
    assert (one.definition.queue, one.definition.jitter) == ("high", 5.0)
    assert sync.kept == {"entry": ("queue", "jitter")}
    assert sync.changes[0].static


def test_what_plain_redbeat_took_from_the_file_follows_it() -> None:
    """An entry on the list without values beside it: an older version's, so nobody's change."""
    older = stored(Entry("entry", definition(queue="high"), last_run_at=BEFORE))
    one = after(bring({"entry": definition(queue="low")}, older, statics={"entry"}))
    assert one.definition.queue == "low"
    assert one.last_run_at == BEFORE


def test_a_broken_entry_of_the_files_is_mended_by_it() -> None:
    """Nothing of it can be kept: it is as new, and counts from now."""
    row = Row("entry", "{", None, None)
    sync = plan(APP, {"entry": definition()}, {"entry": row}, {"entry"}, NOW)
    assert after(sync).last_run_at == NOW
    assert sync.changes[0].was == row


@pytest.mark.parametrize(
    "changes", [{"queue": "hihg"}, {"timezone": "Mars"}, {"starting_deadline": "x"}], ids=str
)
def test_an_operators_broken_value_is_not_brought(changes: dict[str, Any]) -> None:
    """It is beat's to set aside: the others are brought, and nothing is written over."""
    there = edited(from_file(last=NOW - timedelta(hours=1)), **changes)
    sync = bring({"entry": definition(schedule=interval(30)), "other": definition()}, there)
    assert [change.name for change in sync.changes] == ["other"]
    assert sync.missed == ()


def test_a_change_of_times_counts_from_now() -> None:
    """Schedule, zone, enabled; a change of anything else keeps the progress."""
    before = from_file()
    for name in ("schedule", "timezone", "enabled"):
        later = replace(before, definition=replace(before.definition, **{name: CHANGES[name]}))
        assert changed(before, later, NOW).last_run_at == NOW
    later = replace(before, definition=replace(before.definition, queue="high"))
    assert changed(before, later, NOW) == later


def test_nothing_is_given_up_of_what_never_ran() -> None:
    """Of a disabled entry, of a broken one, of none."""
    old = at("2026-01-15 11:00")
    assert given_up(APP, None, None, NOW) == []
    assert given_up(APP, from_file(last=old, enabled=False), None, NOW) == []
    assert given_up(APP, from_file(last=old, task="tests.plain"), None, NOW) == []
    (one,) = given_up(APP, from_file(last=old - timedelta(days=300)), None, NOW)
    assert one.missed == f"all occurrences up to {format_time(NOW)} were missed"
    assert len(given_up(APP, from_file(last=old), None, NOW)) == 60
