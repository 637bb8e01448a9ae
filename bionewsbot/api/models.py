"""What the Backend API takes and answers, typed; fields that the contract may add are ignored."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    StringConstraints,
    model_validator,
)

from bionewsbot.companies import Company, Frequency, Priority, Status

AnalysisType = Literal["daily", "quick_scan"]
AnalysisStatus = Literal["queued", "running", "succeeded", "partial", "failed"]
MaintenanceKind = Literal["analyze", "reindex", "statistics", "vacuum", "orphans"]
JobStatus = Literal["queued", "running", "succeeded", "failed"]
Severity = Literal["low", "medium", "high", "critical"]
AlertState = Literal["open", "acknowledged", "closed"]

ENDED: tuple[AnalysisStatus, ...] = ("succeeded", "partial", "failed")

Text = Annotated[str, StringConstraints(min_length=1)]
Time = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]
"""An aware time, brought to UTC; pydantic writes UTC as RFC 3339 with `Z`."""


def format_time(moment: datetime) -> str:
    """Write an aware time as the contract has it: RFC 3339, UTC, `Z`. Raises ValueError."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Page(_Model):
    """A page's frame: whether there is another one."""

    next_cursor: Text | None


class StoredCompany(Company):
    """A company as the backend answers it: all of it, since a default would hide a gap."""

    ticker: str | None = Field()
    cik: str | None = Field()
    aliases: tuple[str, ...] = Field()
    priority: Priority = Field()
    analysis_frequency: Frequency = Field()
    status: Status = Field()


class CompanyPage(Page):
    """One page of `GET /companies`."""

    items: tuple[StoredCompany, ...]


class StartedAnalysis(_Model):
    """The answer to a start: which analysis it is. What it found is asked for with its id."""

    id: Text
    status: AnalysisStatus
    attempt: Annotated[int, Field(ge=1)]


class SourceReport(_Model):
    """How one source fared in an analysis."""

    name: Text
    status: Literal["ok", "failed", "skipped"]
    fetched: Annotated[int, Field(ge=0)]
    """Number of records that it gave."""
    as_of: Time | None
    """The instant up to which the source knew the world; None where it said nothing."""
    error: str | None


class _Story(_Model):
    story_id: Text
    type: Text
    polarity: Text
    title: Text
    description: str
    severity: Severity
    occurred_at: Time
    url: str | None
    source: Text
    evidence: JsonValue


class Finding(_Story):
    """One thing that an analysis found."""

    confidence: Annotated[FiniteFloat, Field(ge=0, le=1)]


class Risk(_Model):
    """A company's risk score after an analysis; `previous` and `delta` are None on the first."""

    score: FiniteFloat
    previous: FiniteFloat | None
    delta: FiniteFloat | None
    contributions: list[JsonValue]


class JobError(_Model):
    """Why an analysis or a maintenance job failed."""

    code: Text
    message: str
    retryable: bool


class Analysis(StartedAnalysis):
    """An analysis' state and, once it has ended, what it found."""

    company_id: Text
    type: AnalysisType
    started_at: Time | None
    finished_at: Time | None
    sources: tuple[SourceReport, ...]
    findings: tuple[Finding, ...]
    significant: bool
    risk: Risk | None
    error: JobError | None

    @property
    def ended(self) -> bool:
        """Whether it will not change any more (unless a failed one is started again)."""
        return self.status in ENDED

    @model_validator(mode="after")
    def _failed_has_a_reason(self) -> Self:
        # Without it nobody could say whether to try again.
        if self.status == "failed" and self.error is None:
            raise ValueError("status is failed, but error is null")
        return self


class _Filed(_Model):
    company_id: Text
    analysis_id: Text

    @classmethod
    def of(cls, analysis: Analysis, finding: Finding) -> Self:
        """Make one from a finding of an analysis; what it doesn't hold is left out."""
        return cls(company_id=analysis.company_id, analysis_id=analysis.id, **dict(finding))


class NewAlert(_Story, _Filed):
    """What is sent to be stored as an alert."""


class NewInsight(Finding, _Filed):
    """What is sent to be stored as an insight."""


class Insight(NewInsight):
    """A stored insight."""

    id: Text


class Alert(NewAlert):
    """A stored alert."""

    id: Text
    state: AlertState


class InsightPage(Page):
    """One page of `GET /insights`."""

    items: tuple[Insight, ...]


class AlertPage(Page):
    """One page of `GET /alerts`."""

    items: tuple[Alert, ...]


class AnalysisPage(Page):
    """One page of `GET /analyses`."""

    items: tuple[Analysis, ...]


class RiskPoint(_Model):
    """A company's risk score after the analysis that was scheduled for `at`."""

    analysis_type: Text
    at: Time
    score: FiniteFloat
    contributions: list[JsonValue]
    partial: bool
    """Whether a source had failed."""


class RiskPage(Page):
    """One page of `GET /companies/{id}/risk`."""

    items: tuple[RiskPoint, ...]


class Report(_Model):
    """A stored report; `etag` is its content's, without quotes."""

    id: Text
    type: Text
    period: Text
    etag: Text
    content: dict[str, JsonValue]
    created_at: Time
    updated_at: Time


class ReportPage(Page):
    """One page of `GET /reports`."""

    items: tuple[Report, ...]


class Identified(_Model):
    """All that matters of the answer to a write."""

    id: Text


class Stored(_Model):
    """What came of a write: the resource's id, and whether this call made it."""

    id: Text
    created: bool


class ExportPage(Page):
    """One page of whole records, as `import` takes them."""

    items: tuple[dict[str, JsonValue], ...]


class Deleted(_Model):
    """What was deleted, what is left since it had changed, and what wasn't there."""

    deleted: tuple[str, ...]
    left: tuple[str, ...] = ()
    """Empty from a backend that doesn't compare."""
    absent: tuple[str, ...]


class Conflict(_Model):
    """A record that stays out of the backend, and why."""

    id: Text
    reason: str


class Imported(_Model):
    """What became of an import: inserted, there already as given, kept out."""

    imported: Annotated[int, Field(ge=0)]
    unchanged: Annotated[int, Field(ge=0)]
    conflicts: tuple[Conflict, ...]


class Maintenance(_Model):
    """A job of database upkeep; what its result says depends on the database."""

    id: Text
    status: JobStatus
    result: dict[str, JsonValue] | None
    error: JobError | None

    @property
    def ended(self) -> bool:
        """Whether it has come to its end."""
        return self.status in ("succeeded", "failed")
