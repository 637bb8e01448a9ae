"""A scheduler of the benchmark on its stage: a Redis server, a folder and processes of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from support.polling import wait_until
from support.redis_server import RedisServer

HERE = Path(__file__).resolve().parent

TIMETABLE = """\
from celery.schedules import crontab, schedule

beat_schedule = {{
    "tick": {{
        "task": "benchmark.tick",
        "schedule": {schedule},
        "options": {{"queue": "default"}},
        "overlap": "allow",
    }},
}}
"""
EVERY_SECOND = "schedule(1)"
ALMOST_NEVER = "crontab(minute=0, hour=0, day_of_month=29, month_of_year=2)"

FIRST_STARTS = 3
"""Starts that are left out: connections are made, code is loaded."""

LIMIT_SECONDS = 120
"""Longest wait for anything: far beyond what any of it takes."""

END_SECONDS = 60
"""Longest wait for a process to end after SIGTERM: a worker's soft shutdown takes up to 30."""


@dataclass(frozen=True)
class Peer:
    """One of the schedulers that are compared."""

    name: str
    module: str
    worker: str
    """Module of the Celery app whose worker runs its tasks."""

    @property
    def beat(self) -> list[str]:
        """The command that runs it."""
        if self.module == "scheduler_apscheduler":
            return [sys.executable, str(HERE / f"{self.module}.py")]
        return _celery(self.module, "beat")


OURS = Peer("BioNewsBot", "scheduler_ours", "scheduler_ours")
REDBEAT = Peer("plain RedBeat", "scheduler_plain", "scheduler_plain")
APSCHEDULER = Peer("APScheduler 3", "scheduler_apscheduler", "scheduler_plain")
PEERS = (OURS, REDBEAT, APSCHEDULER)


@dataclass
class Stage:
    """Runs a peer's processes on a server; none of them outlives the stage."""

    peer: Peer
    server: RedisServer
    folder: Path
    every_second: bool
    _running: list[subprocess.Popen[str]] = field(default_factory=list)

    def beat(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start the scheduler."""
        return self._start([*self.peer.beat, *arguments], env)

    def worker(self) -> subprocess.Popen[str]:
        """Start a worker of four threads, the pool that ours ships with."""
        command = _celery(self.peer.worker, "worker", "-P", "threads", "-c", "4")
        return self._start(command, {})

    def ticks(self, *arguments: object) -> subprocess.Popen[str]:
        """Start a measurement of scheduler_ticks.py."""
        command = [sys.executable, str(HERE / "scheduler_ticks.py"), self.peer.module]
        command += [str(argument) for argument in arguments]
        return self._start(command, {}, stdout=subprocess.PIPE)

    def measure(self, *arguments: object) -> Any:
        """Make such a measurement and return its result."""
        child = self.ticks(*arguments)
        output, _ = child.communicate()
        if child.returncode:
            self.give_up(child)
        return json.loads(output) if output else None

    def give_up(self, child: subprocess.Popen[str]) -> None:
        """Raise SystemExit with the end of a process' log."""
        raise SystemExit(f"{self.peer.name}: {child.args} ended\n{_end_of(self.log(child))}")

    def logs(self) -> str:
        """Return the ends of all its processes' logs."""
        return "\n".join(f"{child.args}\n{_end_of(self.log(child))}" for child in self._running)

    def log(self, child: subprocess.Popen[str]) -> Path:
        """Return the log of a process of this stage."""
        return self.folder / f"{self._running.index(child)}.log"

    def end(self, child: subprocess.Popen[str]) -> None:
        """End a process as an operator would."""
        child.terminate()
        try:
            child.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def close(self) -> None:
        """End all processes and the server."""
        for child in self._running:
            if child.poll() is None:
                self.end(child)
        self.server.stop()

    def _start(
        self, command: list[str], env: dict[str, str], stdout: int | None = None
    ) -> subprocess.Popen[str]:
        log = self.folder / f"{len(self._running)}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                command,
                env={**os.environ, **self._env(), **env},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output if stdout is None else stdout,
                stderr=output,
                text=True,
            )
        self._running.append(child)
        return child

    def _env(self) -> dict[str, str]:
        # An empty variable counts as unset: the shipped defaults, whatever the caller has.
        unset = "REDIS_USERNAME REDIS_PASSWORD REDIS_TLS CELERY_BROKER_URL CELERY_RESULT_BACKEND"
        return {
            **dict.fromkeys(unset.split(), ""),
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.server.port),
            "REDIS_SCHEDULER_DB": "1",
            "REDIS_CELERY_DB": "2",
            "LOG_LEVEL": "INFO",
            "EVERY_SECOND": "1" if self.every_second else "",
            "PYTHONPATH": os.pathsep.join(map(str, (HERE, HERE.parent, HERE.parent.parent))),
        }


@contextmanager
def on_stage(peer: Peer, *, every_second: bool) -> Iterator[Stage]:
    """Put a peer on a stage, with an entry due every second or with none that comes due."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        schedule = EVERY_SECOND if every_second else ALMOST_NEVER
        text = TIMETABLE.format(schedule=schedule)
        (folder / "beat_schedule.py").write_text(text, encoding="utf-8")
        server = RedisServer(folder)
        stage = Stage(peer, server, folder, every_second)
        try:
            server.start()
            yield stage
        except AssertionError as error:
            # Its folder goes with it: what the processes said is shown here or never.
            raise SystemExit(f"{error}\n{stage.logs()}") from error
        finally:
            stage.close()


def wait_for_rewrite(server: RedisServer) -> None:
    """Return when the server isn't writing its append-only file anew."""
    with server.client() as client:
        wait_until(
            lambda: not client.info("persistence")["aof_rewrite_in_progress"],
            "the append-only file is rewritten",
            seconds=60,
        )


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


def _celery(app: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-q", "-A", app, *arguments]
