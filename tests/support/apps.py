"""The Celery app of the tests: composed as the real one, on the tests' own Redis."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, _state
from support.redis_server import RedisServer

from bionewsbot import logs
from bionewsbot import settings as settings_module
from bionewsbot.runs import heartbeat, ledger
from bionewsbot.tasks import analysis

LEASE_SECONDS = 3
"""The shortest lease that the settings allow."""

Lines = Callable[[], list[dict[str, Any]]]
"""Returns the log lines that were written so far."""

# Named here, before a test puts something in their place.
_MADE_ONCE = (settings_module.current, ledger.ledger, heartbeat.heartbeat, analysis.backend)


def forget() -> None:
    """Forget what the process made from its settings."""
    _, make_ledger, make_heartbeat, _ = _MADE_ONCE
    if make_heartbeat.cache_info().currsize:
        make_heartbeat().stop()
    if make_ledger.cache_info().currsize:
        make_ledger()._redis.close()
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
    yield app
    app.close()
    _state._set_current_app(before)
    _state._deregister_app(app)


@pytest.fixture
def log_lines(configured: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Logs as the processes write them; yields what reads the lines so far."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configured.setattr(sys, "stderr", stream)
    logs.configure(settings_module.current())
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
