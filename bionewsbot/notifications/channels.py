"""A channel: one apprise address, whose text leaves this module for the other side alone."""

import logging
import re
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bionewsbot.api.transport import RETRYABLE_STATUSES
from bionewsbot.errors import ChannelFailed, ChannelRefused
from bionewsbot.notifications.notices import Notice

if TYPE_CHECKING:
    from apprise import Apprise, AppriseResult

HIDDEN = "***"

LONGEST_SECONDS = 60.0
"""What a send may take in all. apprise's own time-outs (4 s, ?cto= and ?rto=) are for connecting
and for each piece of the answer: one that trickles in would hold its thread for ever."""

_SHORTEST_SECRET = 4
"""Pieces of an address that are shorter are found in any text, and protect nothing."""

_STATUS = re.compile(r"error=(\d{3})\b")
"""How apprise's plugins tell of an answer's status; nothing else of the answer gets out of them."""

_LINK = re.compile(r"https?://[^\s()<>]+")
"""A line that is a link, as the source of an alert is."""

_MOOD = {
    "critical": "failure",
    "high": "failure",
    "run_failed": "failure",
    "report_ready": "info",
    "test": "info",
}
"""apprise's type of a notice, its colour in some channels; what isn't here is a warning."""

_log = logging.getLogger("apprise")
# Some of its lines hold whole addresses: none gets into a log, not even that of last resort. What
# it says of a send is in the send's result.
_log.propagate = False
_log.addHandler(logging.NullHandler())
_log.setLevel(logging.WARNING)


class Channel:
    """One way to tell people. Its address is a secret: it stands in no text that this makes."""

    def __init__(self, name: str, url: str, variable: str) -> None:
        """Take an apprise address and the name of the variable that holds it.

        Raises ValueError, without the address, if it is none.
        """
        self.name = name
        self._url = url
        self._variable = variable
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
        """Send a notice.

        Raises ChannelRefused if every answer was one that no retry mends, else ChannelFailed; both
        with what apprise said, less the address.
        """
        sent: Future[AppriseResult] = Future()
        # A daemon: one that is given up on may never end, and must not hold the worker's own end.
        thread = threading.Thread(target=self._send, args=(notice, sent), daemon=True)
        thread.start()
        thread.join(LONGEST_SECONDS)
        if not sent.done():
            raise self._failure([f"it took more than {LONGEST_SECONDS:g} s"])
        error = sent.exception()
        if error is not None:
            # apprise's own defect; its text and traceback may hold the address.
            raise self._failure([f"{type(error).__name__}: {error}"])
        if not sent.result():
            raise self._failure([line.message for line in sent.result().logs()])

    def _send(self, notice: Notice, sent: "Future[AppriseResult]") -> None:
        from apprise import NotifyFormat, NotifyType

        try:
            # One of its own for each: apprise's plugins keep state between two sends.
            way = _apprise(self._url)
            assert way is not None
            as_markdown = way[0].notify_format == NotifyFormat.MARKDOWN
            result = way.notify(
                title=notice.title,
                body=_markdown(notice.body) if as_markdown else notice.body,
                notify_type=NotifyType(_MOOD.get(notice.severity or notice.event, "warning")),
                body_format=NotifyFormat.MARKDOWN if as_markdown else NotifyFormat.TEXT,
            )
        except Exception as error:
            sent.set_exception(error)
        else:
            sent.set_result(result)

    def _failure(self, said: list[str]) -> ChannelFailed | ChannelRefused:
        text = f"channel {self.name!r}: {self._without_address(said)}"
        if said and all(_is_refusal(line) for line in said):
            return ChannelRefused(f"{text} Is what {self._variable} holds still right?")
        return ChannelFailed(text)

    def _without_address(self, said: list[str]) -> str:
        text = " ".join(" ".join(said).split()) or "the notice was not sent"
        _, _, address = self._url.partition("://")
        pieces = {*re.split(r"[/:@?&=#,]", address), *re.split(r"[/:@?&=#,]", unquote(address))}
        for piece in sorted(pieces, key=len, reverse=True):
            if len(piece) >= _SHORTEST_SECRET:
                text = re.sub(re.escape(piece), HIDDEN, text, flags=re.IGNORECASE)
        return text


def _markdown(body: str) -> str:
    """For services that take nothing else, such as Teams: apprise would escape the links as well,
    and there only what is marked as a link is one."""
    from apprise.conversion import text_to_markdown

    return "\n\n".join(
        f"[{urlsplit(line).netloc}]({line})" if _LINK.fullmatch(line) else text_to_markdown(line)
        for line in body.split("\n")
    )


def _is_refusal(line: str) -> bool:
    """Whether apprise tells of an answer 3xx or 4xx; a line without a status may be an outage."""
    found = [int(status) for status in _STATUS.findall(line)]
    return bool(found) and all(
        300 <= status < 500 and status not in RETRYABLE_STATUSES for status in found
    )


def _apprise(url: str) -> "Apprise | None":
    # Imported late: it costs 0.2 s, which a process without channels saves.
    from apprise import Apprise, AppriseAsset

    asset = AppriseAsset(
        app_id="BioNewsBot",
        app_desc="BioNewsBot",
        async_mode=False,
        # Followed, a redirect turns a POST into a GET, which may well be answered with 200.
        http_redirects=False,
        # Its own limit of a minute has few threads for all channels, and one that hangs keeps its.
        service_timeout=0,
    )
    way = Apprise(asset=asset)
    # With two in one, the one that took the notice would get it again with the other's retry.
    return way if way.add(url) and len(way) == 1 else None
