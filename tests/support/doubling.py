"""Sends every message of a run twice: for a worker that is started with `-I support.doubling`."""

from typing import Any

from bionewsbot.runs import dispatch

_publish = dispatch._publish


def publish_twice(*args: Any) -> None:
    """Send a message, and the same one again, as a broker does that delivers at least once."""
    _publish(*args)
    _publish(*args)


dispatch._publish = publish_twice
