"""Benchmark: insights move from the reference backend (SQLite, real HTTP) to an archive, and back.

    python tests/benchmarks/archival.py [--records 10000 100000]

Prints for each number seconds, records a second, compressed size, and the peak memory of the
process that moves them, which must not grow with their number.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from support.old_records import Depot, insight_at  # noqa: E402
from support.polling import wait_until  # noqa: E402
from support.ports import free_port  # noqa: E402

from bionewsbot.archive.exchange import hand_over, restore  # noqa: E402

CUTOFF = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def backend(folder: Path) -> Iterator[str]:
    """Run the reference backend for the length of the block; yields its address."""
    port = free_port()
    env = {
        **os.environ,
        "BACKEND_PORT": str(port),
        "BACKEND_DATABASE_URL": f"sqlite:///{folder / 'backend.db'}",
        "BACKEND_LOG_LEVEL": "WARNING",
    }
    url = f"http://127.0.0.1:{port}"
    with (folder / "backend.log").open("wb") as log:
        command = [sys.executable, "-m", "bionewsbot.backend"]
        child = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log)

    def ready() -> bool:
        try:
            return requests.get(f"{url}/readyz", timeout=2).ok
        except requests.ConnectionError:
            return False

    try:
        wait_until(ready, "the backend is ready", seconds=60)
        yield url
    finally:
        child.terminate()
        child.wait(timeout=60)


def fill(url: str, folder: Path, count: int) -> None:
    """Put so many old insights into the backend."""
    depot = Depot(url, folder / "archive")
    age = timedelta(seconds=30)
    rows = (insight_at(n, CUTOFF - age * (n + 1), title=f"Story {n}") for n in range(count))
    depot.put("insights", rows)
    depot.close()


def move(url: str, folder: Path, what: str) -> dict[str, Any]:
    """Hand all over, or restore all, in this process; return what it took."""
    depot = Depot(url, folder / "archive")
    before = peak_mb()
    began = time.monotonic()
    if what == "archive":
        moved = hand_over(
            depot.client,
            depot.archive,
            "insights",
            before=CUTOFF,
            written_by="benchmark",
            still_mine=_mine,
        )
        records, size = moved.records, moved.bytes
    else:
        parts = depot.archive.parts("insights")
        size = sum(part.size for part in parts)
        records = sum(
            restore(depot.client, depot.archive, part, still_mine=_mine).records for part in parts
        )
    seconds = time.monotonic() - began
    return {
        "records": records,
        "seconds": seconds,
        "bytes": size,
        "peak_mb": peak_mb(),
        "more_mb": peak_mb() - before,
    }


def peak_mb() -> float:
    """Return the most memory that this process has held so far."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / 1024 / (1024 if sys.platform == "darwin" else 1)


def measured(url: str, folder: Path, what: str) -> dict[str, Any]:
    """Do as `move` does, in a process of its own, whose memory nothing else has grown."""
    command = [sys.executable, __file__, "--move", what, "--url", url, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _mine() -> None:
    """Nobody else moves records."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--move", choices=("archive", "restore"), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.move:
        print(json.dumps(move(options.url, options.folder, options.move)))
        return
    print("           records  seconds  records/s  archive MB  peak MB  of which moving")
    for count in options.records:
        with tempfile.TemporaryDirectory() as name, backend(Path(name)) as url:
            fill(url, Path(name), count)
            for what in ("archive", "restore"):
                row = measured(url, Path(name), what)
                assert row["records"] == count
                speed = count / row["seconds"]
                print(
                    f"  {what:8} {count:8,} {row['seconds']:8.1f} {speed:10,.0f} "
                    f"{row['bytes'] / 1e6:11.1f} {row['peak_mb']:8.1f} "
                    f"{row['more_mb']:16.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
