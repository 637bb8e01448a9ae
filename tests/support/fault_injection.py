"""How each fault of the matrix is brought about, for real, at the moment that was reached."""

import os
import resource
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from support.answers import problem
from support.faults import HARD_LIMIT, SOFT_LIMIT, Fault
from support.faulty_backend import Reply
from support.polling import wait_until
from support.stack import ROOT

if TYPE_CHECKING:
    from support.fault_stage import Case

AWAY_SECONDS = 7
"""How long Redis is away: longer than its clients try again in a row (5 s)."""

SPARE_BYTES = 40 * 2**20
"""Memory that a process has left at its limit; too little for the answer that it gets."""

HUGE_BYTES = 60 * 2**20
"""Length of that answer; the client would read up to 64 MiB."""

Injection = Callable[["Case"], None]


def kill_child(case: "Case") -> None:
    """Kill the process of the pool that runs the task; its worker lives on."""
    case.start()
    case.reach()
    os.kill(case.pid(), signal.SIGKILL)
    case.release()


def kill_worker(case: "Case") -> None:
    """Kill the worker with all its processes, as the end of its machine does, and start another."""
    case.start()
    case.reach()
    case.stage.worker.kill_all()
    case.stage.to_redis.cut()
    case.release()
    case.steady = case.stage.start_worker()


def freeze(case: "Case") -> None:
    """Freeze the worker until another one has ended the run, and let it go on then."""
    case.start()
    case.reach()
    frozen = case.stage.worker
    frozen.signal_all(signal.SIGSTOP)
    case.stage.start_worker()
    case.wait_for_end()
    frozen.signal_all(signal.SIGCONT)
    case.release()
    wait_until(case.stage.at_rest, "what the frozen one held is settled", seconds=60)
    case.stage.keep(frozen)


def run_out_of_memory(case: "Case") -> None:
    """Limit the process' memory (RLIMIT_AS) and give it the right answer, 60 MiB of it blank."""
    case.start(reply=lambda answer: replace(answer, body=answer.payload() + b" " * HUGE_BYTES))
    case.reach()
    pid = case.pid()
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (used + SPARE_BYTES, before[1]))
    case.release()
    case.wait_for_end()
    resource.prlimit(pid, resource.RLIMIT_AS, before)


def reach_soft_limit(case: "Case") -> None:
    """Threads: have the analysis take longer than the limit. Processes: hold the call so long."""
    if case.stage.pool == "processes":
        case.start()
        case.reach()
        case.wait_for_end()
        return

    def unfinished(answer: Reply) -> Reply:
        return replace(answer, body=answer.payload().replace(b'"succeeded"', b'"running"', 1))

    case.start(reply=unfinished, lasting=True)
    case.release_each()
    case.wait_for_error("is still running")
    case.release()


def reach_hard_limit(case: "Case") -> None:
    """Threads: hold the call, and so its thread; the worker ends, and another one is started.

    Processes: hold the call in one that doesn't hear of the soft limit, until it is killed.
    """
    case.start()
    case.reach()
    case.wait_for_end()
    if case.stage.pool == "threads":
        case.release()
        assert case.stage.worker.wait() == 0
        case.steady = case.stage.start_worker()


def restart_redis(case: "Case") -> None:
    """Kill Redis and start it on its append-only file."""
    case.start()
    case.reach()
    case.stage.server.kill()
    case.release()
    case.stage.redis_comes_back()


def take_redis_away(case: "Case") -> None:
    """Kill Redis and start it on its append-only file after some seconds."""
    case.start()
    case.reach()
    case.stage.server.kill()
    case.release()
    back_at = time.monotonic() + AWAY_SECONDS
    wait_until(lambda: time.monotonic() > back_at, "Redis has been away", seconds=60)
    case.stage.redis_comes_back()


def cut_connections(case: "Case") -> None:
    """Reset all of the worker's connections to Redis."""
    case.start()
    case.reach()
    case.stage.to_redis.cut()
    case.release()


def refuse_connections(case: "Case") -> None:
    """Reset the call, and refuse all connections until the worker has met that."""
    case.start(reply=Reply(reset=True))
    case.reach()
    case.stage.to_backend.refuse()
    case.release()
    case.wait_for_error("refused")
    case.stage.to_backend.accept()


def answering(reply: Reply, *, lasting: bool = False) -> Injection:
    """Return what answers the call so, once or until the run has ended."""

    def answer(case: "Case") -> None:
        case.start(reply=reply, lasting=lasting)
        case.release_each()
        case.reach()
        case.wait_for_end()

    return answer


def _error(status: int, **headers: str) -> Reply:
    return Reply(
        status, problem(status), {name.replace("_", "-"): headers[name] for name in headers}
    )


_WRONG = Reply(200, {"id": 7, "items": "none"})

INJECTIONS: Mapping[Fault, Injection] = {
    Fault.CHILD_KILLED: kill_child,
    Fault.WORKER_KILLED: kill_worker,
    Fault.FROZEN: freeze,
    Fault.MEMORY: run_out_of_memory,
    Fault.SOFT_LIMIT: reach_soft_limit,
    Fault.HARD_LIMIT: reach_hard_limit,
    Fault.RESTART: restart_redis,
    Fault.AWAY: take_redis_away,
    Fault.CUT: cut_connections,
    Fault.REFUSING: refuse_connections,
    Fault.HANGING: answering(Reply(silent=True)),
    Fault.RESETTING: answering(Reply(reset=True)),
    Fault.ERROR_500: answering(_error(500)),
    Fault.ERROR_503: answering(_error(503, Retry_After="2")),
    Fault.ERROR_429: answering(_error(429)),
    Fault.ERROR_401: answering(_error(401)),
    Fault.ERROR_404: answering(_error(404)),
    Fault.TRUNCATED: answering(Reply(200, {"id": "1", "status": "queued"}, cut_after=12)),
    Fault.WRONG_JSON: answering(_WRONG),
    Fault.SLOW_DRIP: answering(Reply(trickle=True)),
    Fault.LASTING_500: answering(_error(500), lasting=True),
    Fault.LASTING_HANGING: answering(Reply(silent=True), lasting=True),
    Fault.LASTING_WRONG_JSON: answering(_WRONG, lasting=True),
}


@dataclass(frozen=True)
class Setup:
    """How a worker is started."""

    env: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()


_LIMITS = {
    "CELERY_TASK_SOFT_TIME_LIMIT": str(SOFT_LIMIT),
    "CELERY_TASK_TIME_LIMIT": str(HARD_LIMIT),
    # So that it is the limit that ends the call.
    "API_TIMEOUT": "60",
}

# A long poll ends by the soft limit.
_SHORT_POLLS = Setup({"CELERY_TASK_SOFT_TIME_LIMIT": "3"})

SETUPS: Mapping[tuple[str, Fault], Setup] = {
    ("threads", Fault.SOFT_LIMIT): _SHORT_POLLS,
    ("threads", Fault.HANGING): _SHORT_POLLS,
    ("threads", Fault.HARD_LIMIT): Setup(_LIMITS),
    ("processes", Fault.SOFT_LIMIT): Setup(_LIMITS),
    ("processes", Fault.HARD_LIMIT): Setup(
        {**_LIMITS, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}, ("-I", "support.deaf")
    ),
}
"""What a worker is started with for a fault: limits that the tests can wait for."""
