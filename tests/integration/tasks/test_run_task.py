"""What a run task does with its message, on a real ledger and, where it matters, a real worker."""

import logging
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
import redis
from celery import Celery
from celery.exceptions import Ignore, Reject, Retry
from kombu.exceptions import OperationalError
from redis.exceptions import BusyLoadingError, MasterDownError, OutOfMemoryError, ReadOnlyError
from support.apps import Broker, Lines, contents, send, working
from support.ledgers import OCCURRENCE, message, new_run
from support.polling import wait_until

from bionewsbot import logs
from bionewsbot import settings as settings_module
from bionewsbot.dead_letters.letters import Letters
from bionewsbot.errors import BackendUnavailable, CircuitOpen, NotYet, OutOfMemory, RateLimited
from bionewsbot.runs import heartbeat as heartbeat_module
from bionewsbot.runs.dispatch import start_run
from bionewsbot.runs.ledger import Ledger, ledger
from bionewsbot.runs.model import JOB, Address, Item, Message
from bionewsbot.tasks.base import CheckedTask, FanOut, Outcome, RunTask, default_policy

RUN_ID = OCCURRENCE.run_id
Work = Callable[[RunTask], Outcome]


@pytest.fixture
def log(app: Celery, log_lines: Lines) -> Lines:
    """The log lines of the app's tasks."""
    return log_lines


def task(app: Celery, work: Work, **options: Any) -> RunTask:
    """Register a task that does `work`."""

    @app.task(base=RunTask, bind=True, name="tests.task", shared=False, **options)
    def run(self: RunTask, **kwargs: Any) -> Outcome:
        return work(self)

    made: RunTask = app.tasks["tests.task"]
    return made


def open_run() -> Address:
    """Open the run of OCCURRENCE; its job is tests.task."""
    opening = ledger().open(new_run())
    assert opening.to_send is not None
    return opening.to_send


def deliver(task: RunTask, address: Address, task_id: str = "t1", **options: Any) -> Any:
    """Carry out a message of the address in this process."""
    return task.apply(headers=address.headers(), task_id=task_id, throw=False, **options)


def item(target: str = JOB) -> Item:
    """Return an item of the run."""
    return next(each for each in ledger().items(RUN_ID) if each.target == target)


LOGGERS = ("bionewsbot.tasks", "bionewsbot.runs.ending")


def events(lines: list[dict[str, Any]]) -> list[str]:
    """Return the events of our own lines."""
    return [line["event"] for line in lines if line["logger"] in LOGGERS]


def never(task: RunTask) -> Outcome:
    """Fail the test: this was not to be called."""
    raise AssertionError("the work was done")


def test_totals_reach_the_ledger_and_the_log(app: Celery, log: Lines) -> None:
    """Start, success and the run's end are one line each; the run is done."""
    deliver(task(app, lambda self: {"insights": 3}), open_run())
    run = ledger().get(RUN_ID)
    assert (run.status, run.totals, item().state) == ("succeeded", {"insights": 3}, "done")
    started, succeeded, ended = [line for line in log() if line["logger"] in LOGGERS]
    assert (started["event"], started["attempt"]) == ("task_started", 1)
    assert (succeeded["event"], succeeded["insights"]) == ("task_succeeded", 3)
    assert (ended["event"], ended["status"], ended["entry"]) == (
        "run_ended",
        "succeeded",
        OCCURRENCE.entry,
    )


def test_every_line_of_a_task_says_whose_it_is(app: Celery, log: Lines) -> None:
    """Ours, the work's own and the libraries' lines: run, task and request id, task, target."""
    seen = []

    def work(self: RunTask) -> Outcome:
        logging.getLogger("bionewsbot.tasks.analysis").info("in_between")
        logging.getLogger("urllib3").warning("pool is full")
        seen.append(logs.current_context()["request_id"])
        return None

    deliver(task(app, work), open_run(), "t-77")
    lines = log()
    assert len(lines) == 5
    for line in lines:
        assert (line["run_id"], line["task_id"], line["task"], line["target"]) == (
            RUN_ID,
            "t-77",
            "tests.task",
            JOB,
        )
        assert line["request_id"] == f"{RUN_ID}/1"
    assert seen == [f"{RUN_ID}/1"]
    assert logs.current_context() == {}


def test_a_job_fans_out(app: Celery, broker: Broker) -> None:
    """Each target's message is on its queue, addressed, under the task id that the ledger has."""
    targets = (message("GILD", "high"), message("PFE", "low"))
    deliver(task(app, lambda self: FanOut(targets)), open_run())
    run = ledger().get(RUN_ID)
    assert (run.status, run.targets, run.done, item().state) == ("running", 2, 0, "done")
    for target, queue in (("GILD", "high"), ("PFE", "low")):
        (sent,) = broker.messages(queue)
        assert Address.from_headers(sent["headers"]) == Address(RUN_ID, target, 1)
        assert sent["headers"]["id"] == item(target).task_id
        assert item(target).sends == 1


def test_a_failure_is_final(app: Celery, log: Lines) -> None:
    """An error that isn't retryable ends the item with its kind and text; the run ends."""

    def work(self: RunTask) -> Outcome:
        raise ValueError("no such story")

    result = deliver(task(app, work), open_run())
    assert result.state == "FAILURE"
    assert (item().state, item().error) == ("failed", "ValueError: no such story")
    assert ledger().get(RUN_ID).status == "failed"
    assert events(log()) == ["task_started", "task_failed", "run_ended"]
    assert "Traceback" in next(line for line in log() if line["event"] == "task_failed")["exc_info"]


def test_want_of_memory_is_a_failure_like_others(app: Celery, log: Lines) -> None:
    """Celery must not see a MemoryError, for which it ends the worker; the ledger has it."""

    def work(self: RunTask) -> Outcome:
        raise MemoryError

    assert isinstance(deliver(task(app, work), open_run()).result, OutOfMemory)
    assert (item().state, item().error) == ("failed", "MemoryError: ")


def test_the_last_retry_fails_for_good(app: Celery, log: Lines) -> None:
    """When all attempts are used up the retryable error itself is the reason."""

    def work(self: RunTask) -> Outcome:
        raise BackendUnavailable("503 from the backend")

    address = open_run()
    for _ in range(default_policy().attempts - 1):
        ledger().pause(address, seconds=0, error="503")
    deliver(task(app, work), address)
    assert (item().state, item().error) == ("failed", "BackendUnavailable: 503 from the backend")
    assert events(log()) == ["task_started", "task_failed", "run_ended"]


def drop_done(address: Address) -> None:
    """Let the item be done before its second message comes."""
    ledger().begin(address, task_id="t0", worker="w")
    ledger().finish(address, {})


def drop_failed(address: Address) -> None:
    """Let the item have failed for good."""
    ledger().fail(address, "no", why="no")


def drop_ended(address: Address) -> None:
    """Cancel the run."""
    ledger().cancel(RUN_ID, "by hand")


def drop_busy(address: Address) -> None:
    """Let another message of the item be alive."""
    ledger().begin(address, task_id="t0", worker="w")


def drop_superseded(address: Address) -> None:
    """Open the next generation."""
    ledger().cancel(RUN_ID, "by hand")
    ledger().open(new_run(again=True))


def drop_unknown(address: Address) -> None:
    """Forget the run."""
    ledger()._redis.flushdb()


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (drop_done, "done"),
        (drop_failed, "failed"),
        (drop_ended, "ended"),
        (drop_busy, "busy"),
        (drop_superseded, "superseded"),
        (drop_unknown, "unknown"),
    ],
)
def test_what_there_is_nothing_to_do_for_is_dropped(
    app: Celery, log: Lines, prepare: Callable[[Address], None], why: str
) -> None:
    """The work isn't done, the message is taken, one line says why, the ledger stays."""
    address = open_run()
    prepare(address)
    before = contents(ledger()._redis)
    assert deliver(task(app, never), address, "t1").state == "SUCCESS"
    assert contents(ledger()._redis) == before
    (line,) = [line for line in log() if line["logger"] in LOGGERS]
    assert (line["event"], line["why"], line["task_id"]) == ("task_dropped", why, "t1")


def caused(error: Exception, cause: Exception) -> Exception:
    """Return an error that came of another one."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("gone"),
        redis.TimeoutError("gone"),
        BusyLoadingError("it reads its file"),
        ReadOnlyError("it is a replica"),
        MasterDownError("its link with the master is down"),
        OutOfMemoryError("command not allowed"),
        redis.ResponseError("MISCONF it can't write to its disk"),
        redis.ResponseError("NOREPLICAS not enough of them"),
        redis.ResponseError("BUSY with a script"),
        OperationalError("gone"),
        caused(OperationalError("the broker"), OutOfMemoryError("command not allowed")),
        caused(OperationalError("a replica"), ReadOnlyError("it is one")),
        Reject("gone", requeue=True),
        Ignore("gone"),
    ],
    ids=lambda error: f"{type(error).__name__} {error}",
)
def test_an_interruption_leaves_the_item_open(app: Celery, log: Lines, error: Exception) -> None:
    """Not the work failed but the way to it: when the lease runs out, the item is suspect."""

    def work(self: RunTask) -> Outcome:
        raise error

    deliver(task(app, work), open_run())
    assert (item().state, item().error) == ("sent", None)
    assert ledger().get(RUN_ID).status == "running"
    assert events(log()) == ["task_started", "task_interrupted"]
    later = Ledger(
        ledger()._redis, retention_days=1, lease_seconds=3, clock=lambda: ledger().now() + 4
    )
    assert [suspect.address.target for suspect in later.suspects(10)] == [JOB]


def test_a_rejected_message_is_a_dead_letter(app: Celery, log: Lines) -> None:
    """Celery only deletes what a task rejects; the item has failed, and its letter says why."""

    def work(self: RunTask) -> Outcome:
        raise Reject("not for me")

    deliver(task(app, work), open_run())
    (letter,) = Letters(ledger()._redis).find()
    assert "not for me" in str(letter.last.error)
    assert ledger().get(RUN_ID).status == "failed"
    assert events(log()) == ["task_started", "task_failed", "run_ended"]


def test_redis_lost_at_the_end_leaves_the_item_open(
    app: Celery, log: Lines, configured: pytest.MonkeyPatch
) -> None:
    """The work is done and can't be recorded: it is done once more, not called failed."""

    def finish(self: Ledger, address: Address, totals: object, section: object) -> None:
        raise redis.ConnectionError("gone")

    configured.setattr(Ledger, "finish", finish)
    deliver(task(app, lambda self: None), open_run())
    assert item().state == "sent"
    assert events(log()) == ["task_started", "task_interrupted"]


def test_a_task_gives_signs_of_life(app: Celery, configured: pytest.MonkeyPatch) -> None:
    """While it works its item is held by the heartbeat, and not after."""
    held: list[list[Address]] = []
    heartbeat = heartbeat_module.heartbeat()

    def work(self: RunTask) -> Outcome:
        held.append(list(heartbeat._held))
        return None

    address = open_run()
    deliver(task(app, work), address)
    assert held == [[address]]
    assert not heartbeat._held


@pytest.mark.parametrize(("policy", "state"), [({}, "failed"), ({"budget": inf}, "sent")])
def test_a_task_may_have_a_budget_of_its_own(
    app: Celery, configured: pytest.MonkeyPatch, policy: dict[str, float], state: str
) -> None:
    """Where that of the settings is used up, one that may work for hours is tried again."""
    configured.setenv("RETRY_BUDGET_SECONDS", "1")
    settings_module.current.cache_clear()

    def work(self: RunTask) -> Outcome:
        raise BackendUnavailable("503 from the backend", retry_after=60)

    def retry(**options: Any) -> None:
        raise Retry("later", when=options["countdown"])

    made = task(app, work, retry_policy=policy)
    configured.setattr(made, "retry", retry)
    deliver(made, open_run())
    assert item().state == state


def test_a_real_retry_keeps_its_place_in_the_ledger(app: Celery, log: Lines) -> None:
    """Through broker and worker: the same run, target and generation, however often; then done."""
    # More than Celery's own default, which is 3.
    retries = 5
    seen: list[tuple[Address, int]] = []

    def work(self: RunTask) -> Outcome:
        seen.append((self.address, self.request.retries))
        if self.request.retries < retries:
            raise BackendUnavailable("503 from the backend")
        return {"insights": 1}

    policy = {"attempts": retries + 1, "base": 0.05, "cap": 0.05, "budget": 60}
    task(app, work, retry_policy=policy)

    with working(app):
        address = start_run(
            app, ledger(), new_run(job=Message(JOB, "tests.task", "high", {}))
        ).to_send
        wait_until(lambda: ledger().get(RUN_ID).ended, "the run ends")
    assert seen == [(address, retry) for retry in range(retries + 1)]
    assert (item().starts, item().sends, item().state) == (retries + 1, 1, "done")
    assert ledger().get(RUN_ID).totals == {"insights": 1}
    assert events(log()) == [
        *("task_started", "task_retrying") * retries,
        "task_started",
        "task_succeeded",
        "run_ended",
    ]
    retrying = next(line for line in log() if line["event"] == "task_retrying")
    assert retrying["error"] == "503 from the backend"
    assert 0 <= retrying["wait"] <= policy["base"]
    assert [attempt["error"] for attempt in item().attempts] == [
        "BackendUnavailable: 503 from the backend"
    ] * retries
    ids = {line["task_id"] for line in log() if line["logger"] == "bionewsbot.tasks"}
    assert len(ids) == 1


@pytest.mark.parametrize("kind", [CircuitOpen, RateLimited])
def test_a_call_that_was_not_made_uses_up_no_attempt(
    app: Celery, monkeypatch: pytest.MonkeyPatch, kind: type[NotYet]
) -> None:
    """However often: the item is paused, without an attempt on record."""
    waits: list[float] = []

    def retry(self: RunTask, *args: Any, **options: Any) -> Any:
        waits.append(options["countdown"])
        raise Retry("later", when=options["countdown"])

    monkeypatch.setattr(CheckedTask, "retry", retry)

    def work(self: RunTask) -> Outcome:
        raise kind("not called", retry_after=5)

    address, waiting = open_run(), task(app, work)
    for _ in range(default_policy().attempts + 2):
        deliver(waiting, address)
    assert ledger().tried(address)[0] == 0
    assert item().state == "sent" and all(wait >= 5 for wait in waits)


def test_a_message_without_an_address_hurts_nobody(app: Celery, log: Lines) -> None:
    """A worker that gets one fails it and goes on with the next."""
    task(app, lambda self: None)
    with working(app):
        app.send_task("tests.task", queue="high")
        address = open_run()
        send(app, address, Message(JOB, "tests.task", "high", {}))
        wait_until(lambda: ledger().get(RUN_ID).ended, "the run ends")
    assert ledger().get(RUN_ID).status == "succeeded"
