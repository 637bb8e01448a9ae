"""Deaths in the middle of a weekly report, with real processes: one report, the same content."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import yaml
from celery import Celery
from support.ledgers import new_run
from support.polling import wait_until
from support.stack import ROOT, Process, Stack

from bionewsbot import names
from bionewsbot.reports.model import Report
from bionewsbot.reports.period import WEEK, Week
from bionewsbot.runs.dispatch import start_run
from bionewsbot.runs.model import FINAL, JOB, Message, Occurrence

COMPANIES = [
    company["id"]
    for company in yaml.safe_load((ROOT / "config" / "companies.yaml").read_text())["companies"]
    if company.get("status", "active") == "active"
]


@pytest.fixture
def backend(stack: Stack) -> Process:
    """A backend that has analysed the portfolio once."""
    backend = stack.backend()
    stack.celery("companies", "sync")
    worker = stack.worker("analyst")
    stack.wait_for_end(stack.start_run())
    assert worker.stop() == 0
    return backend


def monday_after(stack: Stack) -> datetime:
    """Return the Monday at 08:00 after the week in which the insights were stored."""
    stored = max(row["created_at"] for row in stack.get("insights"))
    week = Week.before(datetime.fromisoformat(stored) + WEEK)
    return week.end + timedelta(hours=8)


def start(stack: Stack, app: Celery, at: datetime, *, again: bool = False) -> str:
    """Start the report's run as beat will on that Monday, and return its id."""
    occurrence = Occurrence(names.WEEKLY_COMPREHENSIVE_REPORT.rpartition(".")[2], at)
    job = Message(JOB, names.WEEKLY_COMPREHENSIVE_REPORT, names.QUEUE_DEFAULT, {})
    start_run(app, stack.ledger, new_run(occurrence, job=job, again=again))
    return occurrence.run_id


def stored_once(stack: Stack) -> dict[str, Any]:
    """Return the only report, which has all companies and their insights."""
    (stored,) = stack.get("reports")
    report = Report.model_validate(stored["content"])
    assert (report.portfolio.companies, report.portfolio.gaps) == (len(COMPANIES), ())
    assert report.insights.total > 0
    assert sum(one.total for one in report.insights.companies) == report.insights.total
    return stored


def test_a_worker_killed_while_it_gathers(stack: Stack, app: Celery, backend: Process) -> None:
    """Another one gathers what is left; a run without a death has the same content."""
    at = monday_after(stack)
    worker = stack.worker("first")
    # Nothing can be gathered before it is frozen but what a worker holds: two of each kind.
    backend.freeze()
    run_id = start(stack, app, at)
    wait_until(lambda: stack.ledger.items(run_id)[0].begun_at, "the job is under way")
    backend.thaw()
    wait_until(lambda: stack.ledger.get(run_id).done >= 1, "a company is gathered")
    worker.kill()
    stack.worker("second")
    assert stack.wait_for_end(run_id).status == "succeeded"
    stored = stored_once(stack)
    again = start(stack, app, at, again=True)
    assert stack.wait_for_end(again).totals["report_unchanged"] == 1
    assert stored_once(stack) == stored


def test_a_worker_killed_while_it_stores(stack: Stack, app: Celery, backend: Process) -> None:
    """The end of the run is an item like the others: it is sent again, and stores one report."""
    at = monday_after(stack)
    selecting = stack.worker("select", "-Q", "default")
    run_id = start(stack, app, at)
    wait_until(lambda: stack.ledger.items(run_id)[0].ended_at, "the job has selected")
    selecting.kill()
    stack.worker("gather", "-Q", "low")
    wait_until(
        lambda: all(item.ended_at for item in stack.ledger.items(run_id)[:-1]), "all is gathered"
    )
    backend.freeze()
    storing = stack.worker("store", "-Q", "default")
    wait_until(lambda: stack.ledger.items(run_id)[-1].begun_at, "the end is under way")
    storing.kill()
    backend.thaw()
    stack.worker("again", "-Q", "default")
    run = stack.wait_for_end(run_id)
    assert (run.status, run.targets, run.totals["gaps"]) == ("succeeded", len(COMPANIES), 0)
    final = stack.ledger.items(run_id)[-1]
    assert final.target == FINAL and final.starts >= 2
    stored_once(stack)
