"""Waiting for a condition, with a deadline: the tests' only way to wait."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_INTERVAL = 0.02
"""Seconds between two looks: short beside any condition that a test waits for."""

PATIENCE = 60.0
"""Seconds that a test waits for what takes a second or two here: a busy machine fails no test."""


def wait_until(condition: Callable[[], T], what: str, *, seconds: float = PATIENCE) -> T:
    """Return `condition()` as soon as it is truthy.

    Raises AssertionError that names `what` when it isn't within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(POLL_INTERVAL)


def keep_off_the_hour() -> None:
    """Wait where a full hour is near: what comes due then would do so in the middle of a test."""
    wait_until(lambda: time.time() % 3600 < 3600 - PATIENCE / 2, "the full hour is past")
