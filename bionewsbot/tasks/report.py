"""The weekly report: one task per company gathers, one at the end assembles and stores."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from bionewsbot import names
from bionewsbot import settings as settings_module
from bionewsbot.api.client import BackendClient
from bionewsbot.api.models import RiskPoint
from bionewsbot.archive.archive import Archive
from bionewsbot.archive.storage import Storage
from bionewsbot.errors import BackendRefused, CollectionMissing, SectionsGone, WeekArchived
from bionewsbot.notifications.notices import of_report
from bionewsbot.notifications.outbox import tell
from bionewsbot.reports.assemble import assemble
from bionewsbot.reports.model import Gap, Section
from bionewsbot.reports.period import WEEK, Week
from bionewsbot.reports.section import make_section
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import FINAL, JOB, Message
from bionewsbot.tasks.analysis import active_companies, backend
from bionewsbot.tasks.archival import CLEANED
from bionewsbot.tasks.base import FanOut, Gathered, RunTask, run_task

logger = logging.getLogger(__name__)

WEEKLY = "weekly"
"""The type under which the backend keeps the report."""

_OTHER_IS_THERE = 428
"""The status with which the backend refuses to replace a report unasked."""


@run_task(names.WEEKLY_COMPREHENSIVE_REPORT)
def weekly_comprehensive_report(self: RunTask, *, timezone: str = "UTC") -> FanOut:
    """Have the week of each active company gathered, then the report assembled.

    The week is the ISO week before the scheduled time on the clocks of `timezone`, the entry's.
    Raises WeekArchived where records of it are archived, and as the archive does.
    """
    _refuse_archived(Week.before(self.address.occurrence.scheduled_for, timezone))
    return FanOut(
        tuple(
            Message(
                target=company.id,
                task=names.GATHER_COMPANY,
                queue=names.QUEUE_LOW,
                kwargs={"company_id": company.id, "name": company.name, "timezone": timezone},
            )
            for company in active_companies()
        ),
        then=Message(FINAL, names.STORE_WEEKLY_REPORT, names.QUEUE_DEFAULT, {"timezone": timezone}),
    )


@run_task(names.GATHER_COMPANY)
def gather_company(self: RunTask, company_id: str, name: str, timezone: str = "UTC") -> Gathered:
    """Read what the backend has of one company's week; leaves its section to the report.

    Raises WeekArchived where it is gathered once more and records of the week are archived by now.
    """
    week = Week.before(self.address.occurrence.scheduled_for, timezone)
    if self.address.generation > 1:
        # The first time the job has just looked, once for all companies.
        _refuse_archived(week)
    client = backend()
    section = make_section(
        company_id,
        name,
        week,
        insights=client.insights(company_id=company_id, since=week.start, before=week.end),
        alerts=client.alerts(company_id=company_id, since=week.start, before=week.end),
        open_before=client.alerts(company_id=company_id, state="open", before=week.start),
        risk=_risk(client, company_id, week),
        analyses=client.analyses(company_id=company_id, since=week.start, before=week.end),
    )
    totals = {
        "insights": section.insights,
        "alerts": sum(section.alerts_by_state.values()),
        "sources_failed": sum(source.failed for source in section.sources_failed),
    }
    return Gathered(totals, section.model_dump_json())


@run_task(names.STORE_WEEKLY_REPORT)
def store_weekly_report(self: RunTask, timezone: str = "UTC") -> dict[str, int]:
    """Assemble the report of what was gathered and store it.

    A run changes no report that is there with other content, unless an operator had it carried out
    once more (`runs start --again`, `dlq replay`). Raises SectionsGone.
    """
    address = self.address
    week = Week.before(address.occurrence.scheduled_for, timezone)
    sections, gaps = gathered(address.run_id)
    content = assemble(week, sections, gaps).model_dump_json().encode()
    outcome = store(backend(), week, content, replace=address.generation > 1)
    logger.info(
        "report_ready",
        extra={"period": week.name, "outcome": outcome, "gaps": len(gaps), "bytes": len(content)},
    )
    said = (
        f"{len(sections)} companies, {len(gaps)} that are missing\n"
        f"celery -A bionewsbot reports show {week.name}"
    )
    # Whatever came of it: who died before telling is made up for, and nobody is told twice.
    tell([of_report(week.name, said)])
    return {f"report_{outcome}": 1, "gaps": len(gaps)}


def gathered(run_id: str) -> tuple[list[Section], list[Gap]]:
    """Return the sections of a run's targets, and a gap for each target that failed.

    Raises SectionsGone where one that is done has none any more, and redis.RedisError.
    """
    texts = ledger().sections(run_id)
    sections, gaps, gone = [], [], []
    for item in ledger().items(run_id):
        if item.target in (JOB, FINAL):
            continue
        text = texts.get(item.target)
        if item.state != "done":
            name = str(item.kwargs.get("name", item.target))
            gaps.append(Gap(company_id=item.target, name=name, reason=item.error or item.state))
        elif text is None:
            gone.append(item.target)
        else:
            sections.append(Section.model_validate_json(text))
    if gone:
        others = f" and {len(gone) - 1} others" if len(gone) > 1 else ""
        raise SectionsGone(
            f"what was gathered of {gone[0]}{others} is no longer kept, so that a report would "
            "lose it; have all gathered once more (`runs start --again`)"
        )
    return sections, gaps


def store(client: BackendClient, week: Week, content: bytes, *, replace: bool) -> str:
    """Store a report; says what came of it: `created`, `unchanged`, `replaced` or `kept`.

    `kept`: another one is there and was left alone. Raises as the client does.
    """
    try:
        stored = client.put_report(WEEKLY, week.name, content)
    except BackendRefused as error:
        if error.status != _OTHER_IS_THERE or error.etag is None:
            raise
        if not replace:
            logger.warning("report_kept", extra={"period": week.name, "etag": error.etag})
            return "kept"
        client.put_report(WEEKLY, week.name, content, if_match=error.etag)
        return "replaced"
    return "created" if stored.created else "unchanged"


def _refuse_archived(week: Week) -> None:
    settings = settings_module.current()
    retention = timedelta(days=settings.cleanup_retention_days)
    # A report in its time doesn't need the archive: nothing of so young a week is in it. Of any
    # other the retention of today doesn't say, since it may have been shorter.
    if datetime.now(UTC) - week.start < min(2 * WEEK, retention):
        return
    archive = Archive(Storage(settings.archive_location))
    parts = [part for name in CLEANED for part in archive.holding(name, week.start, week.end)]
    if parts:
        named = " ".join(part.name for part in parts)
        raise WeekArchived(
            f"records of {week.name} are archived, so that a report of it would be false; bring "
            f"them back (archive restore {named}), and have data_cleanup disabled until the report "
            "is there"
        )


def _risk(client: BackendClient, company_id: str, week: Week) -> Iterator[RiskPoint]:
    try:
        yield from client.risk(company_id, since=week.previous.start, before=week.end)
    except CollectionMissing:
        # A backend that keeps no companies keeps no risk of theirs either.
        return
