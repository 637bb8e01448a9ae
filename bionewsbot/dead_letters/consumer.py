"""The worker's consumer: what no task can take becomes a dead letter instead of vanishing."""

import base64
import hashlib
import json
import logging
import time
from typing import Any

from celery.worker.consumer import Consumer as CelerysConsumer
from redis import RedisError

from bionewsbot.dead_letters.letters import DEAD
from bionewsbot.errors import NewerMessage, NotARun
from bionewsbot.runs.ending import log_end
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import Address

logger = logging.getLogger(__name__)


class Consumer(CelerysConsumer):
    """Celery's consumer, which only logs what it can't make a task of, and drops it."""

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Record a message whose body can't be decoded; drop it as Celery does."""
        record(message, f"it can't be decoded: {exc}", self.hostname)
        super().on_decode_error(message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Record what is no task message; drop it as Celery does."""
        record(message, "it is no task message", self.hostname)
        super().on_unknown_message(body, message)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Record a message for a task that this worker doesn't have; drop it as Celery does."""
        record(message, f"its task is unknown: {exc}", self.hostname)
        super().on_unknown_task(body, message, exc)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Record a message that is malformed as a task; drop it as Celery does."""
        record(message, f"it is malformed: {exc}", self.hostname)
        super().on_invalid_task(body, message, exc)


def record(message: Any, why: str, worker: str) -> None:
    """Record a message that was given up on, whole: with its run's item where it has one.

    Where Redis stays away, the log has it whole.
    """
    whole = whole_message(message)
    try:
        try:
            address = Address.from_headers(message.headers)
        except NewerMessage as error:
            _fail(error.address, why, whole)
        except NotARun:
            ledger().record_letter(_letter(whole, why, worker))
            logger.error("message_given_up", extra={"why": why})
        else:
            _fail(address, why, whole)
    except RedisError as error:
        fields = {"why": why, "error": str(error), "letter": whole}
        logger.critical("letter_not_recorded", extra=fields)


def _fail(address: Address, why: str, whole: dict[str, Any]) -> None:
    _, status = ledger().fail(address, why, why=why, message=whole)
    logger.error("message_given_up", extra={"why": why, "run_id": address.run_id})
    log_end(ledger(), address.run_id, status)


def whole_message(message: Any) -> dict[str, Any]:
    """Return a broker's message with body, headers and properties; the body in base64."""
    body = message.body
    raw = body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogateescape")
    whole = {
        "body": base64.b64encode(raw).decode("ascii"),
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "headers": message.headers,
        "properties": message.properties,
        "delivery_info": message.delivery_info,
    }
    plain: dict[str, Any] = json.loads(json.dumps(whole, default=str))
    return plain


def _letter(whole: dict[str, Any], why: str, worker: str) -> dict[str, Any]:
    headers = whole["headers"] if isinstance(whole["headers"], dict) else {}
    # A message that comes twice is one letter: by its task's id, or by what it is.
    same = str(headers.get("id") or whole["body"])
    now = time.time()
    return {
        "schema": 1,
        "id": hashlib.sha256(same.encode()).hexdigest()[:12],
        "state": DEAD,
        "task": str(headers.get("task") or "unknown"),
        "queue": str((whole["delivery_info"] or {}).get("routing_key") or "unknown"),
        "first_at": now,
        "last_at": now,
        "stories": [{"generation": 1, "at": now, "why": why, "worker": worker, "message": whole}],
    }
