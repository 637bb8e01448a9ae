"""The breaker of one process: what it logs, what it raises, and what it does without Redis."""

from collections.abc import Callable

import pytest
import redis
from support.circuits import LIMITS, START, TRIAL_SECONDS, end
from support.ledgers import Clock

from bionewsbot.api.breaker import Breaker
from bionewsbot.api.circuit import Admission, LocalCircuit, Tally
from bionewsbot.api.redis_watch import LOOK_AGAIN
from bionewsbot.errors import BackendRefused, BackendUnavailable, CircuitOpen

CALL = "GET /x"


class Flaky(LocalCircuit):
    """Stands for the shared circuit: it can be away, and counts how often it is asked."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(LIMITS, clock)
        self.away = False
        self.asked = 0
        self.held = False

    def admit(self, seconds: float) -> Admission:
        """Admit, if it is there."""
        self._ask()
        if self.held:
            return Admission("open", 0, retry_after=8, held=True, reason="opened by an operator")
        return super().admit(seconds)

    def count(self, admission: Admission, *, failed: bool) -> Tally:
        """Count, if it is there."""
        self._ask()
        return super().count(admission, failed=failed)

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise redis.ConnectionError("no Redis")


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock(START)


@pytest.fixture
def shared(clock: Clock) -> Flaky:
    """The shared circuit."""
    return Flaky(clock)


@pytest.fixture
def breaker(shared: Flaky, clock: Clock) -> Breaker:
    """A breaker on the shared circuit."""
    return Breaker(shared, LIMITS, clock=clock)


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what reads the names of all events so far."""
    caplog.set_level("INFO", "bionewsbot")
    return lambda: [record.getMessage() for record in caplog.records]


def call(breaker: Breaker, error: Exception | None = None) -> None:
    """Make a call that ends with `error`, or well."""
    with breaker.calling(CALL, seconds=TRIAL_SECONDS):
        if error is not None:
            raise error


def fail(breaker: Breaker, times: int = LIMITS.failures) -> None:
    """Make calls that fail."""
    for _ in range(times):
        with pytest.raises(BackendUnavailable, match="^503$"):
            call(breaker, BackendUnavailable("503"))


def test_the_call_that_opens_it_keeps_its_own_error(breaker: Breaker) -> None:
    """Its task learns what the backend said; the next one learns why it may not call."""
    fail(breaker)
    with pytest.raises(CircuitOpen) as refused:
        call(breaker)
    assert str(refused.value) == (
        "GET /x: not called, the circuit breaker is open "
        "(3 failures in a row, the last one: 503); look again in 8.0 s"
    )
    assert refused.value.retry_after == 8


def test_each_change_and_rejection_is_logged(
    breaker: Breaker, clock: Clock, events: Callable[[], list[str]]
) -> None:
    """Opened, rejected, trial, opened again, trial, closed: one line each."""
    call(breaker)
    fail(breaker)
    with pytest.raises(CircuitOpen):
        call(breaker)
    clock.advance(LIMITS.open_seconds)
    fail(breaker, 1)
    clock.advance(LIMITS.open_seconds)
    call(breaker)
    assert events() == [
        *("circuit_opened", "call_rejected", "circuit_trial", "circuit_opened"),
        *("circuit_trial", "circuit_closed"),
    ]


def test_a_refusal_in_a_trial_decides_nothing(breaker: Breaker, clock: Clock) -> None:
    """A 404 says nothing about the service: the next call is the trial, and decides."""
    fail(breaker)
    clock.advance(LIMITS.open_seconds)
    with pytest.raises(BackendRefused):
        call(breaker, BackendRefused("404", status=404))
    with breaker.calling(CALL, seconds=TRIAL_SECONDS) as is_trial:
        assert is_trial
    with breaker.calling(CALL, seconds=TRIAL_SECONDS) as is_trial:
        assert not is_trial


def test_without_redis_it_lets_calls_through_and_says_so_once(
    breaker: Breaker, shared: Flaky, clock: Clock, events: Callable[[], list[str]]
) -> None:
    """Redis is asked again every LOOK_AGAIN seconds, not by each call; its return is logged."""
    shared.away = True
    for _ in range(5):
        call(breaker)
    assert shared.asked == 1
    clock.advance(LOOK_AGAIN)
    call(breaker)
    call(breaker)
    assert shared.asked == 2
    shared.away = False
    clock.advance(LOOK_AGAIN)
    call(breaker)
    call(breaker)
    assert shared.asked == 2 + 2 * 2
    assert events() == ["breaker_works_locally", "breaker_shared_again"]


def test_without_redis_it_opens_by_itself(breaker: Breaker, shared: Flaky, clock: Clock) -> None:
    """The process' own circuit has the same limits and the same trial."""
    shared.away = True
    fail(breaker)
    with pytest.raises(CircuitOpen):
        call(breaker)
    clock.advance(LIMITS.open_seconds)
    with breaker.calling(CALL, seconds=TRIAL_SECONDS) as is_trial:
        assert is_trial
        with pytest.raises(CircuitOpen):
            call(breaker)
    call(breaker)


def test_an_open_circuit_stays_open_when_redis_goes(
    breaker: Breaker, shared: Flaky, clock: Clock
) -> None:
    """For the time that was left; the backend isn't better because Redis is away."""
    fail(breaker)
    clock.advance(1)
    with pytest.raises(CircuitOpen):
        call(breaker)
    shared.away = True
    clock.advance(1)
    with pytest.raises(CircuitOpen, match="it was when Redis was last seen") as refused:
        call(breaker)
    assert refused.value.retry_after == 6
    clock.advance(6)
    call(breaker)


def test_a_held_circuit_stays_open_while_redis_is_away(
    breaker: Breaker, shared: Flaky, clock: Clock
) -> None:
    """An operator who holds it open has a reason; it ends with Redis' return."""
    shared.held = True
    with pytest.raises(CircuitOpen, match="`celery -A bionewsbot breaker close` closes it"):
        call(breaker)
    shared.away = True
    clock.advance(100_000)
    with pytest.raises(CircuitOpen) as refused:
        call(breaker)
    assert refused.value.retry_after == LIMITS.open_seconds
    shared.away = shared.held = False
    clock.advance(LOOK_AGAIN)
    call(breaker)


@pytest.mark.parametrize("error", [None, BackendUnavailable("503"), KeyError("ours")])
def test_redis_that_goes_during_a_call_does_it_no_harm(
    breaker: Breaker,
    shared: Flaky,
    events: Callable[[], list[str]],
    error: Exception | None,
) -> None:
    """The caller gets what its call made; only the count of it is lost."""
    guard = breaker.calling(CALL, seconds=TRIAL_SECONDS)
    guard.__enter__()
    shared.away = True
    end(guard, error)
    assert events() == ([] if isinstance(error, KeyError) else ["breaker_works_locally"])
    call(breaker)
