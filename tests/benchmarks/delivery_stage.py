"""The task queues of the delivery benchmark, and the stage on which one of them works."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import delivery_notes
from delivery_notes import Note
from stage import HERE, BaseStage, celery, open_stage
from support.polling import wait_until
from support.redis_server import RedisServer

SLOTS = 4
"""Tasks at a time of one worker: what ours ships with."""

BROKER_DB = 2

QUEUES = ("high", "default", "low")

LIMIT_SECONDS = 300
"""Longest wait for anything: far beyond what any of it takes."""


Commands = Callable[[str, int, str], list[list[str]]]
"""Makes, of a module, a number of workers and a broker's URL, the commands that start them."""


@dataclass(frozen=True)
class Peer:
    """One of the task queues that are compared, with its defaults."""

    name: str
    module: str
    commands: Commands
    env: dict[str, str] = field(default_factory=dict, hash=False)
    slow: bool = False
    """Whether it gets a tenth of the no-op tasks."""


def _ours(module: str, workers: int, url: str) -> list[list[str]]:
    """Return one worker for all queues, or this one and one for `high`, as they are shipped."""
    both = [
        celery(module, "worker", "-n", "all@%h", "-Q", ",".join(QUEUES)),
        celery(module, "worker", "-n", "high@%h", "-Q", "high"),
    ]
    return both[:workers]


def _plain(module: str, workers: int, url: str) -> list[list[str]]:
    return [celery(module, "worker", "-c", str(SLOTS * workers), "-Q", ",".join(QUEUES))]


def _dramatiq(module: str, workers: int, url: str) -> list[list[str]]:
    # Two processes by its default: one a core.
    threads = str(SLOTS * workers // 2)
    command = [sys.executable, "-m", "dramatiq", module]
    return [[*command, "--processes", "2", "--threads", threads]]


def _rq(module: str, workers: int, url: str) -> list[list[str]]:
    command = [sys.executable, "-m", "rq.cli", "worker-pool", "--quiet", "-u", url]
    return [[*command, "-n", str(SLOTS * workers), *QUEUES]]


OURS = Peer("BioNewsBot", "delivery_ours", _ours)
BARE = Peer("BioNewsBot, no run", "delivery_ours_bare", _ours)
PLAIN = Peer("plain Celery", "delivery_plain", _plain)
RENEWED_BY_NOBODY = Peer("plain Celery, late, 12 s", "delivery_plain", _plain, {"LATE": "1"})
DRAMATIQ = Peer("Dramatiq", "delivery_dramatiq", _dramatiq)
RQ = Peer("RQ", "delivery_rq", _rq, slow=True)
PEERS = (OURS, BARE, PLAIN, DRAMATIQ, RQ)


class Stage(BaseStage):
    """Runs a peer's workers and senders on a server; none of them outlives the stage."""

    def __init__(self, peer: Peer, server: RedisServer, folder: Path) -> None:
        super().__init__(peer.name, server, folder)
        self.peer = peer
        self.notes_file = folder / "notes"

    def work(self, count: int = 1) -> list[subprocess.Popen[str]]:
        """Start workers that carry out `count` times SLOTS tasks at a time."""
        commands = self.peer.commands(self.peer.module, count, self.server.url(BROKER_DB))
        return [self.start(command) for command in commands]

    def send(self, queue: str, label: str, count: int, seconds: float, every: float = 0.0) -> None:
        """Send messages whose tasks take `seconds`, all at once or one `every` seconds."""
        command = [sys.executable, str(HERE / "delivery_sender.py"), self.peer.module, queue, label]
        child = self.start([*command, str(count), str(seconds), *([str(every)] if every else [])])
        if child.wait(timeout=LIMIT_SECONDS):
            self.give_up(child)

    def notes(self, what: str, label: str) -> list[Note]:
        """Return the notes of the messages whose labels begin with `label`."""
        found = delivery_notes.read(self.notes_file)
        return [note for note in found if note.what == what and note.label.startswith(label)]

    def wait_for(self, what: str, label: str, count: int, seconds: float = LIMIT_SECONDS) -> None:
        """Return when there are so many of these notes."""
        line = f"{what} {label}".encode("ascii")

        def there() -> bool:
            path = self.notes_file
            return path.exists() and path.read_bytes().count(line) >= count

        wait_until(there, f"{self.name}: {count} times {what} {label}", seconds=seconds)

    def reads(self) -> int:
        """Return how many requests the server has read: one a round trip."""
        with self.server.client() as client:
            return int(client.info("stats")["total_reads_processed"])

    def end(self, child: subprocess.Popen[str]) -> None:
        """Kill a process with all that it started, as the end of its machine would."""
        tree = [child.pid, *_descendants(child.pid)]
        for pid in tree:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.wait()

    def env(self) -> dict[str, str]:
        """Return what each process is told."""
        return {
            **super().env(),
            "BROKER": self.server.url(BROKER_DB),
            "NOTES": str(self.notes_file),
            "CELERY_WORKER_CONCURRENCY": str(SLOTS),
            **self.peer.env,
        }


@contextmanager
def on_stage(peer: Peer) -> Iterator[Stage]:
    """Put a peer on a stage."""
    with open_stage(lambda server, folder: Stage(peer, server, folder)) as stage:
        yield stage


def _descendants(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        # A thread or a process may have ended since it was listed.
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in path.read_text(encoding="ascii").split():
                found += [int(child), *_descendants(int(child))]
    return found
