"""`redbeat doctor`: each thing that can be wrong is found and comes with its mend."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from support.operating import Console
from support.redis_server import RedisServer

from bionewsbot.scheduling import diagnosis
from bionewsbot.scheduling.scheduler import Scheduler

Tick = Callable[[], None]


def findings(console: Console, check: str, *, code: int = 3) -> list[dict[str, Any]]:
    """Return what doctor says to one check."""
    shown = console.json("doctor", code=code)
    assert shown["healthy"] == (code == 0)
    return [one for one in shown["findings"] if one["check"] == check]


def test_a_healthy_schedule(console: Console, tick: Tick) -> None:
    """Exit code 0; who leads, and that there is no standby."""
    tick()
    shown = console.json("doctor")
    levels = {one["check"]: one["level"] for one in shown["findings"]}
    assert levels.pop("standbys") == "note"
    assert set(levels) == {
        *("lock", "eviction", "persistence", "clock", "file", "set aside", "overdue")
    }
    assert set(levels.values()) == {"ok"}
    said = console("doctor").stdout
    assert "leads; it looked 0." in said
    assert said.endswith("Nothing is wrong.\n")


def test_standbys_are_named(console: Console, app: Celery, tick: Tick) -> None:
    """A second beat that looks is one."""
    tick()
    second = Scheduler(app)
    second.tick()
    (found,) = findings(console, "standbys", code=0)
    assert (found["level"], found["text"]) == ("ok", f"1: {second.me}")
    second.close()


def test_no_beat(console: Console) -> None:
    """Nobody holds the lock."""
    (found,) = findings(console, "lock")
    assert "no beat leads" in found["text"]
    assert "celery -A bionewsbot beat" in found["mend"]


@pytest.mark.parametrize(("life", "mend"), [(30, "plain RedBeat"), (None, "delete the key")])
def test_a_lock_of_somebody_else(console: Console, life: int | None, mend: str) -> None:
    """A plain RedBeat's, and one that never ends."""
    console.redis.set("redbeat::lock", "somebody", ex=life)
    (found,) = findings(console, "lock")
    assert "somebody" in found["text"]
    assert mend in found["mend"]


def test_paused(console: Console, tick: Tick) -> None:
    """It stands first; what waits because of it is not told as overdue."""
    tick()
    console("pause", "-m", "tea")
    console.rewind("hourly", hours=2)
    shown = console.json("doctor", code=3)["findings"]
    assert (shown[0]["check"], shown[0]["level"]) == ("paused", "wrong")
    assert "tea" in shown[0]["text"]
    assert "overdue" not in {one["check"] for one in shown}


def test_overdue(console: Console, tick: Tick) -> None:
    """Entries that should have been sent are named."""
    tick()
    console.rewind("hourly", hours=2)
    (found,) = findings(console, "overdue")
    assert found["text"].endswith("not sent: hourly")


def test_what_cant_be_sent_is_overdue(console: Console, tick: Tick) -> None:
    """Though it is put off again and again, so that no look would bring it now."""
    tick()
    console.rewind("hourly", hours=2)
    console.redis.zadd("redbeat::schedule", {"redbeat:hourly": console.store.now().timestamp() + 9})
    (found,) = findings(console, "overdue")
    assert found["text"].endswith("not sent: hourly")


def test_set_aside(console: Console, tick: Tick) -> None:
    """Each with its reason and its mend."""
    tick()
    console.poison("ill", definition="{not json")
    console.redis.hset("redbeat:daily", "definition", "{}")
    daily, ill = findings(console, "set aside")
    assert "daily: its task can't be None" in daily["text"]
    assert "redbeat reset daily" in daily["mend"]
    assert "ill: it can't be read" in ill["text"]
    assert "redbeat remove ill" in ill["mend"]


def test_many_broken_entries_are_counted(
    console: Console, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond a number they are no more told one by one."""
    tick()
    monkeypatch.setattr(diagnosis, "_MOST_SHOWN", 2)
    for number in range(5):
        console.poison(f"ill{number}")
    found = findings(console, "set aside")
    assert len(found) == 3
    assert found[-1]["text"] == "and 3 more"


def test_a_wrong_file(console: Console) -> None:
    """Beat would not start with it."""
    (console.folder / "beat_schedule.py").write_text("beat_schedule = {}", encoding="utf-8")
    (found,) = findings(console, "file")
    assert (found["level"], "at least one entry" in found["text"]) == ("wrong", True)


def test_the_file_and_the_operator(console: Console, tick: Tick) -> None:
    """What beat hasn't taken over and what an operator changed are notes, not wrong."""
    (found,) = findings(console, "file")
    assert (found["level"], found["text"]) == ("note", "not taken over by beat yet: daily, hourly")
    tick()
    console("set", "daily", "--jitter", "5s")
    (found,) = findings(console, "file", code=0)
    assert found["text"] == "operators' values stand against the file's: daily"


def test_another_clock(console: Console, tick: Tick, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is ahead or behind is told by how much."""
    tick()
    true = time.time
    for ahead, words in ((90, "ahead of"), (-90, "behind")):
        monkeypatch.setattr(diagnosis.time, "time", lambda ahead=ahead: true() + ahead)
        (found,) = findings(console, "clock")
        assert found["text"].startswith(f"this host's clock is 90.0 s {words} Redis'") or (
            found["text"].startswith(f"this host's clock is 89.9 s {words} Redis'")
        )
        assert "NTP" in found["mend"]


@pytest.mark.parametrize(
    ("name", "value", "right", "check"),
    [
        ("maxmemory-policy", "allkeys-lru", "noeviction", "eviction"),
        ("appendonly", "no", "yes", "persistence"),
    ],
)
def test_a_server_that_forgets(
    console: Console, tick: Tick, name: str, value: str, right: str, check: str
) -> None:
    """Eviction and a missing append-only file, with the setting that mends it."""
    tick()
    console.redis.config_set(name, value)
    try:
        (found,) = findings(console, check)
        assert found["level"] == "wrong"
        assert f"{name} {right}" in found["mend"]
    finally:
        console.redis.config_set(name, right)


def test_a_broker_of_its_own(console: Console, app: Celery, tick: Tick, tmp_path: Path) -> None:
    """Where the broker is another server, that one is looked at as well."""
    tick()
    other = RedisServer(tmp_path)
    other.start()
    try:
        with other.client() as client:
            client.config_set("maxmemory-policy", "volatile-ttl")
        app.conf.broker_write_url = other.url(2)
        (found,) = findings(console, "broker's eviction")
        assert "volatile-ttl" in found["text"]
        assert findings(console, "eviction")[0]["level"] == "ok"
    finally:
        other.stop()


def test_a_broker_that_is_away(console: Console, app: Celery, tick: Tick) -> None:
    """It is a finding like any other, and the rest is told all the same."""
    tick()
    app.conf.broker_write_url = "redis://127.0.0.1:1/2"
    (found,) = findings(console, "broker")
    assert "the broker doesn't answer" in found["text"]
    assert "CELERY_BROKER_URL" in found["mend"]
    assert findings(console, "overdue")[0]["level"] == "ok"
