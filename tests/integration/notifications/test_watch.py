"""What a look finds in runs, dead letters and the breaker; and that it loses nothing."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from celery import Celery
from redis import ConnectionError
from support.channels import variable, write_config
from support.ledgers import OCCURRENCE, message, new_run
from support.polling import wait_until

from bionewsbot import settings
from bionewsbot.api.shared_circuit import SharedCircuit
from bionewsbot.celeryconfig import connect_redis
from bionewsbot.names import KEY_PREFIX
from bionewsbot.notifications import watch
from bionewsbot.notifications.notices import ENTRY, Event
from bionewsbot.notifications.outbox import Outbox, outbox
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import JOB, Address, Message, Occurrence

Look = Callable[[], list[str]]
WHY = "the error is permanent"


@pytest.fixture
def look(app: Celery, configured: pytest.MonkeyPatch, tmp_path: Path) -> Look:
    """Look for what happened; return the ids of the notices that are new."""
    configured.setenv("BIONEWSBOT_CONFIG_DIR", str(tmp_path))
    configured.setenv(variable("team"), "json://127.0.0.1:1")
    write_config(tmp_path, ["team"], {"events": list(get_args(Event)), "channels": ["team"]})
    settings.current.cache_clear()
    known: list[str] = []

    def look() -> list[str]:
        watch.look(app, ledger())
        with connect_redis(settings.current()) as redis:
            told = [str(each) for each in redis.zrange(f"{KEY_PREFIX}notices:told", 0, -1)]
        new = [each for each in told if each not in known]
        known.extend(new)
        return new

    return look


def at(minute: int, entry: str = OCCURRENCE.entry) -> Occurrence:
    """Return an occurrence of the entry."""
    return Occurrence(entry, OCCURRENCE.scheduled_for + timedelta(minutes=minute))


def run(occurrence: Occurrence, *failing: str, done: tuple[str, ...] = ()) -> Address:
    """Carry a run out, with targets that fail and targets that are done."""
    job = ledger().open(new_run(occurrence)).to_send
    assert job is not None
    ledger().begin(job, task_id="job", worker="w@here")
    ledger().fan_out(job, [message(target) for target in (*failing, *done)])
    for target in failing:
        address = Address(job.run_id, target, job.generation)
        ledger().fail(address, "BackendRefused: 404", why=WHY)
    for target in done:
        ledger().finish(Address(job.run_id, target, job.generation), {})
    ledger().finish(job, {})
    return job


def kinds(ids: Iterable[str]) -> list[str]:
    """Return the events that notices tell of."""
    return sorted(each.partition("/")[0] for each in ids)


def test_the_first_look_tells_nothing(look: Look) -> None:
    """Whoever writes the file asks to be told of what comes."""
    run(at(0), "GILD")
    assert look() == []


def test_runs_by_how_they_ended(look: Look) -> None:
    """Failed, partial and missed ones, each once; no other end is an event."""
    look()
    failed = run(at(0), "GILD")
    partial = run(at(1), "GILD", done=("PFE",))
    run(at(2), done=("PFE",))
    ledger().open(new_run(at(3), start_by=OCCURRENCE.scheduled_for))
    ledger().open(new_run(at(4, "another"), missed="its catch-up policy"))
    ledger().cancel(ledger().open(new_run(at(5))).new.occurrence.run_id, "an operator")
    ledger().open(new_run(at(6)))
    found = look()
    # The two letters have one cause, but may fall into two hours.
    assert kinds(each for each in found if not each.startswith("dead_letters/")) == [
        *("occurrence_missed", "occurrence_missed", "run_failed", "run_partial")
    ]
    assert "dead_letters" in kinds(found)
    assert any(each.startswith(f"run_failed/{failed.run_id}/") for each in found)
    assert any(each.startswith(f"run_partial/{partial.run_id}/") for each in found)
    assert look() == []


def test_missed_occurrences_of_an_entry_are_told_together(look: Look) -> None:
    """How many, the first and the last; each once, also when two looks see the same one."""
    look()
    for minute in (2, 0, 1):
        ledger().open(new_run(at(minute), missed="its catch-up policy"))
    ledger().open(new_run(at(0, "another"), missed="its catch-up policy"))
    look()
    batch = outbox().take()
    assert batch is not None
    another, several = sorted(batch.notices, key=lambda notice: notice.title)
    assert another.title == "another@2026-01-15T06:00:00Z: missed"
    assert several.title == "daily_company_analysis: 3 occurrences missed"
    assert several.body.splitlines() == [
        "the first 2026-01-15T06:00:00Z, the last 2026-01-15T06:02:00Z",
        "its catch-up policy",
        "celery -A bionewsbot runs list --entry daily_company_analysis",
    ]
    outbox().done(batch)
    # Ten seconds are looked at twice.
    ledger().open(new_run(at(3), missed="its catch-up policy"))
    look()
    (late,) = wait_until(outbox().take, "there is a batch").notices
    assert late.title == "daily_company_analysis@2026-01-15T06:03:00Z: missed"


def test_a_run_that_fails_again_is_told_again(look: Look) -> None:
    """A replay that helps nothing is news; the letter's cause was told in this hour."""
    look()
    job = run(at(0), "GILD")
    assert "run_failed" in kinds(look())
    _, address = ledger().replay(job.run_id, "GILD", by="me")
    assert address is not None
    assert look() == []
    ledger().fail(address, "BackendRefused: 404", why=WHY)
    assert "run_failed" in kinds(look())


def test_the_breaker_each_opening(look: Look) -> None:
    """Opened, closed and opened again are two events."""
    look()
    circuit = SharedCircuit.from_settings(settings.current())
    try:
        assert circuit.open(circuit.admit(5), "5 failures in a row")
        assert kinds(look()) == ["breaker_open"]
        assert circuit.release("an operator")
        assert look() == []
        assert circuit.hold("an operator")
        assert kinds(look()) == ["breaker_open"]
    finally:
        circuit.shut()


def test_a_notice_that_is_not_sent_tells_of_itself_by_its_letter(look: Look) -> None:
    """The end of its run is no event, else each failure would tell of the next one."""
    look()
    job = ledger().open(new_run(at(0, ENTRY))).to_send
    assert job is not None
    kwargs = {"channel": "ops", "notice": {}}
    ledger().fan_out(job, [Message("ops/1", "bionewsbot.send_notice", "low", kwargs)])
    ledger().fail(Address(job.run_id, "ops/1", 1), "ChannelFailed: 403", why=WHY)
    ledger().finish(job, {})
    assert ledger().get(job.run_id).status == "failed"
    assert kinds(look()) == ["dead_letters"]
    (notice,) = (outbox().take() or pytest.fail("nothing waits")).notices
    assert notice.not_by == "ops"


def test_what_a_broken_look_found_is_found_by_the_next(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not seen before it is in the outbox."""
    look()
    run(at(0), "GILD")

    def away(*_: object, **__: object) -> int:
        raise ConnectionError("Redis is away")

    with monkeypatch.context() as patched:
        patched.setattr(Outbox, "put", away)
        with pytest.raises(ConnectionError):
            look()
    assert kinds(look()) == ["dead_letters", "run_failed"]


def test_a_clock_that_is_set_back_loses_nothing(look: Look) -> None:
    """Two looks have ten seconds in common."""
    look()
    outbox().put((), seen=ledger().now() + 5)
    run(at(0), "GILD")
    assert kinds(look()) == ["dead_letters", "run_failed"]


def test_what_is_a_day_old_is_no_news(look: Look, app: Celery) -> None:
    """After a long outage of all workers people hear of the last day."""
    look()
    with connect_redis(settings.current()) as redis:
        run(at(0), "GILD")
        old = (datetime.now(UTC) - timedelta(days=2)).timestamp()
        redis.zadd(f"{KEY_PREFIX}letters:by_time", dict.fromkeys(redis.hkeys(_LETTERS), old))
    outbox().put((), seen=old - 1)
    assert kinds(look()) == ["run_failed"]


_LETTERS = f"{KEY_PREFIX}letters"


def test_without_rules_nothing_is_looked_at(
    app: Celery, configured: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No key is written and nothing is read."""
    configured.setenv("BIONEWSBOT_CONFIG_DIR", str(tmp_path))
    settings.current.cache_clear()
    run(at(0), "GILD")

    def fails() -> Outbox:
        raise AssertionError("it was looked at")

    configured.setattr(watch, "outbox", fails)
    assert watch.look(app, ledger()) == 0
    with connect_redis(settings.current()) as redis:
        assert not redis.keys(f"{KEY_PREFIX}notices:*")


def test_the_end_of_a_run_job(look: Look) -> None:
    """A job that fails for good has no target: its notice says so without a count."""
    look()
    job = ledger().open(new_run(at(0))).to_send
    assert job is not None and job.target == JOB
    ledger().fail(job, "no", why=WHY)
    assert kinds(look()) == ["dead_letters", "run_failed"]
    batch = outbox().take()
    assert batch is not None
    bodies = [notice.body for notice in batch.notices if notice.event == "run_failed"]
    assert bodies == [f"celery -A bionewsbot runs show {job.run_id}"]
