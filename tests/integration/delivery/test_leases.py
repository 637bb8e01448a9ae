"""What a live worker holds stays its own, what a dead one held runs again.

That it does so within 15 s follows from the settings (tests/unit/test_celeryconfig.py).
"""

import os
import signal
import time

import pytest
from celery import Celery
from celery.worker import state
from support.apps import Lines, send
from support.ledgers import OCCURRENCE, new_run
from support.polling import wait_until
from support.probes import Probes
from support.redis_server import RedisServer
from support.stack import Stack

from bionewsbot.celeryconfig import VISIBILITY_SECONDS
from bionewsbot.delivery.leases import Leases
from bionewsbot.names import DAILY_COMPANY_ANALYSIS
from bionewsbot.runs.model import JOB, Message

POOLS = {"high": "threads", "low": "processes"}
"""One worker of each pool, on a queue of its own. `-P prefork` would give the configured pool."""


def test_the_living_keep_and_the_dead_give_back(probes: Probes) -> None:
    """In either pool: longer than the visibility time-out in live workers, and once; then a death.

    What a live worker runs or holds for its countdown is not delivered twice. What a worker killed
    with SIGKILL ran or held is.
    """
    workers = [probes.worker(pool, "-P", pool, "-Q", queue) for queue, pool in POOLS.items()]
    running = [f"long-{pool}" for pool in POOLS.values()]
    later = [f"later-{pool}" for pool in POOLS.values()]
    last = [f"last-{pool}" for pool in POOLS.values()]
    for queue, pool in POOLS.items():
        probes.send(f"long-{pool}", queue)
        probes.send(f"later-{pool}", queue, countdown=VISIBILITY_SECONDS + 3)
        probes.send(f"last-{pool}", queue, countdown=VISIBILITY_SECONDS + 20)
    probes.wait_held(6)
    probes.release(*later)
    # The countdowns end after the time-out and a sweep: the tasks' messages have outlived it, too.
    probes.wait_started(*later)
    probes.wait_held(4)
    assert probes.starts(*running, *later) == [1, 1, 1, 1]
    for worker in workers:
        worker.kill_all()
    probes.worker("heir")
    probes.wait_started(*running, times=2)
    probes.wait_started(*last)
    probes.release(*running, *last)
    probes.wait_held(0)
    assert probes.starts(*running, *last) == [2, 2, 1, 1]


def test_what_a_killed_child_held_runs_again_at_once(probes: Probes) -> None:
    """The worker sees its child's death and puts the message back itself: it lives, and so renews
    the leases of all that it holds."""
    worker = probes.worker("processes", "-P", "processes", "-c", "1")
    probes.send("long")
    probes.wait_started("long")
    os.kill(probes.pids("start", "long")[0], signal.SIGKILL)
    probes.wait_started("long", times=2)
    assert worker.running
    probes.release("long")
    probes.wait_held(0)


def test_a_frozen_workers_second_delivery_is_dropped(probes: Probes, stack: Stack) -> None:
    """Ledger and broker both bring it back; it counts once, also when the frozen one goes on."""
    frozen = probes.worker("frozen", "-Q", "high")
    message = Message(JOB, "probe.job", "high", {"name": "job"})
    address = stack.ledger.open(new_run(job=message)).to_send
    assert address is not None
    stack.ledger.sent([(address, send(probes.app, address, message))])
    probes.wait_started("job")
    frozen.freeze()
    heir = probes.worker("heir", "-Q", "high")
    # The ledger's lease is the shorter one: its reconciler sends the job under a new task id.
    probes.wait_started("job", times=2)
    probes.release("job")
    run = stack.wait_for_end(OCCURRENCE.run_id)
    # Then the visibility time-out brings the frozen worker's message as well.
    wait_until(lambda: heir.events("task_dropped"), "the second delivery is dropped")
    assert heir.events("task_dropped")[0]["why"] == "done"
    frozen.thaw()
    wait_until(lambda: len(probes.pids("end", "job")) == 2, "the frozen task ends, too")
    probes.wait_held(0)
    assert (run.status, run.totals) == ("succeeded", {"probes": 1})
    assert stack.ledger.get(OCCURRENCE.run_id).totals == {"probes": 1}


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_a_task_may_run_for_as_long_as_its_own_limit_says(
    probes: Probes, stack: Stack, pool: str
) -> None:
    """Far beyond CELERY_TASK_TIME_LIMIT it is neither killed, nor sent again, nor given back."""
    limits = {"CELERY_TASK_SOFT_TIME_LIMIT": "1", "CELERY_TASK_TIME_LIMIT": "2"}
    worker = probes.worker("patient", "-P", pool, "-Q", "high", **limits)
    message = Message(JOB, "probe.long", "high", {"name": "long"})
    address = stack.ledger.open(new_run(job=message)).to_send
    assert address is not None
    stack.ledger.sent([(address, send(probes.app, address, message))])
    probes.wait_started("long")
    begun = stack.ledger.items(OCCURRENCE.run_id)[0].begun_at
    assert begun is not None
    wait_until(
        lambda: stack.ledger.now() > begun + VISIBILITY_SECONDS + 4,
        "every lease has run out that wasn't renewed",
        seconds=60,
    )
    probes.release("long")
    run = stack.wait_for_end(OCCURRENCE.run_id)
    (item,) = stack.ledger.items(OCCURRENCE.run_id)
    assert (run.status, item.sends, probes.starts("long")) == ("succeeded", 1, [1])
    assert worker.running and not worker.events("task_dropped")


def test_a_reconnect_loses_sight_of_nothing(probes: Probes) -> None:
    """What runs goes on and starts no second time, what waited is carried out, nothing stays."""
    worker = probes.worker("only")
    probes.send("long")
    probes.send("later", countdown=6)
    probes.wait_started("long")
    probes.wait_held(2)
    probes.broker.execute_command("CLIENT", "KILL", "TYPE", "normal")
    wait_until(
        lambda: worker.log.read_text(encoding="utf-8").count("Connected to redis") == 2,
        "the worker is connected again",
    )
    probes.stack.server.kill()
    probes.stack.server.start()
    probes.release("later")
    probes.wait_started("later")
    probes.release("long")
    probes.wait_held(0)
    assert probes.waiting().total() == 0
    assert probes.starts("long", "later") == [1, 1]
    assert worker.running


def test_a_failing_renewal_is_said_once(
    app: Celery, clean_redis: RedisServer, log_lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One warning however long Redis is away, one line when it is back; then leases are renewed."""
    request = type("Request", (), {"acknowledged": False, "time_start": None})()
    request.time_limits, request.task = (None, None), app.tasks[DAILY_COMPANY_ANALYSIS]
    request.message = type("Message", (), {"delivery_tag": "tag"})()
    monkeypatch.setattr(state, "active_requests", {request})
    leases = Leases(app)
    with clean_redis.client(2) as broker:
        broker.zadd("unacked_index", {"tag": 1})
    clean_redis.stop()
    assert [leases.renew(), leases.renew()] == [False, False]
    clean_redis.start()
    assert [leases.renew(), leases.renew()] == [True, True]
    leases.close()
    with clean_redis.client(2) as broker:
        assert broker.zscore("unacked_index", "tag") == pytest.approx(time.time(), abs=60)
    events = [line["event"] for line in log_lines() if line["event"].startswith("lease_")]
    assert events == ["lease_renewal_failed", "lease_renewal_resumed"]
