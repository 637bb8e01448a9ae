"""Signs of life: while a task works on an item, its lease in the ledger is renewed."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from redis import RedisError

from bionewsbot import settings as settings_module
from bionewsbot.runs.ledger import Ledger, ledger
from bionewsbot.runs.model import Address

logger = logging.getLogger(__name__)

BEATS_PER_LEASE = 3
"""Signs of life in the time of one lease, so that one that comes late costs nothing."""


class Heartbeat:
    """Renews the leases of all items that this process holds, from one thread."""

    def __init__(self, ledger: Ledger, *, interval: float) -> None:
        """Beat every `interval` seconds."""
        self._ledger = ledger
        self._interval = interval
        self._lock = threading.Lock()
        self._held: dict[Address, float] = {}
        """Until when each item is kept alive, on the monotonic clock."""
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def holding(self, address: Address, *, limit: float) -> Iterator[None]:
        """Keep an item alive inside the `with` block; after `limit` seconds it counts as stuck."""
        with self._lock:
            self._held[address] = time.monotonic() + limit
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="ledger-heartbeat", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(address, None)

    def beat(self, now: float) -> None:
        """Renew the leases of what is held and not stuck at `now` (of the monotonic clock)."""
        with self._lock:
            alive = [address for address, until in self._held.items() if now < until]
        if not alive:
            return
        try:
            self._ledger.alive(alive)
        except RedisError as error:
            # The next beat tries again; if it comes too late, the item is sent a second time,
            # which the ledger and the idempotency keys make harmless.
            logger.warning("heartbeat_failed", extra={"error": str(error)})

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            self.beat(time.monotonic())


@lru_cache(maxsize=1)
def heartbeat() -> Heartbeat:
    """Return this process' heartbeat, made from its settings."""
    settings = settings_module.current()
    return Heartbeat(
        ledger(),
        interval=settings.run_lease_seconds / BEATS_PER_LEASE,
    )
