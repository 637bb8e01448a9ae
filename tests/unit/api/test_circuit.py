"""The circuit in memory under any order of calls; the limits."""

import threading

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from support.circuits import LIMITS, START, CircuitStates, check_late_reports
from support.ledgers import Clock
from support.polling import PATIENCE

from bionewsbot.api.circuit import Circuit, LocalCircuit, Tally


class LocalStates(CircuitStates):
    """The model beside a circuit in memory."""

    def make_circuit(self) -> Circuit:
        """Return a circuit in memory."""
        return LocalCircuit(LIMITS, self.clock)


def test_any_order_of_calls() -> None:
    """Threads, late outcomes and lost trials leave the circuit as the model has it."""
    run_state_machine_as_test(
        LocalStates, settings=settings(max_examples=150, stateful_step_count=60, deadline=None)
    )


def test_late_reports_change_nothing() -> None:
    """Neither those of calls from before the opening, nor those of a trial that was given up on."""
    clock = Clock(START)
    check_late_reports(LocalCircuit(LIMITS, clock), clock)


@pytest.mark.parametrize(
    ("tally", "reason"),
    [
        (Tally(2, 5, 5), None),
        (Tally(3, 3, 3), "3 failures in a row"),
        (Tally(1, 6, 3), "3 of 6 calls failed within 10 s"),
        (Tally(1, 7, 3), None),
        (Tally(0, 6, 2), None),
    ],
)
def test_limits(tally: Tally, reason: str | None) -> None:
    """A row opens at once, a share only where enough calls were made."""
    assert tally.passed(LIMITS) == reason


def test_one_thread_gets_the_trial() -> None:
    """Of threads that ask at the same moment, one is let through."""
    circuit = LocalCircuit(LIMITS, Clock(START), open_until=START)
    start = threading.Barrier(8)
    trials = []

    def ask() -> None:
        start.wait(timeout=PATIENCE)
        trials.append(circuit.admit(5).trial)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(trials, key=str) == [1, *[None] * 7]
