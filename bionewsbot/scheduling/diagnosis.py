"""What `redbeat doctor` looks at: beats, Redis, clocks, entries; each finding with its mend."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis, RedisError

from bionewsbot.scheduling.overview import Line, Overview, overdue_since
from bionewsbot.scheduling.policies import ON_TIME
from bionewsbot.scheduling.store import Store

MAX_SKEW = 1.0
"""Seconds by which this host's clock may differ from Redis': messages expire by a worker's clock,
and a run's times in the logs should fit those in the ledger."""

_MOST_SHOWN = 20
"""Entries of one kind that are told one by one."""


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing is wrong."""
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what mends it if that is needed."""

    check: str
    level: Level
    text: str
    mend: str = ""


def diagnose(app: Celery, redis: "Redis", store: Store) -> list[Finding]:
    """Look at everything. Raises redis.RedisError if Redis stays away."""
    now = store.now()
    overview = Overview(app, store)
    lines = overview.lines(now)
    paused = store.paused()
    found = _paused(paused)
    found += _beats(store)
    found += _servers(app, redis)
    found.append(_clock(redis))
    found += _file(overview, lines)
    found += _set_aside(lines)
    if paused is None:
        found += _overdue(lines, now)
    return found


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing is wrong."""
    return all(one.level is not Level.WRONG for one in findings)


def _paused(paused: Mapping[str, str] | None) -> list[Finding]:
    if paused is None:
        return []
    why = f" ({paused['why']})" if paused["why"] else ""
    text = f"EVERYTHING IS PAUSED since {paused['at']} by {paused['by']}{why}: nothing is sent"
    return [Finding("paused", Level.WRONG, text, "celery -A bionewsbot redbeat resume")]


def _beats(store: Store) -> list[Finding]:
    holder, beats = store.holder(), store.beats()
    if holder is None:
        mend = "start beat (`celery -A bionewsbot beat`), or look at its log if it runs"
        return [Finding("lock", Level.WRONG, "no beat leads: nobody sends what is due", mend)]
    name, left = holder
    if left < 0:
        text = f"{name} holds the lock without an end: none of our beats took it"
        return [Finding("lock", Level.WRONG, text, f"delete the key {store.lock_key}")]
    if name not in beats:
        text = f"{name} holds the lock for {left:.1f} s more and is no beat of ours"
        mend = "stop beats that run plain RedBeat on this schedule"
        return [Finding("lock", Level.WRONG, text, mend)]
    text = f"{name} leads; it looked {beats[name]:.1f} s ago, its lock lives {left:.1f} s more"
    found = [Finding("lock", Level.OK, text)]
    standbys = sorted(set(beats) - {name})
    if standbys:
        text = f"{len(standbys)}: {', '.join(standbys)}"
        return [*found, Finding("standbys", Level.OK, text)]
    mend = "start beat on a second host: it takes over within 5 s"
    text = "none: while this beat is gone, nothing is sent"
    return [*found, Finding("standbys", Level.NOTE, text, mend)]


def _servers(app: Celery, redis: "Redis") -> list[Finding]:
    schedule = redis.info()
    found = _server("", schedule)
    try:
        # Not `default_channel`, which tries for ever.
        with app.connection_for_write() as connection, connection.channel() as channel:
            broker = channel.client.info()
    except (OperationalError, RedisError, OSError) as error:
        mend = "start it, or set CELERY_BROKER_URL right"
        text = f"the broker doesn't answer: {error}"
        return [*found, Finding("broker", Level.WRONG, text, mend)]
    if broker["run_id"] != schedule["run_id"]:
        found += _server("broker's ", broker)
    return found


def _server(whose: str, info: Mapping[str, Any]) -> list[Finding]:
    eviction, persistence = f"{whose}eviction", f"{whose}persistence"
    found = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        found.append(Finding(eviction, Level.OK, "maxmemory-policy is noeviction"))
    else:
        text = f"maxmemory-policy is {policy}: a full Redis forgets entries, runs or messages"
        mend = "set maxmemory-policy noeviction in the server's configuration"
        found.append(Finding(eviction, Level.WRONG, text, mend))
    if not info.get("aof_enabled"):
        text = "no append-only file: a crash loses what came after the last snapshot"
        mend = "set appendonly yes in the server's configuration"
        found.append(Finding(persistence, Level.WRONG, text, mend))
    elif info.get("aof_last_write_status", "ok") != "ok":
        text = "the append-only file can't be written"
        mend = "look at the server's log and its disk"
        found.append(Finding(persistence, Level.WRONG, text, mend))
    else:
        found.append(Finding(persistence, Level.OK, "append-only file, written without errors"))
    return found


def _clock(redis: "Redis") -> Finding:
    before = time.time()
    seconds, microseconds = redis.time()
    after = time.time()
    # What is left when the answer's way is taken off can't be told from a skew.
    ahead = (before + after) / 2 - (seconds + microseconds / 1_000_000)
    skew = max(0.0, abs(ahead) - (after - before) / 2)
    direction = "ahead of" if ahead > 0 else "behind"
    if skew <= MAX_SKEW:
        return Finding("clock", Level.OK, f"this host's clock and Redis' agree within {MAX_SKEW} s")
    text = f"this host's clock is {skew:.1f} s {direction} Redis'; due times are Redis'"
    mend = "run a time service (NTP) on both: workers drop expired messages by their own clocks"
    return Finding("clock", Level.WRONG, text, mend)


def _file(overview: Overview, lines: Sequence[Line]) -> list[Finding]:
    problem = overview.timetable_problem()
    if problem is not None:
        text = f"beat_schedule.py is wrong: {problem}"
        return [Finding("file", Level.WRONG, text, "mend it: beat doesn't start with it")]
    differences = overview.differences(lines)
    fresh = [line.name for line in lines if line.row is None]
    pending = {one.entry for one in differences if not one.by_operator}
    waiting = sorted({*fresh, *pending})
    found = []
    if waiting:
        text = f"not taken over by beat yet: {_named(waiting)}"
        found.append(Finding("file", Level.NOTE, text, "restart beat to take the file over"))
    kept = sorted({one.entry for one in differences if one.by_operator})
    if kept:
        text = f"operators' values stand against the file's: {_named(kept)}"
        mend = "`redbeat diff` shows them, `redbeat reset NAME` takes the file's"
        found.append(Finding("file", Level.NOTE, text, mend))
    return found or [Finding("file", Level.OK, "the schedule is what beat_schedule.py says")]


def _set_aside(lines: Sequence[Line]) -> list[Finding]:
    broken = [line for line in lines if line.broken]
    if not broken:
        return [Finding("set aside", Level.OK, "no entry is broken")]
    found = [
        Finding("set aside", Level.WRONG, f"{line.name}: {line.broken}", _mend_of(line))
        for line in broken[:_MOST_SHOWN]
    ]
    if len(broken) > _MOST_SHOWN:
        text = f"and {len(broken) - _MOST_SHOWN} more"
        found.append(Finding("set aside", Level.WRONG, text, "see `redbeat list`"))
    return found


def _mend_of(line: Line) -> str:
    last = f"redbeat reset {line.name}" if line.static else f"redbeat remove {line.name}"
    return f"`redbeat set {line.name} ...` or `{last}`"


def _overdue(lines: Sequence[Line], now: datetime) -> list[Finding]:
    late = ON_TIME.total_seconds()
    # By what the entries say: one that can't be sent is put off, again and again.
    sound = [line.entry for line in lines if line.entry and line.row and not line.broken]
    names = [entry.name for entry in sound if overdue_since(entry, now)]
    if not names:
        return [Finding("overdue", Level.OK, "nothing that is due waits")]
    text = f"due for more than {late:.0f} s and not sent: {_named(names)}"
    mend = (
        "see `lock` above and beat's log (send_failed: the broker can't be reached); an entry that "
        "beat passes over counts anew after `redbeat disable` and `redbeat enable`"
    )
    return [Finding("overdue", Level.WRONG, text, mend)]


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_SHOWN
    return ", ".join(names[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
