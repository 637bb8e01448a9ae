"""Beat's scheduler: RedBeat's schedule, an election at each tick, and a run for each occurrence."""

import logging
import os
import socket
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from kombu.exceptions import OperationalError
from redbeat.schedulers import RedBeatScheduler
from redis import RedisError

from bionewsbot import settings as settings_module
from bionewsbot.celeryconfig import BEAT_REDIS_TIMEOUT, FAILOVER_SECONDS, connect_beat_redis
from bionewsbot.errors import EntryError, TimetableError
from bionewsbot.runs.dispatch import open_runs, send_jobs
from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.model import NewRun
from bionewsbot.scheduling import timetable_sync
from bionewsbot.scheduling.checks import problems
from bionewsbot.scheduling.entries import BATCH, DueRuns, Entry, Row, read_entry
from bionewsbot.scheduling.store import Change, Look, Store
from bionewsbot.scheduling.timetable import load_timetable

logger = logging.getLogger(__name__)

SHORTEST_BACKOFF, LONGEST_BACKOFF = 1.0, 30.0
"""Seconds between two attempts to send what couldn't be sent."""

REMIND_SECONDS = 300
"""How often the log says again that everything is paused."""


class Scheduler(RedBeatScheduler):
    """RedBeat whose beats elect one of them, and which loses, doubles and forgets nothing.

    `tick` is all that beat calls; whatever goes wrong with Redis in it, this beat steps down and
    stands for election again with the next one.
    """

    def __init__(self, app: Any, **kwargs: Any) -> None:
        settings = settings_module.current()
        self.me = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._redis = connect_beat_redis(settings)
        self._store = Store(app, self._redis)
        self._ledger = Ledger.from_settings(settings, self._redis)
        self._state = ""
        self._reminded_at: datetime | None = None
        hurry_broker(app)
        super().__init__(app, **kwargs)
        # RedBeat takes a lock when beat starts, waits for it as long as it takes, and ends the
        # process when it is lost. Ours is taken in the tick.
        self.lock_key = None
        check_times(interval=self.max_interval, lock=self.lock_timeout)

    def setup_schedule(self) -> None:
        """Read and check the timetable; a wrong one ends the process. Redis is left as it is."""
        try:
            self._timetable = load_timetable(self.app)
        except TimetableError as error:
            logger.critical("timetable_refused", extra={"error": str(error)})
            raise SystemExit(f"beat was not started; the timetable is wrong:\n{error}") from error

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Do what is due, if this beat leads; returns the seconds until the next look."""
        try:
            return self._tick()
        except RedisError as error:
            self._become("beat_cut_off", error=str(error))
            return float(self.max_interval)

    def close(self) -> None:
        """Give the lock back, so that a standby takes over at once.

        Celery calls it in its signal handler, which may have interrupted a command: connections
        stay as they are until the process ends.
        """
        try:
            self._store.release(self.me)
        except RedisError as error:
            logger.warning("lock_left_to_expire", extra={"error": str(error)})
        super().close()

    @property
    def info(self) -> str:
        """What beat prints at its start."""
        return (
            f"       . redis -> {self._redis.connection_pool.connection_kwargs.get('host')}\n"
            f"       . lock -> {self._store.lock_key} ({self.lock_timeout} s)"
        )

    def _tick(self) -> float:
        asked_at = time.monotonic()
        look = self._store.look(self.me, self.lock_timeout)
        for said in look.said:
            logger.warning(
                "schedule_changed",
                extra={"by": said.by, "what": said.what, "at": said.at.isoformat()},
            )
        if look.role == "standby":
            self._become("beat_stands_by")
            return float(self.max_interval)
        if self._state != "beat_leads" or look.role == "elected":
            # Whoever takes office brings the file; its next look reads what is due after that.
            return 0.0 if self._take_office(look.now) else float(self.max_interval)
        if look.paused is not None:
            self._remind(look)
            return float(self.max_interval)
        self._reminded_at = None
        if look.rows:
            if not self._send(look.rows, look.now):
                self._become("beat_stands_by", why="the lock was lost")
                return float(self.max_interval)
            # The rest, and what came due while these were sent, is looked for at once.
            return 0.0
        if look.next_score is None:
            return float(self.max_interval)
        # What the look itself took would make each run that much later.
        wait = look.next_score - look.now.timestamp() - (time.monotonic() - asked_at)
        return float(min(self.max_interval, max(0.0, wait)))

    def _take_office(self, now: datetime) -> bool:
        rows = {row.name: row for row in self._store.rows(self._timetable)}
        statics = self._store.statics()
        rows |= {row.name: row for row in self._store.rows(statics - rows.keys())}
        sync = timetable_sync.plan(self.app, self._timetable, rows, statics, now)
        openings = open_runs(self._ledger, sync.missed) if sync.missed else []
        counts = Counter(opening.verdict.value for opening in openings)
        if not self._store.write_as_holder(self.me, self.lock_timeout, sync.changes, counts):
            return False
        self._store.reconsider(self.me)
        for name, fields in sync.kept.items():
            logger.info("operators_values_kept", extra={"entry": name, "fields": list(fields)})
        self._become("beat_leads", entries=len(self._timetable))
        return True

    def _become(self, state: str, **fields: Any) -> None:
        if state != self._state:
            level = logging.WARNING if state == "beat_cut_off" else logging.INFO
            logger.log(level, state, extra={"beat": self.me, **fields})
        self._state = state

    def _remind(self, look: Look) -> None:
        due = self._reminded_at is None or (
            (look.now - self._reminded_at).total_seconds() >= REMIND_SECONDS
        )
        if due:
            logger.warning("everything_is_paused", extra=dict(look.paused or {}))
            self._reminded_at = look.now

    def _send(self, rows: tuple[Row, ...], now: datetime) -> bool:
        """Send what is due of these entries and advance them; False if the lock is lost."""
        changes: list[Change] = []
        due: list[tuple[Entry, DueRuns]] = []
        runs: list[NewRun] = []
        started = time.monotonic()
        for row in rows:
            found = self._examine(row, now)
            if isinstance(found, Change):
                changes.append(found)
            else:
                due.append(found)
                runs += found[1].runs
            # All of this has to end within the lock's life; the rest comes with the next look.
            if len(runs) >= BATCH or time.monotonic() - started > self.lock_timeout / 3:
                break
        openings = open_runs(self._ledger, runs)
        unsent = [one for one in openings if one.to_send]
        late = {one.new.occurrence.entry for one in unsent}
        counts = Counter(one.verdict.value for one in openings if not one.to_send)
        counts["set_aside"] = sum(change.aside is not None for change in changes)
        try:
            send_jobs(self.app, self._ledger, unsent)
        except OperationalError as error:
            # The broker is away, or any part of it: the ledger knows which runs were not sent.
            logger.error("send_failed", extra={"error": str(error), "entries": len(late)})
            counts["send_failed"] = len(late)
        else:
            counts.update(one.verdict.value for one in unsent)
            late = set()
        changes += [
            (_put_off if entry.name in late else _advance)(entry, one, now) for entry, one in due
        ]
        return self._store.write_as_holder(self.me, self.lock_timeout, changes, +counts)

    def _examine(self, row: Row, now: datetime) -> Change | tuple[Entry, DueRuns]:
        """Return an entry with its runs that are due; where it has none, what to store of it."""
        try:
            entry = read_entry(row)
            # A schedule may have come to its end with the occurrence that is due.
            since = min(entry.last_run_at or now, now)
            wrong = problems(self.app, entry.name, entry.definition, since)
            if wrong:
                raise EntryError("; ".join(wrong))
            if entry.last_run_at is None or entry.last_run_at > now or entry.edited:
                # New, from a clock that is ahead, or changed with plain RedBeat: it counts anew.
                anew = replace(entry, last_run_at=now)
                missed = timetable_sync.given_up(self.app, entry, anew, now)
                return entry, DueRuns(tuple(missed), now)
            due = entry.runs_due(self.app, now)
            return (entry, due) if due.runs else Change.to(entry, now)
        except EntryError as error:
            logger.error("entry_set_aside", extra={"entry": row.name, "why": str(error)})
            return Change(row.name, row, aside=str(error))
        except Exception as error:
            # Whatever else is wrong with one entry must not keep the others from running.
            logger.exception("entry_set_aside", extra={"entry": row.name, "why": repr(error)})
            return Change(row.name, row, aside=repr(error))


def check_times(*, interval: float, lock: float) -> None:
    """Check that beat's times (in seconds) fit each other. Raises SystemExit if they don't."""
    shortest = 2 * interval + BEAT_REDIS_TIMEOUT
    if lock < shortest:
        raise SystemExit(
            f"beat was not started: with {interval} s between two looks (beat_max_loop_interval, "
            f"--max-interval) its lock has to live for {shortest} s (redbeat_lock_timeout), "
            f"not {lock} s"
        )
    slowest = lock + interval + BEAT_REDIS_TIMEOUT
    if slowest > FAILOVER_SECONDS:
        logger.warning("failover_is_slow", extra={"seconds": slowest, "promised": FAILOVER_SECONDS})


def hurry_broker(app: Any) -> None:
    """Make this process give up on a broker that hangs before its lock has run out."""
    app.conf.task_publish_retry = False
    app.conf.broker_connection_timeout = BEAT_REDIS_TIMEOUT
    app.conf.broker_transport_options = {
        **app.conf.broker_transport_options,
        "socket_timeout": BEAT_REDIS_TIMEOUT,
        "socket_connect_timeout": BEAT_REDIS_TIMEOUT,
    }


def _advance(entry: Entry, due: DueRuns, now: datetime) -> Change:
    started = sum(run.missed is None for run in due.runs)
    advanced = entry.advanced(due.until, started)
    # One that plain RedBeat made or changed is stored whole, to tell its later edits by.
    return (Change.advance if entry.seen == entry.times else Change.to)(advanced, now)


def _put_off(entry: Entry, due: DueRuns, now: datetime) -> Change:
    # The wait doubles with the lateness, without anything to remember.
    late = (now - due.runs[0].occurrence.scheduled_for).total_seconds()
    wait = min(max(late, SHORTEST_BACKOFF), LONGEST_BACKOFF)
    return replace(Change.advance(entry, now), score=now.timestamp() + wait)
