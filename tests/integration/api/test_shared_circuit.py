"""The circuit in Redis: under any order of calls of several workers, its keys, its operator."""

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test
from support.apps import contents
from support.circuits import LIMITS, START, TRIAL_SECONDS, CircuitStates, check_late_reports
from support.ledgers import Clock
from support.redis_server import RedisServer

from bionewsbot.api.circuit import Circuit
from bionewsbot.api.shared_circuit import KEEP_CHANGES, MAX_REASON, SharedCircuit

SERVER: list[RedisServer] = []
"""The server of the test at hand: hypothesis makes the machines itself."""


class SharedStates(CircuitStates):
    """The model beside a circuit in Redis, with an operator."""

    def make_circuit(self) -> Circuit:
        """Return a circuit on an empty database."""
        self.redis = SERVER[0].client(1)
        self.redis.flushdb()
        self.shared = SharedCircuit(self.redis, LIMITS, by="w:1", clock=self.clock)
        return self.shared

    @rule()
    def operator_opens(self) -> None:
        """An operator opens it, whatever its state; a second time changes nothing."""
        assert self.shared.hold("o") is not self.is_held
        if not self.is_held:
            self.changed(is_open=True, held=True)

    @precondition(lambda self: self.is_open)
    @rule()
    def operator_closes(self) -> None:
        """An operator closes it; no call that is under way counts any more."""
        assert self.shared.release("o")
        self.changed(is_open=False)

    @invariant()
    def status_agrees(self) -> None:
        """`show` says what the model has."""
        status = self.shared.status()
        is_half_open = self.is_open and not self.is_held and self.clock.now >= self.half_open_at
        state = "closed" if not self.is_open else "half-open" if is_half_open else "open"
        assert (status.state, status.held) == (state, self.is_held)
        window = self.window()
        tally = status.tally
        assert (tally.in_row, tally.calls, tally.failed) == (self.in_row, len(window), sum(window))
        assert (status.trials, status.rejected) == (self.trial, self.rejected)
        assert status.opened + status.closed == self.generation
        on_trial = self.trial_until is not None and self.trial_until > self.clock.now
        assert status.trial_until == (self.trial_until if on_trial else None)

    def teardown(self) -> None:
        """Close the connection."""
        super().teardown()
        self.redis.close()


def test_any_order_of_calls(clean_redis: RedisServer) -> None:
    """Workers, late outcomes, lost trials and an operator leave the circuit as the model has it."""
    SERVER[:] = [clean_redis]
    run_state_machine_as_test(
        SharedStates,
        settings=settings(
            max_examples=40,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.fixture
def circuit(clean_redis: RedisServer) -> Iterator[SharedCircuit]:
    """A circuit on an empty database, at a fixed time."""
    circuit = SharedCircuit(clean_redis.client(1), LIMITS, by="w:1", clock=Clock(START))
    yield circuit
    circuit.shut()


def test_a_change_is_on_record(circuit: SharedCircuit) -> None:
    """When, from which state to which, why, by whom; the latest first."""
    circuit.open(circuit.admit(TRIAL_SECONDS), "3 failures in a row")
    circuit.release("closed by an operator")
    last, first = circuit.status().changes
    assert (first.before, first.after, first.reason) == ("closed", "open", "3 failures in a row")
    assert (last.before, last.after, last.at, last.by) == ("open", "closed", START, "w:1")
    assert circuit.status(changes=1).changes == (last,)


def test_keys_are_three_and_bounded(circuit: SharedCircuit, clean_redis: RedisServer) -> None:
    """Whatever happens: one hash, some changes, and a window that ages."""
    for number in range(KEEP_CHANGES):
        circuit.hold(f"{number} " + "x" * 1000)
        circuit.release("again")
    for _ in range(50):
        circuit.count(circuit.admit(TRIAL_SECONDS), failed=True)
    with clean_redis.client(1) as client:
        found = contents(client)
    prefix = "bionewsbot:breaker"
    ages = {key: ages for key, (_, ages) in found.items()}
    assert ages == {prefix: False, f"{prefix}:window": True, f"{prefix}:changes": False}
    assert len(found[f"{prefix}:changes"][0]) == KEEP_CHANGES
    assert all(len(change.reason) <= MAX_REASON for change in circuit.status().changes)
    assert set(found[f"{prefix}:window"][0].values()) == {"50"}


def test_late_reports_change_nothing(clean_redis: RedisServer) -> None:
    """Neither those of calls from before the opening, nor those of a trial that was given up on."""
    clock = Clock(START)
    with clean_redis.client(1) as redis:
        check_late_reports(SharedCircuit(redis, LIMITS, clock=clock), clock)


def test_parts_of_another_window_are_dropped(
    circuit: SharedCircuit, clean_redis: RedisServer
) -> None:
    """Workers with different BREAKER_WINDOW_SECONDS don't add up what isn't their own."""
    limits = dataclasses.replace(LIMITS, window_seconds=60)
    with clean_redis.client(1) as redis:
        wider = SharedCircuit(redis, limits, clock=Clock(START))
        for each in (wider, circuit, wider):
            assert each.count(each.admit(TRIAL_SECONDS), failed=False).calls == 1


def test_time_is_redis_own(clean_redis: RedisServer) -> None:
    """Hosts with skewed clocks agree on when the circuit is half-open."""
    with clean_redis.client(1) as redis:
        circuit = SharedCircuit(redis, LIMITS)
        before = redis.time()[0]
        assert circuit.open(circuit.admit(TRIAL_SECONDS), "down")
        status = circuit.status()
        assert before <= status.since <= redis.time()[0] + 1
        assert status.half_open_at == pytest.approx(status.since + LIMITS.open_seconds, abs=0.001)
        assert 0 < circuit.admit(TRIAL_SECONDS).retry_after <= LIMITS.open_seconds
