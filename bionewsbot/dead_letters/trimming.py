"""Dead letters end some day: those whose run nobody knows any more, each logged whole."""

import logging
from datetime import datetime
from typing import cast

from redis import Redis

from bionewsbot.dead_letters.letters import BY_TIME, read_letter, texts_of
from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.records import key_of

logger = logging.getLogger(__name__)

_PAGE = 500


def trim_letters(ledger: Ledger, redis: "Redis", before: datetime) -> int:
    """Remove letters whose last story is older than `before` and whose run is forgotten; count.

    Those of no run count as such. Raises redis.RedisError if Redis stays away.
    """
    gone = kept = 0
    latest = f"({before.timestamp()}"
    while True:
        page = redis.zrangebyscore(BY_TIME, "-inf", latest, start=kept, num=_PAGE)
        ids = cast(list[str], page)
        if not ids:
            return gone
        letters = [read_letter(text) for text in texts_of(redis, ids) if text is not None]
        with redis.pipeline(transaction=False) as pipe:
            for letter in letters:
                pipe.exists(key_of("run", letter.run_id))
            known = pipe.execute()
        forgotten = [
            letter
            for letter, run in zip(letters, known, strict=True)
            if not (letter.run_id and run)
        ]
        for letter in forgotten:
            logger.warning("dead_letter_trimmed", extra={"letter": letter.as_dict()})
        removed = ledger.purge_letters([letter.id for letter in forgotten])
        gone += removed
        kept += len(ids) - removed
