"""What waits on the broker, seen from outside."""

import json
from itertools import count
from typing import Any

from celery import Celery

PAGE = 1000
"""Messages read in one command: about 1 MB, a few milliseconds of Redis' time."""


def waiting_task_ids(app: Celery, queue: str) -> set[str]:
    """Return the ids of the tasks whose messages wait in a queue, in all its priority lists.

    Raises redis.RedisError or kombu's OperationalError if the broker is away.
    """
    found: set[str] = set()
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        for priority in channel.priority_steps:
            key = channel._q_for_pri(queue, priority)
            for page in count():
                # A list shrinks at its tail while it is read from its head, where new messages
                # come in: what is read twice does no harm, and nothing old is passed over.
                texts = channel.client.lrange(key, page * PAGE, (page + 1) * PAGE - 1)
                found.update(_task_id(text) for text in texts)
                if len(texts) < PAGE:
                    break
    return found


def _task_id(text: Any) -> str:
    try:
        return str(json.loads(text)["headers"]["id"])
    except (ValueError, KeyError, TypeError):
        # Not a task message of ours; it is no run's.
        return ""
