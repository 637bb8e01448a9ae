"""An analysis is awaited with long polls, until its time is over."""

from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
from support import answers

from bionewsbot.api.client import MAX_WAIT, BackendClient
from bionewsbot.api.models import Analysis
from bionewsbot.errors import BackendUnavailable
from bionewsbot.tasks import analysis


@pytest.fixture
def client() -> Mock:
    """A client that refuses what BackendClient would refuse."""
    client: Mock = create_autospec(BackendClient, instance=True)
    return client


def answer(**changes: Any) -> Analysis:
    """Return an analysis that the real client would have read."""
    return Analysis.model_validate(answers.analysis(**changes))


class Time:
    """A clock, and a sleep that moves it."""

    def __init__(self, client: Mock, *, held: float) -> None:
        """The backend holds each answer for `held` seconds, or for what it was asked."""
        self.now = 1000.0
        self.slept: list[float] = []
        self.waits: list[float] = []
        self._held = held
        client.analysis.side_effect = self.answer
        self.states = ["queued", "running", "running"]

    def __call__(self) -> float:
        return self.now

    def answer(self, analysis_id: str, *, wait: float = 0) -> Analysis:
        """Answer with the next state; the last one stays."""
        self.waits.append(wait)
        self.now += min(wait, self._held)
        status = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return answer(id=analysis_id, status=status)

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.slept.append(seconds)
        self.now += seconds


def await_end(client: Mock, time: Time, seconds: float) -> Analysis:
    """Wait `seconds` for analysis 42."""
    return analysis.await_end(
        client, "42", give_up_at=time.now + seconds, clock=time, sleep=time.sleep
    )


@pytest.mark.parametrize("status", ["succeeded", "partial", "failed"])
def test_the_end_is_awaited_with_long_polls(client: Mock, status: str) -> None:
    """One after the other, without a pause where the backend did hold its answer."""
    time = Time(client, held=MAX_WAIT)
    time.states = ["queued", "running"]
    client.analysis.side_effect = [
        time.answer("42", wait=MAX_WAIT),
        time.answer("42", wait=MAX_WAIT),
        answer(status=status, error={"code": "x", "message": "", "retryable": True}),
    ]
    assert await_end(client, time, 600).status == status
    assert [call.kwargs["wait"] for call in client.analysis.call_args_list] == [MAX_WAIT] * 3


def test_a_backend_that_does_not_wait_is_not_flooded(client: Mock) -> None:
    """Polls that are answered at once are POLL_PAUSE apart."""
    time = Time(client, held=0.25)
    time.states = ["running", "running", "running", "succeeded"]
    await_end(client, time, 600)
    assert time.slept == [analysis.POLL_PAUSE - 0.25] * 3


def test_the_wait_has_an_end(client: Mock) -> None:
    """It is given up at its time, not a long poll later, and may be tried again."""
    time = Time(client, held=MAX_WAIT)
    with pytest.raises(BackendUnavailable, match="analysis 42 is still running"):
        await_end(client, time, 60)
    assert time.waits == [25, 25, 10]
    assert time.now == 1060


def test_a_wait_that_is_over_asks_once(client: Mock) -> None:
    """A task that comes late still takes an analysis that has ended."""
    time = Time(client, held=MAX_WAIT)
    time.states = ["succeeded"]
    assert await_end(client, time, -5).status == "succeeded"
    assert time.waits == [0]
