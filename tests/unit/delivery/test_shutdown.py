"""In which order a worker that stops lets go of what it runs."""

from types import SimpleNamespace

import pytest
from celery.worker import state

from bionewsbot.delivery import shutdown


def test_the_ledger_is_told_before_another_worker_can_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Told later, it would take that one's work for let go of."""
    running, told = object(), []
    for name, value in (
        ("active_requests", {running}),
        ("reserved_requests", {running}),
        ("scheduled_requests", set()),
        ("should_stop", None),
    ):
        monkeypatch.setattr(state, name, value)
    monkeypatch.setattr(shutdown, "_let_go", lambda begun: told.append(("ledger", [*begun])))
    monkeypatch.setattr(shutdown, "_hand_back", lambda _, one: told.append(("broker", [one])))
    consumer = SimpleNamespace(task_consumer=SimpleNamespace(cancel=lambda: None))
    worker = SimpleNamespace(consumer=consumer, pool=None, semaphore=None)
    shutdown.ShutdownStep(worker)._drain(worker)
    assert told == [("ledger", [running]), ("broker", [running])]
    assert state.should_stop == 0
