"""What each signal does to a worker, in either pool."""

import signal

import pytest
from support.polling import wait_until
from support.probes import Probes
from support.stack import Process

from bionewsbot.delivery.shutdown import HAND_BACK_SECONDS

ENDLESS = 3600
"""A grace period in seconds that no test lives to see the end of."""

SHORT = HAND_BACK_SECONDS + 1
"""One that leaves its tasks a second."""

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
