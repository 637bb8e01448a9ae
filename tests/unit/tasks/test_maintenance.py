"""A maintenance job from its start to its end, against a scripted backend."""

from typing import Any
from unittest.mock import Mock, create_autospec

import pytest

from bionewsbot.api.client import MAX_WAIT, BackendClient
from bionewsbot.api.models import Maintenance
from bionewsbot.errors import BackendUnavailable, MaintenanceFailed
from bionewsbot.tasks.analysis import POLL_PAUSE
from bionewsbot.tasks.maintenance import maintain


def job(status: str, **fields: Any) -> Maintenance:
    """Return a job in a state."""
    return Maintenance.model_validate(
        {"id": "7", "status": status, "result": None, "error": None, **fields}
    )


def failed(*, retryable: bool) -> Maintenance:
    """Return a job that failed."""
    error = {"code": "database_error", "message": "lock time-out", "retryable": retryable}
    return job("failed", error=error)


class Stage:
    """A backend's answers, and a clock that moves while it holds them."""

    def __init__(self, *answers: Maintenance, held: float = MAX_WAIT) -> None:
        self.client: Mock = create_autospec(BackendClient, instance=True)
        self.client.start_maintenance.return_value, *rest = answers
        self.now, self.held, self.slept = 0.0, held, 0.0
        self.rest = rest
        self.client.maintenance.side_effect = self.answer
        self.looks = 0

    def answer(self, job_id: str, *, wait: float) -> Maintenance:
        """Hold the next answer; the last one stays."""
        assert (job_id, wait <= MAX_WAIT) == ("7", True)
        self.now += min(wait, self.held)
        return self.rest.pop(0) if len(self.rest) > 1 else self.rest[0]

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.slept += seconds
        self.now += seconds

    def look(self) -> None:
        """Count what is done before each call."""
        self.looks += 1

    def maintain(self, **options: Any) -> Any:
        """Have the indexes of two tables built anew."""
        return maintain(
            self.client,
            "reindex",
            key="k",
            tables=("a", "b"),
            still_mine=self.look,
            clock=lambda: self.now,
            sleep=self.sleep,
            **{"seconds": 600, **options},
        )


def test_the_end_is_awaited_under_the_lock() -> None:
    """By long polls; the lock is renewed before each, and the result returned."""
    stage = Stage(job("queued"), job("running"), job("running"), job("succeeded", result={"n": 1}))
    assert stage.maintain() == {"n": 1}
    stage.client.start_maintenance.assert_called_once_with(
        "reindex", tables=("a", "b"), idempotency_key="k"
    )
    assert (stage.looks, stage.slept) == (3, 0)


def test_a_job_that_is_done_is_not_asked_for_again() -> None:
    """As a second delivery finds it."""
    stage = Stage(job("succeeded", result=None))
    assert stage.maintain() == {}
    stage.client.maintenance.assert_not_called()


def test_a_backend_that_does_not_wait_is_not_flooded() -> None:
    """Polls that are answered at once are POLL_PAUSE apart."""
    stage = Stage(job("queued"), job("running"), job("running"), job("succeeded"), held=0)
    stage.maintain()
    assert stage.slept == 2 * POLL_PAUSE


@pytest.mark.parametrize(
    ("retryable", "error"), [(True, BackendUnavailable), (False, MaintenanceFailed)]
)
def test_a_failed_job(retryable: bool, error: type[Exception]) -> None:
    """Tried again where the backend says so; its reason is in the error."""
    with pytest.raises(error, match="reindex job 7 failed: database_error: lock time-out"):
        Stage(failed(retryable=retryable)).maintain()


def test_the_wait_has_an_end() -> None:
    """It is given up at its time, and finds the job when it is tried again."""
    stage = Stage(job("queued"), job("running"))
    with pytest.raises(BackendUnavailable, match="reindex job 7 is still running"):
        stage.maintain(seconds=60)
    assert stage.now == 60
