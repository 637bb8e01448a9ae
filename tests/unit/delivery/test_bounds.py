"""Which requests run past their hard time limit."""

from types import SimpleNamespace
from typing import Any

import pytest

from bionewsbot.delivery.bounds import overdue

NOW = 1_768_456_800.0


def request(started: float | None, sent: int | None = None, task: int | None = None) -> Any:
    """Return a request that began at `started`, with the limits of its message and its task."""
    app = SimpleNamespace(conf=SimpleNamespace(task_time_limit=900))
    return SimpleNamespace(
        time_start=started,
        time_limits=(sent, None),
        task=SimpleNamespace(time_limit=task, app=app),
    )


@pytest.mark.parametrize(
    ("sent", "task", "limit"), [(None, None, 900.0), (None, 60, 60.0), (30, 60, 30.0)]
)
def test_the_nearest_limit_counts(sent: int | None, task: int | None, limit: float) -> None:
    """The message's own, else the task's, else the app's; not yet in the instant itself."""
    assert overdue([request(NOW - limit, sent, task)], NOW) == []
    late = request(NOW - limit - 1, sent, task)
    assert overdue([late], NOW) == [(late, limit)]


def test_what_has_not_begun_is_not_overdue() -> None:
    """A request that waits for a thread has no start."""
    assert overdue([request(None)], NOW) == []
