"""Circuits under any order of calls and outcomes, beside a plain model of what is promised."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from pybreaker import STATE_OPEN
from support.ledgers import Clock

from bionewsbot.api.breaker import Breaker
from bionewsbot.api.circuit import SHORTEST_WAIT, TRIAL_WAIT, Circuit, Limits, Tally
from bionewsbot.errors import BackendRefused, BackendUnavailable, CircuitOpen, MalformedAnswer

LIMITS = Limits(failures=3, share=50, min_calls=6, window_seconds=10, open_seconds=8)
TRIAL_SECONDS = 4.0
START = 1_768_456_800.0

FAILURES: tuple[Callable[[], BaseException], ...] = (
    lambda: BackendUnavailable("503"),
    lambda: MalformedAnswer("not JSON"),
)
NO_SIGNS: tuple[Callable[[], BaseException], ...] = (
    lambda: BackendRefused("404", status=404),
    lambda: KeyError("a defect of ours"),
    SoftTimeLimitExceeded,
    KeyboardInterrupt,
)
SUCCESS = None


@dataclass
class Call:
    """A call that was let through and has not ended yet."""

    guard: AbstractContextManager[bool]
    generation: int
    trial: int | None


def end(guard: AbstractContextManager[bool], error: BaseException | None) -> None:
    """End a guarded call, as its `with` block does: with what it raised, or None."""
    swallowed = guard.__exit__(type(error) if error else None, error, None)
    assert not swallowed


def check_late_reports(circuit: Circuit, clock: Clock) -> None:
    """Report on a call and on a trial after the circuit has gone on: that changes nothing."""
    late = circuit.admit(TRIAL_SECONDS)
    assert circuit.open(circuit.admit(TRIAL_SECONDS), "down")
    assert circuit.count(late, failed=True) == Tally()
    assert not circuit.open(late, "down")
    clock.advance(LIMITS.open_seconds)
    lost = circuit.admit(TRIAL_SECONDS)
    clock.advance(TRIAL_SECONDS)
    trial = circuit.admit(TRIAL_SECONDS)
    assert (lost.trial, trial.trial) == (1, 2)
    circuit.give_back(lost)
    assert not circuit.close(lost, "it succeeded")
    assert not circuit.open(lost, "it failed")
    assert circuit.admit(TRIAL_SECONDS).state == STATE_OPEN
    assert circuit.close(trial, "it succeeded")
    assert circuit.count(late, failed=True) == Tally()
    assert circuit.count(circuit.admit(TRIAL_SECONDS), failed=True) == Tally(1, 1, 1)


class CircuitStates(RuleBasedStateMachine):
    """The model holds every outcome that counted, with its time, and sums up anew each time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(START)
        self.circuit = self.make_circuit()
        # Two breakers as two workers, on one circuit.
        self.breakers = [Breaker(self.circuit, LIMITS, clock=self.clock) for _ in range(2)]
        self.under_way: list[Call] = []
        self.is_open = False
        self.is_held = False
        self.half_open_at = START
        self.trial = 0
        self.trial_until: float | None = None
        self.generation = 0
        self.outcomes: list[tuple[float, bool]] = []
        self.in_row = 0
        self.rejected = 0

    def make_circuit(self) -> Circuit:
        """Return an empty circuit on `self.clock`."""
        raise NotImplementedError

    def changed(self, *, is_open: bool, held: bool = False) -> None:
        """Note a change of state."""
        self.is_open, self.is_held = is_open, held
        self.half_open_at = self.clock.now + LIMITS.open_seconds
        self.trial_until = None
        self.generation += 1
        self.outcomes, self.in_row = [], 0

    def window(self) -> list[bool]:
        """Return what failed in the window, which moves on in tenths: of one second, here."""
        first = int(self.clock.now) - 9
        return [failed for at, failed in self.outcomes if int(at) >= first]

    @rule(worker=st.integers(0, 1))
    def begin(self, worker: int) -> None:
        """A call is let through, becomes the trial, or is told how long to wait."""
        guard = self.breakers[worker].calling("GET /x", seconds=TRIAL_SECONDS)
        wait = self.expected_wait()
        if wait is not None:
            with pytest.raises(CircuitOpen) as refused:
                guard.__enter__()
            assert refused.value.retry_after == pytest.approx(max(SHORTEST_WAIT, wait), abs=0.01)
            self.rejected += 1
            return
        assert guard.__enter__() is self.is_open
        if self.is_open:
            self.trial += 1
            self.trial_until = self.clock.now + TRIAL_SECONDS
        self.under_way.append(Call(guard, self.generation, self.trial if self.is_open else None))

    def expected_wait(self) -> float | None:
        """Return for how long a call is refused now; None where it isn't."""
        if not self.is_open:
            return None
        if self.is_held:
            return LIMITS.open_seconds
        if self.clock.now < self.half_open_at:
            return self.half_open_at - self.clock.now
        if self.trial_until is not None and self.clock.now < self.trial_until:
            return min(self.trial_until - self.clock.now, TRIAL_WAIT)
        return None

    @precondition(lambda self: self.under_way)
    @rule(
        which=st.integers(0, 100),
        error=st.sampled_from([SUCCESS, SUCCESS, *FAILURES, *FAILURES, *NO_SIGNS]),
    )
    def end(self, which: int, error: Callable[[], BaseException] | None) -> None:
        """A call ends, in any order and however late; its own error reaches the caller."""
        call = self.under_way.pop(which % len(self.under_way))
        end(call.guard, error() if error else None)
        if call.generation != self.generation or call.trial not in (None, self.trial):
            return
        failed = error in FAILURES
        if call.trial is not None:
            if error in NO_SIGNS:
                self.trial_until = None
            else:
                self.changed(is_open=failed)
        elif error not in NO_SIGNS:
            self.outcomes.append((self.clock.now, failed))
            self.in_row = self.in_row + 1 if failed else 0
            window = self.window()
            share = sum(window) / len(window) * 100
            if failed and (
                self.in_row >= LIMITS.failures
                or (len(window) >= LIMITS.min_calls and share >= LIMITS.share)
            ):
                self.changed(is_open=True)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.5, 8.0, 25.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    def teardown(self) -> None:
        """End what is under way, so that no generator is left half way."""
        for call in self.under_way:
            end(call.guard, None)
