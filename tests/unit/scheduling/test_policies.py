"""What is done about occurrences that are due: against plain models, over outages of any length."""

import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from celery.schedules import BaseSchedule, crontab
from celery.schedules import schedule as interval
from hypothesis import example, given
from hypothesis import strategies as st
from support.jobs import APP, at, definition

from bionewsbot.runs.model import NewRun, format_time
from bionewsbot.scheduling import entries
from bionewsbot.scheduling.calendar import occurrences
from bionewsbot.scheduling.entries import Entry
from bionewsbot.scheduling.policies import ON_TIME, Decision, coalesce, decide

START = at("2026-03-28 12:00:00")
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR = timedelta(hours=1)
DUE = [START + number * MINUTE for number in range(1, 4)]


def missed(decisions: list[Decision]) -> list[bool]:
    """Return of each whether it is missed."""
    return [one.missed is not None for one in decisions]


def test_latest_runs_the_latest() -> None:
    """The others are on record, with the reason."""
    decisions = decide(DUE, DUE[-1] + SECOND, catch_up="latest", starting_deadline=HOUR)
    assert [one.scheduled_for for one in decisions] == DUE
    assert missed(decisions) == [True, True, False]
    assert decisions[0].missed == "a later occurrence stands for it (catch_up: latest)"


def test_all_runs_each() -> None:
    """Oldest first."""
    decisions = decide(DUE, DUE[-1] + SECOND, catch_up="all", starting_deadline=HOUR)
    assert decisions == [Decision(one) for one in DUE]


@pytest.mark.parametrize(("late", "is_missed"), [(ON_TIME, False), (ON_TIME + SECOND, True)])
def test_none_runs_what_is_on_time(late: timedelta, is_missed: bool) -> None:
    """A failover's lateness is none; a second more is."""
    decisions = decide(DUE[:1], DUE[0] + late, catch_up="none", starting_deadline=HOUR)
    assert missed(decisions) == [is_missed]


@pytest.mark.parametrize("catch_up", ["all", "latest", "none"])
def test_past_its_starting_deadline_nothing_runs(catch_up: str) -> None:
    """Under no policy; the reason says how late it is and what was allowed."""
    deadline = 5 * SECOND
    decisions = decide(DUE[:1], DUE[0] + 6 * SECOND, catch_up=catch_up, starting_deadline=deadline)
    assert [one.missed for one in decisions] == ["6 s late; 5 s are allowed"]
    decisions = decide(DUE[:1], DUE[0] + 5 * SECOND, catch_up=catch_up, starting_deadline=deadline)
    assert missed(decisions) == [False]


def test_the_last_of_a_part_is_not_the_latest() -> None:
    """With more to come, `latest` runs none of them."""
    decisions = decide(DUE, DUE[-1], catch_up="latest", starting_deadline=HOUR, more=True)
    assert missed(decisions) == [True, True, True]


def test_nothing_due_nothing_decided() -> None:
    """No policy makes up an occurrence."""
    assert decide([], START, catch_up="latest", starting_deadline=HOUR) == []


@given(
    gaps=st.lists(st.integers(1, 600), max_size=30),
    late=st.integers(0, 1000),
    deadline=st.integers(1, 5000),
    catch_up=st.sampled_from(["all", "latest", "none"]),
    more=st.booleans(),
)
def test_every_occurrence_is_decided_on_once(
    gaps: list[int], late: int, deadline: int, catch_up: str, more: bool
) -> None:
    """In order, none left out, each as a plain rule has it."""
    due = [START + timedelta(seconds=sum(gaps[: position + 1])) for position in range(len(gaps))]
    now = (due[-1] if due else START) + late * SECOND
    decisions = decide(due, now, catch_up=catch_up, starting_deadline=deadline * SECOND, more=more)
    assert [one.scheduled_for for one in decisions] == due
    for number, one in enumerate(decisions, 1):
        age = (now - one.scheduled_for).total_seconds()
        runs = age <= deadline
        if catch_up == "none":
            runs = runs and age <= 15
        if catch_up == "latest":
            runs = runs and number == len(due) and not more
        assert (one.missed is None) == runs


@given(flags=st.lists(st.booleans(), max_size=30))
def test_coalescing_keeps_what_runs_and_counts_the_rest(flags: list[bool]) -> None:
    """Rows of missed ones become their first, which tells their number and the last."""
    all_of_them = [
        Decision(START + number * SECOND, "why" if flag else None)
        for number, flag in enumerate(flags)
    ]
    folded = coalesce(all_of_them)
    assert [one for one in folded if not one.missed] == [
        one for one in all_of_them if not one.missed
    ]
    assert sum(stands_for(one.missed) for one in folded) == len(flags)
    assert all(
        one.missed is None or later.missed is None
        for one, later in zip(folded, folded[1:], strict=False)
    )


def test_what_a_coalesced_record_says() -> None:
    """How many it stands for, and up to when; one alone keeps its own reason."""
    one, two = Decision(DUE[0], "late"), Decision(DUE[1], "late")
    assert coalesce([one, two]) == [
        Decision(DUE[0], "2 occurrences up to 2026-03-28T12:02:00Z were missed")
    ]
    assert coalesce([one]) == [one]


def stands_for(why: str | None) -> int:
    """Return for how many occurrences a record stands."""
    found = re.match(r"(\d+) occurrences up to", why or "")
    return int(found[1]) if found else 1


SCHEDULES = st.one_of(
    st.integers(20, 900).map(interval),
    st.sampled_from(["*/2", "*/5", "0", "7,30"]).map(lambda minute: crontab(minute=minute)),
    st.just(crontab(hour="2,3", minute="30")),
)

OUTAGES = st.lists(
    st.one_of(st.integers(1, 30), st.integers(1, 3600), st.integers(3600, 15_000)),
    min_size=1,
    max_size=6,
)
"""Seconds between two looks of whichever beat leads."""


@given(
    schedule=SCHEDULES,
    outages=OUTAGES,
    catch_up=st.sampled_from(["all", "latest", "none"]),
    deadline=st.integers(1, 30_000),
    jitter=st.sampled_from([0.0, 9.0]),
    batch=st.sampled_from([3, 20, 1000]),
)
@example(interval(20), [1, 919], "latest", 20, 9.0, 3)
def test_over_any_outages(
    schedule: BaseSchedule,
    outages: list[int],
    catch_up: str,
    deadline: int,
    jitter: float,
    batch: int,
) -> None:
    """Whatever lies between the looks, every occurrence is run or on record, once, in order."""
    given_ = definition(
        schedule=schedule,
        catch_up=catch_up,
        starting_deadline=float(deadline),
        jitter=jitter,
        timezone="Europe/Berlin",
    )
    one, now = Entry("entry", given_, last_run_at=START), START
    told: Counter[Any] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entries, "BATCH", batch)
        for seconds in outages:
            now += seconds * SECOND
            runs, one = all_due(one, now)
            expected = [
                due
                for due in occurrences(schedule, given_.zone, START, now, limit=10**6)
                if one.due_at(due) <= now and due not in told
            ]
            starts = [run.occurrence.scheduled_for for run in runs if run.missed is None]
            assert starts == [
                due for due in expected if may_start(due, now, catch_up, deadline, jitter, expected)
            ]
            assert accounted(runs, expected) == expected
            told.update(expected)
    assert set(told.values()) <= {1}


def all_due(one: Entry, now: Any) -> tuple[list[NewRun], Entry]:
    """Look at an entry until nothing is due, as beat does; return the runs and the entry."""
    runs: list[NewRun] = []
    while one.score(now) <= now.timestamp():
        due = one.runs_due(APP, now)
        runs += due.runs
        one = one.advanced(due.until, sum(run.missed is None for run in due.runs))
    return runs, one


def may_start(
    due: Any, now: Any, catch_up: str, deadline: int, jitter: float, expected: list[Any]
) -> bool:
    """Say, as plainly as can be, whether an occurrence may start now."""
    late = (now - due).total_seconds()
    if catch_up == "latest" and due != expected[-1]:
        return False
    if catch_up == "none" and late > 15 + jitter:
        return False
    return late <= deadline


def accounted(runs: list[NewRun], expected: list[Any]) -> list[Any]:
    """Return the occurrences that the runs stand for, coalesced ones spelt out."""
    found: list[Any] = []
    for run in runs:
        first = expected.index(run.occurrence.scheduled_for)
        end = re.match(r"all occurrences up to (\S+) were missed", run.missed or "")
        if end:
            found += [one for one in expected[first:] if format_time(one) <= end[1]]
        else:
            found += expected[first : first + stands_for(run.missed)]
    return found


def test_a_year_away_is_one_record() -> None:
    """An entry of each second: what is past its deadline isn't gone through one by one."""
    given_ = definition(schedule=interval(1), catch_up="all", starting_deadline=60.0)
    now = START + 366 * 24 * HOUR
    runs, one = all_due(Entry("entry", given_, last_run_at=START), now)
    until = format_time(now - 61 * SECOND)
    assert runs[0].missed == f"all occurrences up to {until} were missed"
    assert [run.missed for run in runs[1:]] == [None] * 61
    assert one.last_run_at == now
