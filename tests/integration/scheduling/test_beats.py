"""Real beats, started as a user does, each in its own process."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from celery import Celery
from support.apps import contents
from support.beats import TIMETABLE, Beats, assert_every_second_once, assert_nothing_lost, chaos
from support.polling import wait_until
from support.redis_server import RedisServer

from bionewsbot.scheduling.entries import read_entry
from bionewsbot.scheduling.store import Change, Store

IN_TIME = 20.0
"""Seconds in which a fail-over is told from one that nobody carried out. That it takes 5 s follows
from beat's times (tests/unit/scheduling/test_scheduler.py) and is measured (docs/benchmarks.md)."""


def longest_gap(beats: Beats) -> float:
    """Return the longest time between two runs of `every`, in seconds, as Redis has it."""
    opened = sorted(one.opened_at for one in beats.starts("every"))
    return max(later - one for one, later in zip(opened, opened[1:], strict=False))


def test_sigterm_hands_over_at_once(beats: Beats) -> None:
    """The one that leads gives its lock back and ends well; the other one sends."""
    beats.start("one")
    beats.start("two")
    beats.goes_on()
    name, process = beats.holder()
    assert process.stop() == 0
    # Its life hasn't ended: it was given back.
    assert f":{process.pid}:" not in str(beats.redis.get("redbeat::lock"))
    assert name == "one" and beats.holder()[0] == "two"
    beats.goes_on()
    assert longest_gap(beats) <= IN_TIME
    assert not process.events("lock_left_to_expire")


def test_the_death_of_the_holder_costs_seconds(beats: Beats) -> None:
    """After kill -9 the next one sends soon, with the shipped defaults."""
    beats.start("one")
    beats.start("two")
    beats.goes_on()
    _, process = beats.holder()
    process.kill()
    beats.goes_on()
    assert longest_gap(beats) <= IN_TIME
    assert_every_second_once(beats.starts("every"))


@pytest.mark.parametrize(
    ("away", "back"),
    [(RedisServer.kill, RedisServer.start), (RedisServer.freeze, RedisServer.thaw)],
    ids=["killed", "frozen"],
)
def test_redis_away_under_beat(
    beats: Beats, away: Callable[[RedisServer], None], back: Callable[[RedisServer], None]
) -> None:
    """Neither beat ends, whether it is gone or silent; one leads again and catches up."""
    one, two = beats.start("one"), beats.start("two")
    beats.goes_on()
    away(beats.server)
    wait_until(
        lambda: one.events("beat_cut_off") and two.events("beat_cut_off"), "both see it", seconds=30
    )
    back(beats.server)
    beats.goes_on(more=5)
    assert one.running and two.running
    assert_every_second_once(beats.starts("every"))


def test_beat_starts_before_redis(beats: Beats) -> None:
    """It waits for it, however long that takes."""
    beats.server.kill()
    beat = beats.stack.start("one", "-m", "celery", "-q", "-A", "bionewsbot", "beat")
    wait_until(lambda: beat.events("beat_cut_off"), "beat says so")
    beats.server.start()
    beats.goes_on()
    assert beat.stop() == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("beat_schedule = {}", "must be a dict with at least one entry"),
        (TIMETABLE.replace("hourly", "yearly"), "bionewsbot.yearly_quick_scan"),
    ],
    ids=["empty", "wrong"],
)
def test_a_wrong_timetable_is_refused(beats: Beats, text: str, why: str) -> None:
    """With an exit code and the reason; Redis is untouched, and so is the beat that leads."""
    beats.start("one")
    beats.goes_on()
    beats.holder()[1].stop()
    before = contents(beats.redis)
    beats.timetable(text)
    done = beats.stack.celery("-q", "beat", code=None)
    assert done.returncode != 0
    assert why in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(beats.redis) == before


def test_an_interval_that_doesnt_fit_is_refused(beats: Beats) -> None:
    """The lock would end between two looks."""
    done = beats.stack.celery("-q", "beat", "--max-interval", "10", code=None)
    assert done.returncode != 0
    assert "--max-interval) its lock has to live for 21.0 s" in done.stderr


def test_an_operators_write_takes_effect_on_a_running_beat(beats: Beats) -> None:
    """With its next look: the entry goes to another queue, and the log says who did it."""
    beat = beats.start("one")
    beats.goes_on()
    app = Celery("operator", set_as_current=False)
    app.conf.update(redbeat_redis_url=beats.server.url(1), redbeat_redis_options={})
    store = Store(app, beats.redis)

    def changed() -> bool:
        (row,) = store.rows(["latest"])
        entry = read_entry(row)
        entry = replace(entry, definition=replace(entry.definition, queue="default"))
        change = Change.to(entry, store.now())
        # Beat's own writes may come between.
        return store.write([change], by="anna", said=["queue of latest: default"]) == []

    wait_until(changed, "the change is made")
    with beats.server.client(2) as broker:
        assert not broker.llen("default") or beats.count("latest")
        wait_until(lambda: broker.llen("default"), "its messages go there")
    (line,) = wait_until(lambda: beat.events("schedule_changed"), "the log says so")
    assert (line["by"], line["what"]) == ("anna", "queue of latest: default")


def test_a_little_chaos(beats: Beats) -> None:
    """As tests/chaos/test_scheduler.py, with one of each: every second exactly once."""
    chaos(beats, kills=1, freezes=1, restarts=1)
    assert_nothing_lost(beats)
