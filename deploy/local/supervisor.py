"""Talks to supervisord over its socket: start, state and stop of the programs."""

import os
import shutil
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from deploy.local.errors import LocalError
from deploy.local.stack import STATE

CONFIG = Path("deploy/local/supervisord.conf")
SOCKET_FOLDER = STATE / "run"
"""A link to a short folder outside: a socket's path may have 107 bytes, a checkout's has more."""

SOCKET = SOCKET_FOLDER / "supervisord.sock"

START_SECONDS = 30
"""For supervisord itself, which needs a fraction of a second."""


@dataclass(frozen=True)
class State:
    """What supervisord says of one program."""

    name: str
    state: str
    """STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL or UNKNOWN."""
    pid: int
    """0 while it doesn't run."""
    seconds: int
    """Since it entered the state."""
    log: Path

    @property
    def running(self) -> bool:
        """Whether there is a process, or there will be one without further help."""
        return self.state in ("STARTING", "RUNNING", "BACKOFF")


def launch(environment: Mapping[str, str]) -> None:
    """Start supervisord in the background; it starts no program by itself.

    Raises LocalError with its own words.
    """
    forget()
    folder = tempfile.mkdtemp(prefix="bionewsbot-")
    SOCKET_FOLDER.symlink_to(folder)
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(CONFIG)]
    answer = subprocess.run(
        command,
        env={**environment, "STACK_SOCKET_FOLDER": folder},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )
    if answer.returncode != 0:
        lines = (answer.stderr or answer.stdout).strip().splitlines() or ["no message"]
        errors = [line for line in lines if line.startswith("Error:")]
        forget()
        raise LocalError(f"supervisord did not start: {(errors or lines)[-1]}")


def forget() -> None:
    """Remove the socket's folder, once supervisord is gone."""
    if SOCKET_FOLDER.is_symlink():
        shutil.rmtree(os.readlink(SOCKET_FOLDER), ignore_errors=True)
        SOCKET_FOLDER.unlink()


def states() -> dict[str, State]:
    """Return the state of every program; empty where supervisord doesn't run."""
    try:
        with _connected() as supervisor:
            infos = supervisor.getAllProcessInfo()
    except OSError:
        return {}
    return {info["name"]: _state(info) for info in infos}


def pid() -> int | None:
    """Return supervisord's pid, or None where it doesn't run."""
    try:
        with _connected() as supervisor:
            return int(supervisor.getPID())
    except OSError:
        return None


def stop_seconds() -> int:
    """Return the longest time that stopping may take: priorities go one after the other."""
    longest: dict[int, int] = {}
    with _connected() as supervisor:
        for program in supervisor.getAllConfigInfo():
            priority = program["process_prio"]
            longest[priority] = max(longest.get(priority, 0), program["stopwaitsecs"])
    return sum(longest.values())


def start(name: str) -> None:
    """Start one program without waiting for it; does nothing where it runs.

    Raises LocalError where its command can't be run at all.
    """
    with _connected() as supervisor:
        try:
            supervisor.startProcess(name, False)
        except xmlrpc.client.Fault as fault:
            if not fault.faultString.startswith("ALREADY_STARTED"):
                raise LocalError(f"{name} can't be started: {fault.faultString}") from fault


def shutdown() -> None:
    """Ask supervisord to stop all programs, in order, and then itself; returns at once."""
    with _connected() as supervisor:
        supervisor.shutdown()


@contextmanager
def _connected() -> Iterator[Any]:
    """Give supervisord's interface; whatever goes wrong on the way is an OSError."""
    transport = SupervisorTransport(serverurl=f"unix://{SOCKET}")
    try:
        yield xmlrpc.client.ServerProxy("http://localhost", transport=transport).supervisor
    except (HTTPException, xmlrpc.client.ProtocolError) as error:
        raise ConnectionError(f"supervisord: {error}") from error
    finally:
        transport.close()


def _state(info: Mapping[str, Any]) -> State:
    return State(
        name=info["name"],
        state=info["statename"],
        pid=info["pid"],
        seconds=max(0, info["now"] - (info["start"] if info["pid"] else info["stop"])),
        log=Path(info["stdout_logfile"]),
    )
