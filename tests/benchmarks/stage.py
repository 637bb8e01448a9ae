"""A stage for what is measured: a Redis server, a folder and processes of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from support.redis_server import RedisServer

HERE = Path(__file__).resolve().parent

END_SECONDS = 60
"""Longest wait for a process to end after SIGTERM: a worker's grace period is 45 s."""


class BaseStage:
    """Runs processes on a server; none of them outlives the stage."""

    def __init__(self, name: str, server: RedisServer, folder: Path) -> None:
        self.name = name
        self.server = server
        self.folder = folder
        self._running: list[subprocess.Popen[str]] = []

    def start(
        self, command: list[str], *, stdout: int | None = None, **env: str
    ) -> subprocess.Popen[str]:
        """Start a process; its output goes to its log, unless `stdout` says otherwise."""
        log = self.folder / f"{len(self._running)}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                command,
                env={**os.environ, **self.env(), **env},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output if stdout is None else stdout,
                stderr=output,
                text=True,
            )
        self._running.append(child)
        return child

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

    def give_up(self, child: subprocess.Popen[str]) -> None:
        """Raise SystemExit with the end of a process' log."""
        raise SystemExit(f"{self.name}: {child.args} ended\n{_end_of(self.log(child))}")

    def logs(self) -> str:
        """Return the ends of all its processes' logs."""
        return "\n".join(f"{child.args}\n{_end_of(self.log(child))}" for child in self._running)

    def log(self, child: subprocess.Popen[str]) -> Path:
        """Return the log of a process of this stage."""
        return self.folder / f"{self._running.index(child)}.log"

    def env(self) -> dict[str, str]:
        """Return what each process is told."""
        # An empty variable counts as unset: the shipped defaults, whatever the caller has.
        unset = "REDIS_USERNAME REDIS_PASSWORD REDIS_TLS CELERY_BROKER_URL CELERY_RESULT_BACKEND"
        return {
            **dict.fromkeys(unset.split(), ""),
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.server.port),
            "REDIS_SCHEDULER_DB": "1",
            "REDIS_CELERY_DB": "2",
            "LOG_LEVEL": "INFO",
            "PYTHONPATH": os.pathsep.join(map(str, (HERE, HERE.parent, HERE.parent.parent))),
        }


StageT = TypeVar("StageT", bound=BaseStage)


@contextmanager
def open_stage(make: Callable[[RedisServer, Path], StageT]) -> Iterator[StageT]:
    """Put up a stage on a server and in a folder of its own, for the length of the block."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        server = RedisServer(folder)
        stage = make(server, folder)
        try:
            server.start()
            yield stage
        except AssertionError as error:
            # Its folder goes with it: what the processes said is shown here or never.
            raise SystemExit(f"{error}\n{stage.logs()}") from error
        finally:
            stage.close()


def celery(app: str, *arguments: str) -> list[str]:
    """Return a `celery` command of this Python."""
    return [sys.executable, "-m", "celery", "-q", "-A", app, *arguments]


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]
