"""What comes next and what is overdue, as a function of an entry and the time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bionewsbot.scheduling.entries import Definition, Entry
from bionewsbot.scheduling.overview import overdue_since, upcoming
from bionewsbot.scheduling.policies import ON_TIME
from bionewsbot.scheduling.words import parse_interval

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def entry(**fields: object) -> Entry:
    """Return an entry of each minute that was decided on at noon."""
    given = {"task": "some.task", "schedule": parse_interval("1m"), **fields}
    return Entry("job", Definition(**given), last_run_at=NOON)


def scheduled(found: Entry, now: datetime, count: int = 2) -> list[datetime]:
    """Return the scheduled times of what comes."""
    return [one.scheduled_for for one in upcoming(found, now, count)]


def test_the_next_ones_in_order() -> None:
    """As many as are wanted, from now on."""
    assert scheduled(entry(), NOON + SECOND) == [NOON + MINUTE, NOON + 2 * MINUTE]
    assert scheduled(entry(), NOON + 90 * MINUTE + SECOND, 1) == [NOON + 91 * MINUTE]


def test_one_that_waits_for_its_jitter_comes_first() -> None:
    """Its scheduled time has passed and it isn't due yet; then it is the next one's turn."""
    jittered = entry(jitter=50.0)
    due_at = jittered.due_at(NOON + MINUTE)
    assert due_at > NOON + MINUTE + SECOND
    assert scheduled(jittered, due_at - SECOND / 2, 1) == [NOON + MINUTE]
    assert scheduled(jittered, due_at + SECOND / 2, 1) == [NOON + 2 * MINUTE]


def test_what_was_decided_on_does_not_come_again() -> None:
    """Even if its jitter were still to come."""
    jittered = replace(entry(jitter=50.0), last_run_at=NOON + MINUTE)
    assert scheduled(jittered, NOON + MINUTE, 1) == [NOON + 2 * MINUTE]


def test_a_new_entry_counts_from_now() -> None:
    """One without a last time, and one whose last time is of a clock that is ahead."""
    for last_run_at in (None, NOON + timedelta(days=1)):
        fresh = replace(entry(), last_run_at=last_run_at)
        assert scheduled(fresh, NOON, 1) == [NOON + MINUTE]
        assert overdue_since(fresh, NOON) is None


def test_a_disabled_entry_has_none() -> None:
    """Neither to come nor overdue."""
    disabled = entry(enabled=False)
    assert scheduled(disabled, NOON) == []
    assert overdue_since(disabled, NOON + timedelta(days=1)) is None


@pytest.mark.parametrize("jitter", [0.0, 50.0])
def test_overdue_is_what_beat_should_have_sent(jitter: float) -> None:
    """Once it is later than an occurrence may be that counts as on time."""
    one = entry(jitter=jitter)
    latest = one.due_at(NOON + MINUTE) + ON_TIME
    assert overdue_since(one, latest) is None
    assert overdue_since(one, latest + SECOND) == NOON + MINUTE


def test_an_edit_that_beat_has_not_seen_is_not_overdue() -> None:
    """Beat counts it from the moment when it sees it."""
    edited = replace(entry(), seen={"schedule": "another"})
    assert overdue_since(edited, NOON + timedelta(days=1)) is None
