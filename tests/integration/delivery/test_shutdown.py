"""What each signal does to a worker, in either pool."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support.apps import send
from support.ledgers import OCCURRENCE, new_run
from support.polling import wait_until
from support.probes import Probes
from support.stack import Process

from bionewsbot.delivery.shutdown import HAND_BACK_SECONDS
from bionewsbot.names import KEY_PREFIX
from bionewsbot.runs.model import JOB, Message

ENDLESS = 3600
"""A grace period in seconds that no test lives to see the end of."""

SHORT = HAND_BACK_SECONDS + 1
"""One that leaves its tasks a second."""

BUSY_MACHINE = 5
"""Seconds that a busy machine may add: far fewer than a stop that waits for Redis takes."""

STOPS = pytest.mark.parametrize(
    ("pool", "number"), [("threads", signal.SIGTERM), ("processes", signal.SIGINT)]
)


def busy_worker(probes: Probes, pool: str, grace: int) -> Process:
    """Start a worker that runs `short` and `long`, with `later` waiting for its countdown."""
    worker = probes.worker("first", "-P", pool, "-c", "2", WORKER_GRACE_SECONDS=str(grace))
    probes.send("later", "high", countdown=600)
    probes.wait_held(1)
    probes.send("short")
    probes.send("long")
    probes.wait_started("short", "long")
    probes.wait_held(3)
    return worker


@STOPS
def test_a_told_worker_finishes_what_it_runs(probes: Probes, pool: str, number: int) -> None:
    """What waits is free at once, while the tasks run on and end; nothing new is begun."""
    worker = busy_worker(probes, pool, ENDLESS)
    worker.signal(number)
    wait_until(lambda: probes.waiting()["high"] == 1, "`later` is given back")
    probes.send("new")
    probes.release("short")
    wait_until(lambda: probes.broker.hlen("unacked") == 1, "`short` is acknowledged meanwhile")
    assert worker.running
    probes.release("long")
    assert worker.wait() == 0
    assert probes.waiting() == {"high": 1, "default": 1, "low": 0}
    assert probes.broker.hlen("unacked") == 0
    assert probes.starts("short", "long", "later", "new") == [1, 1, 0, 0]
    assert len(probes.pids("end", "short")) == len(probes.pids("end", "long")) == 1


@STOPS
def test_what_outlasts_the_grace_period_is_given_back(
    probes: Probes, pool: str, number: int
) -> None:
    """The worker ends all the same, and another one does the work."""
    worker = busy_worker(probes, pool, SHORT)
    worker.signal(number)
    assert worker.wait() == 0
    assert probes.waiting() == {"high": 1, "default": 2, "low": 0}
    assert probes.broker.hlen("unacked") == 0
    assert not probes.pids("end", "long")
    probes.worker("second")
    probes.wait_started("short", "long", times=2)
    probes.release("short", "long")
    probes.wait_held(1)


@pytest.mark.parametrize(
    ("pool", "numbers"),
    [
        ("threads", (signal.SIGQUIT,)),
        ("processes", (signal.SIGQUIT,)),
        ("threads", (signal.SIGTERM, signal.SIGTERM)),
    ],
)
def test_an_impatient_signal_gives_back_at_once(
    probes: Probes, pool: str, numbers: tuple[int, ...]
) -> None:
    """SIGQUIT, or a second signal, ends the grace period; nothing is lost."""
    worker = busy_worker(probes, pool, ENDLESS)
    for count, number in enumerate(numbers, start=1):
        worker.signal(number)
        wait_until(lambda: len(worker.events("worker_stopping")) == count, "it was heard")
    assert worker.wait() == 0
    assert probes.waiting() == {"high": 1, "default": 2, "low": 0}
    assert probes.broker.hlen("unacked") == 0


def test_an_idle_worker_stops_at_once(probes: Probes) -> None:
    """There is nothing to wait for, whatever the grace period."""
    worker = probes.worker("idle", WORKER_GRACE_SECONDS=str(ENDLESS))
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_worker_stops_while_redis_is_away(probes: Probes) -> None:
    """Its event loop doesn't run then; what it held goes back when its lease runs out."""
    worker = busy_worker(probes, "threads", SHORT)
    probes.stack.server.stop()
    wait_until(lambda: "Trying again" in worker.log.read_text(encoding="utf-8"), "it reconnects")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    probes.stack.server.start()
    assert probes.broker.hlen("unacked") + probes.waiting().total() == 3


@pytest.mark.parametrize("pool", ["threads", "processes"])
@pytest.mark.parametrize("moment", ["busy", "idle"])
def test_a_worker_stops_in_time_while_redis_is_frozen(
    probes: Probes, pool: str, moment: str
) -> None:
    """Its supervisor need not kill it: each command waits for Redis, and their sum doesn't count.

    What it held goes back when its lease runs out.
    """
    if moment == "busy":
        worker = busy_worker(probes, pool, SHORT)
    else:
        worker = probes.worker("first", "-P", pool, "-c", "2", WORKER_GRACE_SECONDS=str(SHORT))
    children = worker.children()
    server = probes.stack.server
    server.freeze()
    try:
        worker.signal(signal.SIGTERM)
        told = time.monotonic()
        assert worker.wait() == 0
        assert time.monotonic() - told < SHORT + BUSY_MACHINE
        wait_until(lambda: not any(map(is_there, children)), "its children have ended")
    finally:
        server.thaw()
    assert probes.broker.hlen("unacked") + probes.waiting().total() == (
        3 if moment == "busy" else 0
    )


def is_there(pid: int) -> bool:
    """Return whether there is such a process."""
    return Path(f"/proc/{pid}").exists()


def item(probes: Probes) -> dict[str, Any]:
    """Return the job's item as it stands in the ledger."""
    with probes.stack.server.client(1) as redis:
        return dict(json.loads(str(redis.hget(f"{KEY_PREFIX}items:{OCCURRENCE.run_id}", JOB))))


def begun_job(probes: Probes, *options: str, task: str = "probe.job", **env: str) -> Process:
    """Start a worker that has begun the job `work` of a run."""
    ledger = probes.stack.ledger
    opening = ledger.open(new_run(job=Message(JOB, task, "default", {"name": "work"})))
    assert opening.to_send is not None
    ledger.sent([(opening.to_send, send(probes.app, opening.to_send, opening.new.job))])
    worker = probes.worker("first", *options, WORKER_GRACE_SECONDS=str(SHORT), **env)
    probes.wait_started("work")
    return worker


@STOPS
def test_what_is_given_back_is_no_death(probes: Probes, pool: str, number: int) -> None:
    """The ledger knows that nobody is at the item; the next worker begins the same message."""
    worker = begun_job(probes, "-P", pool)
    worker.signal(number)
    assert worker.wait() == 0
    before = item(probes)
    assert (before["alive"], before["starts"]) == (False, 1)
    probes.worker("second")
    probes.wait_started("work", times=2)
    probes.release("work")
    assert probes.stack.wait_for_end(OCCURRENCE.run_id).status == "succeeded"
    after = item(probes)
    assert (after["task_id"], after["starts"]) == (before["task_id"], 2)
    assert "deaths" not in after


def test_what_the_ledger_cant_take_is_given_back_all_the_same(probes: Probes) -> None:
    """Its log says so, and the worker ends in order."""
    worker = begun_job(probes)
    with probes.stack.server.client(1) as redis:
        redis.set(f"{KEY_PREFIX}items:{OCCURRENCE.run_id}", "no hash")
    worker.signal(signal.SIGQUIT)
    assert worker.wait() == 0
    assert worker.events("items_not_let_go")
    assert probes.waiting()["default"] == 1


def test_what_brings_a_worker_out_of_bounds_is_a_death(probes: Probes) -> None:
    """Else it would stop one worker after the other, for ever."""
    worker = begun_job(probes, task="probe.hoard", WORKER_MAX_MEMORY_MB="300")
    assert worker.wait() == 0
    assert worker.events("worker_out_of_bounds")
    probes.worker("second")
    probes.wait_started("work", times=2)
    assert item(probes)["deaths"] == 1
    probes.release("work")
    assert probes.stack.wait_for_end(OCCURRENCE.run_id).status == "succeeded"
