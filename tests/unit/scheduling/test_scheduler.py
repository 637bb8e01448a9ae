"""Beat's times fit each other, or beat doesn't start."""

import logging

import pytest

from bionewsbot.celeryconfig import (
    BEAT_INTERVAL,
    BEAT_LOCK_SECONDS,
    BEAT_REDIS_TIMEOUT,
    FAILOVER_SECONDS,
)
from bionewsbot.scheduling.scheduler import check_times


def test_the_shipped_times_fit(caplog: pytest.LogCaptureFixture) -> None:
    """Lock, interval and time-out together are what a failover may take, without a warning."""
    check_times(interval=BEAT_INTERVAL, lock=BEAT_LOCK_SECONDS)
    assert BEAT_LOCK_SECONDS + BEAT_INTERVAL + BEAT_REDIS_TIMEOUT <= FAILOVER_SECONDS == 5
    assert caplog.records == []


@pytest.mark.parametrize(("interval", "lock"), [(5.0, 3.0), (1.0, 2.9)])
def test_a_lock_that_one_late_look_outlives(interval: float, lock: float) -> None:
    """Two intervals and a command that hangs: beat ends and names the two options."""
    with pytest.raises(SystemExit) as refused:
        check_times(interval=interval, lock=lock)
    assert str(refused.value) == (
        f"beat was not started: with {interval} s between two looks (beat_max_loop_interval, "
        f"--max-interval) its lock has to live for {2 * interval + 1} s (redbeat_lock_timeout), "
        f"not {lock} s"
    )


def test_a_slow_failover_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Who lengthens the lock's life is told what it costs."""
    with caplog.at_level(logging.WARNING):
        check_times(interval=1.0, lock=10.0)
    (record,) = caplog.records
    assert (record.message, vars(record)["seconds"], vars(record)["promised"]) == (
        "failover_is_slow",
        12.0,
        5.0,
    )
