"""The ledger of runs in Redis: every transition is one atomic script (`ledger.lua`)."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from typing import Any, cast

from redis import Redis
from redis.lock import Lock

from bionewsbot import settings as settings_module
from bionewsbot.celeryconfig import connect_redis
from bionewsbot.errors import LedgerLimit, RunExists, RunUnknown
from bionewsbot.names import KEY_PREFIX
from bionewsbot.runs.model import (
    JOB,
    SCHEMA,
    Address,
    Item,
    Message,
    Occurrence,
    Run,
    Suspect,
    format_time,
    parse_time,
)

QUEUED_LEASES = 3
"""A message that waits gets this many leases before it is looked for in its queue."""

MAX_TARGETS = 20_000
"""Most targets of one run: about 10 MB of items in Redis, ten times the largest portfolio."""

MAX_ERROR_LENGTH = 500
"""Characters of an error's text that the ledger keeps with an item."""

KEEP_GENERATIONS = 10
"""Earlier generations of a run whose summaries are kept."""

SWEEP = 4
"""Ids of forgotten runs that an opening takes out of the index: more than the one that it adds."""

_SECONDS_PER_DAY = 86_400


class Verdict(StrEnum):
    """What the ledger says to a task that wants to begin, or to record its end."""

    GO = "go"
    RECORDED = "recorded"
    DONE = "done"
    FAILED = "failed"
    ENDED = "ended"
    """The run has ended: cancelled, missed or past its deadline."""
    SUPERSEDED = "superseded"
    """A later generation of the run has taken its place."""
    BUSY = "busy"
    """Another message of the same item is alive."""
    UNKNOWN = "unknown"
    """The ledger doesn't know the run or the target."""


class Ledger:
    """Reads and writes the ledger. Safe to share between threads.

    Every method raises redis.RedisError if Redis stays away beyond the client's retries.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        retention_days: int,
        lease_seconds: float,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Use `redis` (answers decoded); `clock` gives epoch seconds, default Redis' own clock.

        An item counts as alive for `lease_seconds` after each sign of life.
        """
        self._redis = redis
        self._lease = lease_seconds
        self._queued_lease = lease_seconds * QUEUED_LEASES
        self._retention = retention_days * _SECONDS_PER_DAY
        self._clock = clock
        source = files(__package__).joinpath("ledger.lua").read_text(encoding="utf-8")
        self._script = redis.register_script(source)

    def now(self) -> float:
        """Return the ledger's time in epoch seconds: Redis' clock, the same for every host."""
        if self._clock is not None:
            return self._clock()
        seconds, microseconds = self._redis.time()
        return seconds + microseconds / 1_000_000

    def open(
        self,
        occurrence: Occurrence,
        job: Message,
        *,
        origin: str,
        deadline: float,
        start_by: datetime | None = None,
        again: bool = False,
    ) -> tuple[Address, bool]:
        """Open the occurrence's run; its job waits to be sent.

        `deadline` is in seconds from now. Returns the job's address, and False where `start_by`
        had passed, so that the run is on record as missed instead. Raises RunExists if the
        occurrence has a run (with `again`: one that is still running).
        """
        verdict, detail = self._call(
            "open",
            occurrence.run_id,
            schema=SCHEMA,
            entry=occurrence.entry,
            scheduled_for=format_time(occurrence.scheduled_for),
            scheduled_at=occurrence.scheduled_for.timestamp(),
            task=job.task,
            queue=job.queue,
            kwargs=json.dumps(dict(job.kwargs)),
            origin=origin,
            start_by=start_by.timestamp() if start_by else None,
            deadline=deadline,
            retention=self._retention,
            again=again,
            keep_generations=KEEP_GENERATIONS,
            sweep=SWEEP,
            lease=self._queued_lease,
        )
        if verdict == "exists":
            mend = (
                "wait for its end or cancel it"
                if detail == "running"
                else "carry it out once more with --again"
            )
            raise RunExists(f"{occurrence.run_id} already has a run ({detail}); {mend}")
        return Address(occurrence.run_id, JOB, int(detail)), verdict == "opened"

    def fan_out(
        self, job: Address, targets: Sequence[Message]
    ) -> tuple[Verdict, tuple[Message, ...]]:
        """Register the job's targets, the first time; return those that are not sent yet.

        A second call keeps the first one's selection, so that a job that died half way goes on
        where it stopped. Raises LedgerLimit for more than MAX_TARGETS.
        """
        if len(targets) > MAX_TARGETS:
            raise LedgerLimit(f"{job.run_id}: {len(targets)} targets; a run has {MAX_TARGETS}")
        rows = [
            {
                "target": message.target,
                "task": message.task,
                "queue": message.queue,
                "kwargs": json.dumps(dict(message.kwargs)),
            }
            for message in targets
        ]
        verdict, unsent = self._call(
            "fan_out", job.run_id, generation=job.generation, targets=rows, lease=self._queued_lease
        )
        waiting = tuple(_message(row["target"], row) for row in json.loads(unsent))
        return Verdict(verdict), waiting

    def sent(self, run_id: str, generation: int, sends: Iterable[tuple[str, str]]) -> None:
        """Record that messages were sent: pairs of target and task id."""
        rows = [{"target": target, "task_id": task_id} for target, task_id in sends]
        self._call("sent", run_id, generation=generation, sends=rows, lease=self._queued_lease)

    def begin(self, address: Address, *, task_id: str, worker: str) -> Verdict:
        """Ask to begin an item. Anything but GO: there is nothing to do, drop the message."""
        return Verdict(
            self._call(
                "begin",
                address.run_id,
                target=address.target,
                generation=address.generation,
                task_id=task_id,
                worker=worker,
                lease=self._lease,
            )
        )

    def alive(self, addresses: Iterable[Address]) -> None:
        """Renew the leases of items that somebody works on."""
        self._renew(addresses, self._lease)

    def pause(self, address: Address, *, seconds: float, error: str) -> None:
        """Record that an item waits `seconds` for its next attempt, after `error`."""
        self._call(
            "pause",
            address.run_id,
            target=address.target,
            generation=address.generation,
            lease=seconds + self._queued_lease,
            error=error[:MAX_ERROR_LENGTH],
        )

    def finish(self, address: Address, totals: Mapping[str, int]) -> tuple[Verdict, str | None]:
        """Record an item as done and add its totals to the run's.

        Returns the verdict, and the run's final status where this ended the run.
        """
        return self._end(address, "done", totals, None)

    def fail(self, address: Address, error: str) -> tuple[Verdict, str | None]:
        """Record an item as failed for good; returns as `finish` does."""
        return self._end(address, "failed", {}, error[:MAX_ERROR_LENGTH])

    def cancel(self, run_id: str, reason: str) -> str:
        """End a running run as cancelled; returns its status, which may have been final before.

        Raises RunUnknown.
        """
        status = str(self._call("cancel", run_id, reason=reason))
        if status == "unknown":
            raise RunUnknown(f"The ledger holds no run {run_id}")
        return status

    def miss(self, run_id: str, reason: str) -> bool:
        """End a run as missed if its job was never begun and may not start any more."""
        return bool(self._call("miss", run_id, reason=reason))

    def overdue(self) -> list[str]:
        """Return the ids of running runs that are past their deadline."""
        found = self._redis.zrangebyscore(_key("open"), "-inf", self.now())
        return cast(list[str], found)

    def end_overdue(self, run_id: str) -> str | None:
        """Fail what is left of a run past its deadline; returns the final status if it ended."""
        reason = "the run's deadline passed"
        return str(self._call("overdue", run_id, reason=reason)) or None

    def suspects(self, limit: int) -> list[Suspect]:
        """Return up to `limit` items whose lease ran out; settled ones are cleared on the way."""
        return [_suspect(row) for row in json.loads(self._call("suspects", "", limit=limit))]

    def postpone(self, addresses: Iterable[Address]) -> None:
        """Let suspects be for a while: their messages still wait in their queues."""
        self._renew(addresses, self._queued_lease)

    def lock(self, name: str, *, seconds: float) -> Lock:
        """Return a lock that one process holds at a time, for `seconds` at most."""
        return Lock(self._redis, name, timeout=seconds)

    def get(self, run_id: str) -> Run:
        """Return a run. Raises RunUnknown."""
        fields = cast(dict[str, str], self._redis.hgetall(_key("run", run_id)))
        if not fields:
            raise RunUnknown(f"The ledger holds no run {run_id}")
        return _run(run_id, fields)

    def items(self, run_id: str) -> list[Item]:
        """Return a run's items, the job first, then the targets by name."""
        rows = cast(dict[str, str], self._redis.hgetall(_key("items", run_id)))
        found = [_item(target, json.loads(text)) for target, text in rows.items()]
        return sorted(found, key=lambda item: (item.target != JOB, item.target))

    def latest(self, limit: int, entry: str | None = None) -> list[Run]:
        """Return up to `limit` runs, the latest occurrence first; those of one entry if given."""
        found: list[Run] = []
        position = 0
        while len(found) < limit:
            page = self._redis.zrevrange(_key("index"), position, position + limit - 1)
            if not page:
                break
            position += limit
            wanted = [run_id for run_id in cast(list[str], page) if _is_of(run_id, entry)]
            with self._redis.pipeline(transaction=False) as pipe:
                for run_id in wanted:
                    pipe.hgetall(_key("run", run_id))
                rows = pipe.execute()
            found += [_run(run_id, row) for run_id, row in zip(wanted, rows, strict=True) if row]
        return found[:limit]

    def _end(
        self, address: Address, state: str, totals: Mapping[str, int], error: str | None
    ) -> tuple[Verdict, str | None]:
        verdict, status = self._call(
            "finish",
            address.run_id,
            target=address.target,
            generation=address.generation,
            state=state,
            totals=dict(totals),
            error=error,
        )
        return Verdict(verdict), status or None

    def _renew(self, addresses: Iterable[Address], seconds: float) -> None:
        until = self.now() + seconds
        leases = {f"{address.run_id}|{address.target}": until for address in addresses}
        if leases:
            self._redis.zadd(_key("leases"), leases, xx=True)

    def _call(self, operation: str, run_id: str, **argument: Any) -> Any:
        given = {name: value for name, value in argument.items() if value is not None}
        return self._script(
            keys=[
                _key("run", run_id),
                _key("items", run_id),
                _key("leases"),
                _key("open"),
                _key("index"),
            ],
            args=[
                operation,
                "" if self._clock is None else repr(self._clock()),
                json.dumps({"prefix": KEY_PREFIX, "run_id": run_id, **given}),
            ],
        )


@lru_cache(maxsize=1)
def ledger() -> Ledger:
    """Return this process' ledger, made from its settings."""
    settings = settings_module.current()
    return Ledger(
        connect_redis(settings),
        retention_days=settings.run_retention_days,
        lease_seconds=settings.run_lease_seconds,
    )


def _key(kind: str, run_id: str | None = None) -> str:
    return f"{KEY_PREFIX}{kind}" + (f":{run_id}" if run_id else "")


def _is_of(run_id: str, entry: str | None) -> bool:
    return entry is None or run_id.rpartition("@")[0] == entry


def _message(target: str, row: Mapping[str, Any]) -> Message:
    return Message(target, row["task"], row["queue"], json.loads(row["kwargs"]))


def _suspect(row: Mapping[str, Any]) -> Suspect:
    return Suspect(
        address=Address(row["run_id"], row["target"], int(row["generation"])),
        message=_message(row["target"], row),
        task_id=row.get("task_id"),
        sends=int(row["sends"]),
        deaths=int(row.get("deaths", 0)),
        begun="begun_at" in row,
        alive=bool(row.get("alive")),
        start_by=row.get("start_by"),
    )


def _item(target: str, row: Mapping[str, Any]) -> Item:
    return Item(
        target=target,
        state=row["state"],
        task=row["task"],
        queue=row["queue"],
        kwargs=json.loads(row["kwargs"]),
        sends=int(row["sends"]),
        starts=int(row["starts"]),
        task_id=row.get("task_id"),
        sent_at=row.get("sent_at"),
        begun_at=row.get("begun_at"),
        ended_at=row.get("ended_at"),
        worker=row.get("worker"),
        error=row.get("error"),
        # An empty object comes back from Lua as an empty array.
        totals={name: int(value) for name, value in dict(row.get("totals") or {}).items()},
    )


def _run(run_id: str, fields: Mapping[str, str]) -> Run:
    return Run(
        run_id=run_id,
        entry=fields["entry"],
        scheduled_for=parse_time(fields["scheduled_for"]),
        generation=int(fields["generation"]),
        origin=fields["origin"],
        status=fields["status"],
        opened_at=float(fields["opened_at"]),
        deadline=float(fields["deadline"]),
        ended_at=float(fields["ended_at"]) if "ended_at" in fields else None,
        reason=fields.get("reason"),
        fanned_out="fanned_out_at" in fields,
        targets=int(fields["targets"]),
        done=int(fields["done"]),
        failed=int(fields["failed"]),
        totals={name: int(value) for name, value in json.loads(fields["totals"]).items()},
        earlier=tuple(json.loads(fields["earlier"])),
    )
