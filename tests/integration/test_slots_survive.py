"""MAX_CONCURRENT_ANALYSIS over real workers: it holds, and a killed worker's slots go on."""

import socket
from datetime import UTC, datetime

from celery import Celery
from support.ledgers import new_run
from support.polling import wait_until
from support.stack import Stack

from bionewsbot import names
from bionewsbot.runs.dispatch import fan_out
from bionewsbot.runs.model import JOB, Message, Occurrence
from bionewsbot.tasks.analysis import QUEUE_OF_PRIORITY

LIMIT = 3


def test_the_limit_holds_over_workers_and_their_deaths(app: Celery, stack: Stack) -> None:
    """With the backend at a stand, three are at work, one of them of `high`; all others wait."""
    backend = stack.backend()
    stack.celery("companies", "sync")
    companies = stack.get("companies")
    job = Message(JOB, names.DAILY_COMPANY_ANALYSIS, names.QUEUE_DEFAULT, {})
    today = Occurrence("daily_company_analysis", datetime.now(UTC))
    address = stack.ledger.open(new_run(today, job=job)).to_send
    assert address is not None
    stack.ledger.begin(address, task_id="job", worker="the test")
    fan_out(
        app,
        stack.ledger,
        address,
        [
            Message(
                company["id"],
                names.ANALYZE_COMPANY,
                QUEUE_OF_PRIORITY[company["priority"]],
                {"company_id": company["id"], "analysis_type": "daily"},
            )
            for company in companies
        ],
    )
    stack.ledger.finish(address, {})
    backend.freeze()
    stack.env |= {"MAX_CONCURRENT_ANALYSIS": str(LIMIT), "API_TIMEOUT": "90"}
    first = stack.worker("first", "-c", "8")

    def at_work(worker: str) -> list[str]:
        items = stack.targets(today.run_id)
        if sum(item.in_line for item in items) < len(companies) - LIMIT:
            return []
        return [one.queue for one in items if not one.in_line and one.worker == worker]

    def all_at_work(worker: str) -> list[str]:
        found = at_work(f"{worker}@{socket.gethostname()}")
        return found if len(found) == LIMIT else []

    assert "high" in wait_until(lambda: all_at_work("first"), "three are at work", seconds=60)
    stack.worker("second", "-c", "8")
    first.kill()
    assert wait_until(lambda: all_at_work("second"), "the slots went on", seconds=60)
    backend.thaw()
    run = stack.wait_for_end(today.run_id, seconds=90)
    assert (run.status, run.done) == ("succeeded", len(companies))
    assert len(stack.get("analyses")) == len(companies)
    with stack.server.client(1) as redis:
        assert not redis.exists("bionewsbot:slots", "bionewsbot:slots:line")
