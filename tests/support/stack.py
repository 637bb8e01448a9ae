"""The real processes: worker, beat, backend, started as a user does and ended by their pids."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.polling import PATIENCE, wait_until
from support.ports import free_port
from support.redis_server import RedisServer

from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.model import Item, Run

ROOT = Path(__file__).resolve().parents[2]

LEASE_SECONDS = 3
"""The shortest lease that the settings allow: a dead worker's tasks are sent again soon."""


class Process:
    """One child process with its log."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], folder: Path) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                command, env={**os.environ, **env}, cwd=folder, stdout=output, stderr=output
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process is there (it may be frozen)."""
        return self._child.poll() is None

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return its exit code once it has ended. Raises subprocess.TimeoutExpired."""
        return self._child.wait(timeout=seconds)

    def signal(self, number: int) -> None:
        """Send it a signal, if it is there."""
        if self.running:
            self._child.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self.signal(signal.SIGKILL)
        self._child.wait(timeout=PATIENCE)

    def signal_all(self, number: int) -> None:
        """Send a signal to it and to its children."""
        for pid in [self.pid, *self.children()]:
            os.kill(pid, number)

    def children(self) -> list[int]:
        """Return the pids of its children."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text(encoding="utf-8").split()]

    def kill_all(self) -> None:
        """End it and its children with SIGKILL, as the end of their machine would."""
        self.signal_all(signal.SIGKILL)
        self._child.wait(timeout=20)

    def freeze(self) -> None:
        """Stop it where it stands: connections stay open and nothing answers."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def stop(self) -> int:
        """End it with SIGTERM, as a supervisor does; returns the exit code."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            return self._child.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def lines(self) -> list[dict[str, Any]]:
        """Return its log lines that are JSON and that it has written to their end."""
        text = self.log.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return its log lines of one event."""
        return [line for line in self.lines() if line["event"] == name]


class Stack:
    """A folder, a Redis, a backend's address, and the processes that share them."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.api = f"http://127.0.0.1:{free_port()}"
        self.env = {
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(server.port),
            "API_BASE_URL": self.api,
            "API_TIMEOUT": "5",
            "BIONEWSBOT_CONFIG_DIR": str(ROOT / "config"),
            "RUN_LEASE_SECONDS": str(LEASE_SECONDS),
            "ARCHIVE_LOCATION": str(folder / "archive"),
            "LOG_FORMAT": "json",
        }
        self.processes: list[Process] = []
        self._redis = server.client(1)
        self.ledger = Ledger(self._redis, retention_days=1, lease_seconds=LEASE_SECONDS)

    def start(self, name: str, *command: str, **env: str) -> Process:
        """Start a process of this Python; `command` follows `python`."""
        process = Process(name, [sys.executable, *command], {**self.env, **env}, self.folder)
        self.processes.append(process)
        return process

    def backend(self, database_url: str | None = None) -> Process:
        """Start the reference backend (unless told otherwise on SQLite), wait until it is ready."""
        process = self.start(
            "backend",
            "-m",
            "bionewsbot.backend",
            BACKEND_HOST="127.0.0.1",
            BACKEND_PORT=self.api.rpartition(":")[2],
            BACKEND_DATABASE_URL=database_url or f"sqlite:///{self.folder / 'backend.db'}",
        )
        wait_until(lambda: self._ready(process), "the backend is ready")
        return process

    def worker(self, name: str = "all", *options: str, **env: str) -> Process:
        """Start a worker and wait until it consumes."""
        process = self.start(
            name,
            "-m",
            "celery",
            "-q",
            "-A",
            "bionewsbot",
            "worker",
            "-n",
            f"{name}@%h",
            *options,
            **env,
        )
        wait_until(lambda: self._says(process, f"{name}@", "ready."), f"worker {name} is ready")
        return process

    def beat(self) -> Process:
        """Start beat; it reads `beat_schedule.py` in the stack's folder, if there is one."""
        return self.start("beat", "-m", "celery", "-q", "-A", "bionewsbot", "beat")

    def celery(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run `celery -A bionewsbot ...` to its end and check its exit code (None: any)."""
        done = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "bionewsbot", *arguments],
            env={**os.environ, **self.env},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=110,
        )
        if code is not None:
            assert done.returncode == code, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done

    def celery_json(self, *arguments: str, code: int | None = 0) -> Any:
        """Run a command with `--json` and return what it prints."""
        return json.loads(self.celery(*arguments, "--json", code=code).stdout)

    def start_run(self, entry: str = "daily_company_analysis", at: str | None = None) -> str:
        """Start a run by hand, now or of an occurrence, and return its id."""
        when = ("--at", at) if at else ()
        return str(self.celery_json("runs", "start", entry, *when)["run_id"])

    def wait_for_end(self, run_id: str, *, seconds: float = 120) -> Run:
        """Return the run once it has ended."""
        wait_until(lambda: self.ledger.get(run_id).ended, f"{run_id} ends", seconds=seconds)
        return self.ledger.get(run_id)

    def targets(self, run_id: str) -> list[Item]:
        """Return the run's items without its job."""
        return [item for item in self.ledger.items(run_id) if item.target != "*"]

    def get(self, path: str) -> list[dict[str, Any]]:
        """Return all items of one of the backend's collections."""
        items: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            params = {"limit": "500", **({"cursor": cursor} if cursor else {})}
            answer = requests.get(f"{self.api}/api/v1/{path}", params=params, timeout=10)
            answer.raise_for_status()
            page = answer.json()
            items += page["items"]
            cursor = page["next_cursor"]
        return items

    def close(self) -> None:
        """End what is still there."""
        for process in reversed(self.processes):
            process.stop()
        self._redis.close()

    def _ready(self, process: Process) -> bool:
        assert process.running, process.log.read_text(encoding="utf-8")[-3000:]
        try:
            return requests.get(f"{self.api}/readyz", timeout=2).ok
        except requests.RequestException:
            return False

    def _says(self, process: Process, *words: str) -> bool:
        assert process.running, process.log.read_text(encoding="utf-8")[-3000:]
        return any(
            all(word in line.get("message", "") for word in words) for line in process.lines()
        )


@pytest.fixture
def stack(clean_redis: RedisServer, tmp_path: Path) -> Iterator[Stack]:
    """An empty Redis, an empty folder and no process yet."""
    stack = Stack(clean_redis, tmp_path)
    yield stack
    stack.close()
