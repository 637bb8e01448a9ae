"""A real PostgreSQL in a folder of its own, where the machine has one; else a skip that says so."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.polling import PATIENCE, wait_until
from support.ports import free_port


def _program(name: str) -> Path | None:
    """Return the newest program of this name: Debian keeps them off the PATH."""
    found = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"),
        key=lambda path: int(path.parents[1].name),
    )
    on_path = shutil.which(name)
    return found[-1] if found else Path(on_path) if on_path else None


class PostgresServer:
    """One throw-away cluster on a port of its own; it trusts everyone on 127.0.0.1."""

    def __init__(self, initdb: Path, postgres: Path) -> None:
        # Not pytest's folder, which only its own user may enter: PostgreSQL refuses to be root.
        self._folder = Path(tempfile.mkdtemp(prefix="bionewsbot-postgres-"))
        self._initdb, self._postgres = initdb, postgres
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def start(self) -> None:
        """Start the server, unless it runs, and wait until it answers."""
        if self._process is not None:
            return
        data = self._folder / "data"
        if not data.exists():
            if os.getuid() == 0:
                shutil.chown(self._folder, self._user())
            self._run([str(self._initdb), "-D", str(data), "-U", "postgres", "-A", "trust", "-N"])
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [
                    *self._as_user(),
                    str(self._postgres),
                    *("-D", str(data), "-p", str(self.port), "-h", "127.0.0.1"),
                    # Nothing here outlives the tests, so nothing has to reach the disk.
                    *("-c", f"unix_socket_directories={self._folder}", "-c", "fsync=off"),
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        wait_until(self._answers, f"PostgreSQL on port {self.port} answers")

    def stop(self) -> None:
        """Stop the server as a crash would: open connections break off."""
        if self._process is not None:
            subprocess.run([*self._as_user(), "kill", "-QUIT", str(self._server_pid())], check=True)
            self._process.wait(timeout=PATIENCE)
            self._process = None

    def remove(self) -> None:
        """Stop the server and delete its folder."""
        self.stop()
        shutil.rmtree(self._folder)

    def _server_pid(self) -> int:
        pid_file = self._folder / "data" / "postmaster.pid"
        return int(pid_file.read_text(encoding="utf-8").splitlines()[0])

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            log = (self._folder / "log").read_text(encoding="utf-8")
            raise AssertionError(f"PostgreSQL ended at its start:\n{log[-2000:]}")
        try:
            with psycopg.connect(self.url(), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            [*self._as_user(), *command], capture_output=True, text=True, cwd=self._folder
        )
        assert done.returncode == 0, done.stderr

    def _as_user(self) -> list[str]:
        if os.getuid() != 0:
            return []
        account = pwd.getpwnam(self._user())
        ids = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"]
        return ["setpriv", *ids, "--clear-groups"]

    def _user(self) -> str:
        names = {account.pw_name for account in pwd.getpwall()}
        return "postgres" if "postgres" in names else "nobody"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole session; a test makes a database of its own in it."""
    initdb, postgres = _program("initdb"), _program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("no PostgreSQL here: install the server (Debian: postgresql)")
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL refuses to run as root, and setpriv (util-linux) isn't here")
    server = PostgresServer(initdb, postgres)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of the reference backend's, once on each kind of server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'backend.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()
