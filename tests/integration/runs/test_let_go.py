"""What counts as the death of an item's worker, on a ledger whose clock is moved by hand."""

import pytest
from support.apps import contents
from support.ledgers import LEASE, LedgerUnderTest

from bionewsbot.runs.ledger import MAX_DEATHS, Verdict
from bionewsbot.runs.scripting import QUEUED_LEASES


def test_what_a_stopping_worker_lets_go_of_is_no_death(book: LedgerUnderTest) -> None:
    """However often: whoever takes the message next begins it, and nobody sends it meanwhile."""
    _, (gild,) = book.fan_out("GILD")
    for _ in range(2 * MAX_DEATHS):
        assert book.begin(gild) is Verdict.GO
        book.ledger.let_go([(gild, "t1")])
        book.clock.advance(LEASE * QUEUED_LEASES - 1)
        assert not book.ledger.suspects(10)
    book.clock.advance(2)
    (suspect,) = book.ledger.suspects(10)
    assert (suspect.alive, suspect.deaths) == (False, 0)


def test_a_message_that_comes_back_by_itself_is_a_death(book: LedgerUnderTest) -> None:
    """Nobody said that it was let go of; the last of MAX_DEATHS is one too many."""
    _, (gild,) = book.fan_out("GILD")
    verdicts = [book.begin(gild) for _ in range(MAX_DEATHS + 1)]
    assert verdicts == [*[Verdict.GO] * MAX_DEATHS, Verdict.POISON]


def test_only_who_has_begun_an_item_lets_go_of_it(book: LedgerUnderTest) -> None:
    """Another one is at it by now, has ended it, or its message was never begun."""
    _, (gild, pfe, mrna) = book.fan_out("GILD", "PFE", "MRNA")
    book.begin(gild, "t1")
    book.begin(pfe, "t2")
    book.ledger.finish(pfe, {})
    before = contents(book.redis)
    book.ledger.let_go([(gild, "before"), (pfe, "t2"), (mrna, "MRNA")])
    assert contents(book.redis) == before
    assert book.begin(gild, "again") is Verdict.BUSY


def test_what_is_let_go_of_uses_up_no_time(book: LedgerUnderTest) -> None:
    """How long it lies in its queue is no time in which it is tried."""
    _, (gild,) = book.fan_out("GILD")
    book.begin(gild)
    book.clock.advance(5)
    book.ledger.let_go([(gild, "t1")])
    book.clock.advance(100)
    book.begin(gild)
    assert book.ledger.tried(gild) == (0, pytest.approx(5.0, abs=0.1))
