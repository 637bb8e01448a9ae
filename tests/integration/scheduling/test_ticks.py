"""What a tick costs, and by whose clock it goes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from freezegun import freeze_time
from redis.connection import AbstractConnection
from support.apps import Broker
from support.scheduling import TEN, Schedule, definition, put_due, put_missed

from bionewsbot.scheduling.entries import Entry


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], int]:
    """Return what counts the round trips that something makes to Redis."""
    sent: list[object] = []
    send = AbstractConnection.send_packed_command

    def counted(self: AbstractConnection, command: Any, **options: Any) -> None:
        sent.append(command)
        send(self, command, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)

    def count(act: Callable[[], Any]) -> int:
        before = len(sent)
        act()
        return len(sent) - before

    return count


@pytest.mark.parametrize("number", [0, 10, 2000])
def test_an_idle_tick_is_one_round_trip(
    schedule: Schedule,
    broker: Broker,
    round_trips: Callable[[Callable[[], Any]], int],
    number: int,
) -> None:
    """Whatever is in the schedule: entries for later, disabled ones, broken ones."""
    beat = schedule.leader()
    now = schedule.store.now()
    for position in range(number):
        schedule.put(Entry(f"own-{position}", definition(enabled=position % 2 == 0), now))
    schedule.redis.zadd("redbeat::schedule", {"redbeat:broken": -1})
    assert round_trips(beat.tick) == 1


def test_due_entries_are_sent_and_advanced_together(
    schedule: Schedule, broker: Broker, round_trips: Callable[[Callable[[], Any]], int]
) -> None:
    """Fifty cost as many round trips as one."""
    beat = schedule.leader()
    put_due(schedule, "first")
    # The broker's connection is made once.
    schedule.settle(beat)
    costs = []
    for number in (1, 50):
        for position in range(number):
            put_due(schedule, f"own-{number}-{position}")
        costs.append(round_trips(beat.tick))
    assert len(broker.messages("high")) == 52
    assert costs[0] == costs[1] <= 6


def test_due_times_are_by_redis_clock(schedule: Schedule, broker: Broker) -> None:
    """A host whose clock is two hours ahead starts what is due, and nothing of the future."""
    beat = schedule.leader()
    last = put_missed(schedule, number=1, catch_up="all")
    with freeze_time(schedule.store.now() + timedelta(hours=2), tick=True):
        schedule.settle(beat)
    assert [run.scheduled_for for run in schedule.runs("own")] == [last]
    assert (schedule.score("own") or 0) - schedule.store.now().timestamp() <= TEN.total_seconds()
