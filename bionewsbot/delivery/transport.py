"""kombu's Redis transports with one client for each channel.

kombu 5.7 makes a new redis.Redis for every command that it sends, on the same pool of connections.
That takes longer than most commands: a fifth of a busy worker's time (docs/benchmarks.md).
"""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class OneClient:
    """Mixed into a channel: makes its client once for each pool. Clients can be shared."""

    pool: Any
    Client: Any
    _one: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        # A channel that reconnects has a new pool.
        if self._one is None or self._one.connection_pool is not self.pool:
            self._one = self.Client(connection_pool=self.pool)
        return self._one


class Channel(OneClient, redis.Channel):
    """A channel of a Redis server."""


class SentinelChannel(OneClient, redis.SentinelChannel):
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
    TRANSPORT_ALIASES.update(redis=single, rediss=single, sentinel=sentinel)
