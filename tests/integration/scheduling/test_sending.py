"""From what is due to runs and messages: caught up, sent again, or on record as missed."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from celery.schedules import schedule as interval
from kombu.exceptions import OperationalError
from support.apps import Broker
from support.polling import wait_until
from support.scheduling import MINUTE, TEN, Schedule, definition, put_due, put_missed, said

from bionewsbot import names
from bionewsbot.runs import dispatch
from bionewsbot.runs.model import Address
from bionewsbot.runs.reconciler import reconcile
from bionewsbot.scheduling import scheduler as scheduler_module
from bionewsbot.scheduling.entries import Entry
from bionewsbot.scheduling.store import Store


def test_a_due_entry_starts_a_run(schedule: Schedule, broker: Broker) -> None:
    """For its scheduled time, on its queue; the message expires at the starting deadline."""
    beat = schedule.leader()
    at = put_due(schedule, queue="low", run_deadline=1800.0, starting_deadline=3600.0)
    schedule.settle(beat)
    (run,) = schedule.runs("own")
    assert (run.scheduled_for, run.origin, run.status) == (at, "beat", "running")
    assert run.deadline == pytest.approx(run.opened_at + 1800)
    (sent,) = broker.messages("low")
    assert sent["headers"]["task"] == names.HOURLY_QUICK_SCAN
    assert Address.from_headers(sent["headers"]) == Address(run.run_id, "*", 1)
    assert datetime.fromisoformat(sent["headers"]["expires"]) == at + 60 * MINUTE
    one = schedule.entry("own")
    assert (one.last_run_at, one.total_run_count) == (at, 1)
    assert (schedule.score("own") or 0) > schedule.store.now().timestamp()
    assert schedule.store.counts() == {"opened": 1}


@pytest.mark.parametrize(
    ("catch_up", "statuses"),
    [
        ("all", ["running", "running", "running"]),
        ("latest", ["missed", "missed", "running"]),
        # The last one may be late or not: it was due in these ten minutes.
        ("none", ["missed", "missed"]),
    ],
)
def test_what_was_missed_is_caught_up(
    schedule: Schedule, broker: Broker, catch_up: str, statuses: list[str]
) -> None:
    """By the entry's policy; each occurrence is on record, oldest first."""
    beat = schedule.leader()
    last = put_missed(schedule, catch_up=catch_up, starting_deadline=3600.0)
    schedule.settle(beat)
    runs = schedule.runs("own")[:3]
    assert [run.scheduled_for for run in runs] == [last - 2 * TEN, last - TEN, last]
    assert [run.status for run in runs][: len(statuses)] == statuses
    sent = [message["headers"]["bionewsbot"]["run"] for message in broker.messages("high")]
    assert sent == [run.run_id for run in schedule.runs("own") if run.status == "running"]


def test_many_that_are_due_are_sent_in_parts(schedule: Schedule, broker: Broker) -> None:
    """More than one look brings; each once."""
    beat = schedule.leader()
    for number in range(250):
        put_due(schedule, f"own-{number}")
    schedule.settle(beat)
    runs = {message["headers"]["bionewsbot"]["run"] for message in broker.messages("high")}
    assert len(runs) == len(broker.messages("high")) == 250
    assert schedule.store.counts() == {"opened": 250}


def test_the_ledger_takes_each_name_once(
    schedule: Schedule, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """An occurrence that is due a second time is logged and dropped, and the entry goes on."""
    beat = schedule.leader()
    at = put_due(schedule)
    schedule.settle(beat)
    put_due(schedule, ago=schedule.store.now() - at)
    schedule.settle(beat)
    assert len(schedule.runs("own")) == len(broker.messages("high")) == 1
    assert said(caplog)["occurrence_dropped"] == 1
    assert schedule.store.counts() == {"opened": 1, "exists": 1}
    assert schedule.entry("own").last_run_at == at


def test_a_run_by_hand_takes_the_name(schedule: Schedule, broker: Broker) -> None:
    """What a person started for an occurrence, beat doesn't start again."""
    beat = schedule.leader()
    at = put_due(schedule)
    schedule.ledger.open(schedule.entry("own").run_by_operator(schedule.app, at))
    (job,) = schedule.runs("own")
    schedule.ledger.sent([(Address(job.run_id, "*", 1), "by hand")])
    schedule.settle(beat)
    assert [run.origin for run in schedule.runs("own")] == ["operator"]
    assert broker.messages("high") == []


def refuse(*args: object, **options: object) -> None:
    """Stand in for a broker that is away."""
    raise OperationalError("broker away")


def test_a_failed_send_is_sent_again(
    schedule: Schedule,
    broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The run is on record before; its entry waits, isn't advanced, and sends it in the end."""
    beat = schedule.leader()
    at = put_due(schedule, starting_deadline=3600.0)
    with monkeypatch.context() as patch:
        patch.setattr(dispatch, "_publish", refuse)
        for attempt in range(3):
            schedule.redis.zadd("redbeat::schedule", {"redbeat:own": 1})
            now = schedule.store.now().timestamp()
            schedule.settle(beat)
            (run,) = schedule.runs("own")
            assert (run.status, schedule.ledger.items(run.run_id)[0].sends) == ("running", 0)
            # Ten minutes late: the longest wait.
            assert 30 <= (schedule.score("own") or 0) - now < 60
            assert said(caplog)["send_failed"] == attempt + 1
    assert schedule.entry("own").last_run_at == at - MINUTE
    schedule.redis.zadd("redbeat::schedule", {"redbeat:own": 1})
    schedule.settle(beat)
    assert len(schedule.runs("own")) == len(broker.messages("high")) == 1
    assert schedule.ledger.items(run.run_id)[0].sends == 1
    assert schedule.entry("own").last_run_at == at
    assert said(caplog)["send_failed"] == 3
    assert schedule.store.counts() == {"send_failed": 3, "unsent": 1}


def test_the_first_wait_is_short(
    schedule: Schedule, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has only just come due is tried again after a second; the wait doubles."""
    beat = schedule.leader()
    given = definition(schedule=interval(1), catch_up="all")
    now = schedule.store.now()
    schedule.put(Entry("own", given, last_run_at=now - timedelta(seconds=1)))
    monkeypatch.setattr(dispatch, "_publish", refuse)
    earlier = 0.5
    for _ in range(3):
        schedule.settle(beat)
        since = schedule.runs("own")[0].scheduled_for.timestamp()
        again = (schedule.score("own") or 0) - since
        late = schedule.store.now().timestamp() - since
        # However late a busy machine made the attempt itself.
        assert 2 * earlier <= again <= late + max(1, late)
        earlier = again
        wait_until(lambda: schedule.is_due("own"), "the entry is due again")


def test_past_its_deadline_an_unsent_run_is_missed(
    schedule: Schedule,
    broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On record, counted, logged as an error; nothing is sent, and the entry goes on."""
    beat = schedule.leader()
    at = put_due(schedule)
    late = (schedule.store.now() - at).total_seconds() + 1.5
    one = schedule.entry("own")
    schedule.put(replace(one, definition=replace(one.definition, starting_deadline=late)))
    with monkeypatch.context() as patch:
        patch.setattr(dispatch, "_publish", refuse)
        schedule.settle(beat)
    assert [run.status for run in schedule.runs("own")] == ["running"]
    start_by = at.timestamp() + late
    wait_until(lambda: schedule.store.now().timestamp() > start_by, "the deadline passes")
    schedule.redis.zadd("redbeat::schedule", {"redbeat:own": 1})
    schedule.settle(beat)
    (run,) = schedule.runs("own")
    assert run.status == "missed"
    assert run.reason and "are allowed" in run.reason
    assert broker.messages("high") == []
    assert schedule.entry("own").last_run_at == at
    (record,) = [one for one in caplog.records if one.message == "run_missed"]
    assert record.levelno == logging.ERROR
    assert schedule.store.counts() == {"send_failed": 1, "missed": 1}


def test_a_failed_send_holds_back_nobody_else(
    schedule: Schedule, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries that are only looked at are written all the same."""
    beat = schedule.leader()
    put_due(schedule)
    schedule.put(Entry("new", definition()))
    schedule.redis.zadd("redbeat::schedule", {"redbeat:new": 1})
    monkeypatch.setattr(dispatch, "_publish", refuse)
    schedule.settle(beat)
    assert schedule.entry("new").last_run_at is not None


def test_what_is_missed_beside_a_failed_send_is_counted(
    schedule: Schedule, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its entry goes on: only what has something to send is put off."""
    beat = schedule.leader()
    at = put_due(schedule, "late", starting_deadline=60.0)
    put_due(schedule, starting_deadline=3600.0)
    monkeypatch.setattr(dispatch, "_publish", refuse)
    schedule.settle(beat)
    assert [run.status for run in schedule.runs("late")] == ["missed"]
    assert schedule.entry("late").last_run_at == at
    assert schedule.entry("own").last_run_at == at - MINUTE
    assert schedule.store.counts() == {"send_failed": 1, "missed": 1}


def test_one_look_sends_no_more_than_its_lock_can_outlive(
    schedule: Schedule, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many entries with much to catch up are dealt with look by look; nothing is left out."""
    beat = schedule.leader()
    monkeypatch.setattr(scheduler_module, "BATCH", 5)
    for number in range(4):
        put_missed(schedule, f"own-{number}", catch_up="all", starting_deadline=3600.0)
    assert beat.tick() == 0
    assert schedule.store.counts() == {"opened": 6}
    schedule.settle(beat)
    assert len(broker.messages("high")) == schedule.store.counts()["opened"] >= 12
    assert "exists" not in schedule.store.counts()


def test_entries_that_are_slow_to_examine_are_examined_look_by_look(
    schedule: Schedule, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their sum doesn't outlive the lock, which would have them begun anew for ever."""
    beat = schedule.leader()
    for number in range(3):
        put_due(schedule, f"own-{number}")
    monkeypatch.setattr(beat, "lock_timeout", 0.0)
    monkeypatch.setattr(beat._store, "write_as_holder", partial(_held, beat._store))
    for sent in (1, 2, 3):
        rows = beat._store.look(beat.me, 3.0).rows
        assert beat._send(rows, schedule.store.now())
        assert len(broker.messages("high")) == sent


def _held(store: Store, me: str, lock_seconds: float, *rest: Any) -> bool:
    return Store.write_as_holder(store, me, 3.0, *rest)


def test_the_reconciler_and_beat_send_once(
    schedule: Schedule, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the reconciler has sent of a failed send, beat doesn't send again."""
    beat = schedule.leader()
    put_due(schedule, starting_deadline=3600.0)
    with monkeypatch.context() as patch:
        patch.setattr(dispatch, "_publish", refuse)
        schedule.settle(beat)
    schedule.redis.zadd("bionewsbot:leases", {f"{schedule.runs('own')[0].run_id}|*": 1})
    assert reconcile(schedule.app, schedule.ledger) == 1
    schedule.redis.zadd("redbeat::schedule", {"redbeat:own": 1})
    schedule.settle(beat)
    assert len(broker.messages("high")) == 1
