"""What waits on the broker, seen from outside."""

import json
from collections.abc import Iterable, Set
from itertools import count
from typing import Any

from celery import Celery

from bionewsbot.errors import NewerMessage, NotARun
from bionewsbot.runs.model import Address

PAGE = 1000
"""Messages read in one command: about 1 MB, a few milliseconds of Redis' time."""


def next_waiting(app: Celery, queue: str) -> Address | None:
    """Return the address of the message that a queue gives next; None if that isn't known.

    Of those without a priority, which all of a run are. Raises as `waiting_task_ids` does.
    """
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        text = channel.client.lindex(channel._q_for_pri(queue, 0), -1)
    try:
        return Address.from_headers(json.loads(text or "null")["headers"])
    except (ValueError, KeyError, TypeError, NotARun, NewerMessage):
        return None


def waiting_task_ids(app: Celery, queue: str, wanted: Set[str]) -> set[str]:
    """Return those of these task ids whose messages wait in a queue, in all its priority lists.

    Raises redis.RedisError or kombu's OperationalError if the broker is away.
    """
    missing = set(wanted)
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        for priority in channel.priority_steps:
            key = channel._q_for_pri(queue, priority)
            # What has waited longest is most often all that is asked for.
            missing -= _task_ids(channel.client.lrange(key, -PAGE, -1))
            for page in count():
                if not missing:
                    break
                # A list shrinks at its tail while it is read from its head, where new messages
                # come in: what is read twice does no harm, and nothing old is passed over.
                texts = channel.client.lrange(key, page * PAGE, (page + 1) * PAGE - 1)
                missing -= _task_ids(texts)
                if len(texts) < PAGE:
                    break
    return set(wanted) - missing


def _task_ids(texts: Iterable[Any]) -> set[str]:
    return {_task_id(text) for text in texts}


def _task_id(text: Any) -> str:
    try:
        return str(json.loads(text)["headers"]["id"])
    except (ValueError, KeyError, TypeError):
        # Not a task message of ours; it is no run's.
        return ""
