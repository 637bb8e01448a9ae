"""Work that one process of all does at a time, under a lock in Redis that it renews."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redis.exceptions import LockError

from bionewsbot.errors import NotYet
from bionewsbot.names import KEY_PREFIX
from bionewsbot.runs.ledger import Ledger

LOOK_AGAIN_SECONDS = 10.0
"""How soon who found it taken looks again: such work takes from seconds to hours."""

StillMine = Callable[[], None]
"""Renews the lock; raises NotYet where it was lost."""


def moving(collection: str) -> str:
    """Return the name of the work of moving a collection between backend and archive."""
    return f"moving {collection}"


@contextmanager
def exclusive(ledger: Ledger, work: str, *, seconds: float) -> Iterator[StillMine]:
    """Keep everybody else from this work inside the `with` block; yields what renews the lock.

    Call that before each step: a lock lives for `seconds`, and a step has to be shorter. Raises
    NotYet where somebody else is at it, and redis.RedisError if Redis stays away.
    """
    lock = ledger.lock(f"{KEY_PREFIX}exclusive:{work}", seconds=seconds)
    if not lock.acquire(blocking=False):
        raise NotYet(f"somebody else is at it: {work}", retry_after=LOOK_AGAIN_SECONDS)

    def still_mine() -> None:
        try:
            lock.extend(seconds, replace_ttl=True)
        except LockError as error:
            raise NotYet(
                f"somebody else may be at it by now: {work}", retry_after=LOOK_AGAIN_SECONDS
            ) from error

    try:
        yield still_mine
    finally:
        if lock.owned():
            lock.release()
