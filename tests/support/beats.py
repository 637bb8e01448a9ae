"""Real beats on a Redis of their own, and what the ledger says after all that befell them."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis, RedisError
from support.polling import PATIENCE, wait_until
from support.redis_server import RedisServer
from support.stack import Process, Stack

from bionewsbot.runs.ledger import Verdict
from bionewsbot.runs.model import Address

TIMETABLE = """
from celery.schedules import schedule

beat_schedule = {
    "every": {
        "task": "bionewsbot.hourly_quick_scan",
        "schedule": schedule(1),
        "options": {"queue": "high"},
        "catch_up": "all",
        "overlap": "allow",
    },
    "latest": {
        "task": "bionewsbot.hourly_quick_scan",
        "schedule": schedule(1),
        "options": {"queue": "low"},
        "overlap": "allow",
    },
}
"""
"""Two entries that are due every second."""

PAGE = 1000


@dataclass(frozen=True)
class Start:
    """One run as the ledger has it. Times are epoch seconds."""

    run_id: str
    scheduled_at: int
    opened_at: float
    status: str
    reason: str | None


class Beats:
    """A Redis of their own and beats that a test starts, kills and freezes by name."""

    def __init__(self, folder: Path) -> None:
        self.server = RedisServer(folder)
        self.server.start()
        self.stack = Stack(self.server, folder)
        self._beats: dict[str, Process] = {}
        self.redis: "Redis" = self.server.client(1)
        self.timetable(TIMETABLE)

    def timetable(self, text: str) -> None:
        """Write the timetable that beats read when they start."""
        (self.stack.folder / "beat_schedule.py").write_text(text, encoding="utf-8")

    def start(self, name: str) -> Process:
        """Start a beat as a user does, and wait until it has looked at the schedule."""
        process = self.stack.start(name, "-m", "celery", "-q", "-A", "bionewsbot", "beat")
        self._beats[name] = process
        wait_until(lambda: self._looked(process), f"{name} has looked")
        return process

    def holder(self) -> tuple[str, Process]:
        """Return the beat that leads, and its name, once there is one."""
        return wait_until(self._holder, "a beat leads")

    def standby(self) -> tuple[str, Process]:
        """Return a beat that doesn't lead, and its name."""
        leader, _ = self.holder()
        return next(item for item in self._beats.items() if item[0] != leader)

    def starts(self, entry: str) -> list[Start]:
        """Return all that the ledger has of an entry, the oldest occurrence first."""
        found: list[Start] = []
        index = self.redis.zrange(f"bionewsbot:index:{entry}", 0, -1, withscores=True)
        for first in range(0, len(index), PAGE):
            page = index[first : first + PAGE]
            with self.redis.pipeline(transaction=False) as pipe:
                for run_id, _ in page:
                    pipe.hmget(f"bionewsbot:run:{run_id}", "opened_at", "status", "reason")
                rows = pipe.execute()
            for (run_id, at), (opened_at, status, reason) in zip(page, rows, strict=True):
                found.append(Start(run_id, int(at), float(opened_at), status, reason))
        return found

    def count(self, entry: str) -> int:
        """Return how many occurrences of an entry the ledger has."""
        try:
            return int(self.redis.zcard(f"bionewsbot:index:{entry}"))
        except RedisError:
            return 0

    def goes_on(self, entry: str = "every", *, more: int = 2, seconds: float = PATIENCE) -> None:
        """Wait until the ledger has more of an entry than now."""
        before = self.count(entry)
        wait_until(
            lambda: self.count(entry) >= before + more,
            f"{entry} goes on after {before} occurrences",
            seconds=seconds,
        )

    def close(self) -> None:
        """End all of it."""
        self.stack.close()
        self.redis.close()
        self.server.stop()

    def _looked(self, process: Process) -> bool:
        assert process.running, process.log.read_text(encoding="utf-8")[-3000:]
        names = {"beat_leads", "beat_stands_by"}
        pid = f":{process.pid}:"
        return any(
            line["event"] in names and pid in line.get("beat", "") for line in process.lines()
        )

    def _holder(self) -> tuple[str, Process] | None:
        try:
            text = str(self.redis.get("redbeat::lock"))
        except RedisError:
            return None
        for name, process in self._beats.items():
            if process.running and f":{process.pid}:" in text:
                return name, process
        return None


def chaos(beats: Beats, *, kills: int, freezes: int, restarts: int) -> None:
    """Have two beats killed, frozen and cut off from Redis, in turns, and end them."""
    for name in ("one", "two"):
        beats.start(name)
    todo = Counter(kill=kills, restart=restarts, freeze=freezes)
    while +todo:
        for what in list(+todo):
            todo[what] -= 1
            {"kill": _kill, "freeze": _freeze, "restart": _restart}[what](beats)
            beats.goes_on()
    beats.goes_on("latest")


def _kill(beats: Beats) -> None:
    name, process = beats.holder()
    process.kill()
    beats.start(name)


def _freeze(beats: Beats) -> None:
    name, process = beats.holder()
    process.freeze()
    try:
        wait_until(lambda: (beats._holder() or (name,))[0] != name, "another leads")
        beats.goes_on()
    finally:
        process.thaw()


def _restart(beats: Beats) -> None:
    beats.server.kill()
    # Past the lock's life, and longer than one look.
    down_until = time.monotonic() + 4
    wait_until(lambda: time.monotonic() > down_until, "Redis has been away")
    beats.server.start()


def assert_nothing_lost(beats: Beats) -> None:
    """End the beats and check what the ledger and the queues have of both entries."""
    for _, process in list(beats._beats.items()):
        assert process.running
        assert process.stop() == 0
    every, latest = beats.starts("every"), beats.starts("latest")
    assert_every_second_once(every)
    assert_all_on_record(latest)
    assert_messages_start_each_once(beats, "high", every)
    assert_messages_start_each_once(beats, "low", latest)


def assert_every_second_once(starts: list[Start]) -> None:
    """Each second from the first to the last has one run, and each of them was started."""
    seconds = [one.scheduled_at for one in starts]
    assert seconds == list(range(seconds[0], seconds[-1] + 1))
    assert Counter(one.status for one in starts) == {"running": len(starts)}


def assert_all_on_record(starts: list[Start]) -> None:
    """No second has two runs; each was started or missed; a missed one that stands for many
    says so."""
    seconds = [one.scheduled_at for one in starts]
    assert len(seconds) == len(set(seconds))
    assert {one.status for one in starts} <= {"running", "missed"}
    assert all((one.reason is None) == (one.status == "running") for one in starts)
    assert seconds == list(range(seconds[0], seconds[-1] + 1))


def assert_messages_start_each_once(beats: Beats, queue: str, starts: list[Start]) -> None:
    """What waits in the queue starts each run once, however many messages of it there are."""
    ledger = beats.stack.ledger
    with beats.server.client(2) as broker:
        messages = [json.loads(text)["headers"] for text in broker.lrange(queue, 0, -1)]
    begun: Counter[str] = Counter()
    for headers in messages:
        address = Address.from_headers(headers)
        if ledger.begin(address, task_id=headers["id"], worker="a worker") is Verdict.GO:
            begun[address.run_id] += 1
            ledger.finish(address, {})
    assert begun == Counter(one.run_id for one in starts if one.status == "running")


@pytest.fixture
def beats(tmp_path: Path) -> Iterator[Beats]:
    """A Redis of the test's own, a timetable and no beat yet."""
    beats = Beats(tmp_path)
    yield beats
    beats.close()
