"""Reading the ledger: runs and their items, as they stand."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import cast

from redis import Redis

from bionewsbot.errors import RunUnknown
from bionewsbot.runs.model import FINAL, JOB, Item, Run
from bionewsbot.runs.records import item_of, key_of, run_of


class LedgerReader:
    """Reads the ledger. Every method raises redis.RedisError if Redis stays away."""

    def __init__(self, redis: "Redis") -> None:
        """Use `redis` (answers decoded)."""
        self._redis = redis

    def get(self, run_id: str) -> Run:
        """Return a run. Raises RunUnknown."""
        fields = cast(dict[str, str], self._redis.hgetall(key_of("run", run_id)))
        if not fields:
            raise RunUnknown(f"The ledger holds no run {run_id}")
        return run_of(run_id, fields)

    def items(self, run_id: str) -> list[Item]:
        """Return a run's items: the job, the targets by name, the final item if there is one."""
        rows = cast(dict[str, str], self._redis.hgetall(key_of("items", run_id)))
        found = [item_of(target, json.loads(text)) for target, text in rows.items()]
        return sorted(
            found, key=lambda item: (item.target != JOB, item.target == FINAL, item.target)
        )

    def sections(self, run_id: str) -> dict[str, str]:
        """Return what the run's targets left to its final item, by target."""
        return cast(dict[str, str], self._redis.hgetall(key_of("sections", run_id)))

    def latest(self, limit: int, entry: str | None = None) -> list[Run]:
        """Return up to `limit` runs, the latest occurrence first; those of one entry if given."""
        index = key_of("index", entry)
        found: list[Run] = []
        position = 0
        while len(found) < limit:
            page = cast(list[str], self._redis.zrevrange(index, position, position + limit - 1))
            if not page:
                break
            position += limit
            found += self._get_all(page)
        return found[:limit]

    def latest_of(self, entries: Sequence[str]) -> dict[str, Run]:
        """Return the latest run of each of these entries that has one."""
        with self._redis.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.zrevrange(key_of("index", entry), 0, 0)
            pages = pipe.execute()
        runs = self._get_all([run_id for page in pages for run_id in page])
        return {run.entry: run for run in runs}

    def between(self, entry: str, start: datetime, end: datetime) -> set[str]:
        """Return the ids of an entry's runs scheduled from `start` to `end`, both included."""
        index = key_of("index", entry)
        page = self._redis.zrangebyscore(index, start.timestamp(), end.timestamp())
        return {run.run_id for run in self._get_all(cast(list[str], page))}

    def under_way(self, tasks: Collection[str]) -> list[str]:
        """Return the ids of the runs under way whose job is one of these tasks."""
        run_ids = cast(list[str], self._redis.zrange(key_of("open"), 0, -1))
        with self._redis.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                pipe.hget(key_of("items", run_id), JOB)
            rows = pipe.execute()
        return [
            run_id
            for run_id, row in zip(run_ids, rows, strict=True)
            if row and json.loads(row)["task"] in tasks
        ]

    def ended_since(self, moment: float) -> list[Run]:
        """Return the runs that ended at `moment` (epoch seconds) or later, of the last day."""
        page = self._redis.zrange(key_of("ended"), repr(moment), "+inf", byscore=True)
        return [run for run in self._get_all(cast(list[str], page)) if run.ended]

    def _get_all(self, run_ids: Sequence[str]) -> list[Run]:
        with self._redis.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                pipe.hgetall(key_of("run", run_id))
            rows = pipe.execute()
        # An index may name a run that is forgotten.
        return [run_of(run_id, row) for run_id, row in zip(run_ids, rows, strict=True) if row]
