"""What people are told: one notice for each event, under an id that is the same each time."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

from bionewsbot.api.models import NewAlert, Severity
from bionewsbot.api.shared_circuit import Change
from bionewsbot.dead_letters.letters import Letter
from bionewsbot.runs.model import Run, format_time

Event = Literal[
    "alert",
    "report_ready",
    "run_failed",
    "run_partial",
    "occurrence_missed",
    "dead_letters",
    "breaker_open",
]

ENTRY = "notifications"
"""Name under which the ledger keeps the runs that send notices; the timetable has no such entry."""

MAX_TITLE, MAX_BODY = 200, 2000
"""Characters of a notice: a few lines on a phone; the rest is found where it points to."""


@dataclass(frozen=True)
class Notice:
    """One thing to tell."""

    id: str
    """The same for the same event, whoever tells of it and how often."""
    event: Event | Literal["test"]
    title: str
    body: str
    company: str | None = None
    severity: Severity | None = None
    not_by: str | None = None
    """A channel that it is not sent by, since it tells of that channel's own failure."""

    def __post_init__(self) -> None:
        # One line: some channels make a header of it.
        object.__setattr__(self, "title", _cut(" ".join(self.title.split()), MAX_TITLE))
        object.__setattr__(self, "body", _cut(self.body.strip(), MAX_BODY))

    def as_dict(self) -> dict[str, Any]:
        """Return it as values that can be written as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """Return the notice that `as_dict` wrote."""
        return cls(**row)


def of_alert(alert: NewAlert) -> Notice:
    """Tell of an alert: one notice for its story, however often the story is found."""
    story = _digest(alert.story_id, alert.type)
    seen = alert.occurred_at.strftime("%Y-%m-%d %H:%M UTC")
    return Notice(
        id=f"alert/{alert.company_id}/{story}",
        event="alert",
        title=f"{alert.company_id}: {alert.title} ({alert.severity}, {alert.polarity})",
        body="\n".join(
            line for line in (alert.description, alert.url, f"{seen}, {alert.source}") if line
        ),
        company=alert.company_id,
        severity=alert.severity,
    )


def of_report(name: str, summary: str) -> Notice:
    """Tell that a report can be read; `name` is the same when it is written a second time."""
    return Notice(f"report_ready/{name}", "report_ready", f"Report {name} is ready", summary)


_ENDS: Mapping[str, Event] = {
    "failed": "run_failed",
    "partial": "run_partial",
    "missed": "occurrence_missed",
}
"""The ends of a run that people are told of."""


def id_of_end(run: Run) -> str:
    """Return the id of a run's end, which is one of those that people are told of."""
    # A run that is replayed can end a second time.
    return f"{_ENDS[run.status]}/{run.run_id}/{run.ended_at}"


def of_run(run: Run) -> Notice | None:
    """Tell of a run that ended as failed or partial; None for any other end."""
    return _of_end(run) if run.status in ("failed", "partial") else None


def of_missed(runs: Sequence[Run]) -> Notice:
    """Tell of an entry's missed occurrences, given in their order, under the id of the first."""
    if len(runs) == 1:
        return _of_end(runs[0])
    first, last = (format_time(run.scheduled_for) for run in (runs[0], runs[-1]))
    return Notice(
        id=id_of_end(runs[0]),
        event="occurrence_missed",
        title=f"{runs[0].entry}: {len(runs)} occurrences missed",
        body=f"the first {first}, the last {last}\n{runs[-1].reason}\n"
        f"celery -A bionewsbot runs list --entry {runs[0].entry}",
    )


def _of_end(run: Run) -> Notice:
    lines = [
        run.reason,
        f"{run.failed} of {run.targets} targets failed" if run.targets else None,
        f"celery -A bionewsbot runs show {run.run_id}",
    ]
    return Notice(
        id=id_of_end(run),
        event=_ENDS[run.status],
        title=f"{run.run_id}: {run.status}",
        body="\n".join(line for line in lines if line),
    )


def of_letters(letters: Sequence[Letter]) -> list[Notice]:
    """Tell of dead letters: one notice for each cause and hour, not for each letter."""
    groups: dict[str, list[Letter]] = {}
    for letter in letters:
        hour = datetime.fromtimestamp(letter.last_at, UTC).strftime("%Y-%m-%dT%H")
        cause = _digest(letter.task, letter.last.why, _channel_of(letter) or "")
        groups.setdefault(f"dead_letters/{cause}/{hour}", []).append(letter)
    return [_of_cause(name, group) for name, group in groups.items()]


def _of_cause(name: str, letters: Sequence[Letter]) -> Notice:
    letter = letters[0]
    channel = _channel_of(letter)
    task = letter.task.rpartition(".")[2] + (f" by {channel}" if channel else "")
    return Notice(
        id=name,
        event="dead_letters",
        title=f"Dead letters of {task}: {letter.last.why}",
        body=f"{len(letters)} so far, the latest {letter.id}: {letter.last.error or 'no error'}\n"
        "celery -A bionewsbot dlq list --since 1h",
        not_by=channel,
    )


def _channel_of(letter: Letter) -> str | None:
    return letter.kwargs.get("channel") if letter.entry == ENTRY else None


def of_opening(change: Change) -> Notice:
    """Tell that the circuit breaker opened."""
    return Notice(
        id=f"breaker_open/{change.at}",
        event="breaker_open",
        title="The circuit breaker is open: no worker calls the Backend API",
        body=f"{change.reason} ({change.by})\ncelery -A bionewsbot breaker show",
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
