"""A channel: one apprise address, whose text leaves this module for the other side alone."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bionewsbot.errors import ChannelFailed
from bionewsbot.notifications.notices import Notice

if TYPE_CHECKING:
    from apprise import Apprise

HIDDEN = "***"

_SHORTEST_SECRET = 4
"""Pieces of an address that are shorter are found in any text, and protect nothing."""

_MOOD = {
    "critical": "failure",
    "high": "failure",
    "run_failed": "failure",
    "report_ready": "info",
    "test": "info",
}
"""apprise's type of a notice, its colour in some channels; what isn't here is a warning."""


class Channel:
    """One way to tell people. Its address is a secret: it stands in no text that this makes."""

    def __init__(self, name: str, url: str) -> None:
        """Take an apprise address. Raises ValueError, without the address, if it is none."""
        self.name = name
        self._url = url
        if _apprise(url) is None:
            raise ValueError(
                "not one address that apprise takes, such as slack://... or mailtos://"
            )

    def __repr__(self) -> str:
        return f"Channel({self.name!r}, {self.shown!r})"

    @property
    def shown(self) -> str:
        """The address as it may be seen: its scheme. In many schemes all the rest is secret."""
        return f"{urlsplit(self._url).scheme}://{HIDDEN}"

    def send(self, notice: Notice) -> None:
        """Send a notice. Raises ChannelFailed with what apprise said, less the address."""
        from apprise import NotifyFormat, NotifyType

        mood = NotifyType(_MOOD.get(notice.severity or notice.event, "warning"))
        with _ear.listening() as said:
            # One of its own for each: apprise's plugins keep state between two sends.
            way = _apprise(self._url)
            try:
                sent = way is not None and way.notify(
                    title=notice.title,
                    body=notice.body,
                    notify_type=mood,
                    body_format=NotifyFormat.TEXT,
                )
            except Exception as error:
                # A plugin's own defect; its text and traceback may hold the address.
                said.append(f"{type(error).__name__}: {error}")
                sent = False
        if not sent:
            raise ChannelFailed(f"channel {self.name!r}: {self._without_address(said)}")

    def _without_address(self, said: list[str]) -> str:
        text = " ".join(" ".join(said).split()) or "the notice was not sent"
        _, _, address = self._url.partition("://")
        pieces = {*re.split(r"[/:@?&=#,]", address), *re.split(r"[/:@?&=#,]", unquote(address))}
        for piece in sorted(pieces, key=len, reverse=True):
            if len(piece) >= _SHORTEST_SECRET:
                text = re.sub(re.escape(piece), HIDDEN, text, flags=re.IGNORECASE)
        return text


class _Ear(logging.Handler):
    """Hears what apprise's logger is told, each send its own; nothing of it goes anywhere else:
    some lines hold whole addresses."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        # Not by thread: apprise sends from one of its own, to which it hands the context.
        self._said: ContextVar[list[str] | None] = ContextVar("said", default=None)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, if a send listens."""
        said = self._said.get()
        if said is not None:
            said.append(record.getMessage())

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        """Collect what is said inside the `with` block."""
        said: list[str] = []
        token = self._said.set(said)
        try:
            yield said
        finally:
            self._said.reset(token)


_ear = _Ear()


def _apprise(url: str) -> "Apprise | None":
    # Imported late: it costs 0.2 s, which a process without channels saves.
    from apprise import Apprise, AppriseAsset

    log = logging.getLogger("apprise")
    log.propagate, log.handlers = False, [_ear]
    log.setLevel(logging.WARNING)
    # Its own limit of a minute would give up on a send that goes on: retried, it would be doubled.
    # Time-outs of connecting and reading (4 s, ?cto= and ?rto=) hold all the same.
    way = Apprise(asset=AppriseAsset(async_mode=False, service_timeout=0))
    # With two in one, the one that took the notice would get it again with the other's retry.
    return way if way.add(url) and len(way) == 1 else None
