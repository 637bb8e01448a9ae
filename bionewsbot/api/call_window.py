"""The calls of the latest seconds: a moving window of the library `limits`, in Redis or in memory.

Who may call, and who waits how long, is `rate`'s business.
"""

import time
from typing import Protocol

from limits import RateLimitItem
from limits.storage import MemoryStorage, RedisStorage
from redis import Redis

from bionewsbot.names import KEY_PREFIX

KEY = "rate"

SOON = 0.001
"""Seconds until room where it came between the refusal and the look at the window."""


class Window(Protocol):
    """Counts the calls within the limit's time that ends now. Safe between threads."""

    def enter(self, most: int) -> float:
        """Count a call if there are less than `most`; return 0, or the seconds until there may be.

        Raises redis.RedisError if the window is in Redis, which doesn't answer.
        """


class SharedWindow:
    """The window of all workers, in Redis and by its clock."""

    def __init__(self, redis: Redis, limit: RateLimitItem) -> None:
        """Use `redis` (answers decoded), which is connected to on first use."""
        self._redis = redis
        self._seconds = limit.get_expiry()
        self._storage = _RedisTimed("redis://", connection_pool=redis.connection_pool)

    def enter(self, most: int) -> float:
        """See Window. A call that gets in costs one round trip, another one two."""
        if self._storage.acquire_entry(KEY, most, self._seconds):
            return 0.0
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.lindex(self._storage.prefixed_key(KEY), most - 1)
            pipe.time()
            entered, (seconds, micros) = pipe.execute()
        if entered is None:
            return SOON
        now: float = seconds + micros / 1e6
        return max(SOON, float(entered) + self._seconds - now)


class LocalWindow:
    """A window of this process alone, in memory: for the time in which Redis is away."""

    def __init__(self, limit: RateLimitItem) -> None:
        """Start empty."""
        self._seconds = limit.get_expiry()
        self._storage = MemoryStorage()

    def enter(self, most: int) -> float:
        """See Window."""
        if self._storage.acquire_entry(KEY, most, self._seconds):
            return 0.0
        start, _ = self._storage.get_moving_window(KEY, most, self._seconds)
        return max(SOON, start + self._seconds - time.time())


class _RedisTimed(RedisStorage):
    """The library's storage, which would compare times of the workers' own, differing clocks."""

    SCRIPT_ACQUIRE_MOVING_WINDOW = (
        b"local now = redis.call('TIME')\n"
        b"ARGV[1] = now[1] + now[2] / 1000000\n" + RedisStorage.SCRIPT_ACQUIRE_MOVING_WINDOW
    )

    def prefixed_key(self, key: str) -> str:
        """Return the name of a key in Redis: one for all limits, so that a new one takes over."""
        return KEY_PREFIX + key
