"""Jobs whose calls are struck: the backend fails at each kind of call, or it kills its worker."""

import threading
from collections import Counter
from collections.abc import Callable

from support.answers import problem
from support.faulty_backend import Received, Reply
from support.gate import Gate
from support.movers import release_locks
from support.polling import wait_until
from support.six_jobs import Job, World
from support.stack import Process, Stack

Forward = Callable[[], Reply]
"""Has the backend carry the call out."""

Strike = Callable[[int, Forward], Reply]
"""Answers a call that is the so-manieth of its kind."""

_WORDS = ("delete", "risk")
"""Of paths, beside the first."""

_PROGRESS = {"GET /analyses/{}", "GET /maintenance/{}"}
"""Calls that ask how far something has come."""


def kind_of(call: Received) -> str:
    """Return method and path without ids, and of upkeep what is to be done."""
    first, *rest = call.path.split("/")[3:]
    words = [first, *(word if word in _WORDS else "{}" for word in rest)]
    of_upkeep = call.method == "POST" and first == "maintenance"
    return f"{call.method} /{'/'.join(words)}" + (f" {call.body['kind']}" if of_upkeep else "")


class StruckGate(Gate):
    """The gate; `met` counts the calls of each kind."""

    def __init__(self, upstream: str, strike: Strike) -> None:
        """Forward to the backend at the URL `upstream`, as `strike` says."""
        super().__init__(upstream)
        self.met: Counter[str] = Counter()
        self._strike = strike

    def fewest(self) -> int:
        """Return how often the rarest kind of call was made, of those that must be made again.

        What a GET asks of something that was begun, the repeated POST may have answered already.
        """
        again = [count for kind, count in self.met.items() if kind not in _PROGRESS]
        return min(again)

    def take(self, request: Received) -> Reply:
        """Answer one call."""
        with self._lock:
            self.met[kind_of(request)] += 1
            number = self.met[kind_of(request)]
        return self._strike(number, lambda: self._forward(request))


def fail_twice(number: int, forward: Forward) -> Reply:
    """Refuse the first call; carry the second out and lose its answer."""
    if number == 1:
        return Reply(503, problem(503))
    answer = forward()
    return Reply(reset=True) if number == 2 else answer


class Reaper:
    """Kills the worker that makes the first call of a kind, before or after it is carried out."""

    def __init__(self, stack: Stack, *, carried_out: bool) -> None:
        self.deaths = 0
        self._stack = stack
        self._carried_out = carried_out
        self._ready: list[Process] = []
        self._lock = threading.Lock()

    def strike(self, number: int, forward: Forward) -> Reply:
        """Kill the worker of a first call, once it is ready; let all other calls pass."""
        if number > 1:
            return forward()
        caller = self._stack.processes[-1]
        if self._carried_out:
            forward()
        wait_until(lambda: caller in self._ready, "the worker is ready")
        with self._lock:
            if caller.running:
                caller.kill_all()
                self.deaths += 1
        return Reply(reset=True)

    def feed(self, run_id: str) -> None:
        """Start one worker after the other, until the run has ended."""
        while not self._stack.ledger.get(run_id).ended:
            worker = self._stack.worker(f"w{len(self._ready)}", RETRY_CAP_SECONDS="1")
            self._ready.append(worker)
            wait_until(
                lambda: not worker.running or self._stack.ledger.get(run_id).ended,
                "the worker is killed, or the run has ended",
                seconds=120,
            )
            release_locks(self._stack)


def play_failing(world: World, job: Job) -> None:
    """Carry a job out while each kind of call fails twice; check its end."""
    stack = world.stack
    with StruckGate(stack.api, fail_twice).serving() as gate:
        stack.worker(API_BASE_URL=gate.url, **_PATIENT)
        run = stack.wait_for_end(stack.start_run(job.entry, job.at))
        # What failed was called again.
        assert len(gate.met) > 1 and gate.fewest() > 2, gate.met
    world.check(job, run)


def play_deadly(world: World, job: Job, *, carried_out: bool) -> None:
    """Carry a job out while the first call of each kind kills its worker; check its end."""
    stack = world.stack
    reaper = Reaper(stack, carried_out=carried_out)
    with StruckGate(stack.api, reaper.strike).serving() as gate:
        stack.env["API_BASE_URL"] = gate.url
        run_id = stack.start_run(job.entry, job.at)
        reaper.feed(run_id)
        assert reaper.deaths > 1 and gate.fewest() > 1, gate.met
    world.check(job, stack.ledger.get(run_id))


_PATIENT = {
    "RETRY_ATTEMPTS": "20",
    "RETRY_BASE_SECONDS": "1",
    "RETRY_CAP_SECONDS": "1",
    # The circuit is another matter (docs/breaker.md).
    "BREAKER_FAILURES": "1000",
    "BREAKER_MIN_CALLS": "1000",
}
"""Of a worker that tries again soon and often."""
