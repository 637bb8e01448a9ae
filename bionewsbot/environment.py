"""Reads variables of the environment and collects what is wrong with them.

All problems are reported at once, each with the variable, its value (secrets masked) and what is
allowed. An empty variable counts as unset. A variable that holds a secret can also come from the
file that `<NAME>_FILE` names.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from environs import Env
from limits import RateLimitItem, parse_many

from bionewsbot.errors import SettingsError

MAX_CALLS = 100_000
"""Most calls of a rate: Redis keeps the time of each, 2 MB of them."""

MAX_CALLS_SECONDS = 86_400
"""Longest time of a rate: the tasks that wait for it must end some day."""


class Reader:
    """Reads variables through environs and collects what is wrong instead of raising."""

    def __init__(self) -> None:
        self.env = Env()
        self._problems: dict[str, str] = {}
        self._secrets: set[str] = set()

    def text(self, name: str, default: str | None) -> Any:
        """Return the variable as text, or the default."""
        return self._raw(name) or default

    def flag(self, name: str, default: bool) -> bool:
        """Return a yes/no variable."""
        return bool(self._parse(name, default, "1 or 0", self.env.bool))

    def integer(self, name: str, default: int, *, low: int, high: int | None = None) -> int:
        """Return a whole number within bounds (inclusive)."""
        allowed = f"a whole number from {low}" + (f" to {high}" if high is not None else " up")

        def within(value: int) -> bool:
            return value >= low and (high is None or value <= high)

        return int(self._parse(name, default, allowed, self.env.int, within))

    def port(self, name: str, default: int) -> int:
        """Return a TCP port."""
        return self.integer(name, default, low=1, high=65535)

    def choice(
        self,
        name: str,
        default: str,
        allowed: Sequence[str],
        fold: Callable[[str], str] = str.lower,
    ) -> str:
        """Return one of a few words, in any case."""

        text = "one of " + ", ".join(allowed)

        def known(word: str) -> bool:
            return fold(word) in allowed

        return fold(self._parse(name, default, text, self.env.str, known))

    def ids(self, name: str) -> tuple[str, ...]:
        """Return a comma-separated list of company ids."""

        def parse(key: str) -> list[str]:
            words: list[str] = self.env.list(key)
            return [word.strip() for word in words]

        def well_formed(values: list[str]) -> bool:
            return all(re.fullmatch(r"[A-Za-z0-9._-]+", value) for value in values)

        allowed = "company ids separated by commas, such as GILD,MRNA"
        return tuple(self._parse(name, [], allowed, parse, well_formed))

    def rate(self, name: str) -> RateLimitItem | None:
        """Return a number of calls in a time, in the notation of `limits`; None if unset."""

        def parse(key: str) -> RateLimitItem:
            text = self.env.str(key)
            (rate,) = parse_many(text)
            if 0 in map(int, re.findall(r"\d+", text)):
                raise ValueError("`limits` takes 5 per 0 seconds for 5 per second")
            return rate

        def bounded(rate: RateLimitItem) -> bool:
            return 1 <= rate.amount <= MAX_CALLS and rate.get_expiry() <= MAX_CALLS_SECONDS

        allowed = (
            f"a number of calls from 1 to {MAX_CALLS} in a time of up to a day, such as 50/second, "
            "600/minute or 30 per 10 seconds"
        )
        rate: RateLimitItem | None = self._parse(name, None, allowed, parse, bounded)
        return rate

    def url(self, name: str, default: str, schemes: Sequence[str]) -> str:
        """Return a URL with one of the schemes and a host."""
        allowed = "a URL such as " + default
        return str(self._parse(name, default, allowed, self.env.str, _is_url(schemes)))

    def place(self, name: str, default: str) -> str:
        """Return a path or a URL, which is shown as it is and so may hold no user and password."""
        value = str(self.text(name, default))
        if re.search(r"//[^/]*@", value):
            self.refuse(
                name,
                "a path or URL without user and password: give those in the environment of the "
                "store's library, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )
        return value

    def secret_url(self, name: str, schemes: Sequence[str]) -> str | None:
        """Return a URL that may hold a password, from the variable or its file; None if unset."""
        value = self.secret(name)
        if value is not None and not _is_url(schemes)(value):
            self.refuse(name, f"a URL that starts with {', '.join(s + '://' for s in schemes)}")
        return value

    def secret(self, name: str) -> str | None:
        """Return a secret from the variable or from the file named by `<name>_FILE`."""
        self._secrets.add(name)
        value, path = self._raw(name), self._raw(f"{name}_FILE")
        if path is None:
            return value
        if value is not None:
            self.refuse(name, f"unset where {name}_FILE is set: give one of the two")
            return None
        try:
            return Path(path).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            self.refuse(f"{name}_FILE", f"the path of a readable file ({reason})")
            return None

    def refuse(self, name: str, allowed: str) -> None:
        """Put a variable on the list of what is wrong."""
        self._problems.setdefault(name, allowed)

    def finish(self) -> None:
        """Raise SettingsError if anything was wrong."""
        if self._problems:
            lines = [
                f"  {name}={self._shown(name)}: must be {allowed}"
                for name, allowed in sorted(self._problems.items())
            ]
            raise SettingsError(
                "These settings are wrong (environment or .env); nothing was started:\n"
                + "\n".join(lines)
            )

    def _raw(self, name: str) -> str | None:
        # Empty means unset: compose files and .env templates pass "NAME=" for "not given".
        return self.env.str(name, None) or None

    def _parse(
        self,
        name: str,
        default: Any,
        allowed: str,
        parse: Callable[[str], Any],
        valid: Callable[[Any], bool] = lambda value: True,
    ) -> Any:
        if self._raw(name) is None:
            return default
        try:
            value = parse(name)
        except ValueError:  # as all of environs' and limits' complaints about values are
            value = None
        if value is None or not valid(value):
            self.refuse(name, allowed)
            return default
        return value

    def _shown(self, name: str) -> str:
        value = self._raw(name) or ""
        if name in self._secrets and value:
            return "***"
        return re.sub(r"//[^/]*@", "//***@", value) or "(unset)"


def _is_url(schemes: Sequence[str]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            parts = urlsplit(value)
            _ = parts.port  # raises ValueError where it isn't a port
        except ValueError:
            return False
        return parts.scheme in schemes and bool(parts.netloc or parts.path)

    return check
