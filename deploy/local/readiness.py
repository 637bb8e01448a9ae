"""Asks each program whether it can serve, until all can."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import redis
import requests
from celery import Celery
from celery.utils.nodenames import host_format

from bionewsbot.celeryconfig import connect_redis
from bionewsbot.settings import Settings
from deploy.local import supervisor
from deploy.local.errors import LocalError
from deploy.local.stack import Stack

READY_SECONDS = 120.0
"""Time for all programs together. On two idle cores they need ten seconds, on busy ones thirty; one
that gave up is told at once."""

POLL_SECONDS = 0.2
PROBE_SECONDS = 2.0
"""Time for one answer."""

SCRAPE_SECONDS = 15.0
"""Time for celery-exporter's answer: it asks all workers first, which takes two seconds or more."""

PING_SECONDS = 0.7
"""Time for a worker's answer to a ping, which comes through Redis."""

LOG_LINES = 15

WORKERS = {"worker-high": "high@%h", "worker-all": "all@%h"}
"""Programs in supervisord.conf -> Celery's names of them."""

Probe = Callable[[], str | None]
"""Returns None when ready, else what is still missing."""


def wait(stack: Stack, programs: Iterable[str], seconds: float = READY_SECONDS) -> None:
    """Return when all `programs` are ready.

    Raises LocalError that names the first program that isn't by then, or that gave up earlier, with
    the end of its log.
    """
    probes = {name: _probe(stack, name) for name in programs}
    deadline = time.monotonic() + seconds
    while probes:
        with ThreadPoolExecutor(len(probes)) as threads:
            missing = dict(
                zip(probes, threads.map(lambda probe: probe(), probes.values()), strict=True)
            )
        probes = {name: probe for name, probe in probes.items() if missing[name] is not None}
        if not probes:
            return
        states = supervisor.states()
        for name in probes:
            state = states.get(name)
            if state is None or state.state in ("FATAL", "STOPPED", "EXITED"):
                raise LocalError(_failure(name, "does not stay up", state))
        if time.monotonic() >= deadline:
            name = next(iter(probes))
            reason = f"is not ready after {seconds:.0f} s ({missing[name]})"
            raise LocalError(_failure(name, reason, states.get(name)))
        time.sleep(POLL_SECONDS)


def require_foreign(stack: Stack) -> None:
    """Ask the Redis and the backend that are not embedded, before anything is started.

    Raises LocalError, one line for each that doesn't answer.
    """
    settings = stack.settings
    problems = []
    if "redis" not in stack.programs:
        missing = _redis(settings)
        if missing:
            problems.append(
                f"Redis at {settings.redis_host}:{settings.redis_port} does not answer ({missing});"
                " start it and check REDIS_*, or set EMBEDDED_REDIS=1."
            )
    if "backend" not in stack.programs:
        missing = _http(f"{settings.api_base_url}/readyz")
        if missing:
            problems.append(
                f"The backend at {settings.api_base_url} is not ready ({missing});"
                " start it and check API_BASE_URL, or set EMBEDDED_BACKEND=1."
            )
    if problems:
        raise LocalError("\n".join(problems))


def tail(log: Path, lines: int = LOG_LINES) -> str:
    """Return the last lines of a log, or a word that there is none."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


def _failure(name: str, reason: str, state: supervisor.State | None) -> str:
    if state is None:
        return f"{name} {reason}: supervisord is gone."
    return f"{name} {reason}. The end of {state.log}:\n{tail(state.log)}"


def _probe(stack: Stack, name: str) -> Probe:
    settings = stack.settings
    if name == "redis":
        return lambda: _redis(settings)
    if name == "backend":
        return lambda: _http(f"{stack.api_url}/readyz")
    if name in WORKERS:
        return lambda: _worker(WORKERS[name])
    if name == "beat":
        return lambda: _beat(settings)
    if name == "flower":
        return lambda: _http(f"{stack.flower_url}/healthcheck")
    if name == "exporter":
        return lambda: _http(stack.metrics_url, SCRAPE_SECONDS)
    raise ValueError(f"no probe for {name}")


def _redis(settings: Settings) -> str | None:
    try:
        with redis.Redis.from_url(
            settings.scheduler_redis_url,
            socket_timeout=PROBE_SECONDS,
            socket_connect_timeout=PROBE_SECONDS,
        ) as client:
            client.ping()
    except redis.RedisError as error:
        return str(error) or type(error).__name__
    return None


def _http(url: str, seconds: float = PROBE_SECONDS) -> str | None:
    try:
        answer = requests.get(url, timeout=seconds)
    except requests.RequestException as error:
        return type(error).__name__
    return None if answer.ok else f"HTTP {answer.status_code}"


def _worker(pattern: str) -> str | None:
    node = host_format(pattern)
    answers = _app().control.inspect([node], timeout=PING_SECONDS, limit=1).ping()
    return None if answers else f"{node} does not answer a ping"


def _beat(settings: Settings) -> str | None:
    key = _app().conf.get("redbeat_lock_key") or "redbeat::lock"
    with connect_redis(settings) as client:
        return None if client.exists(key) else f"{key} is not taken"


def _app() -> Celery:
    # Importing the app reads the settings, which the driver completes first.
    from bionewsbot.celery import app

    return app
