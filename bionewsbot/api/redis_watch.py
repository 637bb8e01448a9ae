"""Whether Redis answers, as one process sees it: what guards the Backend API works without it."""

from collections.abc import Callable

LOOK_AGAIN = 5.0
"""Seconds between two looks whether Redis is back; until then calls don't wait for it."""


class RedisWatch:
    """Remembers whether Redis was away at the last look.

    Not safe between threads by itself: its user holds a lock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Believe that Redis is there; `clock` gives seconds."""
        self._clock = clock
        self._is_away = False
        self._look_at = 0.0

    def may_ask(self) -> bool:
        """Whether this call asks Redis: each does, but while it is away one in LOOK_AGAIN."""
        if self._is_away:
            now = self._clock()
            if now < self._look_at:
                return False
            self._look_at = now + LOOK_AGAIN
        return True

    def answered(self) -> bool:
        """Note that Redis answered; return whether that is news."""
        was_away, self._is_away = self._is_away, False
        return was_away

    def failed(self) -> bool:
        """Note that it didn't; return whether that is news."""
        was_away, self._is_away = self._is_away, True
        self._look_at = self._clock() + LOOK_AGAIN
        return not was_away
