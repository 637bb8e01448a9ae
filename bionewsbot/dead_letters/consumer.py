"""The worker's consumer: what no task can take becomes a dead letter instead of vanishing.

What a later version sent is left to that version's workers.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery.worker import state
from celery.worker.consumer import Consumer as CelerysConsumer
from redis import RedisError

from bionewsbot.dead_letters.messages import record
from bionewsbot.errors import NewerMessage, NotARun
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import PUT_BACK_SECONDS, Address

logger = logging.getLogger(__name__)


class Consumer(CelerysConsumer):
    """Celery's consumer, which only logs what it can't make a task of, and drops it.

    Some of it even ends Celery's worker, comes back, and ends the next one.
    """

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Return what takes a message; one that it fails at is recorded and dropped."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> None:
            try:
                handle(message)
            except (RedisError, OSError, MemoryError):
                raise  # none of them tells of the message
            except Exception as error:
                # What fails after the message was taken is no fault of the message.
                if _taken(message):
                    raise
                logger.exception("message_malformed")
                given_up = self._given_up(message, f"it is malformed: {error!r}")
                if given_up and not message.acknowledged:
                    message.reject_log_error(logger, self.connection_errors)

        return on_task_received

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Record a message whose body can't be decoded; drop it as Celery does."""
        if self._given_up(message, f"it can't be decoded: {exc}"):
            super().on_decode_error(message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Record what is no task message; drop it as Celery does."""
        if self._given_up(message, "it is no task message"):
            super().on_unknown_message(body, message)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Record a message for a task that this worker doesn't have; drop it as Celery does."""
        if not self._given_up(message, f"its task is unknown: {exc}"):
            return
        if isinstance(message.headers.get("id"), str):
            super().on_unknown_task(body, message, exc)
        else:
            # Celery's would look for the id in the body before it drops the message.
            message.reject_log_error(logger, self.connection_errors)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Record a message that is malformed as a task; drop it as Celery does."""
        if self._given_up(message, f"it is malformed: {exc}"):
            super().on_invalid_task(body, message, exc)

    def _given_up(self, message: Any, why: str) -> bool:
        """Record a message and return True, or put one of a later version back for others."""
        try:
            Address.from_headers(message.headers)
        except NewerMessage as error:
            logger.warning("message_put_back", extra={"why": str(error)})
            self._put_back(message, error.address)
            return False
        except NotARun:
            pass  # its letter belongs to no run, either
        record(message, why, self.hostname)
        return True

    def _put_back(self, message: Any, address: Address) -> None:
        qos = self.qos
        # As Celery does for a countdown: what waits doesn't keep others from being taken. Its lease
        # is longer than its wait.
        qos.increment_eventually()

        def requeue() -> None:
            message.reject_log_error(logger, self.connection_errors, requeue=True)
            qos.decrement_eventually()

        self.timer.call_after(PUT_BACK_SECONDS, requeue)
        # Else an earlier worker's reconciler would miss it and send it in its own form.
        ledger().postpone([address], seconds=PUT_BACK_SECONDS)


def _taken(message: Any) -> bool:
    task_id = message.headers.get("id") if isinstance(message.headers, dict) else None
    request = state.requests.get(task_id) if isinstance(task_id, str) else None
    return request is not None and request.message is message
