"""A TCP proxy between a process and its server that cuts, refuses and holds connections."""

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from support.ports import free_port

T = TypeVar("T")

_CHUNK_BYTES = 65_536
_WINDOW_BYTES = 4096
"""What is remembered of the bytes before, in case a command comes in two pieces."""


class Hold:
    """Keeps back the first bytes that match a pattern, with all that follows them."""

    def __init__(self, pattern: re.Pattern[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self.pattern = pattern
        self.reached = threading.Event()
        """Set once the bytes have come; the server hasn't seen them."""
        self.go = asyncio.Event()
        self._loop = loop

    def release(self) -> None:
        """Let the bytes go on, if their connection is still there."""
        self._loop.call_soon_threadsafe(self.go.set)


class TcpProxy:
    """Forwards connections to a port of this machine, from an event loop in a thread of its own."""

    def __init__(self, target: int) -> None:
        """Listen on a free port."""
        self.port = free_port()
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._hold: Hold | None = None
        self.accept()

    def accept(self) -> None:
        """Take connections (again)."""
        self._run(self._accept())

    def refuse(self) -> None:
        """Cut all connections and refuse new ones."""
        self._run(self._refuse())

    def cut(self) -> None:
        """Reset all connections; new ones are taken."""
        self._run(self._cut())

    def hold(self, pattern: re.Pattern[bytes]) -> Hold:
        """Keep back what a client sends next that matches."""
        self._hold = Hold(pattern, self._loop)
        return self._hold

    def close(self) -> None:
        """End it."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=20)

    async def _accept(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        for writer in tuple(self._open):
            _reset(writer)

    async def _end(self) -> None:
        await self._refuse()
        for task in tuple(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)  # as a server does that isn't there
            return
        ends = {writer, back}
        self._open |= ends
        pumps = [
            asyncio.create_task(self._pump(reader, back, watched=True)),
            asyncio.create_task(self._pump(there, writer, watched=False)),
        ]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            broken = any(pump.exception() for pump in done)
        except asyncio.CancelledError:
            broken = True
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self._open -= ends
        for end in ends:
            if broken:
                _reset(end)
            else:
                end.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, watched: bool
    ) -> None:
        seen = b""
        while data := await reader.read(_CHUNK_BYTES):
            seen = seen[-_WINDOW_BYTES:] + data
            hold = self._hold
            if watched and hold is not None and hold.pattern.search(seen):
                self._hold = None
                hold.reached.set()
                await hold.go.wait()
            writer.write(data)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    end: socket.socket = writer.get_extra_info("socket")
    if end.fileno() >= 0:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
