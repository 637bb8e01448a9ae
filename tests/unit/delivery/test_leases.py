"""Whose leases a worker renews."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state

from bionewsbot.delivery.leases import held_tags

NOW = 1_768_456_800.0


def request(tag: str, ran: float | None, *, task: int | None, acknowledged: bool = False) -> Any:
    """Return a request that has run for `ran` seconds, with its task's own time limit."""
    app = SimpleNamespace(conf=SimpleNamespace(task_time_limit=900))

    class Request:
        time_start = None if ran is None else NOW - ran
        time_limits = (None, None)
        message = SimpleNamespace(delivery_tag=tag)

    Request.task = SimpleNamespace(time_limit=task, app=app)  # type: ignore[attr-defined]
    Request.acknowledged = acknowledged  # type: ignore[attr-defined]
    return Request()


def test_a_task_keeps_its_lease_for_as_long_as_it_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own limit where it has one; what is stuck or acknowledged is let go."""
    requests = {
        request("young", 899, task=None),
        request("stuck", 900, task=None),
        request("long", 3599, task=3600),
        request("stuck-long", 3600, task=3600),
        request("waits", None, task=None),
        request("done", 1, task=None, acknowledged=True),
    }
    monkeypatch.setattr(state, "active_requests", requests)
    assert held_tags(NOW) == {"young", "long", "waits"}
