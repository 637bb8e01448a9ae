"""A scheduler of the benchmark on its stage: a Redis server, a folder and processes of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stage import HERE, BaseStage, celery, open_stage
from support.polling import wait_until
from support.redis_server import RedisServer

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
        return celery(self.module, "beat")


OURS = Peer("BioNewsBot", "scheduler_ours", "scheduler_ours")
REDBEAT = Peer("plain RedBeat", "scheduler_plain", "scheduler_plain")
APSCHEDULER = Peer("APScheduler 3", "scheduler_apscheduler", "scheduler_plain")
PEERS = (OURS, REDBEAT, APSCHEDULER)


class Stage(BaseStage):
    """Runs a peer's processes on a server; none of them outlives the stage."""

    def __init__(self, peer: Peer, server: RedisServer, folder: Path, every_second: bool) -> None:
        super().__init__(peer.name, server, folder)
        self.peer = peer
        self.every_second = every_second

    def beat(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start the scheduler."""
        return self.start([*self.peer.beat, *arguments], **env)

    def worker(self) -> subprocess.Popen[str]:
        """Start a worker of four threads, the pool that ours ships with."""
        return self.start(celery(self.peer.worker, "worker", "-P", "threads", "-c", "4"))

    def ticks(self, *arguments: object) -> subprocess.Popen[str]:
        """Start a measurement of scheduler_ticks.py."""
        command = [sys.executable, str(HERE / "scheduler_ticks.py"), self.peer.module]
        command += [str(argument) for argument in arguments]
        return self.start(command, stdout=subprocess.PIPE)

    def measure(self, *arguments: object) -> Any:
        """Make such a measurement and return its result."""
        child = self.ticks(*arguments)
        output, _ = child.communicate()
        if child.returncode:
            self.give_up(child)
        return json.loads(output) if output else None

    def env(self) -> dict[str, str]:
        """Return what each process is told."""
        return {**super().env(), "EVERY_SECOND": "1" if self.every_second else ""}


@contextmanager
def on_stage(peer: Peer, *, every_second: bool) -> Iterator[Stage]:
    """Put a peer on a stage, with an entry due every second or with none that comes due."""
    with open_stage(lambda server, folder: Stage(peer, server, folder, every_second)) as stage:
        schedule = EVERY_SECOND if every_second else ALMOST_NEVER
        text = TIMETABLE.format(schedule=schedule)
        (stage.folder / "beat_schedule.py").write_text(text, encoding="utf-8")
        yield stage


def wait_for_rewrite(server: RedisServer) -> None:
    """Return when the server isn't writing its append-only file anew."""
    with server.client() as client:
        wait_until(
            lambda: not client.info("persistence")["aof_rewrite_in_progress"],
            "the append-only file is rewritten",
            seconds=60,
        )
