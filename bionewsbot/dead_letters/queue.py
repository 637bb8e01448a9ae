"""The queue `dead_letter` on the broker: a copy of the letters, for whoever looks at queues.

The letters themselves stand beside the ledger, written in the same step as the failure that they
tell of. The copy follows, in each pass of the reconciler, and can't fail a worker.
"""

from typing import Any, cast

from celery import Celery
from redis import Redis

from bionewsbot import settings as settings_module
from bionewsbot.celeryconfig import connect_redis
from bionewsbot.dead_letters.letters import texts_of
from bionewsbot.names import KEY_PREFIX, QUEUE_DEAD_LETTER
from bionewsbot.runs.ledger import Ledger

CHANGED = f"{KEY_PREFIX}letters:changed"
POSTED = f"{KEY_PREFIX}letters:posted"

BATCH = 100
"""Letters copied in one pass."""


def sync(app: Celery, ledger: Ledger) -> int:
    """Bring the queue in line with the letters that changed; returns how many did.

    Raises redis.RedisError or kombu's OperationalError if Redis is away.
    """
    redis = connect_redis(settings_module.current())
    try:
        return _sync(app, redis)
    finally:
        redis.close()


def _sync(app: Celery, redis: "Redis") -> int:
    ids = cast(list[str], redis.srandmember(CHANGED, BATCH))
    if not ids:
        return 0
    now = texts_of(redis, ids)
    before = cast("list[str | None]", redis.hmget(POSTED, ids))
    with app.connection_for_write() as connection:
        client: Any = connection.default_channel.client
        with client.pipeline(transaction=True) as pipe:
            for old, new in zip(before, now, strict=True):
                if old is not None:
                    pipe.lrem(QUEUE_DEAD_LETTER, 1, old)
                if new is not None:
                    # It may have been posted by a pass that died before it said so.
                    pipe.lrem(QUEUE_DEAD_LETTER, 1, new)
                    pipe.lpush(QUEUE_DEAD_LETTER, new)
            pipe.execute()
    for letter_id, new in zip(ids, now, strict=True):
        _mark(redis, letter_id, new)
    return len(ids)


def _mark(redis: "Redis", letter_id: str, text: str | None) -> None:
    if text is None:
        redis.hdel(POSTED, letter_id)
    else:
        redis.hset(POSTED, letter_id, text)
    # A letter that changed meanwhile stays on the list.
    if texts_of(redis, [letter_id]) == [text]:
        redis.srem(CHANGED, letter_id)
