"""The ledger of runs: what beat, tasks and operators do with it."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any

from redis import Redis

from bionewsbot import settings as settings_module
from bionewsbot.celeryconfig import connect_redis
from bionewsbot.errors import LedgerLimit, RunUnknown
from bionewsbot.runs.model import (
    SCHEMA,
    Address,
    Message,
    NewRun,
    Opened,
    Opening,
    format_time,
)
from bionewsbot.runs.records import message_of
from bionewsbot.runs.scripting import slots_argument
from bionewsbot.runs.supervision import KEEP_STORIES, LedgerSupervision
from bionewsbot.settings import Settings

MAX_TARGETS = 20_000
"""Most targets of one run: about 10 MB of items in Redis, ten times the largest portfolio."""

MAX_ERROR_LENGTH = 500
"""Characters of an error's text that the ledger keeps with an item."""

MAX_TRACEBACK_LENGTH = 8000
"""Characters of a traceback, its end, that a dead letter keeps."""

KEEP_ATTEMPTS = 10
"""Failed attempts at an item that are kept with their times and errors."""

KEEP_GENERATIONS = 10
"""Earlier generations of a run whose summaries are kept."""

MAX_SECTION_BYTES = 64 * 1024
"""Longest section that a target leaves to the run's end: those of 2,000 have 128 MB at most."""

KEEP_SECTIONS_SECONDS = 7 * 86_400
"""How long the sections of a run that did not succeed wait for a replay."""

SWEEP = 4
"""Ids of forgotten runs that an opening takes out of the index: more than the one that it adds."""

TOO_LATE = "its starting deadline passed before it could be sent"

MAX_DEATHS = 5
"""Workers that an item may take with it: one that kills its worker must not go on for ever."""

POISONOUS = f"its worker died {MAX_DEATHS} times"


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
    POISON = "poison"
    """It has taken MAX_DEATHS workers with it; it has to be failed."""
    IN_LINE = "in line"
    """All slots are taken; it is sent again when it is called up."""
    UNKNOWN = "unknown"
    """The ledger doesn't know the run or the target."""


class Ledger(LedgerSupervision):
    """Reads and writes the ledger. Safe to share between threads.

    Every method raises redis.RedisError if Redis stays away beyond the client's retries.
    """

    @classmethod
    def from_settings(cls, settings: Settings, redis: "Redis | None" = None) -> "Ledger":
        """Return a ledger as the settings want it, on a client of its own or on `redis`."""
        return cls(
            redis if redis is not None else connect_redis(settings),
            retention_days=settings.run_retention_days,
            lease_seconds=settings.run_lease_seconds,
        )

    def open(self, new: NewRun) -> Opening:
        """Open a run; its job waits to be sent. What came of it stands in the Opening."""
        return self.open_all([new])[0]

    def open_all(self, runs: Sequence[NewRun]) -> list[Opening]:
        """Open runs, in this order and in one round trip."""
        answers = self._call(
            "open",
            "",
            runs=[_opening(new) for new in runs],
            schema=SCHEMA,
            retention=self._retention,
            too_late=TOO_LATE,
            keep_generations=KEEP_GENERATIONS,
            sweep=SWEEP,
            lease=self._queued_lease,
        )
        return [
            Opening(
                new,
                Opened(verdict),
                status=detail if verdict == "exists" else None,
                generation=None if verdict == "exists" else int(detail),
            )
            for new, (verdict, detail) in zip(runs, answers, strict=True)
        ]

    def fan_out(
        self, job: Address, targets: Sequence[Message], final: Message | None = None
    ) -> tuple[Verdict, tuple[Message, ...]]:
        """Register the job's targets, the first time; return those that are not sent yet.

        A second call keeps the first one's selection, so that a job that died half way goes on
        where it stopped. `final` (its target is FINAL) is sent by the reconciler when all targets
        have ended, and the run ends with it. Raises LedgerLimit for more than MAX_TARGETS.
        """
        if len(targets) > MAX_TARGETS:
            raise LedgerLimit(f"{job.run_id}: {len(targets)} targets; a run has {MAX_TARGETS}")
        verdict, unsent = self._call(
            "fan_out",
            job.run_id,
            generation=job.generation,
            targets=[_row(message) for message in targets],
            final=_row(final) if final else None,
            lease=self._queued_lease,
        )
        waiting = tuple(message_of(row["target"], row) for row in json.loads(unsent))
        return Verdict(verdict), waiting

    def sent(self, sends: Iterable[tuple[Address, str]]) -> None:
        """Record that messages were sent: pairs of address and task id. One round trip."""
        self._call("sent", "", runs=_by_run(sends), lease=self._queued_lease)

    def begin(self, address: Address, *, task_id: str, worker: str, slots: int = 0) -> Verdict:
        """Ask to begin an item. Anything but GO: there is nothing to do, drop the message.

        It takes one of so many `slots`, if any are given (see docs/limits.md).
        """
        return Verdict(
            self._call(
                "begin",
                address.run_id,
                target=address.target,
                generation=address.generation,
                task_id=task_id,
                worker=worker,
                lease=self._lease,
                max_deaths=MAX_DEATHS,
                slots=slots_argument(slots),
            )
        )

    def alive(self, addresses: Iterable[Address]) -> None:
        """Renew the leases of items that somebody works on."""
        self._renew(addresses, self._lease)

    def let_go(self, begun: Iterable[tuple[Address, str]]) -> None:
        """Record that messages go back into their queues unfinished: pairs of address and task id.

        Where an item was begun as that task, beginning it once more counts as no death of its
        worker. One round trip.
        """
        self._call("let_go", "", runs=_by_run(begun), lease=self._queued_lease)

    def tried(self, address: Address) -> tuple[int, float]:
        """Return how many attempts at an item failed, and the seconds since the first began."""
        attempts, seconds = self._call("tried", address.run_id, target=address.target)
        return int(attempts), float(seconds)

    def pause(self, address: Address, *, seconds: float, error: str, counts: bool = True) -> None:
        """Record that an item waits `seconds` for its next attempt, after `error`.

        `counts` says whether the attempt that failed is on record as one.
        """
        self._call(
            "pause",
            address.run_id,
            target=address.target,
            generation=address.generation,
            lease=seconds + self._queued_lease,
            error=error[:MAX_ERROR_LENGTH],
            counts=counts,
            keep_attempts=KEEP_ATTEMPTS,
        )

    def finish(
        self, address: Address, totals: Mapping[str, int], section: str | None = None
    ) -> tuple[Verdict, str | None]:
        """Record an item as done and add its totals to the run's.

        `section` is kept for the run's final item. Returns the verdict, and the run's final status
        where this ended the run. Raises LedgerLimit for a section over MAX_SECTION_BYTES.
        """
        if section is None:
            return self._end(address, "done", totals)
        size = len(section.encode())
        if size > MAX_SECTION_BYTES:
            raise LedgerLimit(
                f"{address.target}: a section of {size} bytes; {MAX_SECTION_BYTES} are kept"
            )
        return self._end(
            address, "done", totals, section=section, keep_sections=KEEP_SECTIONS_SECONDS
        )

    def fail(
        self,
        address: Address,
        error: str,
        *,
        why: str,
        traceback: str | None = None,
        message: Mapping[str, Any] | None = None,
    ) -> tuple[Verdict, str | None]:
        """Record an item as failed for good and write its dead letter; returns as `finish` does.

        `why` says why it isn't tried again; `message` is its message as it came.
        """
        return self._end(
            address,
            "failed",
            {},
            error=error[:MAX_ERROR_LENGTH],
            why=why,
            traceback=traceback and traceback[-MAX_TRACEBACK_LENGTH:],
            message=message,
            keep_stories=KEEP_STORIES,
        )

    def replay(self, run_id: str, target: str, *, by: str) -> tuple[str, Address | None]:
        """Have a failed item carried out once more, in a new generation with all its attempts.

        Its job waits to be sent. Returns `replayed` and the address; else the state of the item
        or the run that stands against it, and None.
        """
        verdict, generation = self._call(
            "replay", run_id, target=target, by=by, lease=self._queued_lease
        )
        return verdict, Address(run_id, target, generation) if verdict == "replayed" else None

    def against_replay(self, run_id: str, target: str) -> str | None:
        """Return what stands against a replay, as `replay` does; None if nothing does."""
        return str(self._call("against_replay", run_id, target=target)) or None

    def purge_letters(self, ids: Sequence[str]) -> int:
        """Remove dead letters unrun; returns how many there were."""
        return int(self._call("purge", "", ids=list(ids)))

    def record_letter(self, letter: Mapping[str, Any]) -> bool:
        """Keep a dead letter of a message without a known run; returns whether it is new."""
        return bool(self._call("record", "", letter=dict(letter)))

    def cancel(self, run_id: str, reason: str) -> str:
        """End a running or waiting run as cancelled; returns its status, final before or now.

        Raises RunUnknown.
        """
        argument = {"reason": reason, "keep_stories": KEEP_STORIES}
        status = str(self._call("cancel", run_id, **argument))
        if status == "unknown":
            raise RunUnknown(f"The ledger holds no run {run_id}")
        return status

    def _end(
        self, address: Address, state: str, totals: Mapping[str, int], **details: Any
    ) -> tuple[Verdict, str | None]:
        verdict, status = self._call(
            "finish",
            address.run_id,
            target=address.target,
            generation=address.generation,
            state=state,
            totals=dict(totals),
            **details,
        )
        return Verdict(verdict), status or None


@lru_cache(maxsize=1)
def ledger() -> Ledger:
    """Return this process' ledger, made from its settings."""
    return Ledger.from_settings(settings_module.current())


def _by_run(messages: Iterable[tuple[Address, str]]) -> list[dict[str, Any]]:
    by_run: dict[tuple[str, int], list[dict[str, str]]] = defaultdict(list)
    for address, task_id in messages:
        row = {"target": address.target, "task_id": task_id}
        by_run[address.run_id, address.generation].append(row)
    return [
        {"run_id": run_id, "generation": generation, "messages": rows}
        for (run_id, generation), rows in by_run.items()
    ]


def _row(message: Message) -> dict[str, str]:
    return {
        "target": message.target,
        "task": message.task,
        "queue": message.queue,
        "kwargs": json.dumps(dict(message.kwargs)),
    }


def _opening(new: NewRun) -> dict[str, Any]:
    occurrence, job = new.occurrence, new.job
    row = {
        "run_id": occurrence.run_id,
        "entry": occurrence.entry,
        "scheduled_for": format_time(occurrence.scheduled_for),
        "scheduled_at": occurrence.scheduled_for.timestamp(),
        "task": job.task,
        "queue": job.queue,
        "kwargs": json.dumps(dict(job.kwargs)),
        "origin": new.origin,
        "start_by": new.start_by.timestamp() if new.start_by else None,
        "deadline": new.deadline,
        "again": new.again,
        "overlap": new.overlap,
        "missed": new.missed,
    }
    return {name: value for name, value in row.items() if value is not None}
