"""An occurrence that is due while another run of its entry is under way."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from support.apps import Broker
from support.ledgers import DEADLINE, LEASE, OCCURRENCE, LedgerUnderTest, new_run

from bionewsbot.runs.ledger import Verdict
from bionewsbot.runs.model import JOB, Address, Message, NewRun, Occurrence, Opened, Opening
from bionewsbot.runs.reconciler import reconcile

ENTRY = OCCURRENCE.entry


def run(number: int, overlap: str, **options: Any) -> NewRun:
    """Return the run of the entry's occurrence `number`, on a task that there is."""
    occurrence = Occurrence(ENTRY, OCCURRENCE.scheduled_for + timedelta(hours=number))
    job = Message(JOB, "bionewsbot.hourly_quick_scan", "high", {})
    return new_run(occurrence, overlap=overlap, job=job, **options)


def start(book: LedgerUnderTest, number: int, overlap: str, **options: Any) -> Opening:
    """Open a run and, where it may start, mark it as sent."""
    opening = book.ledger.open(run(number, overlap, **options))
    if opening.to_send:
        book.ledger.sent([(opening.to_send, f"task-{number}")])
    return opening


def finish(book: LedgerUnderTest, number: int, *, fail: bool = False) -> str | None:
    """Carry a run's job to its end; return the run's status."""
    job = Address(run(number, "skip").occurrence.run_id, JOB, 1)
    assert book.begin(job, f"task-{number}") is Verdict.GO
    _, status = book.ledger.fail(job, "it broke", why="no") if fail else book.ledger.finish(job, {})
    return status


def status(book: LedgerUnderTest, number: int) -> str:
    """Return the status of a run."""
    return book.ledger.get(run(number, "skip").occurrence.run_id).status


def in_seconds(book: LedgerUnderTest, seconds: float) -> datetime:
    """Return a time that many seconds from the ledger's now."""
    return datetime.fromtimestamp(book.clock.now + seconds, UTC)


def test_skip_puts_it_on_record(book: LedgerUnderTest) -> None:
    """With the run that was in the way; nothing is to be sent, and nothing blocks by it."""
    start(book, 0, "skip")
    skipped = start(book, 1, "skip")
    assert (skipped.verdict, skipped.to_send) == (Opened.SKIPPED, None)
    found = book.ledger.get(skipped.new.occurrence.run_id)
    assert (found.status, found.reason) == ("skipped", f"{OCCURRENCE.run_id} was still running")
    assert finish(book, 0) == "succeeded"
    assert start(book, 2, "skip").verdict is Opened.OPENED


def test_allow_starts_it_all_the_same(book: LedgerUnderTest) -> None:
    """Any number of them."""
    assert {start(book, number, "allow").verdict for number in range(3)} == {Opened.OPENED}
    assert {status(book, number) for number in range(3)} == {"running"}
    # What runs keeps others from starting, whatever its own policy.
    assert start(book, 3, "skip").verdict is Opened.SKIPPED


def test_other_entries_are_not_in_the_way(book: LedgerUnderTest) -> None:
    """A run waits for its own entry only."""
    start(book, 0, "skip")
    other = Occurrence("hourly_quick_scan", OCCURRENCE.scheduled_for)
    assert book.ledger.open(new_run(other, overlap="skip")).verdict is Opened.OPENED


def test_queue_lets_one_wait(book: LedgerUnderTest) -> None:
    """A second one that would have to wait is skipped."""
    start(book, 0, "queue")
    waiting = start(book, 1, "queue")
    assert (waiting.verdict, waiting.to_send) == (Opened.WAITING, None)
    found = book.ledger.get(waiting.new.occurrence.run_id)
    assert (found.status, found.ended) == ("waiting", False)
    assert found.reason == f"waits for {OCCURRENCE.run_id}"
    assert start(book, 2, "queue").verdict is Opened.SKIPPED
    assert book.ledger.suspects(9) == []


@pytest.mark.parametrize("fail", [False, True], ids=["succeeded", "failed"])
def test_the_end_of_the_one_before_starts_it(
    book: LedgerUnderTest, app: Celery, broker: Broker, fail: bool
) -> None:
    """However that one ended; the reconciler's next pass sends its message, once."""
    start(book, 0, "queue")
    start(book, 1, "queue")
    book.clock.advance(100)
    assert reconcile(app, book.ledger) == 1  # The first one's message is nowhere.
    finish(book, 0, fail=fail)
    assert status(book, 1) == "running"
    broker.redis.flushdb()
    assert reconcile(app, book.ledger) == 1
    (sent,) = broker.messages("high")
    address = Address.from_headers(sent["headers"])
    assert address == Address(run(1, "queue").occurrence.run_id, JOB, 1)
    assert reconcile(app, book.ledger) == 0
    assert book.begin(address, sent["headers"]["id"]) is Verdict.GO
    assert book.ledger.finish(address, {})[1] == "succeeded"


def test_its_deadline_counts_from_its_start(book: LedgerUnderTest) -> None:
    """The time of waiting is none of it."""
    start(book, 0, "queue")
    start(book, 1, "queue")
    book.clock.advance(1000)
    finish(book, 0)
    found = book.ledger.get(run(1, "queue").occurrence.run_id)
    assert found.deadline == book.clock.now + DEADLINE
    assert found.reason is None


def test_its_expiry_pauses_while_it_waits(
    book: LedgerUnderTest, app: Celery, broker: Broker
) -> None:
    """It had 60 s left when it came, so it has 60 s when it starts; then it is missed."""
    start(book, 0, "queue")
    start(book, 1, "queue", start_by=in_seconds(book, 60))
    book.clock.advance(1000)
    assert reconcile(app, book.ledger) == 1
    assert status(book, 1) == "waiting"
    finish(book, 0)
    broker.redis.flushdb()
    assert reconcile(app, book.ledger) == 1
    (sent,) = broker.messages("high")
    assert datetime.fromisoformat(sent["headers"]["expires"]) == in_seconds(book, 60)
    broker.redis.flushdb()
    book.clock.advance(61)
    reconcile(app, book.ledger)
    assert status(book, 1) == "missed"
    assert broker.messages("high") == []


def test_beat_doesnt_send_a_waiting_run(book: LedgerUnderTest) -> None:
    """Opened once more, it exists; and its starting deadline doesn't end it."""
    start(book, 0, "queue")
    start(book, 1, "queue", start_by=in_seconds(book, 60))
    book.clock.advance(100)
    again = book.ledger.open(run(1, "queue", start_by=in_seconds(book, -40)))
    assert (again.verdict, again.status) == (Opened.EXISTS, "waiting")
    assert status(book, 1) == "waiting"


def test_a_waiting_run_can_be_cancelled(book: LedgerUnderTest) -> None:
    """It doesn't start then, and its place is another's."""
    start(book, 0, "queue")
    start(book, 1, "queue")
    assert book.ledger.cancel(run(1, "queue").occurrence.run_id, "not wanted") == "cancelled"
    assert start(book, 2, "queue").verdict is Opened.WAITING
    finish(book, 0)
    assert (status(book, 1), status(book, 2)) == ("cancelled", "running")


def test_cancelling_the_one_before_starts_it(book: LedgerUnderTest) -> None:
    """As any other end does."""
    start(book, 0, "queue")
    start(book, 1, "queue")
    book.ledger.cancel(OCCURRENCE.run_id, "stuck")
    assert (status(book, 0), status(book, 1)) == ("cancelled", "running")


def test_the_first_to_end_doesnt_start_it_while_another_runs(book: LedgerUnderTest) -> None:
    """Two may run at once, by an operator's hand."""
    start(book, 0, "allow")
    start(book, 1, "allow")
    start(book, 2, "queue")
    finish(book, 0)
    assert status(book, 2) == "waiting"
    finish(book, 1)
    assert status(book, 2) == "running"


@pytest.mark.parametrize("closed", [False, True], ids=["not closed", "closed"])
@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_dead_run_doesnt_block_beyond_its_deadline(
    book: LedgerUnderTest, app: Celery, broker: Broker, overlap: str, closed: bool
) -> None:
    """Whether or not anybody has closed it."""
    start(book, 0, overlap)
    book.clock.advance(DEADLINE - 1)
    assert start(book, 1, "skip").verdict is Opened.SKIPPED
    book.clock.advance(2)
    if closed:
        reconcile(app, book.ledger)
        assert status(book, 0) == "failed"
    assert start(book, 2, overlap).verdict is Opened.OPENED


def test_a_dead_runs_end_starts_the_one_that_waits(
    book: LedgerUnderTest, app: Celery, broker: Broker
) -> None:
    """The reconciler closes it at its deadline."""
    start(book, 0, "queue")
    book.clock.advance(DEADLINE - 1)
    start(book, 1, "queue")
    book.clock.advance(2)
    assert reconcile(app, book.ledger) == 1
    assert (status(book, 0), status(book, 1)) == ("failed", "running")


def test_a_waiting_run_doesnt_wait_behind_a_newcomer(book: LedgerUnderTest) -> None:
    """Where a dead run blocks nobody, but isn't closed yet, the one that waited comes first."""
    start(book, 0, "queue")
    start(book, 1, "queue")
    book.clock.advance(DEADLINE + 1)
    assert start(book, 2, "queue").verdict is not Opened.OPENED
    assert status(book, 1) == "running"


def test_carried_out_again_it_doesnt_ask(book: LedgerUnderTest) -> None:
    """An operator's second go at an occurrence starts whatever else runs."""
    start(book, 0, "skip")
    finish(book, 0)
    start(book, 1, "skip")
    again = book.ledger.open(run(0, "allow", again=True))
    assert (again.verdict, again.generation) == (Opened.OPENED, 2)
    assert LEASE < DEADLINE
