"""The schedule in Redis: each operation is one step that leaves nothing half done."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.schedules import schedule as interval
from redis import ResponseError
from support.apps import contents
from support.jobs import at
from support.polling import wait_until
from support.scheduling import Schedule

from bionewsbot.scheduling.entries import Definition, Entry, Row
from bionewsbot.scheduling.store import NEWEST, OLDEST, Change, Store

LOCK = 30.0
HOUR = timedelta(hours=1)


def entry(name: str = "own", last: datetime | None = None) -> Entry:
    """Return an entry of an operator's."""
    definition = Definition(task="bionewsbot.hourly_quick_scan", schedule=interval(3600))
    return Entry(name, definition, last_run_at=last)


@pytest.fixture
def store(schedule: Schedule) -> Store:
    """The store, as beat has it."""
    return schedule.store


def test_one_beat_is_elected(store: Store, schedule: Schedule) -> None:
    """The first to look leads; the others stand by and see nothing of the schedule."""
    schedule.put(entry(last=store.now() - 2 * HOUR))
    assert store.look("a", LOCK).role == "elected"
    b = store.look("b", LOCK)
    assert (b.role, b.rows, b.next_score, b.said) == ("standby", (), None, ())
    a = store.look("a", LOCK)
    assert (a.role, [row.name for row in a.rows]) == ("leader", ["own"])
    assert store.beats().keys() == {"a", "b"}
    name, left = store.holder() or ("", 0)
    assert (name, LOCK - 5 < left <= LOCK) == ("a", True)


def test_a_look_renews_the_lock(store: Store, schedule: Schedule) -> None:
    """And so does a write; another's look doesn't."""
    store.look("a", LOCK)
    for renew in (
        lambda: store.look("a", LOCK),
        lambda: store.write_as_holder("a", LOCK, []),
    ):
        schedule.redis.pexpire(store.lock_key, 5000)
        store.look("b", LOCK)
        assert schedule.redis.pttl(store.lock_key) <= 5000
        renew()
        assert schedule.redis.pttl(store.lock_key) > 20_000


def test_a_lock_whose_life_ended_is_anothers(store: Store) -> None:
    """By Redis' own clock."""
    store.look("a", 0.05)
    wait_until(lambda: store.holder() is None, "the lock's life ends")
    assert store.look("b", LOCK).role == "elected"
    assert store.look("a", LOCK).role == "standby"


def test_release_gives_back_only_ones_own(store: Store) -> None:
    """A standby's end doesn't depose the leader."""
    store.look("a", LOCK)
    store.look("b", LOCK)
    store.release("b")
    assert store.holder() and store.beats().keys() == {"a"}
    store.release("a")
    assert store.holder() is None and store.beats() == {}


def test_a_beat_that_is_gone_is_forgotten(store: Store, schedule: Schedule) -> None:
    """A minute after its last look."""
    store.look("a", LOCK)
    schedule.redis.zadd("bionewsbot:beats", {"gone": store.now().timestamp() - 61})
    assert store.beats().keys() == {"a"}
    store.look("a", LOCK)
    assert schedule.redis.zrange("bionewsbot:beats", 0, -1) == ["a"]


def test_the_clock_is_redis_own(store: Store) -> None:
    """Within the time of a command of what the host here says."""
    before = datetime.now(UTC)
    assert abs((store.now() - before).total_seconds()) < 60
    assert abs((store.look("a", LOCK).now - before).total_seconds()) < 60


def test_an_entry_is_written_and_read(store: Store, schedule: Schedule) -> None:
    """With its score, and on the list of the file's only where it is one of them."""
    one, last = entry(), store.now()
    change = Change.to(replace(one, last_run_at=last), last, static=True)
    assert store.write([change, Change.to(entry("two"), last)], by="anna") == []
    (row,) = store.rows(["own", "none"])
    assert (row.name, row.definition, row.readable) == ("own", one.to_row().definition, True)
    assert store.names() == ["own", "two"]
    assert store.statics() == {"own"}
    assert schedule.score("own") == change.score > last.timestamp()


def test_many_rows_are_read(store: Store) -> None:
    """More than a page, in the order of the names."""
    names = [f"entry-{number:04}" for number in range(1001)]
    store.write([Change.to(entry(name), store.now()) for name in names], by="anna")
    assert [row.name for row in store.rows(names)] == names


def test_an_operators_changes_are_made_together(store: Store, schedule: Schedule) -> None:
    """One entry that somebody changed meanwhile keeps all of them from being made."""
    now = store.now()
    for name in ("one", "two"):
        schedule.put(entry(name))
    one, two = schedule.entry("one"), schedule.entry("two")
    schedule.edit("two", enabled=False)
    before = contents(schedule.redis)
    changes = [
        Change.to(replace(one, last_run_at=now), now),
        Change("two", two.row, delete=True),
        Change.to(entry("three"), now),
    ]
    assert store.write(changes, by="anna", said=["much"]) == ["two"]
    assert contents(schedule.redis) == before


def test_what_was_to_be_new_is_not_written_over(store: Store, schedule: Schedule) -> None:
    """Somebody else added it."""
    schedule.put(entry())
    assert store.write([Change.to(entry(last=at("2020-01-01")), store.now())], by="x") == ["own"]
    assert schedule.entry("own").last_run_at is None


def test_the_beats_changes_are_made_one_by_one(store: Store, schedule: Schedule) -> None:
    """What an operator changed meanwhile is left as it is; the rest is written."""
    now = store.now()
    for name in ("one", "two"):
        schedule.put(entry(name))
    one, two = schedule.entry("one"), schedule.entry("two")
    schedule.edit("two", enabled=False)
    store.look("a", LOCK)
    changes = [Change.advance(replace(each, last_run_at=now), now) for each in (one, two)]
    assert store.write_as_holder("a", LOCK, changes, {"opened": 2}) is True
    assert schedule.entry("one").last_run_at == now
    assert schedule.entry("two").last_run_at is None
    assert store.counts() == {"opened": 2}


def test_who_lost_the_lock_writes_nothing(store: Store, schedule: Schedule) -> None:
    """Not a field, not a count, and the lock stays its holder's."""
    schedule.put(entry())
    store.look("a", LOCK)
    schedule.depose()
    store.look("b", LOCK)
    change = Change("own", schedule.entry("own").row, delete=True)
    before = contents(schedule.redis)
    assert store.write_as_holder("a", LOCK, [change], {"opened": 1}) is False
    store.reconsider("a")
    assert contents(schedule.redis) == before
    schedule.depose()
    assert store.write_as_holder("a", LOCK, [change]) is False


def test_a_removed_entry_leaves_nothing(store: Store, schedule: Schedule) -> None:
    """Neither in the schedule nor among the file's nor among those set aside."""
    now = store.now()
    store.write([Change.to(entry(), now, static=True)], by="anna")
    store.look("a", LOCK)
    row = schedule.entry("own").row
    store.write_as_holder("a", LOCK, [Change("own", row, static=True, aside="why")])
    assert store.set_aside() == {"own": "why"}
    assert schedule.score("own") == -1
    store.write([Change("own", schedule.entry("own").row, delete=True)], by="anna")
    assert (store.names(), store.statics(), store.set_aside()) == ([], set(), {})
    assert not schedule.redis.exists("redbeat:own")


def test_a_good_write_ends_being_set_aside(store: Store, schedule: Schedule) -> None:
    """And `reconsider` has the rest looked at once more."""
    for name in ("one", "two"):
        schedule.put(entry(name))
        store.look("a", LOCK)
        row = schedule.entry(name).row
        store.write_as_holder("a", LOCK, [Change(name, row, aside="why")])
    schedule.put(schedule.entry("one"))
    assert store.set_aside() == {"two": "why"}
    store.reconsider("a")
    assert schedule.score("two") == 0
    assert [row.name for row in store.look("a", LOCK).rows] == ["two"]


def test_a_look_brings_what_is_due(store: Store, schedule: Schedule) -> None:
    """And tells when the next one is; those that are never due are not among them."""
    now = store.now()
    store.look("a", LOCK)
    schedule.put(entry("due", now - 2 * HOUR))
    schedule.put(entry("later", now))
    never = replace(entry("never", now - 2 * HOUR))
    schedule.put(replace(never, definition=replace(never.definition, enabled=False)))
    look = store.look("a", LOCK)
    assert [row.name for row in look.rows] == ["due"]
    assert look.next_score == schedule.score("later")


def test_of_many_the_oldest_and_the_newest_come_first(store: Store, schedule: Schedule) -> None:
    """An entry that is due on its own doesn't wait behind a thousand; none comes twice."""
    now, number = store.now(), OLDEST + NEWEST + 5
    store.look("a", LOCK)
    changes = [
        replace(Change.to(entry(f"entry-{position:04}"), now), score=1.0 + position)
        for position in range(number)
    ]
    store.write(changes, by="anna")
    names = [row.name for row in store.look("a", LOCK).rows]
    assert sorted(names) == sorted(set(names))
    assert set(names) == {
        f"entry-{position:04}" for position in [*range(OLDEST), *range(number - NEWEST, number)]
    }


def test_a_name_without_an_entry_is_dropped(store: Store, schedule: Schedule) -> None:
    """A key that somebody deleted by hand leaves the schedule with the next look."""
    store.look("a", LOCK)
    schedule.redis.zadd("redbeat::schedule", {"redbeat:gone": 1})
    assert store.look("a", LOCK).rows == ()
    assert store.names() == []


@pytest.mark.parametrize("how", ["rows", "look"])
def test_what_cannot_be_decoded_is_read_as_it_is(
    store: Store, schedule: Schedule, how: str
) -> None:
    """Bytes that are no UTF-8 and keys of other types hide nobody else; they can be written."""
    redis, now = schedule.redis, store.now()
    schedule.put(entry("right", now - 2 * HOUR))
    redis.hset("redbeat:bytes", "definition", b"\xff\xfe")
    redis.hset(b"redbeat:name\xff", "definition", "{}")
    redis.set("redbeat:text", "x")
    for key in ("redbeat:bytes", b"redbeat:name\xff", "redbeat:text"):
        redis.zadd("redbeat::schedule", {key: 1})
    store.look("a", LOCK)
    names = ["bytes", "name\udcff", "right", "text"]
    found = store.rows(store.names()) if how == "rows" else store.look("a", LOCK).rows
    rows = {row.name: row for row in found}
    assert sorted(rows) == names
    assert rows["bytes"].definition == "\udcff\udcfe"
    assert rows["text"] == Row("text", None, None, None, readable=False)
    changes = [Change(name, rows[name], aside="why \udcff") for name in names if name != "right"]
    assert store.write_as_holder("a", LOCK, changes)
    assert store.set_aside() == {name: "why \\udcff" for name in ("bytes", "name\udcff", "text")}
    store.write([Change(name, rows[name], delete=True) for name in names], by="anna")
    assert store.names() == []


def test_pause_and_resume(store: Store, schedule: Schedule) -> None:
    """While it lasts a look brings nothing but the reason; both are on record."""
    schedule.put(entry(last=store.now() - 2 * HOUR))
    store.look("a", LOCK)
    assert store.resume(by="anna") is False
    store.pause(by="anna", why="a move")
    look = store.look("a", LOCK)
    assert (look.role, look.rows) == ("leader", ())
    assert look.paused == store.paused()
    assert (look.paused["by"], look.paused["why"]) == ("anna", "a move")  # type: ignore[index]
    assert store.resume(by="bert") is True
    assert store.paused() is None
    assert [row.name for row in store.look("a", LOCK).rows] == ["own"]
    assert [(said.by, said.what) for said in store.changes(9)] == [
        ("bert", "resumed everything"),
        ("anna", "paused everything: a move"),
    ]


def test_changes_are_told_to_the_leader_once(store: Store, schedule: Schedule) -> None:
    """Who and what, with the time; a standby isn't told, a later leader not again."""
    store.look("a", LOCK)
    store.write([Change.to(entry(), store.now())], by="änna", said=["added own", "ü"])
    assert store.look("b", LOCK).said == ()
    first, second = store.look("a", LOCK).said
    assert (first.by, first.what, second.what) == ("änna", "added own", "\\xfc")
    assert abs((first.at - store.now()).total_seconds()) < 60
    schedule.depose()
    assert store.look("b", LOCK).said == ()
    assert "told" not in store.counts()


def test_the_record_of_changes_is_bounded(store: Store, schedule: Schedule) -> None:
    """About a thousand, the newest."""
    for number in range(30):
        store.write([], by="anna", said=[f"{number}-{line}" for line in range(50)])
    assert schedule.redis.xlen("bionewsbot:changes") <= 1100
    assert store.changes(1)[0].what == "29-49"


def test_every_key_is_documented(store: Store, schedule: Schedule, app: Celery) -> None:
    """The schedule's keys are those of docs/scheduler.md."""
    schedule.put(replace(entry(), last_run_at=store.now()))
    store.look("a", LOCK)
    store.pause(by="anna", why="")
    change = Change("own", schedule.entry("own").row, static=True, aside="why")
    store.write_as_holder("a", LOCK, [change], {"set_aside": 1})
    kinds: dict[str, Any] = {key: schedule.redis.type(key) for key in schedule.redis.keys()}
    assert kinds == {
        "redbeat:own": "hash",
        "redbeat::schedule": "zset",
        "redbeat::statics": "set",
        "redbeat::lock": "string",
        "bionewsbot:beats": "zset",
        "bionewsbot:paused": "string",
        "bionewsbot:set_aside": "hash",
        "bionewsbot:changes": "stream",
        "bionewsbot:beat": "hash",
    }


def test_an_unknown_operation_is_an_error(store: Store) -> None:
    """A script of another version doesn't pass for nothing to do."""
    with pytest.raises(ResponseError):
        store._call("nonsense")
