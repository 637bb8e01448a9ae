"""The broker's channels: one client for all commands; what is taken, and when."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker import state
from kombu import Consumer, Message, Producer
from kombu import transport as kombu_transport
from kombu.asynchronous import Hub, get_event_loop, set_event_loop
from kombu.transport import redis, resolve_transport
from redis.exceptions import OutOfMemoryError
from support.polling import wait_until
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


def test_a_url_that_was_used_before_is_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """kombu's own class may be in its cache by the time that an app of ours is made."""
    monkeypatch.setitem(kombu_transport._transport_cache, "redis", redis.Transport)
    transport.register()
    assert kombu_transport.get_transport_cls("redis") is transport.Transport


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


def notes_of(channel: Any) -> dict[str, Any]:
    """Return what the broker has noted as taken, by delivery tag."""
    with channel.conn_or_acquire() as client:
        rows = client.hgetall(channel.unacked_key)
        assert set(rows) == set(client.zrange(channel.unacked_index_key, 0, -1))
    return {tag.decode(): json.loads(note) for tag, note in rows.items()}


def test_taking_notes_what_kombu_would(app: Celery) -> None:
    """The first message is kombu's to take and to note; those that wait behind it have its form."""
    taken: list[Any] = []
    with app.connection_for_write() as connection, connection.channel() as channel:
        queues = [queue for queue in app.conf.task_queues if queue.name != names.QUEUE_DEFAULT]
        producer = Producer(channel)
        with Consumer(channel, queues, accept=["json"], on_message=taken.append):
            for queue in reversed(queues):
                for priority in (9, 0):
                    to = {"exchange": queue.exchange, "routing_key": queue.name}
                    says = {"says": "\N{GREEK SMALL LETTER ALPHA}/"}
                    producer.publish(says, priority=priority, **to)
            for _ in range(4):
                connection.drain_events(timeout=5)
        order = [(each.delivery_info["routing_key"], each.properties["priority"]) for each in taken]
        assert order == [("high", 0), ("low", 0), ("high", 9), ("low", 9)]
        assert channel.noted == taken[-1].delivery_tag
        expected = {
            message.delivery_tag: [
                message._raw,
                message.delivery_info["exchange"],
                message.delivery_info["routing_key"],
            ]
            for message in taken
        }
        assert notes_of(channel) == expected

        taken[2].reject(requeue=True)
        taken[3].ack()
        assert notes_of(channel).keys() == {message.delivery_tag for message in taken[:2]}
        with channel.conn_or_acquire() as client:
            put_back = json.loads(client.rpop(channel._q_for_pri("high", 9)))
        assert put_back["properties"]["delivery_tag"] == taken[2].delivery_tag


@pytest.fixture
def behind(app: Celery) -> Iterator[Any]:
    """A channel that has taken one message of two: it has not yet asked for the second."""
    taken: list[Message] = []
    with app.connection_for_write() as connection, connection.channel() as channel:
        queue = next(queue for queue in app.conf.task_queues if queue.name == names.QUEUE_LOW)
        producer = Producer(channel)
        with Consumer(channel, [queue], accept=["json"], on_message=taken.append):
            for number in range(2):
                producer.publish(number, exchange=queue.exchange, routing_key=queue.name)
            connection.drain_events(timeout=5)
            taken[0].ack()
            yield channel


def test_what_waits_is_noted_as_it_is_taken(behind: Any) -> None:
    """A worker that dies before it reads the answer leaves the note, by which it is put back."""
    behind._brpop_start()
    with behind.conn_or_acquire() as client:
        wait_until(lambda: not client.llen(names.QUEUE_LOW), "it is taken")
        (tag,) = notes_of(behind)
        behind.qos.restore_by_tag(tag)
        assert client.llen(names.QUEUE_LOW) == 1
    assert notes_of(behind) == {}


def test_without_memory_nothing_is_taken(behind: Any) -> None:
    """Redis refuses the note: the message stays in its queue."""
    with behind.conn_or_acquire() as client:
        before = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", 1)
        try:
            behind._brpop_start()
            with pytest.raises(OutOfMemoryError):
                behind._brpop_read()
            assert client.llen(names.QUEUE_LOW) == 1
        finally:
            client.config_set("maxmemory", before)


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
