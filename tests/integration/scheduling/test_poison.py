"""Entries that are broken in any way harm only themselves."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from redbeat import RedBeatSchedulerEntry
from support.apps import Broker
from support.broken_entries import BROKEN_DEFINITIONS, BROKEN_METAS, BROKEN_OWNS
from support.scheduling import MINUTE, Schedule, put_due, said

from bionewsbot import names
from bionewsbot.scheduling.entries import OWN_FIELD
from bionewsbot.scheduling.overview import Overview


def poison(schedule: Schedule) -> set[str]:
    """Put entries of every kind of wrongness, all due; return their names."""
    redis, poisoned = schedule.redis, set()

    def hash_(name: str | bytes, **fields: str | bytes | None) -> None:
        key = b"redbeat:" + (name if isinstance(name, bytes) else name.encode())
        given = {"definition": right, "meta": meta, OWN_FIELD: own, **fields}
        redis.hset(key, mapping={one: text for one, text in given.items() if text is not None})
        redis.zadd("redbeat::schedule", {key: 1})
        poisoned.add(key.decode("utf-8", "surrogateescape").removeprefix("redbeat:"))

    good = schedule.pass_since("often", 90 * MINUTE)
    row = schedule.entry("often").row
    assert row is not None and row.definition and row.meta and row.own
    meta, own = row.meta, row.own
    found = {**json.loads(row.definition)}
    found.pop("name")
    right = json.dumps(found)
    for kind, texts in (
        ("definition", BROKEN_DEFINITIONS),
        ("meta", BROKEN_METAS),
        (OWN_FIELD, BROKEN_OWNS),
    ):
        for number, text in enumerate(texts.values()):
            name = f"{kind}-{number}"
            # Else another's name were what is wrong with each.
            text = text.replace('"name": "entry"', f'"name": "{name}"')
            hash_(name, **{kind: text.encode("utf-8", "surrogateescape")})
    for number, changes in enumerate(
        [
            {"task": "bionewsbot.nope"},
            {"task": names.ANALYZE_COMPANY},
            {"task": "celery.backend_cleanup"},
            {"kwargs": {"nonsense": 1}},
            {"args": [1]},
            {"options": {"queue": "hihg"}},
            {"schedule": {"__type__": "interval", "every": 0.5, "relative": False}},
            {"schedule": {"__type__": "interval", "every": 1e12, "relative": False}},
            {"schedule": {"__type__": "rrule", "freq": 6, "dtstart": 0}},
            # Searched for day by day up to the year 9999, longer than beat's lock lives.
            {"schedule": {"__type__": "rrule", "freq": 3, "bymonth": 2, "bymonthday": 30}},
            {"schedule": {"__type__": "rrule", "freq": 3, "interval": 0}},
            {"schedule": {"__type__": "rrule", "freq": 3, "byhour": "abc"}},
        ]
    ):
        hash_(f"checked-{number}", definition=json.dumps({**found, **changes}))
    for number, policy in enumerate(
        [
            {"timezone": "Mars/Base"},
            {"catch_up": "some"},
            {"overlap": "some"},
            {"starting_deadline": float("inf")},
            {"starting_deadline": 1e300},
            {"run_deadline": "1h"},
            {"jitter": 3600},
        ]
    ):
        hash_(f"policy-{number}", **{OWN_FIELD: json.dumps({"policy": policy})})
    hash_("a name")
    hash_(b"bytes-\xff\xfe")
    hash_("bytes", definition=b"\xff\xfe", meta=b"\xff", **{OWN_FIELD: b"\xff"})
    for name, make in (
        ("text", lambda key: redis.set(key, "x")),
        ("list", lambda key: redis.rpush(key, "x")),
        ("set", lambda key: redis.sadd(key, "x")),
    ):
        make(f"redbeat:{name}")
        redis.zadd("redbeat::schedule", {f"redbeat:{name}": 1})
        poisoned.add(name)
    assert good
    return poisoned


def test_poisoned_entries_harm_only_themselves(
    schedule: Schedule, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """They are set aside, logged and counted with the reason; the right one runs."""
    beat = schedule.leader()
    poisoned = poison(schedule)
    schedule.settle(beat)
    assert len(poisoned) > 50
    aside = schedule.store.set_aside()
    assert aside.keys() == poisoned
    assert all(aside.values())
    assert "`definition` is not JSON" in aside["definition-1"]
    assert "bionewsbot.nope" in aside["checked-0"]
    assert "not a hash" in aside["list"]
    assert {run.entry for run in schedule.ledger.latest(99)} == {"often"}
    assert schedule.store.counts()["set_aside"] == len(poisoned)
    assert said(caplog)["entry_set_aside"] == len(poisoned)
    assert beat.tick() > 0
    assert {schedule.score(name) for name in ("list", "checked-0", "policy-0")} == {-1}
    # The command line shows them, each with the reason.
    lines = Overview(schedule.app, schedule.store).lines(schedule.store.now())
    assert {line.name for line in lines if line.broken} == poisoned


def test_what_is_no_entry_leaves_the_schedule(schedule: Schedule, broker: Broker) -> None:
    """Whatever stands there by name: a key of another kind, RedBeat's own keys, nothing at all."""
    beat = schedule.leader()
    strangers = ["bionewsbot:beats", "redbeat::lock", "redbeat::schedule", "redbeat:", "nothing"]
    schedule.redis.zadd("redbeat::schedule", dict.fromkeys(strangers, 1))
    schedule.settle(beat)
    assert schedule.store.names() == ["daily", "often"]
    assert schedule.store.set_aside() == {}
    assert schedule.redis.exists("bionewsbot:beats", "redbeat::lock") == 2


def test_poisoned_entries_survive_an_election(schedule: Schedule, broker: Broker) -> None:
    """The next leader looks at them once more, and leads."""
    schedule.settle(schedule.leader())
    poisoned = poison(schedule)
    schedule.redis.sadd("redbeat::statics", b"\xff", "list", "definition-0", "checked-0")
    schedule.depose()
    beat = schedule.leader()
    assert len(schedule.runs("often")) >= 1
    # Those that stood on the file's list and aren't in the file are gone.
    gone = {"list", "definition-0", "checked-0"}
    assert schedule.store.set_aside().keys() == poisoned - gone
    assert beat.tick() > 0


@pytest.mark.parametrize("how", ["command", "plain RedBeat", "by hand"])
def test_a_mended_entry_comes_back(
    schedule: Schedule,
    broker: Broker,
    plain: Callable[..., RedBeatSchedulerEntry],
    how: str,
) -> None:
    """Whatever it was mended with; one mended by hand is looked at by the next leader."""
    beat = schedule.leader()
    at = put_due(schedule)
    right = schedule.entry("own")
    assert right.row is not None and right.row.definition is not None
    schedule.redis.hset("redbeat:own", "definition", b"\xff")
    schedule.settle(beat)
    assert schedule.store.set_aside().keys() == {"own"}
    if how == "command":
        schedule.put(right)
    elif how == "plain RedBeat":
        given = right.definition
        plain(
            "own", task=given.task, schedule=given.schedule, options={"queue": given.queue}
        ).save().reschedule(right.last_run_at)
    else:
        schedule.redis.hset("redbeat:own", "definition", right.row.definition)
        schedule.depose()
    schedule.settle(beat)
    assert [run.scheduled_for for run in schedule.runs("own")] == [at]
    assert schedule.store.set_aside() == {}


@pytest.mark.parametrize(
    "break_it",
    [
        lambda redis: redis.hset("redbeat:often", "definition", "{"),
        lambda redis: redis.hset("redbeat:often", "meta", b"\xff"),
        lambda redis: redis.hset("redbeat:often", OWN_FIELD, "[]"),
        lambda redis: redis.delete("redbeat:often") and redis.set("redbeat:often", "x"),
    ],
    ids=["definition", "meta", "own", "type"],
)
def test_the_file_mends_its_own_entries(
    schedule: Schedule, broker: Broker, break_it: Callable[[Any], None]
) -> None:
    """A broken one is as the file has it after the next election, and counts from then on."""
    beat = schedule.leader()
    schedule.pass_since("often", 90 * MINUTE)
    break_it(schedule.redis)
    schedule.redis.zadd("redbeat::schedule", {"redbeat:often": 1})
    schedule.settle(beat)
    assert schedule.store.set_aside().keys() == {"often"}
    schedule.depose()
    schedule.settle(beat)
    assert schedule.store.set_aside() == {}
    assert schedule.entry("often").definition.queue == "high"
    assert schedule.runs("often") == []


def test_an_operators_broken_value_doesnt_keep_a_beat_from_leading(
    schedule: Schedule, broker: Broker
) -> None:
    """The entry is set aside until the value is mended; all others are brought."""
    schedule.leader()
    schedule.edit("often", options={"queue": "hihg"})
    schedule.depose()
    beat = schedule.leader()
    schedule.redis.zadd("redbeat::schedule", {"redbeat:often": 1})
    schedule.settle(beat)
    assert "hihg" in schedule.store.set_aside()["often"]
    schedule.edit("often", options={"queue": "low"})
    schedule.depose()
    schedule.settle(beat)
    assert schedule.entry("often").definition.queue == "low"
    assert schedule.store.set_aside() == {}
