"""What the ledger holds: runs, their items, and the address that a message carries."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from bionewsbot.errors import NewerMessage, NotARun
from bionewsbot.names import RUN_HEADER

SCHEMA = 1
"""Version of the ledger's records and of the address in a message's header."""

PUT_BACK_SECONDS = 5
"""How long a message of a later version is kept from the workers that can't read it: so long may
it wait for one that can, and so often is it looked at by those."""

JOB = "*"
"""The item that stands for the job itself: its first message, which selects the targets."""

FINAL = "+"
"""The item that a run ends with, where its job wants one: it begins when all targets have ended."""

RUNNING = "running"
WAITING = "waiting"
"""It starts when the run of its entry that is under way has ended."""

ENDED = ("succeeded", "partial", "failed", "skipped", "missed", "cancelled")

OVERLAP_SKIP = "skip"
OVERLAP_QUEUE = "queue"
OVERLAP_ALLOW = "allow"
OVERLAPS = (OVERLAP_SKIP, OVERLAP_QUEUE, OVERLAP_ALLOW)

_ENTRY_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def format_time(moment: datetime) -> str:
    """Write an aware time as the ledger does: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime(_TIME_FORMAT)


def parse_time(text: str) -> datetime:
    """Read a time as `format_time` writes it. Raises ValueError."""
    return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=UTC)


@dataclass(frozen=True)
class Occurrence:
    """One instant at which an entry is due. Its name is the id of the run that carries it out."""

    entry: str
    scheduled_for: datetime

    def __post_init__(self) -> None:
        if not _ENTRY_NAME.fullmatch(self.entry):
            raise ValueError(f"entry name {self.entry!r}: letters, digits, '_', '.' and '-' only")
        whole = self.scheduled_for.astimezone(UTC).replace(microsecond=0)
        object.__setattr__(self, "scheduled_for", whole)

    @property
    def run_id(self) -> str:
        """The run's id, such as `daily_company_analysis@2026-01-15T06:00:00Z`."""
        return f"{self.entry}@{format_time(self.scheduled_for)}"

    @classmethod
    def parse(cls, run_id: str) -> "Occurrence":
        """Read a run id. Raises ValueError with an example of what one looks like."""
        entry, _, moment = run_id.rpartition("@")
        try:
            return cls(entry, parse_time(moment))
        except ValueError as error:
            raise ValueError(
                f"{run_id!r} is not a run id such as daily_company_analysis@2026-01-15T06:00:00Z"
            ) from error


@dataclass(frozen=True)
class Address:
    """Where in the ledger a message belongs; travels in the message's headers."""

    run_id: str
    target: str
    generation: int

    @property
    def occurrence(self) -> Occurrence:
        """The occurrence that the run carries out."""
        return Occurrence.parse(self.run_id)

    def headers(self) -> dict[str, Any]:
        """Return the message headers that carry this address."""
        return {
            RUN_HEADER: {
                "schema": SCHEMA,
                "run": self.run_id,
                "target": self.target,
                "generation": self.generation,
            }
        }

    @classmethod
    def from_headers(cls, headers: Mapping[str, Any] | None) -> "Address":
        """Read a message's headers.

        Raises NotARun if they hold no address, NewerMessage if a later version wrote them: run,
        target and generation stand there in every version, all else may have changed.
        """
        value = headers.get(RUN_HEADER) if isinstance(headers, Mapping) else None
        if not isinstance(value, dict):
            raise NotARun(
                "This task works on a run and was sent without one. "
                "Start its entry with `celery -A bionewsbot runs start ENTRY`."
            )
        try:
            address = cls(str(value["run"]), str(value["target"]), int(value["generation"]))
            Occurrence.parse(address.run_id)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise NotARun(f"The message's header {RUN_HEADER!r} is malformed: {value!r}") from error
        schema = value.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise NewerMessage(
                f"its schema is {schema}, and this worker reads up to {SCHEMA}", address
            )
        return address


@dataclass(frozen=True)
class Message:
    """A task to send for one item of a run."""

    target: str
    task: str
    queue: str
    kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class NewRun:
    """A run to open. Durations are in seconds."""

    occurrence: Occurrence
    job: Message
    origin: str
    deadline: float
    """How long the run may take from its start."""
    start_by: datetime | None = None
    """Past this instant it is put on record as missed instead."""
    overlap: str = OVERLAP_ALLOW
    """What comes of it while another run of its entry is under way."""
    again: bool = False
    """Whether an occurrence that has a run is carried out once more."""
    missed: str | None = None
    """Why it is only put on record as missed."""


class Opened(StrEnum):
    """What came of opening a run."""

    OPENED = "opened"
    UNSENT = "unsent"
    """It had been opened before, and its job was never sent."""
    EXISTS = "exists"
    MISSED = "missed"
    SKIPPED = "skipped"
    WAITING = "waiting"


@dataclass(frozen=True)
class Opening:
    """A run and what came of opening it."""

    new: NewRun
    verdict: Opened
    status: str | None = None
    """The run's status where it existed before."""
    generation: int | None = None

    @property
    def to_send(self) -> Address | None:
        """The address of the job whose message is to be sent now, if there is one to send."""
        if self.verdict in (Opened.OPENED, Opened.UNSENT) and self.generation is not None:
            return Address(self.new.occurrence.run_id, JOB, self.generation)
        return None


@dataclass(frozen=True)
class Item:
    """One thing that a run has to do: its job, or one of its targets. Times are epoch seconds."""

    target: str
    state: str
    """waiting, sent, done or failed."""
    task: str
    queue: str
    kwargs: Mapping[str, Any]
    sends: int
    starts: int
    task_id: str | None = None
    sent_at: float | None = None
    begun_at: float | None = None
    ended_at: float | None = None
    worker: str | None = None
    error: str | None = None
    attempts: tuple[Mapping[str, Any], ...] = ()
    """Failed attempts: `at` (epoch seconds), `error`, `worker`; the first and the latest ones."""
    totals: Mapping[str, int] = field(default_factory=dict)
    in_line: bool = False
    """Whether it stands in line for a slot."""


@dataclass(frozen=True)
class Suspect:
    """An item that is neither ended nor known to be alive. `start_by` is in epoch seconds."""

    address: Address
    message: Message
    task_id: str | None
    sent_at: float | None
    """When the message with that id was sent, in the ledger's time."""
    sends: int
    deaths: int
    """How often it was begun by a worker that was not heard of again."""
    begun: bool
    alive: bool
    """Whether the last that was heard of it is that a worker is at it."""
    start_by: float | None


@dataclass(frozen=True)
class Run:
    """One occurrence carried out. Times are epoch seconds, except the occurrence's own."""

    run_id: str
    entry: str
    scheduled_for: datetime
    generation: int
    origin: str
    status: str
    opened_at: float
    deadline: float
    ended_at: float | None
    reason: str | None
    fanned_out: bool
    targets: int
    done: int
    """Targets that are done."""
    failed: int
    """Targets that failed for good."""
    totals: Mapping[str, int]
    earlier: tuple[Mapping[str, Any], ...]
    """Summaries of the generations before this one, oldest first."""

    @property
    def ended(self) -> bool:
        """Whether the run has come to its end."""
        return self.status in ENDED

    def seconds(self, now: float) -> float:
        """How long the run took, or has taken until `now`."""
        return max(0.0, (self.ended_at or now) - self.opened_at)
