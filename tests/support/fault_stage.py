"""The stage of the fault matrix: real processes, a gate, two proxies, and what must be true."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from celery import Celery
from kombu import pools
from support.fault_injection import INJECTIONS, SETUPS, Setup
from support.faults import ATTEMPTS, Cell, Moment
from support.gate import Gate, Step, Trap
from support.ledgers import new_run
from support.polling import wait_until
from support.redis_server import RedisServer
from support.stack import Process, Stack
from support.tcp_proxy import Hold, TcpProxy

from bionewsbot import names
from bionewsbot import settings as settings_module
from bionewsbot.celeryconfig import celery_config
from bionewsbot.dead_letters.letters import Letter, Letters
from bionewsbot.dead_letters.replay import replay
from bionewsbot.runs.dispatch import start_run
from bionewsbot.runs.model import JOB, Message, Occurrence, Run

END_SECONDS = 90
"""Longest wait for any end: three times what the slowest fault takes on a machine at rest."""

_WORKERS = {
    "API_TIMEOUT": "3",
    "BREAKER_FAILURES": "3",
    "BREAKER_OPEN_SECONDS": "1",
    "RETRY_ATTEMPTS": str(ATTEMPTS),
    "RETRY_BASE_SECONDS": "1",
    "RETRY_CAP_SECONDS": "2",
}

_STEPS = {
    Moment.CALL: (Step.START, False),
    Moment.ANSWER: (Step.START, True),
    Moment.WAIT: (Step.WAIT, False),
    Moment.STORE: (Step.STORE, False),
    Moment.LAST: (Step.LAST, True),
}
"""The call at which a moment is met, and whether the backend has carried it out by then."""

_PRIORITIES = (names.QUEUE_HIGH, names.QUEUE_DEFAULT, names.QUEUE_LOW)

Rows = Mapping[str, Sequence[Any]]
"""What the backend has of one company, by collection."""


class Stage:
    """Redis, the backend and a worker of one pool; the worker reaches both through proxies."""

    def __init__(self, folder: Path, pool: str) -> None:
        self.pool = pool
        self._resources = ExitStack()
        self.server = RedisServer(folder)
        self._resources.callback(self.server.stop)
        self.server.start()
        self.stack = Stack(self.server, folder)
        self._resources.callback(self.stack.close)
        self.ledger = self.stack.ledger
        self._letters = Letters(self.ledger._redis)
        self._numbers = count(1)
        self.stack.backend()
        self.gate = self._resources.enter_context(Gate(self.stack.api).serving())
        self.to_redis = TcpProxy(self.server.port)
        self._resources.callback(self.to_redis.close)
        self.to_backend = TcpProxy(int(self.gate.url.rpartition(":")[2]))
        self._resources.callback(self.to_backend.close)
        self.stack.env.update(
            _WORKERS,
            REDIS_PORT=str(self.to_redis.port),
            API_BASE_URL=f"http://127.0.0.1:{self.to_backend.port}",
        )
        self._setup = Setup()
        self._worker: Process | None = None
        self._undisturbed: Rows = {}
        self._clean = True

    @property
    def worker(self) -> Process:
        """The worker that carries the run out."""
        assert self._worker is not None
        return self._worker

    def start_worker(self) -> Process:
        """Start one more worker; it is the stage's worker from now on."""
        name = f"w{next(self._numbers)}"
        options = ("-P", self.pool, "-c", "2", *self._setup.options)
        self._worker = self.stack.worker(name, *options, **self._setup.env)
        return self._worker

    def redis_comes_back(self) -> None:
        """Start Redis again on its append-only file."""
        self.server.start()
        # The ledger's own connections from before are dead; the workers have to see to theirs.
        self.ledger._redis.connection_pool.disconnect()

    def keep(self, worker: Process) -> None:
        """End the stage's worker as a supervisor does and go on with another one."""
        assert self.worker.stop() == 0
        self._worker = worker

    def play(self, cell: Cell) -> None:
        """Have a run struck by a fault, and check what came of it."""
        self._prepare(SETUPS.get((cell.pool, cell.fault), Setup()))
        self._clean = False
        case = Case(self, cell)
        INJECTIONS[cell.fault](case)
        case.check()
        case.close()
        self._clean = True

    def rows(self, company: str) -> Rows:
        """Return what the backend has of a company."""
        query = f"?company_id={company}"
        stories = {
            kind: sorted(
                row["story_id"].replace(company, "") for row in self.stack.get(kind + query)
            )
            for kind in ("insights", "alerts")
        }
        return {"analyses": [row["type"] for row in self.stack.get("analyses" + query)], **stories}

    @property
    def undisturbed(self) -> Rows:
        """What an undisturbed analysis leaves in the backend."""
        return self._undisturbed

    def letters(self, run_id: str) -> list[Letter]:
        """Return the dead letters of a run."""
        return self._letters.find(run=run_id)

    @contextmanager
    def app(self) -> Iterator[Celery]:
        """An app on the broker, past the proxy, with connections of its own."""
        settings = settings_module.load(self.stack.folder / "no.env")
        settings = replace(settings, celery_broker_url=self.server.url(2))
        with Celery("faults", set_as_current=False) as app:
            app.config_from_object(celery_config(settings))
            try:
                yield app
            finally:
                # All apps of a process share kombu's connections; Redis may be another one soon.
                pools.reset()

    def at_rest(self) -> bool:
        """Whether no message waits and none is out."""
        with self.server.client(2) as broker:
            keys = [key for key in broker.keys() if key.split("\x06")[0] in _PRIORITIES]
            return not keys and not broker.exists("unacked", "unacked_index")

    def answers(self, worker: Process) -> bool:
        """Whether a worker answers a ping."""
        with self.app() as app:
            found = app.control.inspect(timeout=2, limit=1, destination=[self.node(worker)]).ping()
        return bool(found)

    def node(self, worker: Process) -> str:
        """Return a worker's name in the cluster."""
        return f"{worker.log.stem}@{os.uname().nodename}"

    def close(self) -> None:
        """End all of it; the worker stops as it is told to, unless its test has failed already."""
        with self._resources:
            if not self._clean:
                self._kill_workers()
            elif self._worker is not None:
                assert self._worker.stop() == 0

    def _prepare(self, setup: Setup) -> None:
        if not self._clean:
            self._afresh()
        if self._worker is not None and self._setup != setup:
            assert self._worker.stop() == 0
            self._worker = None
        self._setup = setup
        if self._worker is None:
            self.start_worker()
        if not self._undisturbed:
            case = Case(self, None)
            case.wait_for_end()
            self._undisturbed = self.rows(case.struck)
            assert self._undisturbed == self.rows(case.other)
            assert all(self._undisturbed.values())
            self.gate.stores = sum(len(self._undisturbed[kind]) for kind in ("insights", "alerts"))
            case.close()

    def _afresh(self) -> None:
        """Clear away what a failed test left."""
        self.gate.set(None)
        self._kill_workers()
        self.to_backend.refuse()
        self.to_backend.accept()
        self.redis_comes_back()
        self.server.flush()
        for company in self.stack.get("companies"):
            self.put_company(company["id"], "paused")

    def _kill_workers(self) -> None:
        for worker in self.stack.processes[1:]:
            if worker.running:
                worker.kill_all()
        self._worker = None

    def put_company(self, company: str, status: str) -> None:
        """Put a company about which the replayed sources know something of every kind."""
        body = {"name": "REGENXBIO", "ticker": "RGNX", "cik": "0001590877", "status": status}
        answer = requests.put(f"{self.stack.api}/api/v1/companies/{company}", json=body, timeout=30)
        answer.raise_for_status()


class Case:
    """One run of two companies, one of which meets a fault."""

    def __init__(self, stage: Stage, cell: Cell | None) -> None:
        self.stage = stage
        self.cell = cell
        number = next(stage._numbers)
        self.struck, self.other = f"STRUCK-{number}", f"OTHER-{number}"
        self.occurrence = Occurrence(f"faults-{number}", datetime.now(UTC))
        self.run_id = self.occurrence.run_id
        self.steady = stage.worker
        """The worker that must be there, and answer, in the end."""
        self._traps: list[Trap] = []
        self._hold: Hold | None = None
        for company in (self.struck, self.other):
            stage.put_company(company, "active")
        if cell is None:
            self.start()

    def start(self, **trap: Any) -> None:
        """Start the run; its struck company is held, or badly answered, at the cell's moment."""
        if self.cell is not None and self.cell.moment is Moment.START:
            begin = rb'\$5\r\nbegin\r\n[^*]*"target": "%s"' % self.struck.encode()
            self._hold = self.stage.to_redis.hold(re.compile(begin))
        elif self.cell is not None:
            step, carried_out = _STEPS[self.cell.moment]
            self._traps.append(Trap(self.struck, step, carried_out, **trap))
            self.stage.gate.set(self._traps[-1])
        job = Message(JOB, names.DAILY_COMPANY_ANALYSIS, "default", {})
        with self.stage.app() as app:
            start_run(app, self.stage.ledger, new_run(self.occurrence, job=job))

    def reach(self) -> None:
        """Wait until the struck company is held at the cell's moment."""
        place = self._hold or self._traps[-1]
        wait_until(place.reached.is_set, f"{self.cell} is reached", seconds=END_SECONDS)

    def release_each(self) -> None:
        """Hold no call: what is set happens at once, each time."""
        self._traps[-1].go.set()

    def release(self) -> None:
        """Let go of what is held, and set no further trap."""
        self.stage.gate.set(None)
        for trap in self._traps:
            trap.go.set()
        if self._hold is not None:
            self._hold.release()

    def wait_for_error(self, words: str) -> None:
        """Wait until an attempt at the struck company has failed so."""

        def failed() -> bool:
            items = self.stage.ledger.items(self.run_id)
            struck = (item for item in items if item.target == self.struck)
            return any(words in one["error"] for item in struck for one in item.attempts)

        wait_until(failed, f"an attempt fails with {words!r}", seconds=END_SECONDS)

    def pid(self) -> int:
        """Return the pid of the process in which the struck company's task runs."""

        def found() -> int | None:
            with self.stage.app() as app:
                node = self.stage.node(self.stage.worker)
                active = app.control.inspect(timeout=2, limit=1, destination=[node]).active() or {}
            tasks = active.get(node, [])
            return next(
                (
                    task["worker_pid"]
                    for task in tasks
                    if task["kwargs"].get("company_id") == self.struck
                ),
                None,
            )

        pid = wait_until(found, f"{self.struck} is active", seconds=END_SECONDS)
        assert pid is not None
        return pid

    def wait_for_end(self) -> Run:
        """Return the run once it has ended."""
        return self.stage.stack.wait_for_end(self.run_id, seconds=END_SECONDS)

    def check(self) -> None:
        """Check the run's end, its dead letters, the backend's rows, and that nothing is stuck.

        What was given up on is replayed then, and has to be as if nothing had happened.
        """
        assert self.cell is not None
        outcome = self.cell.outcome
        run = self.wait_for_end()
        self.release()
        assert run.status == outcome.status, self._story()
        letters = self.stage.letters(self.run_id)
        told = [(letter.target, letter.last.why) for letter in letters]
        assert told == ([] if outcome.why is None else [(self.struck, outcome.why)])
        assert self.stage.rows(self.other) == self.stage.undisturbed
        for kind, rows in self.stage.rows(self.struck).items():
            assert not Counter(rows) - Counter(self.stage.undisturbed[kind]), kind
        wait_until(self.stage.at_rest, "no message waits or is out", seconds=END_SECONDS)
        for letter in letters:
            with self.stage.app() as app:
                replay(app, self.stage.ledger, letter, by="the tests")
        run = self.wait_for_end()
        assert (run.status, run.done, run.failed) == ("succeeded", 2, 0)
        assert self.stage.letters(self.run_id) == []
        undisturbed = self.stage.undisturbed
        assert self.stage.rows(self.struck) == self.stage.rows(self.other) == undisturbed
        wait_until(self.stage.at_rest, "no message waits or is out", seconds=END_SECONDS)
        twice = {kind: 2 * len(undisturbed[kind]) for kind in ("insights", "alerts")}
        run = self.stage.ledger.get(self.run_id)
        assert {kind: run.totals[kind] for kind in twice} == twice
        assert self.steady.running
        wait_until(lambda: self.stage.answers(self.steady), "it answers", seconds=END_SECONDS)

    def close(self) -> None:
        """Leave the companies to the past."""
        self.release()
        for company in (self.struck, self.other):
            self.stage.put_company(company, "paused")

    def _story(self) -> str:
        return "\n".join(str(item) for item in self.stage.ledger.items(self.run_id))


StageOf = Callable[[str], Stage]


@pytest.fixture(scope="module")
def stage_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StageOf]:
    """Return a pool's stage; it goes on from test to test until another pool's is asked for."""
    stages: list[Stage] = []

    def stage_of(pool: str) -> Stage:
        if stages and stages[-1].pool != pool:
            stages.pop().close()
        if not stages:
            stages.append(Stage(tmp_path_factory.mktemp(pool), pool))
        return stages[-1]

    yield stage_of
    for stage in stages:
        stage.close()
