"""The circuit breaker around the Backend API: pybreaker on a circuit that all workers share.

pybreaker decides what a call's outcome means for the circuit; `shared_circuit` holds it, in Redis.
Each call gets a CircuitBreaker of its own on top of its admission, since one for all threads would
hold its lock during the round trips to Redis. docs/breaker.md says what is promised.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Self

from pybreaker import (
    STATE_CLOSED,
    STATE_HALF_OPEN,
    STATE_OPEN,
    CircuitBreaker,
    CircuitBreakerError,
    CircuitBreakerStorage,
)
from redis import RedisError

from bionewsbot.api.circuit import Admission, Circuit, Limits, LocalCircuit, Tally
from bionewsbot.api.redis_watch import RedisWatch
from bionewsbot.api.shared_circuit import SharedCircuit
from bionewsbot.errors import BackendUnavailable, CircuitOpen, MalformedAnswer
from bionewsbot.settings import Settings

logger = logging.getLogger(__name__)

FAILURES = (BackendUnavailable, MalformedAnswer)
"""What counts as a failure of the backend. A refusal (4xx), a task's time limit and a defect of
ours say nothing about it and count neither way."""


class Breaker:
    """The breaker of one process, for all its threads; its state is shared with all workers.

    If Redis is away, the process goes on with a circuit of its own, and says so once.
    """

    def __init__(
        self,
        shared: Circuit,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Guard calls with `shared`; `clock` gives seconds while Redis is away."""
        self._shared = shared
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._watch = RedisWatch(clock)
        self._blocked_until: float | None = None
        self._local = LocalCircuit(limits, clock)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return a breaker as the settings want it; connects to Redis on first use."""
        return cls(SharedCircuit.from_settings(settings), Limits.from_settings(settings))

    @contextmanager
    def calling(self, call: str, *, seconds: float) -> Iterator[bool]:
        """Guard the call that is made inside the `with` block; `call` is how errors name it.

        Yields whether the call is the circuit's trial, on which all others wait; another one is
        let through `seconds` later, which must be more than it can take. Raises CircuitOpen where
        the call must not be made.
        """
        circuit, admission = self._admit(seconds)
        report = _Report(circuit, admission, self._limits, self._lost)
        breaker = CircuitBreaker(
            fail_max=self._limits.failures,
            reset_timeout=self._limits.open_seconds,
            exclude=[report.is_no_sign],
            state_storage=report,
            throw_new_error_on_trip=False,
        )
        try:
            with breaker.calling():
                if admission.trial is not None:
                    logger.info("circuit_trial", extra={"call": call, "trial": admission.trial})
                yield admission.trial is not None
        except CircuitBreakerError:
            raise _refusal(call, admission) from None
        finally:
            report.finish()

    def _admit(self, seconds: float) -> tuple[Circuit, Admission]:
        with self._lock:
            may_ask = self._watch.may_ask()
        if may_ask:
            try:
                admission = self._shared.admit(seconds)
            except RedisError as error:
                self._lost(error)
            else:
                self._reached(admission)
                return self._shared, admission
        local = self._local
        return local, local.admit(seconds)

    def _reached(self, admission: Admission) -> None:
        with self._lock:
            is_news = self._watch.answered()
            self._blocked_until = None
            if admission.held:
                self._blocked_until = float("inf")
            elif admission.state == STATE_OPEN:
                self._blocked_until = self._clock() + admission.retry_after
        if is_news:
            logger.warning("breaker_shared_again")

    def _lost(self, error: RedisError) -> None:
        with self._lock:
            is_news = self._watch.failed()
            if is_news:
                # What was known to be open stays so: the backend isn't better because Redis is
                # away, and an operator who holds it open has a reason.
                self._local = LocalCircuit(
                    self._limits, self._clock, open_until=self._blocked_until
                )
        if is_news:
            logger.warning("breaker_works_locally", extra={"error": str(error)})


class _Report(CircuitBreakerStorage):
    """What pybreaker reads and writes during one call, on top of the call's admission.

    Where the circuit can't be reached any more, the outcome is lost to it: never to the caller.
    """

    def __init__(
        self,
        circuit: Circuit,
        admission: Admission,
        limits: Limits,
        lost: Callable[[RedisError], None],
    ) -> None:
        super().__init__(type(circuit).__name__)
        self._circuit = circuit
        self._admission = admission
        self._limits = limits
        self._lost = lost
        self._tally = Tally()
        self._error: BaseException | None = None
        self._is_sign = True
        self._is_decided = admission.trial is None

    def is_no_sign(self, error: BaseException) -> bool:
        """Whether an error says nothing about the backend; pybreaker asks this first."""
        self._error = error
        self._is_sign = isinstance(error, FAILURES)
        return not self._is_sign

    def finish(self) -> None:
        """Give the trial back if its outcome decided nothing."""
        if not self._is_decided:
            self._tell(lambda: self._circuit.give_back(self._admission))

    @property
    def state(self) -> str:
        """The state that the call was admitted in."""
        return self._admission.state

    @state.setter
    def state(self, state: str) -> None:
        self._is_decided = True
        if state == STATE_OPEN:
            self._open()
        elif state == STATE_CLOSED:
            self._close()

    @property
    def opened_at(self) -> datetime:
        """Now: whether the opening is over was decided with the admission, by Redis' clock."""
        return datetime.now(UTC)

    @opened_at.setter
    def opened_at(self, moment: datetime) -> None:
        """Ignore it: the circuit notes the time itself, by its own clock."""

    def increment_counter(self) -> None:
        """Count a failure; a trial's decides at once and needs no counting."""
        if self._admission.state == STATE_CLOSED:
            self._count(failed=True)

    def reset_counter(self) -> None:
        """Count a success. pybreaker calls this after an excluded error too, which is none."""
        if self._admission.state == STATE_CLOSED and self._is_sign:
            self._count(failed=False)

    @property
    def counter(self) -> int:
        """What pybreaker compares with `fail_max`: enough where any of the limits was reached."""
        if self._tally.passed(self._limits):
            return max(self._tally.in_row, self._limits.failures)
        return self._tally.in_row

    @property
    def success_counter(self) -> int:
        """What closes a half-open circuit: one success, which an excluded error is not."""
        return int(self._admission.state == STATE_HALF_OPEN and self._is_sign)

    def _count(self, *, failed: bool) -> None:
        def count() -> None:
            self._tally = self._circuit.count(self._admission, failed=failed)

        self._tell(count)

    def _open(self) -> None:
        limit = self._tally.passed(self._limits)
        reason = f"{limit}, the last one: {self._error}" if limit else f"trial: {self._error}"

        def move() -> None:
            if self._circuit.open(self._admission, reason):
                extra = {"reason": reason, "seconds": self._limits.open_seconds, **self._where()}
                logger.error("circuit_opened", extra=extra)

        self._tell(move)

    def _close(self) -> None:
        def move() -> None:
            if self._circuit.close(self._admission, "the trial succeeded"):
                logger.warning("circuit_closed", extra=self._where())

        self._tell(move)

    def _where(self) -> dict[str, bool]:
        return {"shared": not isinstance(self._circuit, LocalCircuit)}

    def _tell(self, step: Callable[[], None]) -> None:
        try:
            step()
        except RedisError as error:
            self._lost(error)


def _refusal(call: str, admission: Admission) -> CircuitOpen:
    wait = admission.retry_after
    logger.info(
        "call_rejected",
        extra={"call": call, "retry_after": round(wait, 3), "held": admission.held},
    )
    until = (
        "`celery -A bionewsbot breaker close` closes it"
        if admission.held
        else f"look again in {wait:.1f} s"
    )
    return CircuitOpen(
        f"{call}: not called, the circuit breaker is open ({admission.reason}); {until}",
        retry_after=wait,
    )
