"""Shutdown: a worker takes nothing new, gives back what waits, and bounds what runs.

Celery's own handlers wait for ever on SIGTERM, and on SIGQUIT sleep through the whole of the soft
shutdown with the event loop at rest; a thread that runs can't be cancelled at all. Here the event
loop goes on until the last task has ended or its time is up. See docs/delivery.md for the signals.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from celery import bootsteps
from celery.platforms import EX_OK
from celery.signals import worker_shutdown
from celery.worker import state
from celery.worker.request import Request
from redis import RedisError

from bionewsbot import settings as settings_module
from bionewsbot.celeryconfig import connect_impatient_redis
from bionewsbot.delivery.bounds import out_of_bounds
from bionewsbot.errors import NewerMessage, NotARun
from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.model import Address

logger = logging.getLogger(__name__)

HAND_BACK_SECONDS = 5
"""Of the grace period, kept for handing back and for the stop of all parts of the worker."""

_LAST_SECONDS = 0.5
"""Of these, the last: who is still there by then ends at once, before its supervisor kills it."""

_TICK = 0.1
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class ShutdownStep(bootsteps.StartStopStep):
    """Takes over a worker's signals, if it is a process of its own with an event loop.

    It stops after the consumer and before the pool, which would wait for what it gave back.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._signals: SimpleQueue[int] = SimpleQueue()
        self._deadline = 0.0
        self._cancelled: Any = None
        self._left = False

    def start(self, parent: Any) -> None:
        """Install the handlers, in place of Celery's."""
        if parent.hub is None or threading.current_thread() is not threading.main_thread():
            return
        threading.Thread(
            target=self._watch, args=(parent,), name="worker-shutdown", daemon=True
        ).start()
        for number in _SIGNALS:
            # A handler may interrupt anything: it only puts, which is safe even inside a put.
            signal.signal(number, lambda number, _: self._signals.put(number))

    def stop(self, parent: Any) -> None:
        """End the tasks that were given back: they run elsewhere now."""
        if not self._left:
            return
        if hasattr(parent.pool, "executor"):
            # Threads can't be ended; the process ends without them, after all other steps.
            parent.pool.on_stop = lambda: None
            worker_shutdown.connect(_exit, weak=False)
        else:
            parent.pool.terminate()

    terminate = stop

    def _watch(self, parent: Any) -> None:
        first = self._signals.get()
        grace = settings_module.current().worker_grace_seconds - HAND_BACK_SECONDS
        seconds = 0 if first == signal.SIGQUIT else grace
        self._deadline = time.monotonic() + seconds
        logger.info("worker_stopping", extra={"signal": first, "seconds": seconds})
        while not parent.blueprint.shutdown_complete.is_set():
            parent.hub.call_soon(self._drain, parent)
            try:
                number = self._signals.get(timeout=_TICK)
                self._deadline = min(self._deadline, time.monotonic())
                logger.info("worker_stopping", extra={"signal": number, "seconds": 0})
            except Empty:
                pass
            if time.monotonic() > self._deadline + HAND_BACK_SECONDS - _LAST_SECONDS:
                # Redis is away, and the event loop doesn't run; or it is frozen, and each part that
                # stops waits for it. A pool's processes end with their parent.
                logger.error("worker_ended_at_once")
                _exit()

    def _drain(self, parent: Any) -> None:
        """Do what is due; runs in the event loop."""
        if state.should_stop is not None:
            return
        consumer = parent.consumer
        if consumer.task_consumer is not self._cancelled:
            # Again after a reconnect, which begins to consume anew.
            self._cancelled = consumer.task_consumer
            self._cancelled.cancel()
            _start_no_more(parent)
        active = tuple(state.active_requests)
        waiting = {*state.scheduled_requests, *state.reserved_requests} - {*active}
        for request in waiting:
            _hand_back(parent, request)
        if waiting:
            logger.info("messages_handed_back", extra={"waiting": len(waiting)})
        if active and time.monotonic() < self._deadline:
            return
        _let_go(active)
        for request in active:
            _hand_back(parent, request)
        if active:
            self._left = True
            logger.warning("messages_handed_back", extra={"running": len(active)})
        state.should_stop = EX_OK


def _start_no_more(parent: Any) -> None:
    """Keep what waits for a thread or a process from being started."""
    if hasattr(parent.pool, "executor"):
        parent.pool.executor.shutdown(wait=False, cancel_futures=True)
    elif parent.semaphore is not None:
        parent.semaphore.clear()


def _let_go(requests: Iterable[Request]) -> None:
    """Tell the ledger that no worker has died, before another one has the messages."""
    if out_of_bounds.is_set():
        # One of them may be what made this worker stop: it must not go on for ever.
        return
    begun = []
    for request in requests:
        # Not every message is of a run that this version knows.
        with suppress(NotARun, NewerMessage):
            begun.append((Address.from_headers(request.message.headers), request.id))
    if not begun:
        return
    settings = settings_module.current()
    try:
        # The ledger's own client tries for longer than there is time.
        with connect_impatient_redis(settings) as redis:
            Ledger.from_settings(settings, redis).let_go(begun)
    except RedisError as error:
        logger.warning("items_not_let_go", extra={"error": str(error)})


def _hand_back(parent: Any, request: Request) -> None:
    if request._eta_timer_entry is not None:
        parent.timer.cancel(request._eta_timer_entry)
    request.reject(requeue=True)
    state.task_ready(request)


def _exit(**_: Any) -> None:
    logging.shutdown()
    os._exit(EX_OK)
