"""deploy/local/processes.py: whose processes are whose, and their end."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.polling import PATIENCE

from deploy.local import processes
from deploy.local.stack import MARK

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="this system has no /proc"
)

STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""


@contextmanager
def child(mark: str, code: str = STUBBORN) -> Iterator["subprocess.Popen[str]"]:
    """Run a process with a mark until the end of the block."""
    environment = {**os.environ, MARK: mark}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_only_marked_processes_are_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process of this checkout is found; one of another checkout isn't."""
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    with child(str(tmp_path)) as ours, child(f"{tmp_path}-other") as other:
        found = processes.of_stack()
        assert ours.pid in found
        assert other.pid not in found


def test_stubborn_process_is_ended_all_the_same() -> None:
    """What ignores SIGTERM is killed when the time is up."""
    with child("some") as process:
        assert processes.end({process.pid}, seconds=0.2) == set()
        assert process.wait(timeout=PATIENCE) == -9


def test_time_is_up_while_a_process_lives() -> None:
    """Waiting names what is left, and what is gone already is no error."""
    with child("some") as process:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait(timeout=PATIENCE)
        assert processes.wait_gone({process.pid, gone.pid}, 0.1) == {process.pid}
    assert processes.end({gone.pid}, 0.1) == set()


def test_unreaped_child_counts_as_gone() -> None:
    """A process that ended and wasn't waited for runs no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    assert processes.wait_gone({process.pid}, PATIENCE) == set()
    process.wait()
