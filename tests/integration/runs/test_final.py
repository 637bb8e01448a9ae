"""The item that a run ends with: when it is sent, what it reads, and what its end is to the run."""

import pytest
from celery import Celery
from support.apps import Broker
from support.ledgers import LEASE, OCCURRENCE, LedgerUnderTest, message

from bionewsbot.errors import LedgerLimit
from bionewsbot.runs import reconciler
from bionewsbot.runs.ledger import KEEP_SECTIONS_SECONDS, MAX_SECTION_BYTES, Verdict
from bionewsbot.runs.model import FINAL, JOB, Address, Item, Message

RUN_ID = OCCURRENCE.run_id
LAST = Message(FINAL, "tests.end", "default", {})
SECTIONS = f"bionewsbot:sections:{RUN_ID}"


def start(book: LedgerUnderTest, *targets: str) -> dict[str, Address]:
    """Open a run with these targets and a final item; its job is done."""
    job = book.open()
    book.ledger.sent([(job, "job")])
    book.begin(job, "job")
    book.ledger.fan_out(job, [message(target) for target in targets], LAST)
    addresses = {name: Address(job.run_id, name, 1) for name in (*targets, FINAL)}
    book.ledger.sent([(addresses[target], target) for target in targets])
    assert book.ledger.finish(job, {}) == (Verdict.RECORDED, None)
    return addresses


def final_of(book: LedgerUnderTest) -> Item:
    """Return the final item."""
    return book.ledger.items(RUN_ID)[-1]


def due(book: LedgerUnderTest) -> list[str]:
    """Return the targets whose lease has run out."""
    book.clock.advance(0.001)
    return [suspect.address.target for suspect in book.ledger.suspects(10)]


def test_it_is_due_when_the_last_target_has_ended(
    app: Celery, broker: Broker, book: LedgerUnderTest
) -> None:
    """Not before; it is not counted; the next pass sends it, and the run ends with it."""
    at = start(book, "A", "B")
    assert (final_of(book).target, final_of(book).state) == (FINAL, "waiting")
    book.ledger.finish(at["A"], {"insights": 2})
    assert due(book) == []
    assert book.ledger.fail(at["B"], "no", why="no") == (Verdict.RECORDED, None)
    run = book.ledger.get(RUN_ID)
    assert (run.status, run.targets, run.done, run.failed) == ("running", 2, 1, 1)
    book.clock.advance(0.001)
    assert reconciler.reconcile(app, book.ledger) == 1
    assert reconciler.reconcile(app, book.ledger) == 0
    assert (final_of(book).state, final_of(book).sends) == ("sent", 1)
    assert book.begin(at[FINAL], str(final_of(book).task_id)) is Verdict.GO
    assert book.ledger.finish(at[FINAL], {"reports": 1}) == (Verdict.RECORDED, "partial")
    run = book.ledger.get(RUN_ID)
    assert (run.targets, dict(run.totals)) == (2, {"insights": 2, "reports": 1})


def test_a_generation_cut_short_at_its_end_hurries_not_the_next(book: LedgerUnderTest) -> None:
    """Whose final item waits for its own targets."""
    at = start(book, "A")
    book.ledger.finish(at["A"], {})
    book.ledger.cancel(RUN_ID, "by hand")
    job = book.open(again=True)
    book.begin(job, "job")
    book.ledger.fan_out(job, [message("A")], LAST)
    book.clock.advance(1)
    assert due(book) == []


def test_it_starts_at_once_where_there_is_no_target(book: LedgerUnderTest) -> None:
    """An empty portfolio has a report too."""
    at = start(book)
    assert due(book) == [FINAL]
    book.begin(at[FINAL])
    assert book.ledger.finish(at[FINAL], {}) == (Verdict.RECORDED, "succeeded")


def test_it_waits_for_the_job(book: LedgerUnderTest) -> None:
    """Targets may all end while the job is still sending the others' messages."""
    job = book.open()
    book.begin(job, "job")
    book.ledger.fan_out(job, [message("A")], LAST)
    book.ledger.finish(Address(RUN_ID, "A", 1), {})
    assert due(book) == []
    book.ledger.finish(job, {})
    assert due(book) == [FINAL]


def test_a_job_that_selects_twice_sends_no_final_item(book: LedgerUnderTest) -> None:
    """It is not among what is still to be sent."""
    job = book.open()
    book.begin(job, "job")
    for _ in range(2):
        _, unsent = book.ledger.fan_out(job, [message("A")], LAST)
        assert [one.target for one in unsent] == ["A"]


@pytest.mark.parametrize("failed", [False, True])
def test_a_run_whose_end_fails_has_failed(book: LedgerUnderTest, failed: bool) -> None:
    """What the run is for was not done, whatever its targets did; sections wait for a replay."""
    at = start(book, "A", "B")
    book.ledger.finish(at["A"], {}, "{}")
    end = book.ledger.fail(at["B"], "no", why="no") if failed else book.ledger.finish(at["B"], {})
    assert end == (Verdict.RECORDED, None)
    book.begin(at[FINAL])
    assert book.ledger.fail(at[FINAL], "500", why="no") == (Verdict.RECORDED, "failed")
    assert book.ledger.sections(RUN_ID) == {"A": "{}"}
    verdict, again = book.ledger.replay(RUN_ID, FINAL, by="me")
    assert verdict == "replayed" and again == Address(RUN_ID, FINAL, 2)
    book.begin(again, "again")
    status = "partial" if failed else "succeeded"
    assert book.ledger.finish(again, {}) == (Verdict.RECORDED, status)
    assert bool(book.ledger.sections(RUN_ID)) == failed


def test_a_replayed_target_has_the_end_done_once_more(book: LedgerUnderTest) -> None:
    """After it, under its generation, with both sections, and its totals counted once."""
    at = start(book, "A", "B")
    book.ledger.finish(at["A"], {"insights": 1}, "a")
    book.ledger.fail(at["B"], "no", why="no")
    book.begin(at[FINAL])
    assert book.ledger.finish(at[FINAL], {"reports": 1, "gaps": 1})[1] == "partial"
    _, again = book.ledger.replay(RUN_ID, "B", by="me")
    assert again is not None
    assert final_of(book).state == "waiting" and due(book) == []
    book.begin(again, "again")
    assert book.ledger.finish(again, {"insights": 1}, "b") == (Verdict.RECORDED, None)
    assert due(book) == [FINAL]
    assert book.begin(at[FINAL], "late") is Verdict.SUPERSEDED
    assert book.ledger.sections(RUN_ID) == {"A": "a", "B": "b"}
    last = Address(RUN_ID, FINAL, 2)
    book.begin(last, "last")
    assert book.ledger.finish(last, {"reports": 1}) == (Verdict.RECORDED, "succeeded")
    totals = {name: value for name, value in book.ledger.get(RUN_ID).totals.items() if value}
    assert totals == {"insights": 2, "reports": 1}


def test_an_end_under_way_makes_room_for_a_replay(book: LedgerUnderTest) -> None:
    """It would not see what the target adds: its message is of an earlier generation now."""
    at = start(book, "A")
    book.ledger.fail(at["A"], "no", why="no")
    book.begin(at[FINAL])
    _, again = book.ledger.replay(RUN_ID, "A", by="me")
    assert again is not None
    assert book.ledger.finish(at[FINAL], {})[0] is Verdict.SUPERSEDED
    book.clock.advance(LEASE * 2)
    assert due(book) == []
    book.begin(again, "again")
    book.ledger.finish(again, {})
    assert due(book) == [FINAL]


def test_a_run_past_its_deadline_leaves_a_letter_of_its_end(book: LedgerUnderTest) -> None:
    """Nobody stored the report: the run has failed, though a target is done."""
    at = start(book, "A", "B")
    book.ledger.finish(at["A"], {})
    book.clock.advance(4000)
    assert book.ledger.end_overdue(RUN_ID) == "failed"
    states = {item.target: item.state for item in book.ledger.items(RUN_ID)}
    assert states == {JOB: "done", "A": "done", "B": "failed", FINAL: "failed"}
    assert book.redis.hlen("bionewsbot:letters") == 2


def test_a_new_generation_begins_without_sections(book: LedgerUnderTest) -> None:
    """What an earlier one left is of other companies, perhaps."""
    at = start(book, "A")
    book.ledger.finish(at["A"], {}, "old")
    book.begin(at[FINAL])
    book.ledger.fail(at[FINAL], "no", why="no")
    assert 0 < book.redis.ttl(SECTIONS) <= KEEP_SECTIONS_SECONDS
    book.open(again=True)
    assert book.ledger.sections(RUN_ID) == {}


def test_a_section_has_a_bound(book: LedgerUnderTest) -> None:
    """In bytes; the item stays open for its task to fail."""
    at = start(book, "A")
    with pytest.raises(LedgerLimit, match="A: a section of 65538 bytes; 65536 are kept"):
        book.ledger.finish(at["A"], {}, "ü" * (MAX_SECTION_BYTES // 2 + 1))
    assert book.ledger.sections(RUN_ID) == {}
    assert book.ledger.finish(at["A"], {}, "ü" * (MAX_SECTION_BYTES // 2))[0] is Verdict.RECORDED


def test_a_section_that_comes_twice_or_late_changes_nothing(book: LedgerUnderTest) -> None:
    """The first one stays."""
    at = start(book, "A", "B")
    book.ledger.finish(at["A"], {}, "first")
    assert book.ledger.finish(at["A"], {}, "second")[0] is Verdict.DONE
    assert book.ledger.sections(RUN_ID) == {"A": "first"}
