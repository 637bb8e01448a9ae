"""The circuit's state: what every store of it can do, when it opens, and a store in memory.

Which store holds it, and what a call's outcome does to it, is `breaker`'s business; the store that
all workers share is `shared_circuit`.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

from pybreaker import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN

from bionewsbot.settings import Settings

WINDOW_PARTS = 10
"""The window moves on in tenths, so that it takes a bounded number of counters."""

TRIAL_WAIT = 5.0
"""Seconds after which a call is to look again that met another one's trial. A trial is over in
well under that, unless the backend hangs."""

SHORTEST_WAIT = 0.1
"""Seconds that a refused call waits at least, so that none comes back at once."""


@dataclass(frozen=True)
class Limits:
    """When the circuit opens, and for how long."""

    failures: int
    """Failures in a row."""
    share: int
    """Per cent of the window's calls that failed ..."""
    min_calls: int
    """... where the window has at least so many calls."""
    window_seconds: float
    open_seconds: float

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the limits that the settings want."""
        return cls(
            failures=settings.breaker_failures,
            share=settings.breaker_share,
            min_calls=settings.breaker_min_calls,
            window_seconds=settings.breaker_window_seconds,
            open_seconds=settings.breaker_open_seconds,
        )


@dataclass(frozen=True)
class Tally:
    """What was counted in a closed circuit."""

    in_row: int = 0
    """Failures since the last success."""
    calls: int = 0
    """Calls in the window that counted as success or failure."""
    failed: int = 0

    def passed(self, limits: Limits) -> str | None:
        """Say which limit was reached; None where none was."""
        if self.in_row >= limits.failures:
            return f"{self.in_row} failures in a row"
        if self.calls >= limits.min_calls and self.failed * 100 >= self.calls * limits.share:
            return f"{self.failed} of {self.calls} calls failed within {limits.window_seconds:g} s"
        return None


@dataclass(frozen=True)
class Admission:
    """The circuit's answer to a call that wants to begin."""

    state: str
    """pybreaker's STATE_CLOSED; STATE_HALF_OPEN: this call is the trial; STATE_OPEN: refused."""
    generation: int
    """Counts the circuit's changes: what a call of an earlier generation brings is of no use."""
    trial: int | None = None
    """The trial's number."""
    retry_after: float = 0.0
    """Seconds until a refused call may be let through."""
    held: bool = False
    """Held open by an operator: no time ends it."""
    reason: str = ""
    """Why the circuit is open."""


class Circuit(Protocol):
    """A store of the circuit's state. Each method is one atomic step, safe between threads.

    A report on an admission of an earlier generation, or on a trial that isn't the current one any
    more, changes nothing.
    """

    def admit(self, seconds: float) -> Admission:
        """Ask for a call; if it is the trial, it is given up on after `seconds`."""

    def count(self, admission: Admission, *, failed: bool) -> Tally:
        """Count a call that a closed circuit let through; return the sums."""

    def open(self, admission: Admission, reason: str) -> bool:
        """Open the circuit for the limits' `open_seconds`; return whether that changed it."""

    def close(self, admission: Admission, reason: str) -> bool:
        """Close the circuit after its trial; return whether that changed it."""

    def give_back(self, admission: Admission) -> None:
        """Leave the trial to another call."""


class LocalCircuit:
    """A circuit of this process alone, in memory: for the time in which Redis is away."""

    def __init__(
        self, limits: Limits, clock: Callable[[], float], *, open_until: float | None = None
    ) -> None:
        """Start closed, or open until `open_until` (in `clock`'s seconds; inf: for good)."""
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._open_until = open_until
        self._reason = "it was when Redis was last seen" if open_until is not None else ""
        self._generation = 0
        self._trial = 0
        self._trial_until: float | None = None
        self._in_row = 0
        self._window: dict[int, tuple[int, int]] = {}

    def admit(self, seconds: float) -> Admission:
        """See Circuit."""
        with self._lock:
            now = self._clock()
            if self._open_until is None:
                return Admission(STATE_CLOSED, self._generation)
            wait = self._open_until - now
            if wait <= 0:
                if self._trial_until is None or self._trial_until <= now:
                    self._trial += 1
                    self._trial_until = now + seconds
                    return Admission(STATE_HALF_OPEN, self._generation, trial=self._trial)
                wait = min(self._trial_until - now, TRIAL_WAIT)
            held = wait == float("inf")
            return Admission(
                STATE_OPEN,
                self._generation,
                retry_after=max(SHORTEST_WAIT, self._limits.open_seconds if held else wait),
                held=held,
                reason=self._reason,
            )

    def count(self, admission: Admission, *, failed: bool) -> Tally:
        """See Circuit."""
        with self._lock:
            if not self._is_current(admission):
                return Tally()
            self._in_row = self._in_row + 1 if failed else 0
            part = int(self._clock() // (self._limits.window_seconds / WINDOW_PARTS))
            calls, failures = self._window.get(part, (0, 0))
            self._window[part] = (calls + 1, failures + failed)
            for old in [each for each in self._window if each <= part - WINDOW_PARTS]:
                del self._window[old]
            return Tally(
                self._in_row,
                sum(calls for calls, _ in self._window.values()),
                sum(failures for _, failures in self._window.values()),
            )

    def open(self, admission: Admission, reason: str) -> bool:
        """See Circuit."""
        return self._change(admission, self._clock() + self._limits.open_seconds, reason)

    def close(self, admission: Admission, reason: str) -> bool:
        """See Circuit."""
        return self._change(admission, None, reason)

    def give_back(self, admission: Admission) -> None:
        """See Circuit."""
        with self._lock:
            if self._is_current(admission):
                self._trial_until = None

    def _is_current(self, admission: Admission) -> bool:
        if admission.generation != self._generation:
            return False
        return admission.trial in (None, self._trial)

    def _change(self, admission: Admission, open_until: float | None, reason: str) -> bool:
        with self._lock:
            if not self._is_current(admission):
                return False
            self._generation += 1
            self._open_until, self._reason = open_until, reason
            self._trial_until = None
            self._in_row = 0
            self._window.clear()
            return True
