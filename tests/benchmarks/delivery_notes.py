"""What the tasks of the delivery benchmark write, and how it is read: a line at start and at end.

They write to a file and not to Redis, so that they add no round trip to those that are counted.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

START, END = "start", "end"


@dataclass(frozen=True)
class Note:
    """One line. Times are epoch seconds."""

    what: str
    label: str
    at: float
    sent_at: float


def work(label: str, seconds: float, sent_at: float) -> None:
    """Be the task: note its start, wait, note its end."""
    _write(START, label, sent_at)
    if seconds:
        time.sleep(seconds)
    _write(END, label, sent_at)


def read(path: Path) -> Iterator[Note]:
    """Read all notes so far."""
    if not path.exists():
        return
    for line in path.read_text(encoding="ascii").splitlines():
        what, label, at, sent_at = line.split()
        yield Note(what, label, float(at), float(sent_at))


def _write(what: str, label: str, sent_at: float) -> None:
    # One write to a file opened for appending: lines of many processes don't mix.
    os.write(_file(), f"{what} {label} {time.time():.6f} {sent_at:.6f}\n".encode("ascii"))


@lru_cache(maxsize=1)
def _file() -> int:
    return os.open(os.environ["NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
