"""Runs through deaths and losses, with real workers, a real Redis and the reference backend."""

from collections import Counter
from datetime import UTC, datetime

import pytest
import yaml
from celery import Celery
from support.answers import analysis, company, page, problem
from support.faulty_backend import FaultyBackend, Reply
from support.ledgers import new_run
from support.polling import wait_until
from support.stack import ROOT, Stack

from bionewsbot.names import DAILY_COMPANY_ANALYSIS
from bionewsbot.runs import dispatch
from bionewsbot.runs.dispatch import start_run
from bionewsbot.runs.model import JOB, Message, Occurrence, Run

COMPANIES = [
    company["id"]
    for company in yaml.safe_load((ROOT / "config" / "companies.yaml").read_text())["companies"]
    if company.get("status", "active") == "active"
]


def assert_each_once(stack: Stack, run: Run) -> None:
    """Each company was analysed once, each insight is stored once, and the totals say so."""
    assert (run.status, run.targets, run.done, run.failed) == (
        "succeeded",
        len(COMPANIES),
        len(COMPANIES),
        0,
    )
    assert Counter(row["company_id"] for row in stack.get("analyses")) == Counter(COMPANIES)
    insights = stack.get("insights")
    stories = {(row["company_id"], row["story_id"], row["type"]) for row in insights}
    assert len(stories) == len(insights) == run.totals["insights"] > 0
    assert len(stack.get("alerts")) == run.totals["alerts"] > 0


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_a_worker_killed_in_mid_run_costs_nothing(stack: Stack, pool: str) -> None:
    """What it held is sent again under a new lease, and every effect stands once."""
    backend = stack.backend()
    stack.celery("companies", "sync")
    worker = stack.worker("first", "-P", pool)
    run_id = stack.start_run()
    wait_until(lambda: stack.ledger.get(run_id).fanned_out, "the job has selected")
    backend.freeze()
    wait_until(
        lambda: any(item.begun_at and not item.ended_at for item in stack.targets(run_id)),
        "a target is under way",
    )
    worker.kill()
    backend.thaw()
    stack.worker("second", "-P", pool)
    run = stack.wait_for_end(run_id)
    assert_each_once(stack, run)


def test_every_message_delivered_twice_changes_nothing(
    app: Celery, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two workers at once: the same rows, totals and counts as one delivery of each."""
    monkeypatch.setattr(dispatch, "_publish", dispatch._publish)
    from support import doubling

    assert dispatch._publish is doubling.publish_twice
    stack.backend()
    stack.celery("companies", "sync")
    path = f"{ROOT / 'tests'}:{ROOT}"
    workers = [
        stack.worker(name, "-I", "support.doubling", PYTHONPATH=path) for name in ("one", "two")
    ]
    job = Message(JOB, DAILY_COMPANY_ANALYSIS, "default", {})
    today = Occurrence("daily_company_analysis", datetime.now(UTC))
    start_run(app, stack.ledger, new_run(today, job=job))
    run = stack.wait_for_end(today.run_id)
    assert_each_once(stack, run)

    def deliveries() -> int:
        names = ("task_started", "task_dropped")
        return sum(len(worker.events(name)) for worker in workers for name in names)

    wait_until(lambda: deliveries() >= 2 * (len(COMPANIES) + 1), "all have come twice")
    assert_each_once(stack, stack.ledger.get(run.run_id))


def test_messages_deleted_from_the_broker_are_sent_again(stack: Stack) -> None:
    """The job's message and a target's: the ledger knows what should be running."""
    stack.backend()
    stack.celery("companies", "sync")
    run_id = stack.start_run()
    with stack.server.client(2) as broker:
        assert broker.rpop("default") is not None
        worker = stack.worker("first", "-Q", "high,default")
        wait_until(lambda: broker.llen("low"), "a message waits in low")
        assert broker.rpop("low") is not None
        stack.worker("low", "-Q", "low")
        run = stack.wait_for_end(run_id)
    assert_each_once(stack, run)
    sends = {item.target: item.sends for item in stack.ledger.items(run_id)}
    assert sends["*"] == 2
    assert sorted(sends.values())[-2:] == [2, 2]
    assert worker.events("target_sent_again")


def test_high_before_default_before_low(stack: Stack) -> None:
    """One thread, three full queues: the order of beginning is the order of the queues."""
    stack.backend()
    stack.celery("companies", "sync")
    run_id = stack.start_run()
    # While the only thread fans out, nothing else begins: then it meets three full queues.
    stack.worker("one", "-c", "1")
    stack.wait_for_end(run_id)
    begun = sorted(stack.targets(run_id), key=lambda item: item.begun_at or 0)
    queues = [item.queue for item in begun]
    assert set(queues) == {"high", "default", "low"}
    assert queues == sorted(queues, key=["high", "default", "low"].index)


def test_a_run_waits_for_a_backend_that_is_down(stack: Stack) -> None:
    """The job is tried again until the backend is there; `runs show` says why it waits."""
    stack.worker()
    run_id = stack.start_run()

    def waits() -> str | None:
        job = stack.celery_json("runs", "show", run_id)["job"]
        return str(job["error"] or "")

    assert "refused" in (wait_until(waits, "the job waits for a retry") or "")
    stack.backend()
    run = stack.wait_for_end(run_id)
    assert (run.status, run.targets) == ("succeeded", 0)


def test_a_backend_that_answers_garbage_is_told_by_place(
    stack: Stack, faulty_backend: FaultyBackend
) -> None:
    """The run waits, and `runs show` names the call and the field that is wrong."""
    stack.env["API_BASE_URL"] = faulty_backend.url
    faulty_backend.on("GET", "/api/v1/companies", Reply(body=page(company(priority="urgent"))))
    stack.worker()
    run_id = stack.start_run()

    def error() -> str | None:
        job = stack.celery_json("runs", "show", run_id)["job"]
        return str(job["error"] or "")

    said = wait_until(error, "the job waits for a retry") or ""
    assert "GET /api/v1/companies: items.0.priority" in said
    assert "'urgent'" in said and "high, medium, low" in said
    assert stack.ledger.get(run_id).status == "running"


def test_a_company_that_the_backend_refuses_fails_alone(
    stack: Stack, faulty_backend: FaultyBackend
) -> None:
    """A 404 is final: no retry, the run ends partial with exit code 3, the others are done."""
    stack.env["API_BASE_URL"] = faulty_backend.url
    both = page(company("GILD"), company("MRNA"))
    faulty_backend.on("GET", "/api/v1/companies", Reply(body=both))
    started = {"id": "1", "status": "queued", "attempt": 1}
    gone = problem(404, detail="no company GILD")
    # Which of the two is asked for first is left open: one of them is refused.
    faulty_backend.on("POST", "/api/v1/analyses", Reply(404, gone), Reply(202, started))
    faulty_backend.on("GET", "/api/v1/analyses/1", Reply(body=analysis(findings=[])))
    stack.worker()
    shown = stack.celery_json("runs", "start", "daily_company_analysis", "--wait", code=3)
    assert shown["status"] == "partial"
    (failed,) = [target for target in shown["targets"] if target["state"] == "failed"]
    assert (failed["starts"], failed["sends"]) == (1, 1)
    assert "no company GILD" in failed["error"]


def test_a_worker_stops_when_told_and_leaves_what_waits(stack: Stack) -> None:
    """SIGTERM ends a worker with exit code 0 while messages wait; another one ends the run."""
    backend = stack.backend()
    stack.celery("companies", "sync")
    worker = stack.worker("first", "-c", "1")
    backend.freeze()
    run_id = stack.start_run()
    wait_until(lambda: stack.ledger.items(run_id)[0].begun_at, "the job is under way")
    backend.thaw()
    assert worker.stop() == 0
    stack.worker("second")
    assert_each_once(stack, stack.wait_for_end(run_id))
