"""Messages that were given up on, as dead letters: whole, so that nothing is lost with them."""

import base64
import hashlib
import json
import logging
import time
from typing import Any

from redis import RedisError

from bionewsbot.dead_letters.letters import DEAD
from bionewsbot.errors import NotARun
from bionewsbot.runs.ending import log_end
from bionewsbot.runs.ledger import Verdict, ledger
from bionewsbot.runs.model import Address

logger = logging.getLogger(__name__)


def record(message: Any, why: str, worker: str) -> None:
    """Record a message that was given up on, whole: with its run's item where the ledger has one.

    Where Redis stays away, the log has it whole.
    """
    _record(_whole(message), message.headers, why, worker)


def record_element(element: bytes, queue: str, why: str) -> None:
    """Record an element of a queue that is no message at all, as `record` does."""
    whole = {
        "element": base64.b64encode(element).decode("ascii"),
        "delivery_info": {"routing_key": queue},
    }
    _record(whole, None, why, None)


def _record(whole: dict[str, Any], headers: Any, why: str, worker: str | None) -> None:
    why = why.encode("utf-8", "replace").decode()
    try:
        try:
            address = Address.from_headers(headers)
        except NotARun:
            ledger().record_letter(_letter(whole, why, worker))
            logger.error("message_given_up", extra={"why": why})
        else:
            verdict, status = ledger().fail(address, why, why=why, message=whole)
            if verdict is Verdict.UNKNOWN:
                ledger().record_letter(_letter(whole, why, worker))
            logger.error("message_given_up", extra={"why": why, "run_id": address.run_id})
            log_end(ledger(), address.run_id, status)
    except RedisError as error:
        fields = {"why": why, "error": str(error), "letter": whole}
        logger.critical("letter_not_recorded", extra=fields)


def _whole(message: Any) -> dict[str, Any]:
    """Return a broker's message with body, headers and properties; the body in base64."""
    body = message.body
    raw = body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogatepass")
    whole = {
        "body": base64.b64encode(raw).decode("ascii"),
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "headers": message.headers,
        "properties": message.properties,
        "delivery_info": message.delivery_info,
    }
    # The ledger's script can't write what is no JSON: half a character, and numbers without end.
    text = json.dumps(whole, default=str, ensure_ascii=False).encode("utf-8", "replace")
    plain: dict[str, Any] = json.loads(text, parse_constant=str)
    return plain


def _letter(whole: dict[str, Any], why: str, worker: str | None) -> dict[str, Any]:
    headers = whole.get("headers")
    headers = headers if isinstance(headers, dict) else {}
    # A message that comes twice is one letter: by its task's id, or by what it is.
    same = str(headers.get("id") or whole.get("body") or whole.get("element"))
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
