"""The Celery app of the tests: composed as the real one, on the tests' own Redis."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, _state
from celery.contrib.testing.worker import start_worker
from redis import Redis
from support.redis_server import RedisServer

from bionewsbot import logs
from bionewsbot import settings as settings_module
from bionewsbot.notifications import config, outbox
from bionewsbot.runs import heartbeat, ledger
from bionewsbot.runs.dispatch import send_all
from bionewsbot.runs.model import Address, Message
from bionewsbot.tasks import analysis

LEASE_SECONDS = 3
"""The shortest lease that the settings allow."""

Lines = Callable[[], list[dict[str, Any]]]
"""Returns the log lines that were written so far."""

# Named here, before a test puts something in their place.
_MADE_ONCE = (
    settings_module.current,
    ledger.ledger,
    heartbeat.heartbeat,
    outbox.outbox,
    analysis.backend,
    config.notifications,
)


def forget() -> None:
    """Forget what the process made from its settings."""
    _, make_ledger, make_heartbeat, make_outbox, *_ = _MADE_ONCE
    if make_heartbeat.cache_info().currsize:
        make_heartbeat().stop()
    if make_ledger.cache_info().currsize:
        make_ledger()._redis.close()
    if make_outbox.cache_info().currsize:
        make_outbox().close()
    for make in _MADE_ONCE:
        make.cache_clear()


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Settings of the test's own (set variables with what this yields), in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUN_LEASE_SECONDS", str(LEASE_SECONDS))
    # A timetable that another test read stands for other settings.
    monkeypatch.delitem(sys.modules, "beat_schedule", raising=False)
    forget()
    yield monkeypatch
    forget()
    sys.modules.pop("beat_schedule", None)


@pytest.fixture
def app(clean_redis: RedisServer, configured: pytest.MonkeyPatch) -> Iterator[Celery]:
    """The app on an empty Redis; what it declares and sends is real."""
    configured.setenv("REDIS_HOST", "127.0.0.1")
    configured.setenv("REDIS_PORT", str(clean_redis.port))
    from bionewsbot.celery import create_app

    before = _state._get_current_app()
    app = create_app()
    app.loader.import_default_modules()
    app.finalize()
    with _logging_restored():
        yield app
    app.close()
    _state._set_current_app(before)
    _state._deregister_app(app)


def contents(redis: "Redis") -> dict[str, Any]:
    """Return all keys of a database with what they hold and whether they age."""
    readers: dict[str, Callable[[str], Any]] = {
        "hash": redis.hgetall,
        "set": redis.smembers,
        "zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        "list": lambda key: redis.lrange(key, 0, -1),
        "string": redis.get,
        "stream": redis.xrange,
    }
    return {key: (readers[redis.type(key)](key), redis.ttl(key) > 0) for key in redis.keys()}


def send(app: Celery, address: Address, message: Message) -> str:
    """Send one message; return its task id."""
    ((_, task_id),) = send_all(app, [(address, message, None)])
    return task_id


class Broker:
    """The broker's queues, seen and changed from outside."""

    def __init__(self, server: RedisServer) -> None:
        self.redis = server.client(2)

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """Return the messages that wait in a queue, the next one first."""
        return [json.loads(text) for text in reversed(self.redis.lrange(queue, 0, -1))]

    def lose(self, queue: str) -> dict[str, Any]:
        """Take the next message away, as a worker does that dies with it in its hands."""
        return dict(json.loads(self.redis.rpop(queue)))


@pytest.fixture
def broker(app: Celery, clean_redis: RedisServer) -> Iterator[Broker]:
    """The broker of `app`."""
    broker = Broker(clean_redis)
    yield broker
    broker.redis.close()


@contextmanager
def working(app: Celery, **options: Any) -> Iterator[None]:
    """Run a real worker of the app in a thread inside the `with` block."""
    app.conf.update(worker_soft_shutdown_timeout=0, worker_enable_soft_shutdown_on_idle=False)
    with start_worker(
        app, pool="threads", concurrency=2, perform_ping_check=False, loglevel="INFO", **options
    ):
        yield


@pytest.fixture
def log_lines(configured: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Logs as the processes write them; yields what reads the lines so far."""
    stream = io.StringIO()
    # Not sys.stderr itself, which pytest changes between setup and call.
    configured.setattr(logs, "sys", SimpleNamespace(stderr=stream))
    with _logging_restored():
        logs.configure(settings_module.current())
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@contextmanager
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
