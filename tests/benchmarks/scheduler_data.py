"""What every scheduler of the benchmark shares: its Redis, its entries, where starts are noted."""

import os
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import redis
from celery.schedules import crontab

SCHEDULE_DB, BROKER_DB, RECORD_DB = 1, 2, 5

TASK = "benchmark.tick"
STARTS = "benchmark:starts"
"""List of "due started" pairs, in epoch seconds, as the tasks note them."""

QUEUE, UNRELATED_QUEUE = "default", "high"

UNRELATED, UNRELATED_SECONDS = "unrelated", 10
"""Name and interval of the entry that has nothing to do with those which are due together."""

_SLEEPS = timedelta(days=180)


def url(database: int) -> str:
    """Return the URL of one of the databases of the server that the environment names."""
    return f"redis://{os.environ['REDIS_HOST']}:{os.environ['REDIS_PORT']}/{database}"


@lru_cache(maxsize=8)
def client(database: int) -> "redis.Redis":
    """Return this process' client of a database."""
    return redis.Redis.from_url(url(database), decode_responses=True)


def note_start(due: float, started: float) -> None:
    """Note that a task which was due at `due` started at `started` (epoch seconds)."""
    client(RECORD_DB).rpush(STARTS, f"{due!r} {started!r}")


def waiting(queue: str) -> int:
    """Return how many messages wait in a queue."""
    return int(client(BROKER_DB).llen(queue))


def name_of(number: int) -> str:
    """Return the name of an entry."""
    return f"entry-{number}"


@lru_cache(maxsize=60)
def sleeping_schedule(minute: int) -> Any:
    """Return a yearly crontab that is due in half a year."""
    when = sleeping_until(minute)
    return crontab(minute=minute, hour=0, day_of_month=1, month_of_year=when.month)


@lru_cache(maxsize=60)
def sleeping_until(minute: int) -> datetime:
    """Return when that crontab is due."""
    month = (datetime.now(UTC) + _SLEEPS).replace(day=1)
    return month.replace(hour=0, minute=minute, second=0, microsecond=0)
