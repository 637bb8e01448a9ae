"""What is left in Redis of runs that the ledger has forgotten, and of old changes, goes."""

from datetime import datetime
from typing import cast

from redis import Redis

from bionewsbot.names import KEY_PREFIX

_PAGE = 1000


def trim_indexes(redis: "Redis", before: datetime) -> int:
    """Take forgotten runs that were scheduled before `before` out of the indexes; count them.

    Raises redis.RedisError if Redis stays away.
    """
    return sum(_trim_index(redis, str(key), before) for key in _indexes(redis))


def trim_changes(redis: "Redis", before: datetime) -> int:
    """Remove operators' changes to the schedule that were made before `before`; count them.

    Raises redis.RedisError if Redis stays away.
    """
    oldest = f"{int(before.timestamp() * 1000)}-0"
    return int(redis.xtrim(f"{KEY_PREFIX}changes", minid=oldest, approximate=False))


def _indexes(redis: "Redis") -> list[str]:
    index = f"{KEY_PREFIX}index"
    return [index, *(str(key) for key in redis.scan_iter(f"{index}:*", count=_PAGE))]


def _trim_index(redis: "Redis", index: str, before: datetime) -> int:
    gone = kept = 0
    while True:
        page = cast(
            list[str],
            redis.zrangebyscore(index, "-inf", f"({before.timestamp()}", start=kept, num=_PAGE),
        )
        if not page:
            return gone
        with redis.pipeline(transaction=False) as pipe:
            for run_id in page:
                pipe.exists(f"{KEY_PREFIX}run:{run_id}")
            there = pipe.execute()
        forgotten = [run_id for run_id, known in zip(page, there, strict=True) if not known]
        if forgotten:
            gone += int(redis.zrem(index, *forgotten))
        kept += len(page) - len(forgotten)
