"""Work that one process does at a time."""

import pytest
from support.ledgers import LedgerUnderTest

from bionewsbot.errors import NotYet
from bionewsbot.runs.exclusive import exclusive, moving


def test_one_at_a_time(book: LedgerUnderTest) -> None:
    """Who comes second is told to come again; other work is free, and afterwards this one, too."""
    with exclusive(book.ledger, moving("alerts"), seconds=60):
        with pytest.raises(NotYet, match="somebody else is at it: moving alerts") as caught:
            with exclusive(book.ledger, moving("alerts"), seconds=60):
                raise AssertionError("two were at it")
        assert caught.value.retry_after
        with exclusive(book.ledger, moving("insights"), seconds=60):
            pass
    with exclusive(book.ledger, moving("alerts"), seconds=60):
        pass
    assert book.redis.keys("*exclusive*") == []


def test_each_step_renews_it(book: LedgerUnderTest) -> None:
    """To its full time again, whatever was left."""
    with exclusive(book.ledger, "work", seconds=1000) as still_mine:
        (key,) = book.redis.keys("*exclusive*")
        book.redis.pexpire(key, 5000)
        still_mine()
        assert book.redis.pttl(key) > 900_000


@pytest.mark.parametrize("taken", [True, False])
def test_who_lost_it_stops(book: LedgerUnderTest, taken: bool) -> None:
    """Before its next step, and without taking away what is another one's by now."""
    with exclusive(book.ledger, "work", seconds=1000) as still_mine:
        (key,) = book.redis.keys("*exclusive*")
        book.redis.delete(key)
        if taken:
            book.redis.set(key, "another one")
        with pytest.raises(NotYet, match="may be at it by now: work"):
            still_mine()
    assert book.redis.get(key) == ("another one" if taken else None)
