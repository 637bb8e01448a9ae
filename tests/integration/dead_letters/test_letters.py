"""Dead letters on a real Redis: written with the failure, replayed, purged, copied to the queue."""

import json
from datetime import timedelta
from functools import partial

import pytest
from celery import Celery
from support.apps import Broker
from support.ledgers import DEADLINE, LEASE, OCCURRENCE, LedgerUnderTest, message, new_run

from bionewsbot.dead_letters import queue
from bionewsbot.dead_letters.letters import DEAD, REPLAYING, Letter, Letters, read_letter
from bionewsbot.dead_letters.replay import check, replay
from bionewsbot.errors import LetterUnknown, ReplayRefused
from bionewsbot.names import QUEUE_DEAD_LETTER
from bionewsbot.runs.ledger import MAX_DEATHS, MAX_TRACEBACK_LENGTH, Verdict
from bionewsbot.runs.model import JOB, Address
from bionewsbot.runs.reconciler import reconcile
from bionewsbot.runs.supervision import KEEP_STORIES

RUN_ID = OCCURRENCE.run_id


@pytest.fixture
def letters(book: LedgerUnderTest) -> Letters:
    """The letters of the ledger under test."""
    return Letters(book.redis)


def failed(book: LedgerUnderTest, *targets: str) -> list[Address]:
    """Carry out a run whose targets all fail but for one, `PFE`, which is done."""
    _, addresses = book.fan_out(*targets, "PFE")
    for address in addresses:
        book.begin(address, address.target)
        if address.target == "PFE":
            book.ledger.finish(address, {"insights": 1})
        else:
            book.ledger.pause(address, seconds=1, error="503 first")
            book.begin(address, address.target)
            book.ledger.fail(address, "404 no such company", why="permanent", traceback="T")
    return addresses[:-1]


def only(letters: Letters) -> Letter:
    """Return the only letter."""
    (letter,) = letters.find()
    return letter


def test_a_failure_writes_its_letter(book: LedgerUnderTest, letters: Letters) -> None:
    """In the same step, with cause, attempts, worker, run, entry, company and times."""
    failed(book, "GILD")
    letter = only(letters)
    assert letters.get(letter.id) == letter
    assert (letter.state, letter.run_id, letter.target, letter.entry) == (
        DEAD,
        RUN_ID,
        "GILD",
        OCCURRENCE.entry,
    )
    assert (letter.task, letter.queue, letter.company) == ("tests.task", "default", "GILD")
    assert letter.first_at == letter.last_at == book.clock.now
    (story,) = letter.stories
    assert (story.why, story.error, story.traceback) == ("permanent", "404 no such company", "T")
    assert (story.generation, story.sends, story.starts, story.worker) == (1, 1, 2, "w@here")
    assert [(attempt["at"], attempt["error"]) for attempt in story.attempts] == [
        (book.clock.now, "503 first")
    ]


def test_a_second_record_adds_nothing(book: LedgerUnderTest, letters: Letters) -> None:
    """A message that comes twice is given up on once."""
    (gild,) = failed(book, "GILD")
    before = only(letters)
    assert book.ledger.fail(gild, "again", why="again")[0] is Verdict.FAILED
    assert only(letters) == before


def test_a_letter_is_bounded(book: LedgerUnderTest, letters: Letters) -> None:
    """The end of a long traceback is kept, and the first and the latest stories."""
    (gild,) = failed(book, "GILD")
    for number in range(KEEP_STORIES + 3):
        verdict, address = book.ledger.replay(RUN_ID, "GILD", by="me")
        assert verdict == "replayed" and address is not None
        book.ledger.fail(address, f"{number}", why="no", traceback="x" * 50_000 + "end")
    stories = only(letters).stories
    assert len(stories) == KEEP_STORIES
    assert (stories[0].generation, stories[-1].error) == (1, f"{KEEP_STORIES + 2}")
    assert len(stories[-1].traceback or "") == MAX_TRACEBACK_LENGTH
    assert (stories[-1].traceback or "").endswith("end")


def test_what_kills_its_workers_has_a_letter(
    app: Celery, book: LedgerUnderTest, letters: Letters
) -> None:
    """Written by the reconciler, which has no message: the ledger has all that is needed."""
    job = book.open()
    for number in range(MAX_DEATHS):
        book.begin(job, f"t{number}")
        book.clock.advance(LEASE + 1)
        reconcile(app, book.ledger)
    letter = only(letters)
    assert letter.last.why == f"its worker died {MAX_DEATHS} times"
    assert (letter.target, letter.last.starts) == (JOB, MAX_DEATHS)


def test_what_is_left_at_the_deadline_has_letters(
    app: Celery, book: LedgerUnderTest, letters: Letters
) -> None:
    """One for each target that was neither done nor failed."""
    book.fan_out("GILD", "MRNA")
    book.clock.advance(DEADLINE + 1)
    reconcile(app, book.ledger)
    assert {letter.target for letter in letters.find()} == {"GILD", "MRNA"}
    assert {letter.last.why for letter in letters.find()} == {"the run's deadline passed"}


def test_a_replay_that_succeeds_puts_the_run_right(
    app: Celery, book: LedgerUnderTest, broker: Broker, letters: Letters
) -> None:
    """A fresh message of a new generation; then the letter is gone, and the run has succeeded."""
    (gild,) = failed(book, "GILD")
    assert book.ledger.get(RUN_ID).status == "partial"
    task_id = replay(app, book.ledger, only(letters), by="me@here")
    (sent,) = broker.messages("default")
    address = Address.from_headers(sent["headers"])
    assert (sent["headers"]["id"], address) == (task_id, Address(RUN_ID, "GILD", 2))
    letter = only(letters)
    assert (letter.state, letter.replays, letter.replayed_by) == (REPLAYING, 1, "me@here")
    assert book.ledger.get(RUN_ID).status == "running"
    assert book.ledger.tried(address)[0] == 0
    assert book.begin(gild, "late") is Verdict.SUPERSEDED
    assert book.begin(address, task_id) is Verdict.GO
    assert book.ledger.finish(address, {"insights": 2}) == (Verdict.RECORDED, "succeeded")
    run = book.ledger.get(RUN_ID)
    assert (run.done, run.failed, run.totals) == (2, 0, {"insights": 3})
    assert letters.find() == []


def test_a_replay_that_fails_has_both_stories(
    app: Celery, book: LedgerUnderTest, broker: Broker, letters: Letters
) -> None:
    """And the run is partial as before."""
    failed(book, "GILD")
    replay(app, book.ledger, only(letters), by="me")
    address = Address(RUN_ID, "GILD", 2)
    book.begin(address, "t")
    assert book.ledger.fail(address, "gone", why="no")[1] == "partial"
    letter = only(letters)
    assert [(story.generation, story.error) for story in letter.stories] == [
        (1, "404 no such company"),
        (2, "gone"),
    ]
    assert letter.state == DEAD


def test_a_replayed_message_that_is_lost_is_sent_again(
    app: Celery, book: LedgerUnderTest, broker: Broker, letters: Letters
) -> None:
    """As any other of its run."""
    failed(book, "GILD")
    replay(app, book.ledger, only(letters), by="me")
    broker.lose("default")
    book.clock.advance(3 * LEASE + 1)
    assert reconcile(app, book.ledger) == 1
    (sent,) = broker.messages("default")
    assert Address.from_headers(sent["headers"]) == Address(RUN_ID, "GILD", 2)


def test_a_replayed_job_selects_for_its_generation(
    app: Celery, book: LedgerUnderTest, letters: Letters
) -> None:
    """Its targets' messages are of the job's generation and can begin."""
    job = book.open()
    book.begin(job)
    book.ledger.fail(job, "backend down", why="no")
    replay(app, book.ledger, only(letters), by="me")
    again = Address(RUN_ID, JOB, 2)
    assert book.begin(again, "t") is Verdict.GO
    book.ledger.fan_out(again, [message("GILD")])
    book.ledger.finish(again, {})
    gild = Address(RUN_ID, "GILD", 2)
    assert book.begin(gild) is Verdict.GO
    assert book.ledger.finish(gild, {}) == (Verdict.RECORDED, "succeeded")
    assert letters.find() == []


def test_a_new_generation_of_the_run_follows_the_replays(
    app: Celery, book: LedgerUnderTest, letters: Letters
) -> None:
    """Late messages of a replay meet a later number; what it puts right has no letter any more."""
    failed(book, "GILD")
    replay(app, book.ledger, only(letters), by="me")
    address = Address(RUN_ID, "GILD", 2)
    book.ledger.fail(address, "gone", why="no")
    job = book.open(again=True)
    assert job.generation == 3
    assert book.begin(address, "late") is Verdict.SUPERSEDED
    book.begin(job)
    book.ledger.fan_out(job, [message("GILD")])
    book.ledger.finish(job, {})
    book.ledger.finish(Address(RUN_ID, "GILD", 3), {})
    assert letters.find() == []


def test_what_can_not_be_replayed_is_refused(
    app: Celery, book: LedgerUnderTest, letters: Letters
) -> None:
    """With the reason and the mend; nothing is changed."""
    failed(book, "GILD")
    letter = only(letters)
    replay(app, book.ledger, letter, by="me")
    with pytest.raises(ReplayRefused, match="it is being carried out"):
        replay(app, book.ledger, letter, by="me")
    book.ledger.cancel(RUN_ID, "tired")
    book.redis.delete(f"bionewsbot:run:{RUN_ID}")
    with pytest.raises(ReplayRefused, match="has forgotten .* `runs start`"):
        replay(app, book.ledger, letter, by="me")


def test_a_cancelled_replay_is_a_dead_letter_again(
    app: Celery, book: LedgerUnderTest, broker: Broker, letters: Letters
) -> None:
    """With the reason as its second story; its run can be started again, and puts it right."""
    failed(book, "GILD", "MRNA")
    gild, mrna = sorted(letters.find(), key=lambda letter: str(letter.target))
    replay(app, book.ledger, gild, by="me")
    book.ledger.cancel(RUN_ID, "tired")
    assert letters.get(mrna.id) == mrna
    again = letters.get(gild.id)
    assert again.state == DEAD
    assert [(story.generation, story.why) for story in again.stories] == [
        (1, "permanent"),
        (2, "tired"),
    ]
    for letter in (again, mrna):
        with pytest.raises(ReplayRefused, match="ended as cancelled; .* --again"):
            replay(app, book.ledger, letter, by="me")
    job = book.open(again=True)
    book.ledger.fan_out(job, [message("GILD")])
    book.ledger.finish(job, {})
    book.ledger.finish(Address(RUN_ID, "GILD", job.generation), {})
    assert letters.find() == [mrna]


def test_a_replayed_job_has_no_starting_deadline(
    app: Celery, book: LedgerUnderTest, broker: Broker, letters: Letters
) -> None:
    """Lost beside targets that still run, it is sent again instead of missed."""
    start_by = OCCURRENCE.scheduled_for + timedelta(seconds=60)
    job = book.open(start_by=start_by)
    book.begin(job)
    book.ledger.fan_out(job, [message("GILD")])
    book.ledger.fail(job, "killed", why="no")
    book.clock.advance(61)
    replay(app, book.ledger, only(letters), by="me")
    broker.lose("default")
    book.clock.advance(3 * LEASE + 1)
    reconcile(app, book.ledger)
    assert book.ledger.get(RUN_ID).status == "running"
    found = [Address.from_headers(sent["headers"]) for sent in broker.messages("default")]
    assert Address(RUN_ID, JOB, 2) in found


@pytest.mark.parametrize(
    ("target", "why"),
    [("GILD", "has not selected GILD; .* `dlq purge`"), ("MRNA", "it is being carried out")],
)
def test_a_target_of_a_run_that_was_started_again(
    app: Celery, book: LedgerUnderTest, letters: Letters, target: str, why: str
) -> None:
    """The run is known; what counts is whether it has the target now."""
    failed(book, "GILD", "MRNA")
    job = book.open(again=True)
    book.ledger.fan_out(job, [message("MRNA")])
    (letter,) = (letter for letter in letters.find() if letter.target == target)
    for refuse in (check, partial(replay, by="me")):
        with pytest.raises(ReplayRefused, match=why):
            refuse(app, book.ledger, letter)


def test_a_letter_of_a_queue_that_is_gone_is_refused(
    app: Celery, book: LedgerUnderTest, letters: Letters
) -> None:
    """With the queues that there are; its run has ended as before."""
    job = book.open()
    book.begin(job)
    book.ledger.fan_out(job, [message("GILD", "gone")])
    book.ledger.finish(job, {})
    gild = Address(RUN_ID, "GILD", job.generation)
    book.ledger.fail(gild, "404", why="permanent")
    with pytest.raises(ReplayRefused, match="its queue 'gone' is not one of high, default, low"):
        check(app, book.ledger, only(letters))
    with pytest.raises(ReplayRefused, match="its queue 'gone' is not one of high, default, low"):
        replay(app, book.ledger, only(letters), by="me")
    assert book.ledger.get(RUN_ID).status == "failed"
    assert only(letters).state == DEAD


def test_letters_are_chosen(book: LedgerUnderTest, letters: Letters) -> None:
    """By task, run or entry, error and time; the latest come first."""
    failed(book, "GILD")
    book.clock.advance(60)
    job = book.ledger.open(new_run(OCCURRENCE.__class__("other", OCCURRENCE.scheduled_for)))
    assert job.to_send is not None
    book.ledger.fail(job.to_send, "Timeout", why="no")
    assert [letter.entry for letter in letters.find()] == ["other", OCCURRENCE.entry]
    assert len(letters.find(task="task")) == len(letters.find(task="tests.task")) == 2
    assert letters.find(task="tests") == []
    for wanted in (RUN_ID, OCCURRENCE.entry):
        assert [letter.run_id for letter in letters.find(run=wanted)] == [RUN_ID]
    assert [letter.entry for letter in letters.find(error="timeOUT")] == ["other"]
    with pytest.raises(LetterUnknown, match="dlq list"):
        letters.get("nope")
    assert letters.stats()["by_why"] == {"no": 1, "permanent": 1}


def test_the_queue_follows_the_letters(
    app: Celery, book: LedgerUnderTest, broker: Broker, letters: Letters
) -> None:
    """Each letter stands there once, as it is now, whatever passes die in between."""
    failed(book, "GILD", "MRNA")
    assert queue.sync(app, book.ledger) == 2
    assert queue.sync(app, book.ledger) == 0

    def posted() -> dict[str | None, str]:
        rows = broker.redis.lrange(QUEUE_DEAD_LETTER, 0, -1)
        found = {read_letter(row).target: read_letter(row).state for row in rows}
        assert len(found) == len(rows)
        return found

    assert posted() == {"GILD": DEAD, "MRNA": DEAD}
    letter = letters.find(error="404")[0]
    replay(app, book.ledger, letter, by="me")
    queue.sync(app, book.ledger)
    assert posted()[letter.target] == REPLAYING
    # As left by a pass that died after the broker had it.
    book.redis.delete(queue.POSTED)
    book.redis.sadd(queue.CHANGED, letter.id)
    queue.sync(app, book.ledger)
    assert posted() == {"GILD": DEAD, "MRNA": DEAD} | {letter.target: REPLAYING}
    assert book.ledger.purge_letters([letter.id for letter in letters.find()]) == 2
    queue.sync(app, book.ledger)
    assert "headers" not in json.dumps(posted())


def test_no_letter_is_a_task_message(book: LedgerUnderTest, letters: Letters) -> None:
    """Even a worker that would read the queue could run none of them."""
    failed(book, "GILD")
    text = book.redis.hget("bionewsbot:letters", only(letters).id)
    assert not {"headers", "properties", "body"} & json.loads(text).keys()
