"""What the client of the Backend API learns of the task that makes a call."""

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from support.apps import Lines, working
from support.ledgers import OCCURRENCE, new_run
from support.polling import wait_until

from bionewsbot import logs
from bionewsbot.api.client import BackendClient
from bionewsbot.errors import CircuitOpen
from bionewsbot.runs.dispatch import start_run
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import JOB, Message
from bionewsbot.tasks import analysis
from bionewsbot.tasks.base import Outcome, RunTask


@pytest.fixture
def given(configured: pytest.MonkeyPatch) -> dict[str, Callable[[], Any]]:
    """What the tasks' client is made with: functions that look at the task at hand."""
    given: dict[str, Callable[[], Any]] = {}
    configured.setattr(
        BackendClient, "from_settings", lambda settings, **functions: given.update(functions)
    )
    analysis.backend()
    return given


def test_the_backend_is_told_the_lines_request_id(given: dict[str, Callable[[], Any]]) -> None:
    """X-Request-ID is the context's, so that both sides' lines can be joined."""
    with logs.context(request_id="x/1"):
        assert given["request_id"]() == "x/1"
    assert given["request_id"]() is None


@pytest.mark.parametrize(("queue", "is_urgent"), [("high", True), ("default", False)])
def test_calls_are_urgent_on_the_queue_high(
    app: Celery,
    log_lines: Lines,
    given: dict[str, Callable[[], Any]],
    queue: str,
    is_urgent: bool,
) -> None:
    """The message's own queue decides, also when it comes back after a wait."""
    seen: list[bool] = []

    @app.task(base=RunTask, bind=True, name="tests.task", shared=False)
    def work(self: RunTask) -> Outcome:
        seen.append(given["is_urgent"]())
        if len(seen) == 1:
            raise CircuitOpen("open", retry_after=0.1)
        return None

    with working(app):
        start_run(app, ledger(), new_run(job=Message(JOB, "tests.task", queue, {})))
        wait_until(lambda: ledger().get(OCCURRENCE.run_id).ended, "the run ends")
    assert seen == [is_urgent] * 2
    lines = [line for line in log_lines() if line["logger"] == "bionewsbot.tasks"]
    assert {line["queue"] for line in lines} == {queue}
