"""The schedule in Redis: every operation is one atomic script (`store.lua`)."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, cast

from celery import Celery
from redbeat.schedulers import ensure_conf
from redis import Redis

from bionewsbot.names import KEY_PREFIX
from bionewsbot.runs.model import format_time
from bionewsbot.scheduling.entries import NEVER, OWN_FIELD, Entry, Row

OLDEST, NEWEST = 100, 20
"""Due entries that one look brings: what is sent and advanced together takes a tenth of a second,
the longest that an entry waits which comes due meanwhile."""

FORGET_SECONDS = 60
"""A beat that hasn't looked for so long is no standby any more."""

KEEP_CHANGES = 1000
"""Changes by operators that are kept on record, the newest."""

_PAGE = 1000


@dataclass(frozen=True)
class Said:
    """A change that an operator made, as it is kept on record."""

    at: datetime
    by: str
    what: str


@dataclass(frozen=True)
class Look:
    """What a beat sees of the schedule at one moment."""

    role: str
    """leader, elected (leader from now on) or standby."""
    now: datetime
    """Redis' clock."""
    paused: Mapping[str, str] | None = None
    rows: tuple[Row, ...] = ()
    """Entries that are due."""
    next_score: float | None = None
    """When the next entry after those is due, in epoch seconds."""
    said: tuple[Said, ...] = ()
    """Changes by operators that no log tells yet."""


@dataclass(frozen=True)
class Change:
    """What is to become of one entry, provided that it still is as it was read."""

    name: str
    was: Row | None
    """As it was read; None: there was none."""
    fields: Mapping[str, str] = field(default_factory=dict)
    score: float = NEVER
    delete: bool = False
    static: bool = False
    """Whether it is one of the file's."""
    aside: str | None = None
    """Why it is set aside."""

    @classmethod
    def advance(cls, entry: Entry, now: datetime) -> "Change":
        """Store an entry's progress, to be looked at when it is due next."""
        return cls(entry.name, entry.row, {"meta": entry.meta()}, entry.score(now))

    @classmethod
    def to(cls, entry: Entry, now: datetime, *, static: bool = False) -> "Change":
        """Store an entry as it is, to be looked at when it is due next."""
        row = entry.to_row()
        stored = {"definition": row.definition, "meta": row.meta, OWN_FIELD: row.own}
        given = {name: text for name, text in stored.items() if text is not None}
        return cls(entry.name, entry.row, given, entry.score(now), static=static)


class Store:
    """Reads and writes the schedule.

    Every method raises redis.RedisError if Redis stays away beyond the client's retries.
    """

    def __init__(self, app: Celery, redis: "Redis") -> None:
        """Use `redis` (answers decoded; with `errors="surrogateescape"` it reads what is broken)
        and the key names that RedBeat has for `app`."""
        conf = ensure_conf(app)
        self._redis = redis
        self._prefix: str = conf.key_prefix
        self._schedule: str = conf.schedule_key
        self._statics: str = conf.statics_key
        self.lock_key: str = conf.key_prefix + ":lock"
        self._beats = f"{KEY_PREFIX}beats"
        self._paused = f"{KEY_PREFIX}paused"
        self._set_aside = f"{KEY_PREFIX}set_aside"
        self._changes = f"{KEY_PREFIX}changes"
        self._counts = f"{KEY_PREFIX}beat"
        source = files(__package__).joinpath("store.lua").read_text(encoding="utf-8")
        self._script = redis.register_script(source)

    def now(self) -> datetime:
        """Return Redis' clock, the same for every host."""
        seconds, microseconds = self._redis.time()
        return datetime.fromtimestamp(seconds + microseconds / 1_000_000, UTC)

    def look(self, me: str, lock_seconds: float) -> Look:
        """Stand for election as `me` and, as the lock's holder, read what is due.

        The lock is held for `lock_seconds` from each look and each write.
        """
        role, now, paused, rows, following, said = self._call(
            "look",
            me=me,
            lock_ms=int(lock_seconds * 1000),
            oldest=OLDEST,
            newest=NEWEST,
            forget_seconds=FORGET_SECONDS,
        )
        return Look(
            role=role,
            now=datetime.fromtimestamp(float(now), UTC),
            paused=json.loads(paused) if paused else None,
            rows=tuple(self._row(*row) for row in rows),
            next_score=float(following) if following else None,
            said=tuple(_said(stamp, pairs) for stamp, pairs in said),
        )

    def write(
        self,
        changes: Sequence[Change],
        *,
        by: str,
        said: Sequence[str] = (),
        counts: Mapping[str, int] | None = None,
    ) -> list[str]:
        """Make an operator's changes, all or none, and put them on record.

        Returns the names of entries that somebody else changed meanwhile: then nothing was done.
        """
        outcome, stale = self._write(
            changes,
            together=True,
            by=by,
            said=[_plain(what) for what in said],
            counts=dict(counts or {}),
        )
        return stale if outcome == "stale" else []

    def write_as_holder(
        self,
        me: str,
        lock_seconds: float,
        changes: Sequence[Change],
        counts: Mapping[str, int] | None = None,
    ) -> bool:
        """Make the beat's changes; what an operator has changed meanwhile is left as it is.

        Returns False, and does nothing, if `me` doesn't hold the lock any more.
        """
        outcome, _ = self._write(
            changes,
            me=me,
            lock_ms=int(lock_seconds * 1000),
            said=[],
            counts=dict(counts or {}),
        )
        return outcome == "written"

    def reconsider(self, me: str) -> None:
        """Have all that is set aside looked at once more."""
        self._call("reconsider", me=me)

    def release(self, me: str) -> None:
        """Give the lock back if `me` holds it, so that a standby takes over at once."""
        self._call("release", me=me)

    def pause(self, *, by: str, why: str) -> None:
        """Stop sending, of all entries, until `resume`."""
        text = json.dumps({"at": format_time(self.now()), "by": by, "why": why})
        said = f"paused everything{': ' + why if why else ''}"
        self._call("pause", text=text, by=by, said=said, keep_changes=KEEP_CHANGES)

    def resume(self, *, by: str) -> bool:
        """Go on sending; returns whether it was paused."""
        said = "resumed everything"
        return bool(self._call("resume", by=by, said=said, keep_changes=KEEP_CHANGES))

    def paused(self) -> Mapping[str, str] | None:
        """Return when, by whom and why everything is paused, if it is."""
        text = cast("str | None", self._redis.get(self._paused))
        return json.loads(text) if text else None

    def names(self) -> list[str]:
        """Return the names of all entries, sorted."""
        keys = cast(list[str], self._redis.zrange(self._schedule, 0, -1))
        return sorted(key.removeprefix(self._prefix) for key in keys)

    def rows(self, names: Iterable[str]) -> list[Row]:
        """Return the entries of these names that there are."""
        wanted, found = list(names), []
        for start in range(0, len(wanted), _PAGE):
            page = wanted[start : start + _PAGE]
            with self._redis.pipeline(transaction=False) as pipe:
                for name in page:
                    pipe.hmget(self._prefix + name, "definition", "meta", OWN_FIELD)
                answers = pipe.execute(raise_on_error=False)
            for name, answer in zip(page, answers, strict=True):
                if not isinstance(answer, list):
                    found.append(Row(name, None, None, None, readable=False))
                elif any(text is not None for text in answer):
                    found.append(Row(name, *answer))
        return found

    def statics(self) -> set[str]:
        """Return the names of the entries that come from the file."""
        return set(cast("set[str]", self._redis.smembers(self._statics)))

    def set_aside(self) -> dict[str, str]:
        """Return the entries that are set aside, each with the reason."""
        return cast(dict[str, str], self._redis.hgetall(self._set_aside))

    def changes(self, limit: int) -> list[Said]:
        """Return operators' changes, the latest first."""
        rows = cast(list[Any], self._redis.xrevrange(self._changes, count=limit))
        return [_said(stamp, fields) for stamp, fields in rows]

    def counts(self) -> dict[str, int]:
        """Return what beats have counted since the schedule was first stored."""
        found = cast(dict[str, str], self._redis.hgetall(self._counts))
        return {name: int(number) for name, number in found.items() if name != "told"}

    def holder(self) -> tuple[str, float] | None:
        """Return who holds the lock and for how many seconds more, or None."""
        name = cast("str | None", self._redis.get(self.lock_key))
        left = self._redis.pttl(self.lock_key)
        return None if name is None else (name, left / 1000)

    def beats(self) -> dict[str, float]:
        """Return the beats of the last minute, each with the seconds since its last look."""
        now = self.now().timestamp()
        rows = cast(
            list[tuple[str, float]], self._redis.zrange(self._beats, 0, -1, withscores=True)
        )
        return {name: now - seen for name, seen in rows if now - seen <= FORGET_SECONDS}

    def _row(
        self, key: str, definition: str | None, meta: str | None, own: str | None, readable: int
    ) -> Row:
        return Row(key.removeprefix(self._prefix), definition, meta, own, bool(readable))

    def _write(self, changes: Sequence[Change], **argument: Any) -> tuple[str, list[str]]:
        rows = []
        for change in changes:
            row = {
                "was": _digest(change.was),
                "fields": dict(change.fields),
                "score": change.score,
                "delete": change.delete,
                "static": change.static,
            }
            rows.append(row if change.aside is None else {**row, "aside": _plain(change.aside)})
        outcome, names = self._call(
            "write",
            *(self._prefix + change.name for change in changes),
            changes=rows,
            keep_changes=KEEP_CHANGES,
            **argument,
        )
        return str(outcome), list(names)

    def _call(self, operation: str, *entry_keys: str, **argument: Any) -> Any:
        return self._script(
            keys=[
                self._schedule,
                self._statics,
                self.lock_key,
                self._beats,
                self._paused,
                self._set_aside,
                self._changes,
                self._counts,
            ],
            args=[operation, json.dumps({"prefix": self._prefix, **argument}), *entry_keys],
        )


def _digest(row: Row | None) -> str:
    if row is None:
        texts = ["", "", "", "1"]
    else:
        texts = [row.definition or "", row.meta or "", row.own or "", str(int(row.readable))]
    # SHA-1 is what a script has; it tells one text from another, nothing depends on its strength.
    joined = "\n".join(texts).encode("utf-8", "surrogateescape")
    return hashlib.sha1(joined, usedforsecurity=False).hexdigest()


def _plain(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii")


def _said(stamp: str, pairs: Any) -> Said:
    # A script's answer has the fields as a flat list, a command's as a dict.
    fields = pairs if isinstance(pairs, dict) else dict(zip(pairs[::2], pairs[1::2], strict=True))
    at = datetime.fromtimestamp(int(stamp.split("-")[0]) / 1000, UTC)
    return Said(at, fields["by"], fields["what"])
