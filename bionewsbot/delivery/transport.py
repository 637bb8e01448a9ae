"""kombu's Redis transports, with less between two tasks (docs/delivery.md, "What a message costs").

kombu 5.7 makes a new redis.Redis for every command that it sends, on the same pool of connections.
That takes longer than most commands; here a channel has one client.

And a worker's thread waits from the end of one task until kombu has acknowledged its message and
taken the next. Here kombu takes the next one while the ledger records the end of the last.

What stands in a queue and is no message ends kombu's worker, and is gone. Here it is a dead letter.
"""

from operator import itemgetter
from typing import Any

from celery.worker import state
from kombu.asynchronous import get_event_loop
from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from bionewsbot.dead_letters.messages import record_element


class OurClients:
    """Mixed into a channel: makes its client once for each pool. Clients can be shared.

    The one that waits for messages has its own, which passes on only what is a message.
    """

    pool: Any
    Client: Any
    Message: Any
    sep: str
    _one: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            client = super()._create_client(asynchronous=True)  # type: ignore[misc]
            client.set_response_callback("BRPOP", self._readable)
            return client
        # A channel that reconnects has a new pool.
        if self._one is None or self._one.connection_pool is not self.pool:
            self._one = self.Client(connection_pool=self.pool)
        return self._one

    def _readable(self, answer: Any, **_: Any) -> Any:
        """Return what was taken from a queue; nothing if kombu couldn't read it."""
        if not answer:
            return None
        key, element = answer
        try:
            message = self.Message(loads(bytes_to_str(element)), channel=self)
            _check(message)
        except Exception as error:
            queue = bytes_to_str(key).rsplit(self.sep, 1)[0]
            record_element(element, queue, f"it is no message: {error!r}")
            return None
        return answer


def _check(message: Any) -> None:
    """Raise an error if kombu couldn't note it as taken."""
    message.delivery_tag.encode()
    itemgetter("exchange", "routing_key")(message.delivery_info)


class QoS(redis.QoS):
    """What a channel has taken: a message whose work is done doesn't count against its limit."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._ending: set[str] = set()

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


class Channel(OurClients, redis.Channel):
    """A channel of a Redis server."""

    QoS = QoS


class SentinelChannel(OurClients, redis.SentinelChannel):
    """A channel of the server that Sentinel names."""

    QoS = QoS


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
    TRANSPORT_ALIASES.update(redis=single, rediss=single, sentinel=sentinel)


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
