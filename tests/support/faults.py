"""The fault matrix: which fault at which moment has which end, in which pool of workers.

This table drives the tests (tests/chaos/test_faults.py, tests/acceptance/test_faults.py), and
docs/faults.md is generated from it (fault_page.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

ATTEMPTS = 6
"""How often a task is tried in the tests of the matrix (RETRY_ATTEMPTS)."""

SOFT_LIMIT, HARD_LIMIT = 8, 12
"""Seconds of the time limits in the tests of the matrix: no undisturbed task takes so long."""


class Moment(StrEnum):
    """When in the life of a company's task a fault strikes."""

    START = "before start"
    CALL = "during the POST"
    ANSWER = "POST carried out, unanswered"
    WAIT = "during the wait"
    STORE = "before the store"
    LAST = "after the store"


AT_A_CALL = tuple(moment for moment in Moment if moment is not Moment.START)
ANSWERED = (Moment.ANSWER, Moment.WAIT, Moment.LAST)
"""Where the backend's own answer is on its way."""


class Fault(StrEnum):
    """What goes wrong."""

    CHILD_KILLED = "child SIGKILL"
    WORKER_KILLED = "worker SIGKILL"
    FROZEN = "worker SIGSTOP, SIGCONT"
    MEMORY = "out of memory"
    SOFT_LIMIT = "soft time limit"
    HARD_LIMIT = "hard time limit"
    RESTART = "Redis SIGKILL, restart"
    AWAY = "Redis away"
    CUT = "connections to Redis cut"
    REFUSING = "backend refuses connections"
    HANGING = "backend hangs"
    RESETTING = "backend resets"
    ERROR_500 = "500"
    ERROR_503 = "503, Retry-After"
    ERROR_429 = "429"
    ERROR_401 = "401"
    ERROR_404 = "404"
    TRUNCATED = "truncated JSON"
    WRONG_JSON = "wrong JSON"
    SLOW_DRIP = "slow drip"
    LASTING_500 = "500 each time"
    LASTING_HANGING = "hangs each time"
    LASTING_WRONG_JSON = "wrong JSON each time"


@dataclass(frozen=True)
class Outcome:
    """What comes of the struck company: it is done, or it is given up on, and why."""

    why: str | None = None
    """Of its dead letter; None: it leaves none."""

    @property
    def status(self) -> str:
        """The status in which the run ends, whose other company is done."""
        return "succeeded" if self.why is None else "partial"


DONE = Outcome()
PERMANENT = Outcome("the error is permanent")
USED_UP = Outcome(f"all {ATTEMPTS} attempts are used up")
OVER_LIMIT = Outcome(f"it ran past its hard time limit of {HARD_LIMIT} s")


@dataclass(frozen=True)
class Cell:
    """One fault at one moment in one pool, and its end."""

    pool: str
    fault: Fault
    moment: Moment
    outcome: Outcome

    @property
    def id(self) -> str:
        """Its name among the tests."""
        return f"{self.pool}-{self.fault}-{self.moment}".replace(" ", "_").replace(",", "")


def _row(outcome: Outcome, *moments: Moment) -> Mapping[Moment, Outcome]:
    return {moment: outcome for moment in moments}


_THREADS: Mapping[Fault, Mapping[Moment, Outcome]] = {
    Fault.WORKER_KILLED: _row(DONE, *Moment),
    Fault.FROZEN: _row(DONE, *Moment),
    Fault.MEMORY: _row(PERMANENT, *ANSWERED),
    Fault.SOFT_LIMIT: _row(DONE, Moment.WAIT),
    Fault.HARD_LIMIT: _row(OVER_LIMIT, *AT_A_CALL),
    Fault.RESTART: _row(DONE, *Moment),
    Fault.AWAY: _row(DONE, *Moment),
    Fault.CUT: _row(DONE, *Moment),
    Fault.REFUSING: _row(DONE, *AT_A_CALL),
    Fault.HANGING: _row(DONE, *AT_A_CALL),
    Fault.RESETTING: _row(DONE, *AT_A_CALL),
    Fault.ERROR_500: _row(DONE, *AT_A_CALL),
    Fault.ERROR_503: _row(DONE, *AT_A_CALL),
    Fault.ERROR_429: _row(DONE, *AT_A_CALL),
    Fault.ERROR_401: _row(PERMANENT, *AT_A_CALL),
    Fault.ERROR_404: _row(PERMANENT, *AT_A_CALL),
    Fault.TRUNCATED: _row(DONE, *AT_A_CALL),
    Fault.WRONG_JSON: _row(DONE, *AT_A_CALL),
    Fault.SLOW_DRIP: _row(DONE, *AT_A_CALL),
    Fault.LASTING_500: _row(USED_UP, Moment.CALL),
    Fault.LASTING_HANGING: _row(USED_UP, Moment.CALL),
    Fault.LASTING_WRONG_JSON: _row(USED_UP, Moment.CALL),
}

_PROCESSES: Mapping[Fault, Mapping[Moment, Outcome]] = {
    Fault.CHILD_KILLED: _row(DONE, *Moment),
    Fault.WORKER_KILLED: _row(DONE, Moment.START, Moment.STORE),
    Fault.FROZEN: _row(DONE, Moment.STORE),
    Fault.MEMORY: _row(PERMANENT, Moment.WAIT),
    Fault.SOFT_LIMIT: _row(PERMANENT, Moment.CALL, Moment.LAST),
    Fault.HARD_LIMIT: _row(OVER_LIMIT, Moment.CALL, Moment.LAST),
    Fault.RESTART: _row(DONE, Moment.WAIT),
    Fault.AWAY: _row(DONE, Moment.LAST),
    Fault.CUT: _row(DONE, Moment.STORE),
    Fault.REFUSING: _row(DONE, Moment.CALL),
    Fault.ERROR_500: _row(DONE, Moment.STORE),
    Fault.ERROR_404: _row(PERMANENT, Moment.ANSWER),
    Fault.SLOW_DRIP: _row(DONE, Moment.ANSWER),
}

MATRIX = {"threads": _THREADS, "processes": _PROCESSES}
"""By pool: in full on the one that is shipped, in short on the other."""

CELLS = tuple(
    Cell(pool, fault, moment, outcome)
    for pool, faults in MATRIX.items()
    for fault, row in faults.items()
    for moment, outcome in row.items()
)

_IN_EVERY_TEST = {
    "threads": {
        Fault.WORKER_KILLED: Moment.LAST,
        Fault.MEMORY: Moment.WAIT,
        Fault.HARD_LIMIT: Moment.STORE,
        Fault.RESTART: Moment.STORE,
        Fault.CUT: Moment.LAST,
        Fault.REFUSING: Moment.CALL,
        Fault.HANGING: Moment.ANSWER,
        Fault.RESETTING: Moment.LAST,
        Fault.ERROR_503: Moment.STORE,
        Fault.ERROR_404: Moment.LAST,
        Fault.TRUNCATED: Moment.WAIT,
        Fault.LASTING_500: Moment.CALL,
    },
    "processes": {
        Fault.CHILD_KILLED: Moment.STORE,
        Fault.HARD_LIMIT: Moment.LAST,
    },
}

PRUNED = tuple(cell for cell in CELLS if _IN_EVERY_TEST[cell.pool].get(cell.fault) is cell.moment)
"""What `make test` plays: of each kind of fault one or a few, at one moment."""
