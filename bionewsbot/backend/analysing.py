"""One analysis: ask the sources, find, weigh. Touches neither database nor threads."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from bionewsbot.backend import analysis
from bionewsbot.backend.clock import written
from bionewsbot.backend.models import Finding
from bionewsbot.backend.sources.base import Company, Record, Source, SourceError, Window

logger = logging.getLogger(__name__)

WINDOWS = {"daily": timedelta(days=7), "quick_scan": timedelta(days=2)}
"""How far an analysis looks back. Far beyond its own period, because registries and indexes
publish late; a story that two windows show is stored once."""

Outcome = dict[str, Any]
"""The columns of an analysis that its end fills."""


def window(analysis_type: str, scheduled_for: datetime) -> Window:
    """Return the time that an analysis looks at; it never depends on the clock."""
    return Window(start=scheduled_for - WINDOWS[analysis_type], end=scheduled_for)


def company_of(row: Mapping[str, Any]) -> Company:
    """Return a company's row as the sources know it."""
    return Company(
        id=row["id"],
        name=row["name"],
        ticker=row["ticker"] or "",
        cik=row["cik"],
        aliases=tuple(row["aliases"]),
    )


def analyse(
    company: Company, looked_at: Window, sources: Sequence[Source], previous: float | None
) -> Outcome:
    """Return what the sources say of a company; `previous` is its risk score before.

    `partial` where some sources failed, `failed` (retryable) where all of them did, so that
    silence never looks like calm.
    """
    reports: list[dict[str, Any]] = []
    records: list[Record] = []
    for source in sources:
        report, found = _ask(source, company, looked_at)
        reports.append(report)
        records.extend(found)
    failures = [report for report in reports if report["status"] == "failed"]
    if failures and len(failures) == len(reports):
        said = "; ".join(f"{report['name']}: {report['error']}" for report in failures)
        return failed("sources_failed", f"no source answered: {said}", sources=reports)
    findings = analysis.findings(company, records)
    risk = analysis.risk(findings, previous)
    return {
        "status": "partial" if failures else "succeeded",
        "sources": reports,
        # A finding that breaks the contract is a bug of the rules and fails the analysis here,
        # where the log says so, and not whoever reads it later.
        "findings": [
            Finding.model_validate(asdict(finding)).model_dump(mode="json") for finding in findings
        ],
        "significant": analysis.significant(findings),
        "risk": {**asdict(risk), "contributions": [dict(item) for item in risk.contributions]},
        "error": None,
    }


def failed(code: str, message: str, *, sources: list[dict[str, Any]] | None = None) -> Outcome:
    """Return the outcome of an analysis that came to nothing.

    Always retryable: a source may be back later, and after a mended bug the same key starts the
    analysis again.
    """
    return {
        "status": "failed",
        "sources": sources or [],
        "findings": [],
        "significant": False,
        "risk": None,
        "error": {"code": code, "message": message, "retryable": True},
    }


def _ask(
    source: Source, company: Company, looked_at: Window
) -> tuple[dict[str, Any], tuple[Record, ...]]:
    try:
        fetched = source.fetch(company, looked_at)
    except SourceError as error:
        logger.warning("source_failed", extra={"source": source.name, "error": str(error)})
        return _report(source, "failed", error=str(error)), ()
    except Exception as error:
        # A source's bug must not take the other sources' findings away.
        logger.exception("source_crashed", extra={"source": source.name})
        return _report(source, "failed", error=f"{type(error).__name__}: {error}"), ()
    as_of = written(fetched.as_of)
    report = _report(source, "ok", fetched=len(fetched.records), as_of=as_of)
    return report, fetched.records


def _report(
    source: Source,
    status: str,
    *,
    fetched: int = 0,
    as_of: str | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    return {
        "name": source.name,
        "status": status,
        "fetched": fetched,
        "as_of": as_of,
        "error": error,
    }
