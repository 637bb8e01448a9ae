"""A mail server on 127.0.0.1 that takes each mail and passes none on."""

import socketserver
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

import pytest


class SmtpSink:
    """The server and what it has taken."""

    def __init__(self) -> None:
        """Bind a free port."""
        self.mails: list[EmailMessage] = []
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]


def _handler(sink: SmtpSink) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say(220)
            for line in self.rfile:
                word = line[:4].upper().strip()
                if word == b"DATA":
                    self.say(354)
                    parsed = message_from_bytes(self.data(), policy=policy.default)
                    sink.mails.append(cast(EmailMessage, parsed))
                self.say(221 if word == b"QUIT" else 250)
                if word == b"QUIT":
                    return

        def data(self) -> bytes:
            lines = []
            for line in self.rfile:
                if line == b".\r\n":
                    break
                lines.append(line[1:] if line.startswith(b"..") else line)
            return b"".join(lines)

        def say(self, code: int) -> None:
            self.wfile.write(b"%d ok\r\n" % code)

    return Handler


@pytest.fixture
def smtp_sink() -> Iterator[SmtpSink]:
    """Yield a running server."""
    sink = SmtpSink()
    thread = threading.Thread(target=sink.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield sink
    sink.server.shutdown()
    sink.server.server_close()
    thread.join()
