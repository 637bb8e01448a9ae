"""A worker's events: few publications, and none is lost when it stops."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from celery import Celery
from support.polling import wait_until
from support.probes import Probes

MESSAGES = 200


@contextmanager
def listening(app: Celery) -> Iterator[list[dict[str, Any]]]:
    """Collect what workers say inside the `with` block, as Flower does."""
    heard: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": heard.append})

        def listen() -> None:
            receiver.capture(limit=None, timeout=None, wakeup=False)

        thread = Thread(target=listen, daemon=True)
        thread.start()
        channel = connection.default_channel
        wait_until(lambda: channel.client.pubsub_numpat() > 0, "somebody listens")
        try:
            yield heard
        finally:
            receiver.should_stop = True
            thread.join(timeout=20)


def of_kind(heard: list[dict[str, Any]], kind: str) -> int:
    """Return how many events of a kind were heard."""
    return sum(event["type"] == kind for event in heard)


def publications(probes: Probes) -> int:
    """Return how many messages were published on the server since its start."""
    stats = probes.broker.info("commandstats")
    return int(stats.get("cmdstat_publish", {"calls": 0})["calls"])


def test_events_share_publications(app: Celery, probes: Probes) -> None:
    """Each task's three events arrive, with fewer publications than there are tasks."""
    with listening(app) as heard:
        before = publications(probes)
        probes.release("quick")
        for _ in range(MESSAGES):
            probes.send("quick")
        worker = probes.worker("w")
        wait_until(
            lambda: of_kind(heard, "task-succeeded") == MESSAGES, "all events arrive", seconds=60
        )
        assert of_kind(heard, "task-received") == of_kind(heard, "task-started") == MESSAGES
        assert publications(probes) - before < MESSAGES
        assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_last_events_are_sent_at_the_end(app: Celery, probes: Probes, pool: str) -> None:
    """The end of a task that a stopping worker waits for is heard."""
    with listening(app) as heard:
        worker = probes.worker("w", "-P", pool)
        probes.send("last")
        probes.wait_started("last")
        worker.signal(15)
        wait_until(lambda: worker.events("worker_stopping"), "the worker stops")
        probes.release("last")
        assert worker.wait(60) == 0
        wait_until(lambda: of_kind(heard, "task-succeeded") == 1, "the end is heard")
