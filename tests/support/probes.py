"""Tasks that tell when they start and end and wait for a sign, in real workers."""

from collections import Counter
from pathlib import Path
from typing import Any

from celery import Celery
from support.polling import PATIENCE, wait_until
from support.stack import Process, Stack

CODE = '''
"""Tasks of the tests."""

import os
import time
from pathlib import Path

from celery import shared_task

from bionewsbot.tasks.base import run_task


def work(name):
    """Say that it starts, wait for the file `<name>.go`, say that it ends."""
    note(f"start {name} {os.getpid()}")
    while not Path(f"{name}.go").exists():
        time.sleep(0.02)
    note(f"end {name} {os.getpid()}")


def note(line):
    """Write one line at once: many processes write."""
    with open("notes", "a") as notes:
        notes.write(line + "\\n")


@shared_task(name="probe.hold")
def hold(name):
    """Do nothing but hold a message."""
    work(name)


@run_task("probe.job")
def job(self, name):
    """Do the work of a run."""
    work(name)
    return {"probes": 1}


@run_task("probe.hoard")
def hoard(self, name):
    """Hold 400 MB for as long as the work takes."""
    held = bytearray(400 * 1024 * 1024)
    work(name)
    return {"records": len(held)}


@run_task("probe.long", soft_time_limit=3000, time_limit=3600)
def long(self, name):
    """Do the work of a run that takes its time."""
    work(name)
'''


class Probes:
    """Workers with probe tasks, and what the tasks wrote."""

    def __init__(self, stack: Stack, app: Celery) -> None:
        self.stack = stack
        self.app = app
        self.broker = stack.server.client(2)
        (stack.folder / "probe.py").write_text(CODE, encoding="utf-8")

    def worker(self, name: str, *options: str, **env: str) -> Process:
        """Start a worker that knows the probe tasks."""
        return self.stack.worker(name, "-I", "probe", *options, **env)

    def send(self, name: str, queue: str = "default", **options: Any) -> None:
        """Send a message whose task waits for `release(name)`."""
        self.app.send_task("probe.hold", [name], queue=queue, **options)

    def release(self, *names: str) -> None:
        """Let tasks end."""
        for name in names:
            (self.stack.folder / f"{name}.go").touch()

    def pids(self, what: str, name: str) -> list[int]:
        """Return the pids of the processes that started or ended a task."""
        path: Path = self.stack.folder / "notes"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        rows = [line.split() for line in lines]
        return [int(row[2]) for row in rows if row[:2] == [what, name]]

    def starts(self, *names: str) -> list[int]:
        """Return how often each task was started."""
        return [len(self.pids("start", name)) for name in names]

    def wait_started(self, *names: str, times: int = 1, seconds: float = PATIENCE) -> None:
        """Wait until each task was started so often."""
        wait_until(
            lambda: min(self.starts(*names)) >= times,
            f"{names} started {times} times",
            seconds=seconds,
        )

    def wait_held(self, count: int) -> None:
        """Wait until workers hold so many messages."""
        wait_until(lambda: self.broker.hlen("unacked") == count, f"{count} messages are held")

    def waiting(self) -> Counter[str]:
        """Return how many messages wait in each queue."""
        return Counter({queue: self.broker.llen(queue) for queue in ("high", "default", "low")})
