"""`runs list|show|watch|cancel|start` on a real ledger: words, JSON and exit codes."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from click.testing import CliRunner, Result
from support.apps import Broker
from support.ledgers import OCCURRENCE, message, new_run

from bionewsbot import settings
from bionewsbot.cli import runs_view
from bionewsbot.cli.runs import runs
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import JOB, Address

RUN_ID = OCCURRENCE.run_id
Run = Callable[..., Result]
FIELDS = {
    *("run_id", "entry", "scheduled_for", "generation", "origin", "status", "reason"),
    *("opened_at", "ended_at", "deadline", "summary", "earlier"),
}
SUMMARY = {"targets", "done", "failed", "insights", "alerts", "sources_failed", "seconds"}


@pytest.fixture
def run(app: Celery, configured: pytest.MonkeyPatch) -> Run:
    """Return what runs a command as `celery -A bionewsbot runs` does."""
    # `list` forgets runs whose scheduled time is older, and OCCURRENCE is of the past.
    configured.setenv("RUN_RETENTION_DAYS", "3650")
    settings.current.cache_clear()

    def run(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(runs, list(arguments), obj=SimpleNamespace(app=app))
        assert done.exit_code == code, f"{done.output}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """A machine whose own time is not UTC."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def carry_out(run_id: str, **targets: bool) -> None:
    """Carry out a run's job and its targets; False: it fails."""
    book = ledger()
    job = Address(run_id, JOB, book.get(run_id).generation)
    book.begin(job, task_id="job", worker="w")
    if not targets:
        book.finish(job, {})
        return
    book.fan_out(job, [message(target, "high") for target in targets])
    book.finish(job, {})
    for target, good in targets.items():
        address = Address(run_id, target, job.generation)
        book.begin(address, task_id=target, worker="w")
        if good:
            book.finish(address, {"insights": 2, "alerts": 1, "sources_failed": 1, "pages": 4})
        else:
            book.fail(address, "BackendRefused: 404 [no] such company", why="no")


def opened(**targets: bool) -> str:
    """Open the run of OCCURRENCE and carry it out, if there are targets."""
    ledger().open(new_run(deadline=600))
    if targets:
        carry_out(RUN_ID, **targets)
    return RUN_ID


def test_list_is_a_table_of_the_latest(run: Run) -> None:
    """Without runs it says how to start one."""
    assert "No runs yet. Start one: celery -A bionewsbot runs start" in run("list").output
    opened(GILD=True, PFE=False)
    head, row = run("list").output.splitlines()
    assert head.split() == "RUN STATUS TARGETS FAILED INSIGHTS ALERTS SECONDS".split()
    assert row.split()[:-1] == [RUN_ID, "partial", "2", "1", "2", "1"]


def test_list_as_json(run: Run) -> None:
    """The same fields for every run; empty is an empty list."""
    assert json.loads(run("list", "--json").output) == []
    opened()
    (shown,) = json.loads(run("list", "--json").output)
    assert set(shown) == FIELDS
    assert set(shown["summary"]) == SUMMARY
    assert json.loads(run("list", "--json", "--entry", "other").output) == []
    run("list", "--limit", "0", code=2)


def test_show_as_json(run: Run) -> None:
    """Totals, targets and the job, times in RFC 3339."""
    opened(GILD=True, PFE=False)
    shown = json.loads(run("show", RUN_ID, "--json").output)
    assert set(shown) == FIELDS | {"targets", "job", "final"}
    assert shown["status"] == "partial"
    assert shown["scheduled_for"] == "2026-01-15T06:00:00Z"
    assert shown["ended_at"].endswith("Z")
    summary = shown["summary"]
    assert set(summary) == SUMMARY | {"pages"}
    assert [summary[name] for name in ("targets", "done", "failed", "insights", "pages")] == (
        [2, 1, 1, 2, 4]
    )
    gild, pfe = shown["targets"]
    assert (gild["target"], gild["state"], gild["queue"]) == ("GILD", "done", "high")
    assert (pfe["state"], pfe["error"]) == ("failed", "BackendRefused: 404 [no] such company")
    assert shown["job"]["state"] == "done"


def test_show_for_people(run: Run) -> None:
    """The summary, each target, errors as they are."""
    opened(GILD=True, PFE=False)
    said = run("show", RUN_ID).output
    assert "1 of 2 targets, 1 failed, " in said
    assert "  1 alerts, 2 insights, 4 pages, 1 sources failed\n" in said
    assert "BackendRefused: 404 [no] such company" in said
    assert "(the job)" in said


@pytest.mark.parametrize("command", ["show", "watch", "cancel"])
def test_an_unknown_run_is_told(run: Run, command: str) -> None:
    """One line, exit code 1."""
    done = run(command, RUN_ID, code=1)
    assert f"Error: The ledger holds no run {RUN_ID}" in done.stderr


@pytest.mark.parametrize(
    ("targets", "code", "status"),
    [
        ({"GILD": True}, 0, "succeeded"),
        ({"GILD": True, "PFE": False}, 3, "partial"),
        ({"GILD": False}, 4, "failed"),
    ],
)
def test_watch_ends_with_a_code(run: Run, targets: dict[str, bool], code: int, status: str) -> None:
    """0 succeeded, 3 partial, 4 failed; people see what failed, programs the whole."""
    opened(**targets)
    said = run("watch", RUN_ID, code=code).output
    assert status in said
    assert ("PFE" in said) == ("PFE" in targets)
    shown = json.loads(run("watch", RUN_ID, "--json", code=code).stdout)
    assert (shown["status"], len(shown["targets"])) == (status, len(targets))


@pytest.mark.parametrize("status", ["cancelled", "missed"])
def test_watch_of_a_run_that_did_not_run(run: Run, status: str) -> None:
    """Exit code 4, with the reason."""
    start_by = OCCURRENCE.scheduled_for if status == "missed" else None
    ledger().open(new_run(start_by=start_by))
    if status == "cancelled":
        ledger().cancel(RUN_ID, "tired")
    said = run("watch", RUN_ID, code=4).output
    assert status in said
    assert ("tired" if status == "cancelled" else "its starting deadline passed") in said


def test_watch_follows_a_run_to_its_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks again until the run has ended."""
    opened()
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            carry_out(RUN_ID, GILD=True)

    monkeypatch.setattr(runs_view.time, "sleep", sleep)
    assert "1 of 1 targets" in run("watch", RUN_ID).output
    assert looks == [runs_view.POLL_SECONDS] * 3


def test_cancel(run: Run) -> None:
    """A running run ends; one that has ended is refused with what it is."""
    opened()
    assert run("cancel", RUN_ID).output == f"{RUN_ID}: cancelled\n"
    assert ledger().get(RUN_ID).reason == "cancelled by an operator"
    done = run("cancel", RUN_ID, code=1)
    assert "is not running: it has ended as cancelled" in done.stderr


def test_cancel_as_json(run: Run) -> None:
    """Run and status."""
    opened()
    shown = json.loads(run("cancel", RUN_ID, "--json").output)
    assert shown == {"run_id": RUN_ID, "status": "cancelled"}


def test_start_sends_the_entrys_job(run: Run, broker: Broker) -> None:
    """For the time that is given, on the entry's queue, and it doesn't expire."""
    said = run("start", "daily_company_analysis", "--at", "2026-01-15T07:00:00+01:00").output
    assert said.splitlines() == [
        f"Started {RUN_ID}",
        f"Follow it: celery -A bionewsbot runs watch {RUN_ID}",
    ]
    (sent,) = broker.messages("default")
    assert Address.from_headers(sent["headers"]) == Address(RUN_ID, JOB, 1)
    assert sent["headers"]["expires"] is None
    assert ledger().get(RUN_ID).origin == "operator"


def test_a_time_without_a_zone_is_utc(run: Run, broker: Broker, elsewhere: None) -> None:
    """As everywhere in the house, whatever zone the machine is in."""
    run("start", "daily_company_analysis", "--at", "2026-01-15 06:00")
    assert ledger().get(RUN_ID).status == "running"


def test_start_without_a_time_is_for_now(run: Run, broker: Broker) -> None:
    """By Redis' clock, in whole seconds."""
    before = int(ledger().now())
    shown = json.loads(run("start", "hourly_quick_scan", "--json").output)
    assert set(shown) == FIELDS
    scheduled_for = ledger().get(shown["run_id"]).scheduled_for.timestamp()
    assert before <= scheduled_for <= ledger().now()
    assert len(broker.messages("high")) == 1


def test_a_wrong_entry_is_told(run: Run) -> None:
    """With those that there are; exit code 2."""
    done = run("start", "dayly", code=2)
    assert "Error: no entry 'dayly' in the timetable; it has daily_company_analysis, data" in (
        done.stderr
    )
    assert ledger().latest(1) == []


def test_a_wrong_time_is_told(run: Run) -> None:
    """With an example; exit code 2."""
    done = run("start", "daily_company_analysis", "--at", "yesterday", code=2)
    assert "'yesterday' is not a time such as 2026-01-15T06:00:00Z" in done.stderr


def test_a_time_to_come_is_refused(run: Run) -> None:
    """A report of a week that goes on would be kept, and beat would find that it has a run."""
    done = run("start", "daily_company_analysis", "--at", "2126-01-15T06:00:00Z", code=2)
    assert "'--at': 2126-01-15T06:00:00Z has not come; what is to come, beat starts" in done.stderr
    assert ledger().latest(1) == []


def test_a_broken_timetable_is_told(run: Run, tmp_path: Path) -> None:
    """Exit code 2, and no run is opened."""
    (tmp_path / "beat_schedule.py").write_text("beat_schedule = {}", encoding="utf-8")
    assert "at least one entry" in run("start", "daily_company_analysis", code=2).stderr


def test_an_existing_run_is_refused_unless_again(run: Run, broker: Broker) -> None:
    """The mend is in the message: --again, or its end."""
    command = ("start", "daily_company_analysis", "--at", "2026-01-15T06:00:00Z")
    run(*command)
    said = run(*command, code=1).stderr
    assert f"{RUN_ID} already has a run (running); wait for its end or cancel it" in said
    carry_out(RUN_ID, GILD=False)
    assert "(failed); carry it out once more with --again" in run(*command, code=1).stderr
    run(*command, "--again")
    shown = json.loads(run("show", RUN_ID, "--json").output)
    assert (shown["generation"], shown["status"]) == (2, "running")
    assert [each["status"] for each in shown["earlier"]] == ["failed"]
    assert "generation 2" in run("show", RUN_ID).output


@pytest.mark.parametrize(
    ("targets", "code"), [({"A": True}, 0), ({"A": True, "B": False}, 3), ({"B": False}, 4)]
)
@pytest.mark.parametrize("as_json", [True, False])
def test_start_and_wait(
    run: Run, monkeypatch: pytest.MonkeyPatch, targets: dict[str, bool], code: int, as_json: bool
) -> None:
    """It ends as `watch` does, with the summary or the JSON and the run's exit code."""
    monkeypatch.setattr(
        runs_view.time, "sleep", lambda _: carry_out(ledger().latest(1)[0].run_id, **targets)
    )
    flags = ["--wait", *(["--json"] if as_json else [])]
    done = run("start", "daily_company_analysis", *flags, code=code)
    if as_json:
        shown: dict[str, Any] = json.loads(done.stdout)
        assert len(shown["targets"]) == shown["summary"]["targets"] == len(targets)
    else:
        assert f"of {len(targets)} targets" in done.output


def test_markup_in_a_name_is_text(run: Run) -> None:
    """A target, a total and a queue are shown as they are called."""
    opening = ledger().open(new_run())
    job, target = opening.to_send, message("[/y]", "[/q]")
    assert job is not None
    ledger().fan_out(job, [target])
    ledger().finish(job, {})
    ledger().finish(Address(job.run_id, "[/y]", 1), {"[/t]": 1, "records": 0})
    said = run("show", RUN_ID).output
    assert "no records in this window: [/y]" in said
    assert all(name in said for name in ("1 [/t]", "[/q]"))
