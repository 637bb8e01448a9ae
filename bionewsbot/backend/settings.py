"""The backend's only reader of the environment: BACKEND_* variables, validated, frozen.

The scheduler has settings of its own, and the two share no code. All problems are reported at
once. An empty variable counts as unset.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from environs import Env
from environs.exceptions import EnvError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOG_FORMATS = ("json", "text")
DATABASE_URLS = "sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
POSTGRESQL_SCHEMES = ("postgres", "postgresql", "postgresql+psycopg")


class BackendSettingsError(Exception):
    """One or more BACKEND_* variables are wrong; the message lists all of them."""


@dataclass(frozen=True)
class BackendSettings:
    """The backend's configuration."""

    host: str
    port: int
    database_url: str = field(repr=False)
    """As SQLAlchemy wants it, driver included."""
    api_key: str | None = field(repr=False)
    """What callers show as a Bearer token; None lets everyone in."""
    analysis_concurrency: int
    """Most analyses that run at once."""
    log_level: str
    log_format: str

    @property
    def is_public(self) -> bool:
        """Whether other machines may reach the port."""
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"


def load(dotenv: Path | None = None) -> BackendSettings:
    """Read `dotenv` (default: `.env` in the working directory), then the environment, which wins.

    Raises BackendSettingsError, which lists every variable that is wrong.
    """
    read = _Reader()
    path = dotenv if dotenv is not None else Path(".env")
    if path.is_file():
        read.env.read_env(str(path), recurse=False)
    settings = BackendSettings(
        host=read.text("BACKEND_HOST", "127.0.0.1"),
        port=read.integer("BACKEND_PORT", 8000, low=1, high=65535),
        database_url=read.database("BACKEND_DATABASE_URL", "sqlite:///var/backend.db"),
        api_key=read.secret("BACKEND_API_KEY"),
        analysis_concurrency=read.integer("BACKEND_ANALYSIS_CONCURRENCY", 8, low=1, high=200),
        log_level=read.choice("BACKEND_LOG_LEVEL", "INFO", LOG_LEVELS, str.upper),
        log_format=read.choice("BACKEND_LOG_FORMAT", "json", LOG_FORMATS, str.lower),
    )
    read.finish()
    return settings


def without_password(url: str) -> str:
    """Return a database URL fit for a message."""
    return make_url(url).render_as_string(hide_password=True)


class _Reader:
    """Reads variables through environs and collects what is wrong instead of raising."""

    def __init__(self) -> None:
        self.env = Env()
        self._problems: dict[str, str] = {}
        self._masked: set[str] = {"BACKEND_API_KEY"}

    def text(self, name: str, default: str) -> str:
        return self._raw(name) or default

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        allowed = f"a whole number from {low} to {high}"
        return int(
            self._parse(name, default, allowed, self.env.int, lambda value: low <= value <= high)
        )

    def choice(
        self, name: str, default: str, allowed: Sequence[str], fold: Callable[[str], str]
    ) -> str:
        text = "one of " + ", ".join(allowed)
        return fold(
            self._parse(name, default, text, self.env.str, lambda word: fold(word) in allowed)
        )

    def secret(self, name: str) -> str | None:
        value, path = self._raw(name), self._raw(f"{name}_FILE")
        if path is None:
            return value
        if value is not None:
            self._refuse(name, f"unset where {name}_FILE is set: give one of the two")
            return None
        try:
            found = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            self._refuse(f"{name}_FILE", f"the path of a readable file ({reason})")
            return None
        if not found:
            # An empty key would open the API to everyone, which nobody asks for with a file.
            self._refuse(f"{name}_FILE", "the path of a file that holds the key (it is empty)")
            return None
        return found

    def database(self, name: str, default: str) -> str:
        self._masked.add(name)
        given = self.secret(name) or default
        scheme = urlsplit(given).scheme
        if scheme in POSTGRESQL_SCHEMES:
            given = "postgresql+psycopg" + given.removeprefix(scheme)
        try:
            url = make_url(given)
        except (ArgumentError, ValueError):
            self._refuse(name, DATABASE_URLS)
            return default
        on_file = url.drivername == "sqlite" and url.database not in (None, "", ":memory:")
        if not (on_file or (scheme in POSTGRESQL_SCHEMES and url.database)):
            self._refuse(name, DATABASE_URLS)
            return default
        return given

    def finish(self) -> None:
        if self._problems:
            lines = [
                f"  {name}={self._shown(name)}: must be {allowed}"
                for name, allowed in sorted(self._problems.items())
            ]
            raise BackendSettingsError(
                "These settings are wrong (environment or .env); nothing was started:\n"
                + "\n".join(lines)
            )

    def _refuse(self, name: str, allowed: str) -> None:
        self._problems.setdefault(name, allowed)

    def _raw(self, name: str) -> str | None:
        # Empty means unset: compose files and .env templates pass "NAME=" for "not given".
        return self.env.str(name, None) or None

    def _parse(
        self,
        name: str,
        default: Any,
        allowed: str,
        parse: Callable[[str], Any],
        valid: Callable[[Any], bool],
    ) -> Any:
        if self._raw(name) is None:
            return default
        try:
            value = parse(name)
        except EnvError:
            value = None
        if value is None or not valid(value):
            self._refuse(name, allowed)
            return default
        return value

    def _shown(self, name: str) -> str:
        value = self._raw(name) or ""
        if name not in self._masked or not value:
            return value or "(unset)"
        scheme, separator, _ = value.partition("://")
        return f"{scheme}://***" if separator else "***"
