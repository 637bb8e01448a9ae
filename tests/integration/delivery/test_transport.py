"""The broker's channels: one client for all commands, as long as it fits."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.worker import state
from kombu import Consumer, Message, Producer
from kombu.asynchronous import Hub, get_event_loop, set_event_loop
from kombu.transport import resolve_transport
from support.probes import Probes

from bionewsbot import names
from bionewsbot.delivery import transport
from bionewsbot.tasks.base import work_done


def test_channel_makes_one_client(app: Celery) -> None:
    """Two commands of a channel use the same client; its event loop has one of its own."""
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
            assert first.ping()
        assert channel.client is not first


def test_new_pool_new_client(app: Celery) -> None:
    """A channel that made a new pool after a lost connection doesn't go on with the old one."""
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        with channel.conn_or_acquire() as before:
            pass
        channel._disconnect_pools()
        with channel.conn_or_acquire() as after:
            assert after is not before
            assert after.connection_pool is channel.pool
            assert after.ping()


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("redis", transport.Transport),
        ("rediss", transport.Transport),
        ("sentinel", transport.SentinelTransport),
    ],
)
def test_urls_use_our_transports(app: Celery, scheme: str, expected: type) -> None:
    """An app of ours has them for each URL that the settings allow."""
    assert resolve_transport(scheme) is expected


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The event loop of a worker that holds no task yet."""
    before, hub = get_event_loop(), Hub()
    set_event_loop(hub)
    monkeypatch.setattr(state, "requests", {})
    yield hub
    hub.close()
    set_event_loop(before)


def test_the_next_message_is_taken_once_the_work_is_done(app: Celery, loop: Hub) -> None:
    """With prefetch 1 the second one comes before the first is acknowledged, the third doesn't."""
    taken: list[Message] = []
    with app.connection_for_write() as connection, connection.channel() as channel:
        queue = next(queue for queue in app.conf.task_queues if queue.name == names.QUEUE_LOW)
        consumer = Consumer(channel, [queue], accept=["json"], on_message=taken.append)
        consumer.qos(prefetch_count=1)
        producer = Producer(channel)
        for number in range(3):
            producer.publish(number, exchange=queue.exchange, routing_key=queue.name)
        with consumer:
            connection.drain_events(timeout=5)
            assert not channel.qos.can_consume()
            state.requests["task-1"] = SimpleNamespace(message=taken[0])

            work_done.send(sender=None, task_id="another worker's")
            loop.run_once()
            assert not channel.qos.can_consume()

            work_done.send(sender=None, task_id="task-1")
            loop.run_once()
            assert channel.qos.can_consume()
            connection.drain_events(timeout=5)
            assert [message.payload for message in taken] == [0, 1]
            assert not channel.qos.can_consume()

            taken[0].ack()
            assert not channel.qos.can_consume()
            taken[1].ack()
            assert channel.qos.can_consume()


def test_any_number_may_wait_for_their_countdown(probes: Probes) -> None:
    """They hold no other message back, and the worker has its prefetch limit beside them."""
    for number in range(1200):
        probes.send(f"later-{number}", "low", countdown=3600)
    probes.send("now", "low")
    worker = probes.worker("patient", "-Q", "low", "-c", "2")
    probes.wait_started("now")
    probes.wait_held(1201)
    assert worker.running
    stats = probes.app.control.inspect(timeout=30).stats()
    assert [each["prefetch_count"] for each in stats.values()] == [1202]
    probes.release("now")
