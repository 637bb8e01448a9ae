"""An HTTP server on 127.0.0.1 that answers as a test's script says, faults included."""

import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.polling import PATIENCE

TRICKLE_PAUSE = 0.02
"""Seconds between two bytes of an answer that trickles in."""


@dataclass(frozen=True)
class Reply:
    """One scripted answer."""

    status: int = 200
    body: Any = None
    """Bytes as they are; anything else as JSON."""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cut_after: int | None = None
    """Send only so many bytes of the body and close the connection."""
    chunked: bool = False
    """Send the body with Transfer-Encoding: chunked."""
    silent: bool = False
    """Accept the request and answer nothing until the server is closed."""
    stall_after: int | None = None
    """Send so many bytes of the body, then nothing until the server is closed."""
    trickle: bool = False
    """Send the body for ever, byte by byte, until the server is closed."""
    reset: bool = False
    """Reset the connection instead of answering."""
    meet: threading.Barrier | None = None
    """Answer only when as many requests are inside as the barrier has parties."""

    def payload(self) -> bytes:
        """Return the body's bytes."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any


class FaultyBackend:
    """The server: its script, and what it has received."""

    def __init__(self) -> None:
        """Bind a free port; `serving` runs it."""
        self.received: list[Received] = []
        self.connections = 0
        self._script: dict[tuple[str, str], list[Reply]] = {}
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def on(self, method: str, path: str, *replies: Reply) -> None:
        """Answer calls to method and path with the replies in turn, the last one again and again.

        A call that the script doesn't know gets 599 and fails the test that looks at statuses.
        """
        self._script[(method, path)] = list(replies)

    def take(self, request: Received) -> Reply:
        """Record a request and return its reply."""
        with self._lock:
            self.received.append(request)
            replies = self._script.get((request.method, request.path))
            if replies is None:
                return Reply(599, {"title": f"unscripted call {request.method} {request.path}"})
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def connected(self) -> None:
        """Count a connection."""
        with self._lock:
            self.connections += 1

    @contextmanager
    def serving(self) -> Iterator["FaultyBackend"]:
        """Serve inside the `with` block."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def handler(backend: FaultyBackend) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body go out in two pieces, and the second would wait for the first one's receipt.
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            backend.connected()

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:  # the client gave up, which some tests want
                self.close_connection = True

        def answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Received(
                self.command,
                parts.path,
                parse_qs(parts.query),
                dict(self.headers.items()),
                json.loads(body) if body else None,
            )
            self.send(backend.take(request))

        do_GET = do_POST = do_PUT = answer

        def send(self, reply: Reply) -> None:
            if reply.meet is not None:
                reply.meet.wait(timeout=PATIENCE)
            if reply.silent:
                backend.closing.wait()
                self.close_connection = True
                return
            if reply.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
                self.close_connection = True
                return
            payload = reply.payload()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            if reply.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            elif reply.trickle:
                self.send_header("Content-Length", "1000000")
            else:
                self.send_header("Content-Length", str(len(payload)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.send_body(reply, payload)

        def send_body(self, reply: Reply, payload: bytes) -> None:
            if reply.chunked:
                payload = b"%x\r\n%s\r\n0\r\n\r\n" % (len(payload), payload)
            if reply.trickle:
                while not backend.closing.wait(TRICKLE_PAUSE):
                    self.wfile.write(b" ")
            elif reply.cut_after is not None:
                self.wfile.write(payload[: reply.cut_after])
                self.close_connection = True
            elif reply.stall_after is not None:
                self.wfile.write(payload[: reply.stall_after])
                backend.closing.wait()
                self.close_connection = True
            else:
                self.wfile.write(payload)

        def log_message(self, format: str, *args: Any) -> None:
            """Write nothing: a test reads `received` instead."""

    return Handler


@pytest.fixture
def faulty_backend() -> Iterator[FaultyBackend]:
    """Yield a running server with an empty script."""
    with FaultyBackend().serving() as backend:
        yield backend
