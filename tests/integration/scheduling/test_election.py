"""Who leads, what it brings, and how it gets over the loss of its lock or of Redis."""

from typing import Any

import pytest
from celery.schedules import crontab
from support.apps import Broker, contents
from support.redis_server import RedisServer
from support.scheduling import EMPTY, MINUTE, TIMETABLE, Schedule, Write, definition, put_due, said

from bionewsbot.scheduling import scheduler as scheduler_module
from bionewsbot.scheduling.entries import Entry


def test_the_file_is_brought_when_a_beat_is_elected(schedule: Schedule) -> None:
    """Not when it starts: a beat that doesn't lead yet has touched nothing."""
    beat = schedule.beat()
    assert contents(schedule.redis) == {}
    assert beat.tick() == 0
    assert schedule.store.statics() == {"daily", "often"} == set(schedule.store.names())
    assert schedule.entry("daily").definition.schedule == crontab(hour=6, minute=0)


def test_the_first_start_fires_nothing(schedule: Schedule, broker: Broker) -> None:
    """Everything counts from now."""
    before = schedule.store.now()
    schedule.leader()
    assert schedule.ledger.latest(9) == []
    for name in ("daily", "often"):
        last = schedule.entry(name).last_run_at
        assert last is not None and last >= before
        assert (schedule.score(name) or 0) > last.timestamp()


@pytest.mark.parametrize(
    "text",
    [
        TIMETABLE.replace("often", "another").replace("hour=6", "hour=7"),
        'beat_schedule = {"only": ' + TIMETABLE.partition('"often": ')[2],
    ],
    ids=["other", "less"],
)
def test_a_standbys_file_changes_nothing(schedule: Schedule, timetable: Write, text: str) -> None:
    """It writes nothing but its sign of life, however often it looks."""
    schedule.leader()
    timetable("from celery.schedules import crontab, schedule\n" + text)
    before = contents(schedule.redis)
    standby = schedule.beat()
    assert {standby.tick() for _ in range(3)} == {1.0}
    after = contents(schedule.redis)
    assert standby.me in {name for name, _ in after.pop("bionewsbot:beats")[0]}
    before.pop("bionewsbot:beats")
    assert after == before


def test_who_is_elected_brings_its_file(schedule: Schedule, timetable: Write) -> None:
    """What left the file leaves Redis, an operator's own entry stays."""
    schedule.leader()
    schedule.put(Entry("own", definition()))
    timetable(TIMETABLE.replace("often", "another"))
    schedule.depose()
    schedule.leader()
    assert schedule.store.names() == ["another", "daily", "own"]
    assert schedule.store.statics() == {"another", "daily"}


def test_what_the_file_gives_up_is_logged_and_counted(
    schedule: Schedule, timetable: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """What was due under the times that the file had before is missed like any other."""
    schedule.leader()
    schedule.pass_since("often", 90 * MINUTE)
    timetable(TIMETABLE.replace("3600", "7200"))
    schedule.depose()
    schedule.leader()
    missed = [run.status for run in schedule.runs("often")]
    assert missed and set(missed) == {"missed"}
    assert said(caplog)["run_missed"] == schedule.store.counts()["missed"] == len(missed)


@pytest.mark.parametrize(
    "text",
    [
        EMPTY,
        "",
        "def broken(:",
        TIMETABLE.replace("bionewsbot.daily_company_analysis", "bionewsbot.dayly"),
        TIMETABLE.replace('"queue": "high"', '"queue": "hihg"'),
    ],
    ids=["empty", "no table", "syntax", "task", "queue"],
)
def test_a_wrong_timetable_leaves_redis_as_it_was(
    schedule: Schedule, timetable: Write, text: str
) -> None:
    """Beat ends with the reason; no key is touched, not even the right entries'."""
    schedule.leader()
    before = contents(schedule.redis)
    timetable(text)
    with pytest.raises(SystemExit, match="beat was not started; the timetable is wrong:\n"):
        schedule.beat()
    assert contents(schedule.redis) == before


def test_a_holder_that_lost_its_lock_stands_again(schedule: Schedule, broker: Broker) -> None:
    """In the same process, as often as it takes."""
    one, two = schedule.leader(), schedule.beat()
    for _ in range(3):
        schedule.depose()
        assert two.tick() == 0
        assert one.tick() == 1.0
        put_due(schedule)
        one.tick()
        assert schedule.runs("own") == []
        schedule.depose()
        assert one.tick() == 0
        assert two.tick() == 1.0
    schedule.settle(one)
    assert len(schedule.runs("own")) == 1


def test_who_leads_again_after_its_lock_ended_looks_at_the_file_again(schedule: Schedule) -> None:
    """Another beat may have led meanwhile."""
    beat = schedule.leader()
    schedule.depose()
    schedule.redis.delete("redbeat:often")
    schedule.settle(beat)
    assert schedule.entry("often").definition.queue == "high"


def test_redis_loses_all_its_data_under_beat(schedule: Schedule, broker: Broker) -> None:
    """The next look brings the file anew, which counts from then on; nothing fires."""
    beat = schedule.leader()
    put_due(schedule)
    schedule.redis.flushdb()
    schedule.redis.script_flush()
    before = schedule.store.now()
    schedule.settle(beat)
    assert schedule.store.names() == ["daily", "often"]
    last = schedule.entry("often").last_run_at
    assert last is not None and last >= before
    assert schedule.ledger.latest(9) == []


def test_the_end_of_a_beat_gives_the_lock_back(schedule: Schedule) -> None:
    """A standby leads with its next look."""
    one, two = schedule.leader(), schedule.beat()
    two.tick()
    one.close()
    assert two.tick() == 0
    assert schedule.store.holder()[0] == two.me  # type: ignore[index]


def test_redis_away_between_two_ticks(
    schedule: Schedule, clean_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Beat says so once, looks again each second, and leads once it is back."""
    beat = schedule.leader()
    clean_redis.kill()
    assert {beat.tick() for _ in range(3)} == {1.0}
    assert said(caplog)["beat_cut_off"] == 1
    clean_redis.start()
    put_due(schedule)
    schedule.settle(beat)
    assert len(schedule.runs("own")) == 1
    assert said(caplog)["beat_leads"] == 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_redis_away_in_the_middle_of_a_tick(
    schedule: Schedule,
    clean_redis: RedisServer,
    broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    """Whether the message had gone out or not, the occurrence starts once."""
    beat = schedule.leader()
    put_due(schedule)
    send_jobs = scheduler_module.send_jobs

    def interrupted(*args: Any) -> None:
        if when == "before":
            clean_redis.kill()
        send_jobs(*args)
        clean_redis.kill()

    with monkeypatch.context() as patch:
        patch.setattr(scheduler_module, "send_jobs", interrupted)
        assert beat.tick() == 1.0
    clean_redis.start()
    schedule.settle(beat)
    assert len(schedule.runs("own")) == len(broker.messages("high")) == 1


def test_a_lock_that_is_lost_in_the_middle_of_a_tick(
    schedule: Schedule,
    broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The old holder writes nothing more; the new one finds the run there and drops it."""
    one, two = schedule.leader(), schedule.beat()
    at = put_due(schedule)
    send_jobs = scheduler_module.send_jobs

    def frozen(*args: Any) -> None:
        send_jobs(*args)
        schedule.depose()
        monkeypatch.setattr(scheduler_module, "send_jobs", send_jobs)
        two.tick()

    monkeypatch.setattr(scheduler_module, "send_jobs", frozen)
    assert one.tick() == 1.0
    assert schedule.entry("own").last_run_at == at - MINUTE
    schedule.settle(two)
    assert schedule.entry("own").last_run_at == at
    assert len(schedule.runs("own")) == len(broker.messages("high")) == 1
    assert said(caplog)["occurrence_dropped"] == 1
    assert one.tick() == 1.0
