"""The schedule as an operator meets it: commands on a real Redis, and a beat that is ticked."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from click.testing import CliRunner, Result
from support.polling import keep_off_the_hour
from support.redis_server import RedisServer

from bionewsbot.cli.redbeat import redbeat
from bionewsbot.scheduling.entries import Entry, read_entry
from bionewsbot.scheduling.lookup import open_store
from bionewsbot.scheduling.scheduler import Scheduler
from bionewsbot.scheduling.store import Change

TIMETABLE = """
from celery.schedules import crontab
beat_schedule = {
    "daily": {
        "task": "bionewsbot.daily_company_analysis",
        "schedule": crontab(hour=6, minute=0),
        "options": {"queue": "default"},
        "run_deadline": 1800,
    },
    "hourly": {
        "task": "bionewsbot.hourly_quick_scan",
        "schedule": crontab(minute=0),
        "options": {"queue": "high"},
        "catch_up": "all",
    },
}
"""


class Console:
    """Runs commands as `celery -A bionewsbot redbeat` does, and looks at what they left."""

    def __init__(self, app: Celery, server: RedisServer, folder: Path) -> None:
        self.app = app
        self.folder = folder
        self.store = open_store(app)
        self.redis = server.client(1)

    def __call__(self, *arguments: str, code: int = 0) -> Result:
        """Run a command and check its exit code."""
        done = CliRunner().invoke(redbeat, list(arguments), obj=SimpleNamespace(app=self.app))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, f"{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a command with --json and return what it prints."""
        return json.loads(self(*arguments, "--json", code=code).stdout)

    def refused(self, *arguments: str, code: int = 2) -> str:
        """Run a command that has to be refused and to change nothing; return what it says."""
        before = self.contents()
        said = self(*arguments, code=code).stderr
        assert self.contents() == before
        return said

    def contents(self) -> dict[str, Any]:
        """Return the schedule's keys with what they hold."""
        keys = sorted(key for key in self.redis.keys() if not key.startswith("bionewsbot:beat"))
        return {key: self.redis.dump(key) for key in keys if not key.endswith("::lock")}

    def entry(self, name: str) -> Entry:
        """Return an entry as it is stored."""
        (row,) = self.store.rows([name])
        return read_entry(row)

    def due(self) -> list[str]:
        """Return the names of the entries that a look would bring now."""
        keys = self.redis.zrangebyscore("redbeat::schedule", 0, self.store.now().timestamp())
        return [key.removeprefix("redbeat:") for key in keys]

    def rewind(self, name: str, **ago: float) -> None:
        """Have an entry decided on last so long ago."""
        now = self.store.now()
        entry = replace(self.entry(name), last_run_at=now - timedelta(**ago))
        assert not self.store.write([Change.to(entry, now)], by="the test")

    def poison(self, name: str, **fields: str) -> None:
        """Store an entry that is broken, as anybody may, due now."""
        if fields:
            self.redis.hset(f"redbeat:{name}", mapping=fields)
        else:
            self.redis.set(f"redbeat:{name}", "not a hash")
        self.redis.zadd("redbeat::schedule", {f"redbeat:{name}": 0})


@pytest.fixture
def console(
    app: Celery, configured: pytest.MonkeyPatch, clean_redis: RedisServer, tmp_path: Path
) -> Iterator[Console]:
    """Commands on an empty Redis; the timetable is TIMETABLE."""
    keep_off_the_hour()
    (tmp_path / "beat_schedule.py").write_text(TIMETABLE, encoding="utf-8")
    console = Console(app, clean_redis, tmp_path)
    yield console
    console.redis.close()
    console.store._redis.close()


@pytest.fixture
def tick(app: Celery, console: Console) -> Iterator[Callable[[], None]]:
    """Return what has a beat look at the schedule; its first look brings the file to Redis."""
    beats: list[Scheduler] = []

    def tick() -> None:
        if not beats:
            beats.append(Scheduler(app))
            beats[0].tick()
        beats[0].tick()

    yield tick
    for beat in beats:
        beat.close()
        beat._redis.close()
