"""Benchmark: the weekly report over a large portfolio, with the reference backend on SQLite.

    python tests/benchmarks/weekly_report.py [--companies 2000] [--insights 100000]

Prints seconds from the start of the run to its end, peak memory of the worker and of the backend,
what Redis held at most of sections, and size and time of the formats.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from sqlalchemy import insert  # noqa: E402
from support.redis_server import RedisServer  # noqa: E402
from support.stack import Process, Stack  # noqa: E402

from bionewsbot.backend.storage import tables  # noqa: E402
from bionewsbot.backend.storage.database import Database  # noqa: E402
from bionewsbot.reports.model import SEVERITIES, Report  # noqa: E402
from bionewsbot.reports.period import Week  # noqa: E402
from bionewsbot.reports.render_html import render_html  # noqa: E402
from bionewsbot.reports.render_markdown import render_markdown  # noqa: E402

WEEK = Week.parse("2026-W04")
AT = (WEEK.end + timedelta(hours=8)).isoformat()
LIMIT_SECONDS = 900
"""Longest wait for one measurement."""

ROWS = 5000
"""Rows written to the database at a time."""


def story(company: str, number: int) -> dict[str, Any]:
    """Return the columns of an insight."""
    return {
        "id": f"{company}-{number}",
        "company_id": company,
        "analysis_id": f"{company}-1",
        "story_id": f"sec:{company}:8-K:{number}",
        "type": ("material_event", "trial_status_changed", "insider_trade")[number % 3],
        "polarity": ("negative", "positive", "neutral")[number % 3],
        "title": f"{company}: a filing of the length that titles of filings have ({number})",
        "description": "A paragraph of two hundred characters. " * 5,
        "severity": SEVERITIES[number % 4],
        "occurred_at": WEEK.start + timedelta(hours=number % 168),
        "url": f"https://www.sec.gov/Archives/edgar/data/{company}/{number}.htm",
        "source": "replay",
        "evidence": {"as_of": "2026-01-25", "records": [{"id": number, "facts": {"form": "8-K"}}]},
        "sources": [],
        "created_at": WEEK.start + timedelta(hours=number % 168),
        "updated_at": WEEK.start,
    }


def fill(url: str, companies: int, insights: int) -> None:
    """Write the portfolio: its insights, an alert for every fourth, seven analyses, two weeks."""
    database = Database(url)
    database.migrate()
    rows: dict[Any, list[dict[str, Any]]] = {
        one: []
        for one in (
            tables.companies,
            tables.insights,
            tables.alerts,
            tables.risk_history,
            tables.analyses,
        )
    }
    for number in range(companies):
        company = f"C{number:05}"
        rows[tables.companies].append(
            {
                **{"id": company, "name": f"{company} Therapeutics", "aliases": []},
                **{"priority": "medium", "analysis_frequency": "daily", "status": "active"},
                **{"created_at": WEEK.start, "updated_at": WEEK.start},
            }
        )
        for one in range(insights // companies):
            row = story(company, one)
            rows[tables.insights].append({**row, "confidence": 0.9})
            if one % 4 == 0:
                rows[tables.alerts].append({**row, "state": "open"})
        for day in range(-7, 7):
            at = WEEK.start + timedelta(days=day, hours=6)
            rows[tables.risk_history].append(
                {
                    **{"analysis_id": f"{company}{day}", "company_id": company, "at": at},
                    **{"analysis_type": "daily", "score": 50 + day, "contributions": []},
                    "partial": False,
                }
            )
            if day >= 0:
                rows[tables.analyses].append(
                    {
                        **{"id": f"{company}{day}", "company_id": company, "type": "daily"},
                        **{"scheduled_for": at, "attempt": 1, "status": "succeeded"},
                        **{"created_at": at, "sources": [], "findings": [], "significant": False},
                    }
                )
    for table, all_rows in rows.items():
        for start in range(0, len(all_rows), ROWS):
            with database.write() as connection:
                connection.execute(insert(table), all_rows[start : start + ROWS])
    database.close()


def peak_mb(process: Process) -> float:
    """Return the most memory that a process held (resident, as Linux counts it)."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(kilobytes) / 1024


def measure(stack: Stack, companies: int) -> dict[str, Any]:
    """Make the report once; return what it took."""
    backend = stack.backend()
    worker = stack.worker("worker")
    started = stack.celery_json("runs", "start", "weekly_comprehensive_report", "--at", AT)
    run_id, held = str(started["run_id"]), 0
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (run := stack.ledger.get(run_id)).ended:
        if time.monotonic() > deadline:
            raise SystemExit(f"{run_id} has not ended; {run.done} of {run.targets} are gathered")
        held = max(held, stack._redis.memory_usage(f"bionewsbot:sections:{run_id}") or 0)
        time.sleep(0.2)
    if run.status != "succeeded" or run.done != companies:
        raise SystemExit(f"{run_id} ended as {run.status}: {dict(run.totals)}")
    items = stack.ledger.items(run_id)
    gathered = max(item.ended_at or 0 for item in items[:-1])
    (stored,) = stack.get("reports")
    return {
        "seconds": run.seconds(0),
        "gather s": gathered - run.opened_at,
        "end s": (items[-1].ended_at or 0) - (items[-1].begun_at or 0),
        "worker MB": peak_mb(worker),
        "backend MB": peak_mb(backend),
        "Redis MB": held / 1024**2,
        **formats(Report.model_validate(stored["content"])),
    }


def formats(report: Report) -> dict[str, float]:
    """Return size and time of a report's formats."""
    found = {"JSON MB": len(json.dumps(report.model_dump(mode="json"))) / 1024**2}
    for name, render in (("HTML", render_html), ("Markdown", render_markdown)):
        started = time.monotonic()
        text = render(report)
        found[f"{name} s"] = time.monotonic() - started
        found[f"{name} MB"] = len(text.encode()) / 1024**2
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--companies", type=int, default=2000)
    parser.add_argument("--insights", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = RedisServer(folder)
        server.start()
        stack = Stack(server, folder)
        try:
            fill(f"sqlite:///{folder / 'backend.db'}", options.companies, options.insights)
            found = measure(stack, options.companies)
        finally:
            stack.close()
            server.stop()
    print(f"{options.companies:,} companies, {options.insights:,} insights, 4 threads")
    for name, value in found.items():
        print(f"  {name:12}{value:10.2f}")


if __name__ == "__main__":
    main()
