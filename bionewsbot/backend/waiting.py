"""Long polls: a caller waits for a job's end without holding a thread or a connection."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

T = TypeVar("T")

RECHECK = 5.0
"""Seconds between two looks at the database while waiting: another backend process on the same
database may end the job, and only the process that ends it is told."""


class Waiters:
    """Who waits for which job. `until` runs on the event loop, `notify` in any thread."""

    def __init__(self) -> None:
        self._events: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the loop on which callers will wait."""
        self._loop = loop

    async def until(
        self, job_id: str, read: Callable[[], T], ended: Callable[[T], bool], seconds: float
    ) -> T:
        """Return what `read` returns once it has `ended`, or after `seconds`, or at shutdown.

        `read` runs in a worker thread. Raises what `read` raises.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        event = asyncio.Event()
        self._events[job_id].add(event)
        try:
            while True:
                # Before the look, so that an end between look and wait isn't missed.
                event.clear()
                state = await run_in_threadpool(read)
                left = deadline - loop.time()
                if ended(state) or left <= 0 or self._closed:
                    return state
                try:
                    async with asyncio.timeout(min(left, RECHECK)):
                        await event.wait()
                except TimeoutError:
                    continue
        finally:
            self._events[job_id].discard(event)
            if not self._events[job_id]:
                del self._events[job_id]

    def notify(self, job_id: str) -> None:
        """Wake who waits for the job."""
        self._call(lambda: self._wake(job_id))

    def close(self) -> None:
        """Send everyone home with the state of the moment; later callers don't wait either."""
        self._closed = True
        self._call(self._wake_all)

    def _wake(self, job_id: str) -> None:
        for event in self._events.get(job_id, ()):
            event.set()

    def _wake_all(self) -> None:
        for job_id in list(self._events):
            self._wake(job_id)

    def _call(self, wake: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(wake)
