"""A beat that is told to stop."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from support.scheduling import Schedule

from bionewsbot.scheduling.scheduler import Scheduler

AT_ONCE = 0.2
"""Seconds until the signal comes; if a busy machine is not there yet, it still stops."""


@pytest.fixture
def told(schedule: Schedule) -> Iterator[Scheduler]:
    """A beat that leads and gets a signal soon, which Celery handles by closing it and ending."""
    beat = schedule.leader()

    def stop(*_: Any) -> None:
        beat.close()
        raise SystemExit

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, AT_ONCE)
    yield beat
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_signal_in_the_middle_of_a_command(schedule: Schedule, told: Scheduler) -> None:
    """The beat ends well, and its lock is given back."""
    with pytest.raises(SystemExit):
        told._redis.blpop(["never"], timeout=20)
    assert schedule.store.holder() is None
