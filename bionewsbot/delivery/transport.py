"""kombu's Redis transports, with less between two tasks (docs/delivery.md, "What a message costs").

kombu 5.7 makes a new redis.Redis for every command that it sends, on the same pool of connections.
That takes longer than most commands; here a channel has one client.

And a worker's thread waits from the end of one task until kombu has acknowledged its message and
taken the next. Here kombu takes the next one while the ledger records the end of the last. While
messages wait, one is taken and noted as taken in one step (take.lua): kombu takes it, then notes
it, and what a worker has taken that dies in between is lost to the broker.

What stands in a queue and is no message ends kombu's worker, and is gone. Here it is a dead letter.
"""

from importlib.resources import files
from operator import itemgetter
from time import monotonic, time
from typing import Any

from celery.worker import state
from kombu.asynchronous import get_event_loop
from kombu.transport import TRANSPORT_ALIASES, _transport_cache, redis, virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from bionewsbot.dead_letters.messages import record_element

_TAKE = files(__package__).joinpath("take.lua").read_text(encoding="utf-8")


class QoS(redis.QoS):
    """What a channel has taken: a message whose work is done doesn't count against its limit."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._ending: set[str] = set()

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message as taken."""
        if delivery_tag == self.channel.noted:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)  # type: ignore[no-untyped-call]

    def end(self, tag: str) -> None:
        """Take the work of the message with this delivery tag as done."""
        # The event loop may have acknowledged it already: its callbacks have no order.
        if tag in self._delivered and tag not in self._dirty:
            self._ending.add(tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message."""
        super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        self._ending.discard(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Drop a message, or put it back."""
        super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]
        self._ending.discard(delivery_tag)

    def can_consume(self) -> bool:
        """Return whether one more may be taken."""
        held = len(self._delivered) - len(self._dirty) - len(self._ending)
        return not self.prefetch_count or held < self.prefetch_count


class Channel(redis.Channel):
    """A channel of a Redis server; makes its client once for each pool. Clients can be shared.

    The one that waits for messages has its own, which passes on only what is a message.
    """

    QoS = QoS
    Message: Any
    _q_for_pri: Any
    _brpop_sent_at: Any
    _one: Any = None
    _more = False
    """Whether messages wait, as far as is known: the last look for one found it."""
    noted: str | None = None
    """Delivery tag of the last message, if it was noted as it was taken."""

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            client = super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
            client.set_response_callback("BRPOP", self._readable)
            return client
        # A channel that reconnects has a new pool.
        if self._one is None or self._one.connection_pool is not self.pool:
            self._one = self.Client(connection_pool=self.pool)
        return self._one

    def _brpop_start(self, timeout: Any = None) -> None:
        # Only BRPOP can wait for a message in several queues.
        if not self._more:
            super()._brpop_start(timeout)  # type: ignore[no-untyped-call]
            return
        queues = self._queue_cycle.consume(len(self.active_queues))
        keys = [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]
        if not keys:
            return
        keys = [self.unacked_index_key, self.unacked_key, *keys]
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self.client.connection.send_command("EVAL", _TAKE, len(keys), *keys, time())

    def _readable(self, answer: Any, **_: Any) -> Any:
        """Return what was taken from a queue; nothing if kombu couldn't read it."""
        self._more = bool(answer)
        if not answer:
            return None
        key, element, *noted = answer
        self.noted = bytes_to_str(noted[0]) if noted else None
        try:
            message = self.Message(loads(bytes_to_str(element)), channel=self)
            _check(message)
        except Exception as error:
            queue = bytes_to_str(key).rsplit(self.sep, 1)[0]
            record_element(element, queue, f"it is no message: {error!r}")
            if self.noted:
                # Lua reads more than Python's JSON does.
                self.qos._remove_from_indices(self.noted).execute()
            return None
        return key, element


def _check(message: Any) -> None:
    """Raise an error if kombu couldn't note it as taken."""
    message.delivery_tag.encode()
    itemgetter("exchange", "routing_key")(message.delivery_info)


class SentinelChannel(Channel, redis.SentinelChannel):
    """A channel of the server that Sentinel names."""


class Transport(redis.Transport):
    """The transport of redis:// and rediss://."""

    Channel = Channel


class SentinelTransport(redis.SentinelTransport):
    """The transport of sentinel://."""

    Channel = SentinelChannel


def register() -> None:
    """Have this process use them for their URLs."""
    single = f"{__name__}:Transport"
    sentinel = f"{__name__}:SentinelTransport"
    ours = {"redis": single, "rediss": single, "sentinel": sentinel}
    TRANSPORT_ALIASES.update(ours)
    for scheme in ours:
        # kombu keeps the class of a URL that this process has used before.
        _transport_cache.pop(scheme, None)


def take_next(task_id: str, **_: Any) -> None:
    """Have the event loop take the next message: the work of this task is done.

    Its thread is free as soon as its end is on record. In a child process nothing comes of it: its
    parent takes messages.
    """
    request, loop = state.requests.get(task_id), get_event_loop()
    if request is not None and loop is not None:
        loop.call_soon(_end, request.message)


def _end(message: Any) -> None:
    message.channel.qos.end(message.delivery_tag)
