"""What the reconciler sends again, lets be and gives up, on a real broker without a worker."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from support.apps import Broker, contents, send
from support.ledgers import DEADLINE, LEASE, OCCURRENCE, LedgerUnderTest, message, new_run
from support.polling import wait_until

from bionewsbot.runs import reconciler
from bionewsbot.runs.dispatch import fan_out, start_run
from bionewsbot.runs.ledger import MAX_DEATHS, Verdict
from bionewsbot.runs.model import JOB, Address, Item
from bionewsbot.runs.reconciler import ReconcilerStep, reconcile, run_once
from bionewsbot.runs.scripting import QUEUED_LEASES

RUN_ID = OCCURRENCE.run_id
QUEUED = LEASE * QUEUED_LEASES + 1
STARTING_DEADLINE = 600.0


@pytest.fixture
def job(app: Celery, book: LedgerUnderTest) -> Address:
    """A run whose job was sent."""
    start_by = OCCURRENCE.scheduled_for + timedelta(seconds=STARTING_DEADLINE)
    address = start_run(app, book.ledger, new_run(start_by=start_by)).to_send
    assert address is not None
    return address


def item(book: LedgerUnderTest, target: str = JOB) -> Item:
    """Return an item of the run."""
    return next(each for each in book.ledger.items(RUN_ID) if each.target == target)


def test_a_fresh_run_is_let_be(
    app: Celery, book: LedgerUnderTest, broker: Broker, job: Address
) -> None:
    """Within the first leases nothing is looked for."""
    broker.lose("default")
    book.clock.advance(QUEUED - 2)
    assert reconcile(app, book.ledger) == 0
    assert broker.messages("default") == []


def test_a_lost_message_is_sent_again(
    app: Celery, book: LedgerUnderTest, broker: Broker, job: Address
) -> None:
    """To the same place in the ledger and queue, under a fresh task id; once."""
    lost = broker.lose("default")
    book.clock.advance(QUEUED)
    assert reconcile(app, book.ledger) == 1
    (sent,) = broker.messages("default")
    assert Address.from_headers(sent["headers"]) == job
    assert sent["headers"]["id"] != lost["headers"]["id"]
    assert (item(book).sends, item(book).task_id) == (2, sent["headers"]["id"])
    assert reconcile(app, book.ledger) == 0


def test_a_job_sent_again_still_expires(
    app: Celery, book: LedgerUnderTest, broker: Broker, job: Address
) -> None:
    """A job that waits beyond its starting deadline must not start, whichever send it was."""
    broker.lose("default")
    book.clock.advance(QUEUED)
    reconcile(app, book.ledger)
    (sent,) = broker.messages("default")
    expires = datetime.fromisoformat(sent["headers"]["expires"])
    assert expires == OCCURRENCE.scheduled_for + timedelta(seconds=STARTING_DEADLINE)


def test_a_message_that_waits_is_let_be(
    app: Celery, book: LedgerUnderTest, broker: Broker, job: Address
) -> None:
    """However long the queue is; it isn't looked for again at once."""
    for _ in range(3):
        book.clock.advance(QUEUED)
        assert reconcile(app, book.ledger) == 0
        assert book.ledger.suspects(10) == []
    assert len(broker.messages("default")) == 1
    assert item(book).sends == 1


def test_only_what_is_lost_is_sent_again(
    app: Celery, book: LedgerUnderTest, broker: Broker, job: Address
) -> None:
    """Of three targets one message is gone, one waits, one is worked on."""
    broker.lose("default")
    book.begin(job, "job")
    targets = [message("LOST", "low"), message("WAITS", "high"), message("WORKS", "high")]
    fan_out(app, book.ledger, job, targets)
    book.ledger.finish(job, {})
    broker.lose("low")
    book.clock.advance(QUEUED)
    assert book.begin(Address(RUN_ID, "WORKS", 1), "w") is Verdict.GO
    assert reconcile(app, book.ledger) == 1
    (sent,) = broker.messages("low")
    assert Address.from_headers(sent["headers"]).target == "LOST"
    assert "expires" not in sent["headers"] or sent["headers"]["expires"] is None


def test_what_has_no_queue_any_more_stops_nothing_else(
    app: Celery,
    book: LedgerUnderTest,
    broker: Broker,
    job: Address,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told and let be for a while, and ends with its run; the others are sent again."""
    taken = broker.lose("default")
    book.begin(job, taken["headers"]["id"])
    book.ledger.fan_out(job, [message("ASTRAY", "gone"), message("LOST", "low")])
    book.ledger.finish(job, {})
    chores: list[object] = []
    for _ in range(3):
        caplog.clear()
        book.clock.advance(QUEUED)
        assert reconcile(app, book.ledger) == 1
        assert reconcile(app, book.ledger) == 0
        told = [record for record in caplog.records if record.message == "queue_unknown"]
        assert [vars(record)["target"] for record in told] == ["ASTRAY"]
        broker.lose("low")
    assert run_once(app, book.ledger, [lambda app, ledger: chores.append(app)])
    assert chores == [app]
    book.clock.advance(DEADLINE)
    reconcile(app, book.ledger)
    assert book.ledger.get(RUN_ID).status == "failed"


def test_a_queue_that_is_no_list_stops_nothing_else(
    app: Celery,
    book: LedgerUnderTest,
    broker: Broker,
    job: Address,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told, and looked at again later; what the other queues lost is sent again."""
    book.begin(job, broker.lose("default")["headers"]["id"])
    fan_out(app, book.ledger, job, [message("A", "low"), message("B", "high")])
    book.ledger.finish(job, {})
    broker.lose("high")
    broker.redis.set("low", "no list")
    book.clock.advance(QUEUED)
    assert reconcile(app, book.ledger) == 1
    assert reconcile(app, book.ledger) == 0
    (told,) = [record for record in caplog.records if record.message == "queue_refuses"]
    assert vars(told)["queue"] == "low" and "WRONGTYPE" in vars(told)["error"]
    broker.redis.delete("low")
    broker.lose("high")
    book.clock.advance(QUEUED)
    assert reconcile(app, book.ledger) == 2


def test_the_work_of_a_dead_worker_is_sent_again(
    app: Celery, book: LedgerUnderTest, broker: Broker, job: Address
) -> None:
    """One lease after its last sign of life; the job may start again beyond its deadline."""
    taken = broker.lose("default")
    assert book.begin(job, taken["headers"]["id"]) is Verdict.GO
    book.clock.advance(LEASE - 1)
    assert reconcile(app, book.ledger) == 0
    book.clock.advance(STARTING_DEADLINE)
    assert reconcile(app, book.ledger) == 1
    assert book.ledger.get(RUN_ID).status == "running"
    assert broker.messages("default")[0]["headers"]["expires"] is None


def test_what_is_lost_again_and_again_is_given_up(
    app: Celery,
    book: LedgerUnderTest,
    broker: Broker,
    job: Address,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After MAX_DEATHS the item has failed, with the reason, and the run ends."""
    caplog.set_level("INFO", "bionewsbot")
    broker.lose("default")
    book.begin(job, "job")
    fan_out(app, book.ledger, job, [message("POISON", "low")])
    book.ledger.finish(job, {})
    poison = Address(job.run_id, "POISON", job.generation)
    for deaths in range(1, MAX_DEATHS):
        broker.lose("low")
        assert book.begin(poison, f"death {deaths}") is Verdict.GO
        book.clock.advance(QUEUED)
        assert reconcile(app, book.ledger) == 1
        assert item(book, "POISON").sends == deaths + 1
    broker.lose("low")
    book.begin(poison, "the last one")
    book.clock.advance(QUEUED)
    assert reconcile(app, book.ledger) == 0
    assert broker.messages("low") == []
    assert item(book, "POISON").state == "failed"
    assert item(book, "POISON").error == f"its worker died {MAX_DEATHS} times"
    assert book.ledger.get(RUN_ID).status == "failed"
    events = [record.message for record in caplog.records]
    assert "target_given_up" in events and "run_ended" in events


def test_what_was_only_lost_or_waits_for_a_retry_is_never_given_up(
    app: Celery, book: LedgerUnderTest, broker: Broker, job: Address
) -> None:
    """No worker died of it: it is sent again until the run's deadline."""
    for sends in range(1, MAX_DEATHS + 3):
        if sends % 2:
            assert book.begin(job, f"attempt {sends}") is Verdict.GO
            book.ledger.pause(job, seconds=0, error="503")
        broker.lose("default")
        book.clock.advance(QUEUED)
        assert reconcile(app, book.ledger) == 1
        assert item(book).sends == sends + 1


def test_a_job_that_nobody_started_in_time_is_missed(
    app: Celery, book: LedgerUnderTest, broker: Broker, job: Address
) -> None:
    """On record as missed and not sent again, whether its message waits or is lost."""
    book.clock.advance(STARTING_DEADLINE + 1)
    assert reconcile(app, book.ledger) == 0
    run = book.ledger.get(RUN_ID)
    assert (run.status, run.reason) == (
        "missed",
        "no worker started it before its starting deadline",
    )
    assert len(broker.messages("default")) == 1


def test_an_overdue_run_is_closed(
    app: Celery, book: LedgerUnderTest, broker: Broker, job: Address
) -> None:
    """What is left of it fails and isn't sent again."""
    broker.lose("default")
    book.begin(job, "job")
    fan_out(app, book.ledger, job, [message("A"), message("B")])
    book.ledger.finish(job, {})
    book.ledger.finish(Address(RUN_ID, "A", 1), {})
    broker.lose("default")
    broker.lose("default")
    book.clock.advance(DEADLINE + 1)
    assert reconcile(app, book.ledger) == 0
    run = book.ledger.get(RUN_ID)
    assert (run.status, run.done, run.failed) == ("partial", 1, 1)
    assert broker.messages("default") == []


def test_a_cancelled_run_is_not_sent_again(
    app: Celery, book: LedgerUnderTest, broker: Broker, job: Address
) -> None:
    """What an operator ended stays ended."""
    broker.lose("default")
    book.ledger.cancel(RUN_ID, "by hand")
    book.clock.advance(QUEUED)
    assert reconcile(app, book.ledger) == 0
    assert broker.messages("default") == []


def test_a_run_whose_message_was_never_sent_is_sent(
    app: Celery, book: LedgerUnderTest, broker: Broker
) -> None:
    """Beat died between the ledger and the broker."""
    book.open()
    book.clock.advance(QUEUED)
    assert reconcile(app, book.ledger) == 1
    assert item(book).sends == 1


def test_one_reconciler_at_a_time(
    app: Celery, book: LedgerUnderTest, broker: Broker, job: Address
) -> None:
    """Who finds the lock taken does nothing; who is done gives it back."""
    broker.lose("default")
    book.clock.advance(QUEUED)
    held = book.ledger.lock(reconciler._LOCK, seconds=60)
    assert held.acquire(blocking=False)
    before = contents(book.redis)
    assert not run_once(app, book.ledger)
    assert contents(book.redis) == before
    held.release()
    assert run_once(app, book.ledger)
    assert item(book).sends == 2
    assert not book.redis.exists(reconciler._LOCK)


def test_a_pass_that_fails_gives_the_lock_back(
    app: Celery, book: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next pass needn't wait for the lock's end; a crash leaves one that ends by itself."""

    def broken(*args: object) -> int:
        assert 0 < book.redis.ttl(reconciler._LOCK) <= reconciler._LOCK_SECONDS
        raise ZeroDivisionError

    monkeypatch.setattr(reconciler, "reconcile", broken)
    with pytest.raises(ZeroDivisionError):
        run_once(app, book.ledger)
    assert not book.redis.exists(reconciler._LOCK)


def test_a_lock_that_was_lost_is_not_anothers_loss(
    app: Celery, book: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that outlived its lock leaves the next holder's alone."""
    monkeypatch.setattr(
        reconciler, "reconcile", lambda *_: book.redis.set(reconciler._LOCK, "another's")
    )
    assert run_once(app, book.ledger)
    assert book.redis.get(reconciler._LOCK) == "another's"


def test_the_step_goes_on_through_errors(
    app: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither Redis' absence nor a defect ends the thread or goes unsaid; the stop ends it."""
    from redis import ConnectionError as Away

    from bionewsbot import settings

    monkeypatch.setattr(reconciler, "BEATS_PER_LEASE", 300)
    assert settings.current().run_lease_seconds == 3
    faults: list[Exception | None] = [Away("gone"), ZeroDivisionError(), None, None]
    passed: list[int] = []

    def once(*args: object) -> bool:
        fault = faults.pop(0) if faults else None
        passed.append(1)
        if fault is not None:
            raise fault
        return True

    monkeypatch.setattr(reconciler, "run_once", once)

    class Worker:
        """What Celery gives a step."""

        steps: list[object] = []

    Worker.app = app  # type: ignore[attr-defined]
    step = ReconcilerStep(Worker())
    step.start(Worker())
    wait_until(lambda: len(passed) >= 4, "four passes are made")
    step.stop(Worker())
    assert not any(thread.name == "ledger-reconciler" for thread in threading.enumerate())
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "reconciler_waits_for_redis"),
        ("ERROR", "reconciler_failed"),
    ]


def test_what_a_message_in_flight_meets(
    app: Celery, book: LedgerUnderTest, broker: Broker, job: Address
) -> None:
    """A message thought lost that comes after all finds its item begun by the second one."""
    late = broker.lose("default")["headers"]["id"]
    book.clock.advance(QUEUED)
    reconcile(app, book.ledger)
    second = broker.lose("default")["headers"]["id"]
    assert book.begin(job, second) is Verdict.GO
    assert book.begin(job, late) is Verdict.BUSY
    assert datetime.fromtimestamp(book.clock.now, UTC) > OCCURRENCE.scheduled_for
    assert send(app, job, message()) not in (late, second)
