"""What goes from Redis with age: index entries, operators' changes, dead letters."""

from datetime import timedelta

import pytest
from support.ledgers import OCCURRENCE, LedgerUnderTest, message, new_run

from bionewsbot.dead_letters.letters import Letters
from bionewsbot.dead_letters.trimming import trim_letters
from bionewsbot.names import HOURLY_QUICK_SCAN
from bionewsbot.runs import trimming
from bionewsbot.runs.model import JOB, Message, Occurrence
from bionewsbot.runs.trimming import trim_changes, trim_indexes

NOW = OCCURRENCE.scheduled_for


def days(count: float) -> timedelta:
    """Return so many days."""
    return timedelta(days=count)


def fail(book: LedgerUnderTest, occurrence: Occurrence) -> str:
    """Carry out a run whose job fails; return its id."""
    opening = book.ledger.open(new_run(occurrence))
    address = opening.to_send
    assert address is not None
    book.begin(address)
    book.ledger.fail(address, "no", why="the error is permanent")
    return address.run_id


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_forgotten_runs_leave_the_indexes(
    book: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """Only those that the ledger has forgotten and that are old enough, from each index."""
    monkeypatch.setattr(trimming, "_PAGE", page)
    runs = [fail(book, Occurrence("daily", NOW - days(age))) for age in (5, 4, 3, 2)]
    for forgotten in (runs[0], runs[2], runs[3]):
        book.redis.delete(f"bionewsbot:run:{forgotten}")
    assert trim_indexes(book.redis, NOW - days(2.5)) == 4
    for index in ("bionewsbot:index", "bionewsbot:index:daily"):
        assert book.redis.zrange(index, 0, -1) == [runs[1], runs[3]]
    assert trim_indexes(book.redis, NOW - days(2.5)) == 0


def test_old_changes_go(book: LedgerUnderTest) -> None:
    """Those of operators to the schedule, by the time at which they were made."""
    stream = "bionewsbot:changes"
    for age in (3, 2, 1):
        at = int((NOW - days(age)).timestamp() * 1000)
        book.redis.xadd(stream, {"age": age}, id=f"{at}-0")
    assert trim_changes(book.redis, NOW - days(2)) == 1
    assert [fields["age"] for _, fields in book.redis.xrange(stream)] == ["2", "1"]


def test_letters_of_forgotten_runs_go(
    book: LedgerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """When they are old enough; each that goes is in the log, whole."""
    gone, known, young = (Occurrence(name, NOW) for name in ("gone", "known", "young"))
    for occurrence in (gone, known):
        fail(book, occurrence)
    book.clock.advance(100)
    fail(book, young)
    for occurrence in (gone, young):
        book.redis.delete(f"bionewsbot:run:{occurrence.run_id}")
    with caplog.at_level("WARNING"):
        assert trim_letters(book.ledger, book.redis, NOW + timedelta(seconds=50)) == 1
    left = {letter.entry for letter in Letters(book.redis).find()}
    assert left == {"known", "young"}
    (line,) = [one for one in caplog.records if one.message == "dead_letter_trimmed"]
    letter = line.letter  # type: ignore[attr-defined]
    assert (letter["run_id"], letter["stories"][0]["error"]) == (gone.run_id, "no")


def test_letters_of_no_run_go_by_age(book: LedgerUnderTest) -> None:
    """There is nothing that they could be replayed into."""
    story = {"generation": 1, "at": NOW.timestamp(), "why": "unregistered", "error": "KeyError"}
    letter = {
        "id": "abc",
        "state": "dead",
        "task": "gone",
        "queue": "low",
        "first_at": NOW.timestamp(),
        "last_at": NOW.timestamp(),
        "stories": [story],
    }
    assert book.ledger.record_letter(letter)
    assert trim_letters(book.ledger, book.redis, NOW - days(1)) == 0
    assert trim_letters(book.ledger, book.redis, NOW + days(1)) == 1


def test_runs_under_way_are_found_by_their_job(book: LedgerUnderTest) -> None:
    """Not those of other jobs, and none that has ended."""
    scan = Occurrence("scan", NOW)
    job = Message(JOB, HOURLY_QUICK_SCAN, "high", {})
    address = book.ledger.open(new_run(scan, job=job)).to_send
    assert address is not None
    book.ledger.open(new_run(Occurrence("other", NOW), job=message()))
    assert book.ledger.under_way((HOURLY_QUICK_SCAN,)) == [scan.run_id]
    book.begin(address)
    book.ledger.finish(address, {})
    assert book.ledger.under_way((HOURLY_QUICK_SCAN,)) == []
