"""Whatever stands in an entry's hash: the command line shows it, and a beat leads all the same."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from support.jobs import APP, NOW, definition

from bionewsbot.cli import redbeat_view as view
from bionewsbot.scheduling import timetable_sync
from bionewsbot.scheduling.entries import Row
from bionewsbot.scheduling.overview import Line, examine, overdue_since, upcoming

Strategy = st.SearchStrategy[Any]


def some_of(**values: Strategy) -> Strategy:
    """Return objects that have any of these keys."""
    return st.fixed_dictionaries({}, optional=dict(values))


SCALARS: Strategy = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 100),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from([3600, 10**18, -(10**12), "*", "*/5", "UTC", "Europe/Berlin", "daily"]),
)
JSON: Strategy = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
SCHEDULES: Strategy = st.one_of(
    some_of(__type__=st.just("interval"), every=SCALARS, relative=SCALARS),
    some_of(__type__=st.just("crontab"), minute=JSON, hour=JSON, day_of_month=JSON),
    JSON,
)
DATES: Strategy = st.fixed_dictionaries(
    {
        "__type__": st.just("datetime"),
        "year": st.sampled_from([1, 1969, 1971, 2025, 9999]),
        "month": st.just(1),
        "day": st.just(1),
    },
    optional={"timezone": SCALARS},
)
DEFINITIONS = st.fixed_dictionaries(
    {"task": st.just(definition().task) | JSON, "schedule": SCHEDULES},
    optional={"args": JSON, "kwargs": JSON, "options": JSON, "enabled": JSON, "name": JSON},
)
METAS = JSON | some_of(last_run_at=DATES | JSON, total_run_count=JSON)
POLICIES = some_of(
    timezone=JSON,
    catch_up=st.sampled_from(["all", "latest", "none"]) | JSON,
    overlap=JSON,
    starting_deadline=SCALARS,
    run_deadline=SCALARS,
    jitter=SCALARS,
)
OWNS = JSON | some_of(
    policy=POLICIES | JSON,
    from_file=some_of(task=JSON, schedule=SCHEDULES, jitter=JSON, args=JSON) | JSON,
    seen=some_of(schedule=SCHEDULES, timezone=JSON, enabled=JSON) | JSON,
    changed_by=JSON,
)
DAILY = {"task": definition().task, "schedule": {"__type__": "crontab", "minute": "0"}}
LATE = {"last_run_at": {"__type__": "datetime", "year": 9999, "month": 1, "day": 1}}


@given(found=DEFINITIONS, meta=METAS, own=OWNS)
@example(found=DAILY, meta=LATE, own={})
@example(found={**DAILY, "options": [[1, 2]]}, meta={}, own={})
@example(found=DAILY, meta={}, own={"from_file": {"task": "x", "schedule": 5}})
def test_nothing_in_a_hash_is_fatal(found: Any, meta: Any, own: Any) -> None:
    """It makes an entry or is set aside; the file's entry of that name is brought over it."""
    row = Row("entry", json.dumps(found), json.dumps(meta), json.dumps(own))
    entry, broken = examine(APP, row, NOW)
    view.entry_as_dict(Line("entry", entry, broken, row), None, NOW)
    sync = timetable_sync.plan(APP, {"entry": definition()}, {"entry": row}, {"entry"}, NOW)
    timetable_sync.plan(APP, {}, {"entry": row}, {"entry"}, NOW)
    assert [change.name for change in sync.changes] in ([], ["entry"])
    if entry is None or broken:
        assert broken
        return
    upcoming(entry, NOW, 3)
    overdue_since(entry, NOW)
    after = entry.advanced(entry.runs_due(APP, NOW).until, 0)
    assert after.to_row().name == "entry"
    assert after.score(NOW) >= -1
