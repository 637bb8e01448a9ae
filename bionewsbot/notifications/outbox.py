"""The outbox in Redis: what is to be told, each event once, until a run takes it over."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any, cast

from redis import Redis

from bionewsbot import settings as settings_module
from bionewsbot.celeryconfig import connect_redis
from bionewsbot.names import KEY_PREFIX
from bionewsbot.notifications.config import notifications
from bionewsbot.notifications.notices import Notice

logger = logging.getLogger(__name__)

TOLD, WAITING, BATCH, SEEN = (
    f"{KEY_PREFIX}notices:{name}" for name in ("told", "waiting", "batch", "seen")
)

KEEP_SECONDS = 90 * 86_400
"""For so long after it was last met is an event known as told: longer than the window of any
analysis, which finds the same story again and again."""

MOST_TOLD = 100_000
"""Events known as told; measured: 9 MB."""

MOST_WAITING = 5000
"""Notices that wait for a run, for seconds unless all workers are away; the longest ones measured:
12 MB (of ASCII text)."""

BATCH_SIZE = 50
"""Notices of one run; the longest ones measured: a message of 116 kB."""


@dataclass(frozen=True)
class Batch:
    """The notices of one run, and the second that names the run."""

    at: datetime
    notices: tuple[Notice, ...]


class Outbox:
    """Every method raises redis.RedisError if Redis stays away beyond the client's retries."""

    def __init__(self, redis: Redis) -> None:
        """Use `redis` (answers decoded)."""
        self._redis = redis
        source = files(__package__).joinpath("outbox.lua").read_text(encoding="utf-8")
        self._script = redis.register_script(source)

    def put(
        self, notices: Sequence[Notice], *, covered: Sequence[str] = (), seen: float | None = None
    ) -> int:
        """Let notices of events wait that were not told before; returns how many.

        In the same step it is noted that the events `covered`, by their ids, are told with them,
        and that the records were `seen` up to that time (epoch seconds).
        """
        rows = [{"id": one.id, "text": json.dumps(one.as_dict())} for one in notices]
        limits = {"most_waiting": MOST_WAITING, "most_told": MOST_TOLD}
        time = {} if seen is None else {"seen": repr(seen)}
        new, dropped = self._call("put", notices=rows, covered=covered, **limits, **time)
        if dropped:
            logger.error("notices_dropped", extra={"notices": dropped, "waiting": MOST_WAITING})
        if new:
            logger.info("notices_wait", extra={"notices": new})
        return int(new)

    def untold(self, ids: Sequence[str]) -> set[str]:
        """Return those of some events, by their ids, that were not told."""
        if not ids:
            return set()
        scores = self._redis.zmscore(TOLD, list(ids))
        return {one for one, score in zip(ids, scores, strict=True) if score is None}

    def seen(self) -> float | None:
        """Return up to when the records were looked at; None: never."""
        text = cast("str | None", self._redis.get(SEEN))
        return None if text is None else float(text)

    def take(self) -> Batch | None:
        """Return the next run's notices, the same ones until `done`; None if nothing waits."""
        answer = self._call("take", most=BATCH_SIZE)
        if not answer:
            return None
        at, texts = answer
        notices = tuple(Notice.from_dict(json.loads(text)) for text in json.loads(texts))
        return Batch(datetime.fromtimestamp(int(at), UTC), notices)

    def done(self, batch: Batch) -> None:
        """Forget a batch: the ledger has its run."""
        self._call("done", at=f"{batch.at.timestamp():.0f}")

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _call(self, operation: str, **argument: Any) -> Any:
        return self._script(
            keys=[TOLD, WAITING, BATCH, SEEN],
            args=[operation, json.dumps({"keep": KEEP_SECONDS, **argument})],
        )


@lru_cache(maxsize=1)
def outbox() -> Outbox:
    """Return this process' outbox, made from its settings."""
    return Outbox(connect_redis(settings_module.current()))


def tell(notices: Iterable[Notice]) -> int:
    """Have people told, as far as a rule wants it and it wasn't told before; returns how many.

    Raises redis.RedisError if Redis is away.
    """
    wanted = [notice for notice in notices if notifications().ways(notice)]
    return outbox().put(wanted) if wanted else 0
