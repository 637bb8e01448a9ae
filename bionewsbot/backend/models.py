"""The contract's JSON: what callers send and what they get."""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from bionewsbot.backend.storage.upkeep.plan import TABLES

MAX_BATCH = 500
"""Most records in one page, one import or one deletion."""

EARLIEST_YEAR, LATEST_YEAR = 1900, 2999
"""Bounds that keep sums of times within what the databases can hold."""


_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def _written_as_time(value: Any) -> Any:
    # pydantic would take a bare number for seconds since 1970.
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not re.match(r"\d{4}-\d{2}-\d{2}[Tt ]", value):
        raise ValueError("must be a time such as 2026-01-15T06:00:00Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    if not EARLIEST_YEAR <= moment.year <= LATEST_YEAR:
        raise ValueError(f"must be in the years {EARLIEST_YEAR} to {LATEST_YEAR}")
    return moment.astimezone(UTC)


def _storable(value: Any) -> Any:
    """Refuse what JSON text can't carry (NaN, half a surrogate pair) or PostgreSQL can't (NUL)."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"must be plain JSON ({error})") from error
    if _ESCAPED_NUL.search(text):
        raise ValueError("must not hold the character NUL")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_written_as_time), AfterValidator(_in_utc)]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_storable)]
Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=2000),
    AfterValidator(_storable),
]
Prose = Annotated[str, StringConstraints(max_length=100_000), AfterValidator(_storable)]
Url = Annotated[str, StringConstraints(max_length=4000), AfterValidator(_storable)]
Json = Annotated[JsonValue, AfterValidator(_storable)]
JsonObject = Annotated[dict[str, JsonValue], AfterValidator(_storable)]

AnalysisType = Literal["daily", "quick_scan"]
AnalysisStatus = Literal["queued", "running", "succeeded", "partial", "failed"]
EndedStatus = Literal["succeeded", "partial", "failed"]
JobStatus = Literal["queued", "running", "succeeded", "failed"]
Priority = Literal["high", "medium", "low"]
Frequency = Literal["hourly", "daily", "weekly"]
CompanyStatus = Literal["active", "paused"]
Severity = Literal["low", "medium", "high", "critical"]
AlertState = Literal["open", "acknowledged", "closed"]
Kind = Literal["analyze", "reindex", "statistics", "vacuum", "orphans"]


class _Model(BaseModel):
    # A misspelt field must not vanish without a word.
    model_config = ConfigDict(extra="forbid")


class CompanyIn(_Model):
    """A company without its id, which stands in the path."""

    name: Line
    ticker: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9.-]{0,15}$")] | None = None
    cik: Annotated[str, StringConstraints(pattern=r"^[0-9]{10}$")] | None = None
    """The SEC's Central Index Key with its leading zeros."""
    aliases: list[Line] = Field(default_factory=list, max_length=200)
    priority: Priority = "medium"
    analysis_frequency: Frequency = "daily"
    status: CompanyStatus = "active"


class Company(CompanyIn):
    """A stored company."""

    id: Id
    created_at: Time
    updated_at: Time


class RiskPoint(_Model):
    """A company's risk score after one analysis; `partial` says that a source had failed."""

    analysis_id: str
    company_id: str
    analysis_type: AnalysisType
    at: Time
    """The time that the analysis was scheduled for."""
    score: float
    previous: float | None
    delta: float | None
    contributions: list[JsonObject]
    partial: bool


class AnalysisIn(_Model):
    """An analysis to start."""

    company_id: Id
    type: AnalysisType
    scheduled_for: Time


class Started(_Model):
    """Which analysis or job a call started or found."""

    id: str
    status: str
    attempt: int


class SourceReport(_Model):
    """How one source fared; `as_of` is the instant up to which it knew the world."""

    name: str
    status: Literal["ok", "failed", "skipped"]
    fetched: Annotated[int, Field(ge=0)]
    as_of: Time | None
    error: str | None


class _Story(_Model):
    story_id: Annotated[
        str, StringConstraints(min_length=1, max_length=255), AfterValidator(_storable)
    ]
    type: Word
    polarity: Word
    title: Line
    description: Prose
    severity: Severity
    occurred_at: Time
    url: Url | None
    source: Line
    evidence: Json


Confidence = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Finding(_Story):
    """One thing that an analysis found."""

    confidence: Confidence


class Risk(_Model):
    """A company's risk score; `previous` and `delta` are null on the first analysis."""

    score: float
    previous: float | None
    delta: float | None
    contributions: list[JsonObject]


class JobError(_Model):
    """Why something failed, and whether trying again may help."""

    code: str
    message: str
    retryable: bool


class Analysis(_Model):
    """An analysis' state and, once it has ended, what it found."""

    id: Id
    company_id: Id
    type: AnalysisType
    scheduled_for: Time
    attempt: Annotated[int, Field(ge=1, le=2**31 - 1)]
    status: AnalysisStatus
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    sources: list[SourceReport]
    findings: list[Finding]
    significant: bool
    risk: Risk | None
    error: JobError | None


class ArchivedAnalysis(Analysis):
    """An analysis to put back: one that has ended."""

    status: EndedStatus


class AlertIn(_Story):
    """An alert to store."""

    company_id: Id
    analysis_id: Id


class InsightIn(AlertIn):
    """An insight to store."""

    confidence: Confidence


class StorySource(_Model):
    """One source of a story, and the analysis that found the story there."""

    source: Line
    url: Url | None
    evidence: Json
    analysis_id: Id


class _Stored(_Model):
    id: Id
    sources: list[StorySource]
    created_at: Time
    updated_at: Time


class Insight(InsightIn, _Stored):
    """A stored insight; `sources` has every source that told the story, the first one first."""


class Alert(AlertIn, _Stored):
    """A stored alert; `sources` as with insights."""

    state: AlertState


class AlertPatch(_Model):
    """An alert's new state."""

    state: AlertState


class Report(_Model):
    """A stored report."""

    id: Id
    type: Word
    period: Word
    etag: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the content; the ETag header has it in quotes."""
    content: JsonObject
    created_at: Time
    updated_at: Time


class MaintenanceParams(_Model):
    """Which tables a job looks after (all of the backend's, unless named), and its patience."""

    tables: list[str] | None = Field(default=None, min_length=1)
    lock_timeout: Annotated[float, Field(gt=0, le=600)] = 5.0
    """Seconds for which a step waits for a table's lock (PostgreSQL)."""

    @model_validator(mode="after")
    def _tables_are_known(self) -> "MaintenanceParams":
        unknown = sorted(set(self.tables or ()) - set(TABLES))
        if unknown:
            raise ValueError(f"tables: {', '.join(unknown)} unknown; there are {', '.join(TABLES)}")
        return self


class MaintenanceIn(_Model):
    """A maintenance job to start."""

    kind: Kind
    params: MaintenanceParams = Field(default_factory=MaintenanceParams)
    dry_run: bool = False


class Maintenance(_Model):
    """A maintenance job; its `result` depends on kind and database."""

    id: str
    kind: Kind
    params: MaintenanceParams
    dry_run: bool
    attempt: int
    status: JobStatus
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    result: JsonObject | None
    error: JobError | None


class DeleteIn(_Model):
    """The ids of what was archived, and the times when it had last changed then.

    That is `updated_at`, of an analysis `finished_at`.
    """

    ids: list[Annotated[str, StringConstraints(min_length=1, max_length=64)]] = Field(
        max_length=MAX_BATCH
    )
    last_changed: dict[str, Time] = Field(default={}, max_length=MAX_BATCH)


class Deleted(_Model):
    """What was deleted, what is left there, and what wasn't there."""

    deleted: list[str]
    left: list[str]
    absent: list[str]


class ImportIn(_Model):
    """Archived records to put back; each is checked as the collection's record."""

    items: list[JsonObject] = Field(max_length=MAX_BATCH)


class Conflict(_Model):
    """A record that stays out, and why."""

    id: str
    reason: str


class Imported(_Model):
    """What became of an import: inserted, there already as given, kept out."""

    imported: int
    unchanged: int
    conflicts: list[Conflict]


class CompanyPage(_Model):
    """A page of companies."""

    items: list[Company]
    next_cursor: str | None


class RiskPage(_Model):
    """A page of risk scores."""

    items: list[RiskPoint]
    next_cursor: str | None


class AnalysisPage(_Model):
    """A page of analyses."""

    items: list[Analysis]
    next_cursor: str | None


class InsightPage(_Model):
    """A page of insights."""

    items: list[Insight]
    next_cursor: str | None


class AlertPage(_Model):
    """A page of alerts."""

    items: list[Alert]
    next_cursor: str | None


class ReportPage(_Model):
    """A page of reports."""

    items: list[Report]
    next_cursor: str | None
