"""The limit of calls to the Backend API (API_RATE_LIMIT): who waits, in which order, how long.

All workers count into one window (`call_window`). docs/limits.md says what is promised.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from limits import RateLimitItem
from redis import RedisError

from bionewsbot.api.call_window import LocalWindow, SharedWindow, Window
from bionewsbot.api.redis_watch import RedisWatch
from bionewsbot.celeryconfig import connect_impatient_redis
from bionewsbot.errors import RateLimited
from bionewsbot.settings import Settings

logger = logging.getLogger(__name__)

SHARE = 80
"""Per cent of the limit that calls which aren't urgent may fill. A judgement: of 50/second this
leaves 10 free, and the 8 threads of the shipped workers can't begin more at the same moment."""

WAIT_TO_BEGIN = 5.0
"""Seconds that the first call of some work waits in place; its task comes back after that."""

WAIT_TO_GO_ON = 60.0
"""Seconds that a further call waits: coming back, its task would make the earlier ones again."""

SPREAD = 0.02
"""Seconds within which processes come back that wait for the same room: some dozen round trips to
Redis. Urgent calls come in the first such span, all others in the second."""

SAY_AGAIN = 10.0
"""Seconds between two lines of a process about calls that had to wait."""


class RateLimit:
    """The limit as one process keeps it, for all its threads.

    If Redis is away, the process goes on with a window of its own, and says so once.
    """

    def __init__(
        self,
        limit: RateLimitItem,
        shared: Window,
        *,
        is_urgent: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Keep to `limit` in `shared`; `is_urgent` says it of the call that the thread makes now.

        `clock` gives seconds, `chance` numbers from 0 to 1.
        """
        self._limit = limit
        self._shared = shared
        self._is_urgent = is_urgent
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        # Urgent calls don't stand in line behind the others.
        self._lines = {True: _Line(clock), False: _Line(clock)}
        self._most = {True: limit.amount, False: share_of(limit.amount)}
        self._lock = threading.Lock()
        self._watch = RedisWatch(clock)
        self._local: Window = LocalWindow(limit)
        self._say_at = clock()
        self._held = 0
        self._longest = 0.0

    @classmethod
    def from_settings(cls, settings: Settings, *, is_urgent: Callable[[], bool]) -> Self | None:
        """Return the limit that the settings want, if any; connects to Redis on first use."""
        limit = settings.api_rate_limit
        if limit is None:
            return None
        return cls(
            limit, SharedWindow(connect_impatient_redis(settings), limit), is_urgent=is_urgent
        )

    def enter(self, call: str, *, seconds: float) -> None:
        """Return as soon as the call may be made; `call` is how errors name it.

        Calls get in as they came, urgent ones apart from the others. Raises RateLimited for one
        that doesn't within `seconds`, at once where that can be foreseen.
        """
        is_urgent = self._is_urgent()
        began = self._clock()
        with self._lines[is_urgent].turn(began + seconds) as has_come:
            room = self._wait(is_urgent, began + seconds) if has_come else WAIT_TO_BEGIN
        self._note(self._clock() - began)
        if room:
            wait = max(room, WAIT_TO_BEGIN)
            raise RateLimited(
                f"{call}: not called, all workers together may make {self._limit} "
                f"(API_RATE_LIMIT); look again in {wait:.1f} s",
                retry_after=wait,
            )

    def _wait(self, is_urgent: bool, until: float) -> float:
        """Return 0 when the call got in, or the seconds until room, once that comes too late."""
        while room := self._ask(self._most[is_urgent]):
            pause = room + (self._chance() + (not is_urgent)) * SPREAD
            if self._clock() + pause > until:
                break
            self._sleep(pause)
        return room

    def _ask(self, most: int) -> float:
        with self._lock:
            may_ask = self._watch.may_ask()
        if may_ask:
            try:
                room = self._shared.enter(most)
            except RedisError as error:
                self._lost(error)
            else:
                self._reached()
                return room
        return self._local.enter(most)

    def _reached(self) -> None:
        with self._lock:
            is_news = self._watch.answered()
        if is_news:
            logger.warning("rate_shared_again")

    def _lost(self, error: RedisError) -> None:
        with self._lock:
            is_news = self._watch.failed()
            if is_news:
                self._local = LocalWindow(self._limit)
        if is_news:
            logger.warning("rate_kept_locally", extra={"error": str(error)})

    def _note(self, waited: float) -> None:
        """Log how many calls had to wait, and how long: a line for each would be a flood."""
        if waited <= SPREAD:
            return
        with self._lock:
            self._held += 1
            self._longest = max(self._longest, waited)
            now = self._clock()
            if now < self._say_at:
                return
            self._say_at = now + SAY_AGAIN
            extra = {"calls": self._held, "longest": round(self._longest, 3)}
            self._held, self._longest = 0, 0.0
        logger.info("calls_held_back", extra={**extra, "limit": str(self._limit)})


def share_of(amount: int) -> int:
    """Return how many of the limit's calls may be other than urgent: SHARE per cent, at least 1."""
    return max(1, amount * SHARE // 100)


class _Line:
    """Threads that wait for one place, which they get in the order in which they came."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def turn(self, until: float) -> Iterator[bool]:
        """Stand in line; yields whether it is this thread's turn, or it is `until` (`clock`)."""
        turn = threading.Event()
        with self._lock:
            self._waiting.append(turn)
            self._waiting[0].set()
        try:
            yield turn.wait(until - self._clock())
        finally:
            with self._lock:
                self._waiting.remove(turn)
                if self._waiting:
                    self._waiting[0].set()
