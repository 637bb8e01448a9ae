"""What a report is made of; `docs/report.schema.json` is the schema of `Report`."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict

from bionewsbot.api.models import AlertState, Severity, Time

SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")
"""The most severe first."""

STATES: tuple[AlertState, ...] = ("open", "acknowledged", "closed")


class _Model(BaseModel):
    # For the schema: the docstrings of fields are what it says of them, and a field that is always
    # written is one that a reader may count on.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
    )


class Story(_Model):
    """An insight or an alert, cut to what a reader needs to decide on reading its source."""

    company_id: str
    type: str
    severity: Severity
    polarity: str
    title: str
    occurred_at: Time
    url: str | None
    """Where it can be read; http or https. None where its source gave no such address."""
    source: str
    alert: AlertState | None
    """The state of its alert when the report was made; None where there is none."""


class Driver(_Model):
    """What moved a company's risk: the difference that a finding makes to the week before."""

    type: str
    points: float
    """Above 0 it raised the risk, below 0 it lowered it."""
    gone: bool
    """Whether it no longer counts: that it is gone is what moved the risk."""
    title: str | None
    """None where no analysis of the week tells of it."""
    url: str | None


class Risk(_Model):
    """A company's last risk score of the week beside the last one of the week before."""

    score: float
    at: Time
    partial: bool
    """Whether a source had failed in that analysis."""
    previous: float | None
    change: float | None
    drivers: tuple[Driver, ...]
    """What drove the change, the heaviest first."""


class SourceFailures(_Model):
    """A source that failed in analyses of the week."""

    name: str
    failed: int
    asked: int
    """Analyses that asked it."""
    error: str | None
    """What the last failure said."""


class DateAhead(_Model):
    """A date after the end of the week that an insight of the week names."""

    day: date
    what: str
    """What the source calls that date."""
    company_id: str
    title: str
    url: str | None


class Analyses(_Model):
    """How many analyses of the week ended in which way."""

    total: int
    succeeded: int
    partial: int
    """A source failed in these."""
    failed: int


class TypeCount(_Model):
    """How many insights there were of one type, and of which severity."""

    type: str
    total: int
    by_severity: dict[Severity, int]


class Section(_Model):
    """What one company contributes. `stories`, `alerts`, `alerts_before` and `ahead` are its
    foremost ones."""

    company_id: str
    name: str
    insights: int
    by_type: tuple[TypeCount, ...]
    stories: tuple[Story, ...]
    alerts_by_state: dict[AlertState, int]
    alerts: tuple[Story, ...]
    open_before: int
    """Alerts first stored before the week that are open, counted up to MAX_OPEN_BEFORE."""
    alerts_before: tuple[Story, ...]
    risk: Risk | None
    analyses: Analyses
    sources_failed: tuple[SourceFailures, ...]
    ahead: tuple[DateAhead, ...]


class Period(_Model):
    """The ISO week that the report is about: `start` to `end`, `end` not included."""

    name: str
    timezone: str
    """IANA name of the zone on whose clocks it begins and ends."""
    start: Time
    end: Time


class Gap(_Model):
    """A company whose week could not be gathered, and why."""

    company_id: str
    name: str
    reason: str


class Portfolio(_Model):
    """The active companies, and those of them that are missing from the report."""

    companies: int
    gathered: int
    gaps: tuple[Gap, ...]


class ReadFirst(_Model):
    """One of the things to read first, and why it is one."""

    story: Story
    name: str
    why: str


class Summary(_Model):
    """The executive summary."""

    changes: tuple[str, ...]
    """What changed, in sentences."""
    read_first: tuple[ReadFirst, ...]


class CompanyStories(_Model):
    """A company's foremost stories, and how many there were."""

    company_id: str
    name: str
    total: int
    stories: tuple[Story, ...]


class Insights(_Model):
    """The insights first stored in the week, by type and by company."""

    total: int
    by_type: tuple[TypeCount, ...]
    companies: tuple[CompanyStories, ...]


class OpenBefore(_Model):
    """The alerts first stored before the week that were open when the report was made."""

    total: int
    """Counted up to 500 for each company."""
    companies: tuple[CompanyStories, ...]


class Alerts(_Model):
    """The alerts first stored in the week with their state when the report was made."""

    total: int
    by_state: dict[AlertState, int]
    companies: tuple[CompanyStories, ...]
    open_before: OpenBefore


class Band(_Model):
    """How many companies have a score in [low, high) now, and had one the week before.

    None: without bound.
    """

    low: float | None
    high: float | None
    companies: int
    previous: int


class PortfolioRisk(_Model):
    """The risk of all companies that have a score in the week."""

    scored: int
    mean: float | None
    median: float | None
    compared: int
    """Companies that also had a score the week before."""
    change: float | None
    """Mean change over those."""
    distribution: tuple[Band, ...]


class CompanyRisk(_Model):
    """One company's risk."""

    company_id: str
    name: str
    risk: Risk


class RiskPart(_Model):
    """The portfolio's risk and each company's, the largest change first."""

    portfolio: PortfolioRisk
    companies: tuple[CompanyRisk, ...]
    unscored: tuple[str, ...]
    """Ids of companies without a score in the week."""


class ActiveCompany(_Model):
    """How much there was about a company."""

    company_id: str
    name: str
    insights: int
    alerts: int


class Activity(_Model):
    """What was done in the week, and about whom there was most."""

    analyses: Analyses
    with_insights: int
    """Companies about which there was an insight."""
    most_active: tuple[ActiveCompany, ...]
    never_analysed: tuple[str, ...]
    """Ids of companies of which no analysis of the week succeeded, not even in part."""


class SourceTotal(SourceFailures):
    """The same over the companies for which it failed."""

    error: str | None
    """What one of the failures said: the last one of one of these companies."""
    companies: int
    """Companies for which it failed. Each tells of the five sources that failed most often for it;
    the numbers are of those."""


class Recommendation(_Model):
    """What a rule says to do."""

    rule: str
    """The rule's name in docs/report.md."""
    text: str
    companies: tuple[str, ...]
    """Ids of the companies that it is about."""
    more: int
    """Companies beyond those that it is about, too."""


class Report(_Model):
    """A weekly comprehensive report."""

    schema_version: Literal[1] = 1
    type: Literal["weekly"] = "weekly"
    period: Period
    portfolio: Portfolio
    summary: Summary
    insights: Insights
    alerts: Alerts
    risk: RiskPart
    activity: Activity
    ahead: tuple[DateAhead, ...]
    """The nearest dates: five of each company, and 200 in all; how many more there are isn't
    counted."""
    sources_failed: tuple[SourceTotal, ...]
    recommendations: tuple[Recommendation, ...]
