"""Channels of the tests: webhooks on a server of their own, and the file that names them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.faulty_backend import FaultyBackend, Reply

TOKEN = "S3CRETT0KEN"
"""Stands in the path of each webhook, as a service's token does."""


class Webhooks:
    """A server with a webhook for each channel."""

    def __init__(self, server: FaultyBackend) -> None:
        self._server = server

    def on(self, channel: str, *replies: Reply, rto: float = 600, cto: float = 600) -> str:
        """Answer what is sent by a channel with the replies in turn; return its address.

        It may connect and read for as long as a test holds an answer back, or `cto` and `rto`.
        """
        self._server.on("POST", self._path(channel), *replies)
        host = self._server.url.removeprefix("http://")
        return f"json://user:passw0rd@{host}{self._path(channel)}?rto={rto:g}&cto={cto:g}"

    def got(self, channel: str) -> list[dict[str, Any]]:
        """Return what was sent by a channel: `title`, `message`, `type`."""
        path = self._path(channel)
        return [one.body for one in list(self._server.received) if one.path == path]

    def titles(self, channel: str) -> list[str]:
        """Return the titles of what was sent by a channel."""
        return [one["title"] for one in self.got(channel)]

    def _path(self, channel: str) -> str:
        return f"/{channel}/{TOKEN}"


@pytest.fixture
def webhooks() -> Iterator[Webhooks]:
    """Yield a running server without webhooks."""
    with FaultyBackend().serving() as server:
        yield Webhooks(server)


def variable(channel: str) -> str:
    """Return the name of the variable that holds a channel's address."""
    return f"{channel.upper()}_URL"


def write_config(folder: Path, channels: list[str], *rules: dict[str, Any]) -> None:
    """Write a notifications.yaml."""
    data = {
        "channels": {name: {"url_env": variable(name)} for name in channels},
        "rules": list(rules),
    }
    (folder / "notifications.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
