"""Which processes belong to this checkout's stack, whoever started or orphaned them."""

import os
import signal
import time
from pathlib import Path

from deploy.local.stack import MARK, ROOT

POLL_SECONDS = 0.05


def of_stack() -> set[int]:
    """Return the pids of all living processes that carry the stack's mark.

    Empty where the system has no /proc; there supervisord's own account has to do.
    """
    mark = f"{MARK}={ROOT}".encode()
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
        except OSError:
            continue  # ended meanwhile, or another user's
    return {pid for pid in found if pid != os.getpid() and alive(pid)}


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and only waits for its parent doesn't."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] != "Z"


def wait_gone(pids: set[int], seconds: float) -> set[int]:
    """Wait until the processes are gone or the time is up; return those that are left."""
    deadline = time.monotonic() + seconds
    while True:
        left = {pid for pid in pids if alive(pid)}
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(POLL_SECONDS)


def end(pids: set[int], seconds: float) -> set[int]:
    """End processes: SIGTERM, and SIGKILL when the time is up; return those that are left."""
    _signal(pids, signal.SIGTERM)
    left = wait_gone(pids, seconds)
    _signal(left, signal.SIGKILL)
    return wait_gone(left, 5)


def _signal(pids: set[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # gone by itself, which is what was wanted
