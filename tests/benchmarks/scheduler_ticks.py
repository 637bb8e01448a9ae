"""What the scheduler benchmark measures inside a process of its own, on the server of REDIS_PORT.

    python scheduler_ticks.py MODULE load FIRST STOP
    python scheduler_ticks.py MODULE due COUNT
    python scheduler_ticks.py MODULE ticks COUNT ROUNDS
    python scheduler_ticks.py MODULE burst FIRST COUNT LEAD_MS

MODULE is the scheduler's: scheduler_ours, scheduler_plain or scheduler_apscheduler. The result is
one line of JSON.
"""

import json
import random
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import scheduler_data as data
from celery.schedules import crontab
from celery.schedules import schedule as interval
from redis.connection import AbstractConnection

PREPARE_SECONDS = 0.5
"""How long before the burst the scheduler is started: less than the life of a lock."""


@contextmanager
def requests_counted() -> Iterator[list[None]]:
    """Collect one element for each request that a Redis connection of this process sends.

    A single command, a script and a whole pipeline are one request each: what is sent before an
    answer is waited for. Schedule and broker count alike.
    """
    requests: list[None] = []
    original = AbstractConnection.send_packed_command

    def send(self: Any, *args: Any, **options: Any) -> Any:
        requests.append(None)
        return original(self, *args, **options)

    AbstractConnection.send_packed_command = send
    try:
        yield requests
    finally:
        AbstractConnection.send_packed_command = original


def make_due(peer: Any, count: int) -> None:
    """Make the first entries due, by an interval that they didn't have before.

    An occurrence is named after its time and ours sends it once, so each round needs its own.
    """
    seconds = 10**8 + random.randrange(10**7)
    peer.make_due(range(count), interval(seconds), datetime.now(UTC) - timedelta(seconds=seconds))


def measure_ticks(peer: Any, count: int, rounds: int) -> dict[str, float]:
    """Return round trips and seconds of a tick with nothing due, and of one with `count` due.

    The latter lasts until everything is sent and the scheduler wants to sleep. Medians; the first
    round, which connects, is left out.
    """
    peer.start()
    before = data.waiting(data.QUEUE)
    rows = []
    with requests_counted() as requests:
        for done in range(1, rounds + 2):
            make_due(peer, count)
            busy = _spent(requests, lambda done=done: _work_off(peer, done * count))
            idle = _spent(requests, peer.tick)
            rows.append((*busy, *idle))
            sent = data.waiting(data.QUEUE) - before
            if sent != done * count:
                raise SystemExit(f"{sent} messages were sent instead of {done * count}")
    peer.close()
    names = ("due_trips", "due_seconds", "idle_trips", "idle_seconds")
    columns = zip(*rows[1:], strict=True)
    return {name: statistics.median(column) for name, column in zip(names, columns, strict=True)}


def _work_off(peer: Any, sent: int) -> None:
    while peer.tick() <= 0:
        pass
    peer.settle(sent)


def _spent(requests: list[None], work: Any) -> tuple[int, float]:
    before, started = len(requests), time.perf_counter()
    work()
    return len(requests) - before, time.perf_counter() - started


def burst(peer: Any, first: int, count: int, lead_ms: int) -> None:
    """Make `count` entries due in the same second and send them; print when that begins.

    An unrelated entry comes due `lead_ms` later.
    """
    lead = lead_ms / 1000
    now = datetime.now(UTC)
    minute = crontab(minute=str(now.minute))
    peer.make_due(range(first, first + count), minute, now - timedelta(minutes=30))
    every = data.UNRELATED_SECONDS
    data.client(data.BROKER_DB).delete(data.UNRELATED_QUEUE)
    due = (int(time.time() + lead + PREPARE_SECONDS) // every + 1) * every
    peer.add_unrelated(due)
    _sleep_until(due - lead - PREPARE_SECONDS)
    peer.start()
    before, start = data.waiting(data.QUEUE), due - lead
    print(json.dumps({"before": before, "start": start, "unrelated_due": due}), flush=True)
    _sleep_until(start)
    while data.waiting(data.QUEUE) < before + count or not data.waiting(data.UNRELATED_QUEUE):
        wait = peer.tick()
        if wait > 0:
            time.sleep(min(wait, 1.0))
    peer.remove_unrelated()
    peer.close()


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def main() -> None:
    """Do what the arguments say."""
    module, what, *numbers = sys.argv[1:]
    peer = import_module(module).Peer()
    given = [int(number) for number in numbers]
    if what == "load":
        peer.load(*given)
    elif what == "due":
        make_due(peer, *given)
    elif what == "ticks":
        print(json.dumps(measure_ticks(peer, *given)))
    else:
        burst(peer, *given)


if __name__ == "__main__":
    main()
