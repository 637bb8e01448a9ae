"""Benchmark: BioNewsBot's scheduler beside plain RedBeat and APScheduler 3 with a Redis job store.

    python tests/benchmarks/scheduler.py [--parts lateness ticks memory burst failover]
        [--seconds 60] [--entries 10 1000 10000 100000] [--burst 1666] [--bursts 1]
        [--kills 3]

lateness  An entry due every second, a real beat, an idle worker of four threads: from the scheduled
          instant to the first line of the task, and how much longer than a second a tick takes.
          Plain RedBeat's scheduled instant is a second after the run that it has stored last.
ticks     Redis round trips and time of a tick with ten of the entries due, until all is sent and
          the scheduler wants to sleep; and of one with nothing due. A round trip is a request of
          any of the process' Redis connections, counted where redis-py puts it on the socket: a
          command, a script or a whole pipeline.
memory    Resident memory of a real beat that has sent ten of the entries.
burst     With the largest number of entries, many due in the same second: until the first and the
          last message is on the broker, seen from another process (every 5 ms), and how late an
          interval entry of 10 s is sent that comes due 50 ms after the burst has begun. Of several
          bursts (in the second it is 100 ms, and so on): medians, and the longest lateness.
failover  Two real beats and an entry due every second: from kill -9 of the one that leads to the
          next message. Ours with its defaults, RedBeat with its tightest workable times (see
          scheduler_plain.py); each kill at another moment of a second.

RedBeat and ours have their shipped defaults unless said otherwise. APScheduler has neither queue
nor workers: its jobs send the same Celery messages. Ratios are to plain RedBeat.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from scheduler_failover import failover_part  # noqa: E402
from scheduler_stage import (  # noqa: E402
    FIRST_STARTS,
    LIMIT_SECONDS,
    PEERS,
    REDBEAT,
    Peer,
    Stage,
    on_stage,
    wait_for_rewrite,
)
from support.polling import wait_until  # noqa: E402
from table import table, with_ratio  # noqa: E402

T = TypeVar("T")

DUE = 10
"""Entries that are due in a tick."""

ROUNDS = 20
"""Ticks of which the median is taken."""

SETTLE_SECONDS = 2.0
"""How long beat has rested when its memory is read."""

LOOK_SECONDS = 0.005
"""Time between two looks at the broker while a burst is sent."""

LEAD_MS = 50
"""How long before the unrelated entry is due the burst begins: it comes due in the middle of it."""

PARTS = ("lateness", "ticks", "memory", "burst", "failover")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--seconds", type=int, default=60, help="of lateness")
    parser.add_argument("--entries", type=int, nargs="+", default=[10, 1000, 10_000, 100_000])
    parser.add_argument("--burst", type=int, default=1666, help="entries due in one second")
    parser.add_argument("--bursts", type=int, default=1, help="times that they are")
    parser.add_argument("--kills", type=int, default=3, help="of failover, for each scheduler")
    options = parser.parse_args()
    if min(options.entries) < DUE:
        parser.error(f"--entries: at least {DUE}, which are due")
    if "burst" in options.parts and max(options.entries) < DUE + options.burst * options.bursts:
        parser.error(f"--entries: the largest must be at least {DUE} + --burst x --bursts")
    if options.seconds < 2 or min(options.burst, options.bursts, options.kills) < 1:
        parser.error("--seconds must be at least 2, the others 1")
    # Ends the way Ctrl-C does: with all that was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if "lateness" in options.parts:
        lateness_part(options.seconds)
    if {"ticks", "memory", "burst"} & set(options.parts):
        entries_parts(options.parts, sorted(options.entries), options.burst, options.bursts)
    if "failover" in options.parts:
        failover_part(options.kills)


def lateness_part(seconds: int) -> None:
    """Print how late tasks start, and how interval entries drift."""
    found = {peer: lateness(peer, seconds) for peer in PEERS}
    rows = []
    for peer, (late, drift) in found.items():
        median, p99 = _median_and_p99(late)
        plain_median, plain_p99 = _median_and_p99(found[REDBEAT][0])
        rows.append(
            [
                peer.name,
                str(len(late)),
                *with_ratio(median * 1000, plain_median * 1000, ".1f"),
                *with_ratio(p99 * 1000, plain_p99 * 1000, ".1f"),
                f"{drift * 1000:+.2f}",
            ]
        )
    table(
        "Lateness: from the scheduled instant to the start of the task",
        ["", "starts", "median ms", "ratio", "p99 ms", "ratio", "drift ms a tick"],
        rows,
    )


def lateness(peer: Peer, seconds: int) -> tuple[list[float], float]:
    """Return each start's lateness in seconds, and the drift of a tick."""
    with on_stage(peer, every_second=True) as stage, stage.server.client(5) as client:
        stage.worker()
        stage.beat()
        wanted = FIRST_STARTS + seconds + 1
        wait_until(
            lambda: client.llen("benchmark:starts") >= wanted,
            f"{peer.name} starts {wanted} tasks",
            seconds=wanted * 1.5 + LIMIT_SECONDS,
        )
        lines = client.lrange("benchmark:starts", FIRST_STARTS, wanted - 1)
    pairs = [tuple(float(word) for word in line.split()) for line in lines]
    if peer is REDBEAT:
        # It notes when it reserved the run; the next one is due an interval later.
        late = [
            started - (reserved + 1)
            for (reserved, _), (_, started) in zip(pairs, pairs[1:], strict=False)
        ]
    else:
        late = [started - due for due, started in pairs[1:]]
    slope = statistics.linear_regression(range(len(pairs)), [pair[1] for pair in pairs]).slope
    return late, slope - 1


def entries_parts(parts: Sequence[str], counts: Sequence[int], burst: int, bursts: int) -> None:
    """Print what depends on the number of entries: ticks, memory, a burst."""
    ticks_rows: list[list[str]] = []
    memory_rows: list[list[str]] = []
    with ExitStack() as stack:
        stages = [stack.enter_context(on_stage(peer, every_second=False)) for peer in PEERS]
        loaded = 0
        for count in counts:
            _load(stages, loaded, count)
            loaded = count
            if "ticks" in parts:
                ticks_rows += ticks(stages, count)
            if "memory" in parts:
                memory_rows += memory(stages, count)
        if "ticks" in parts:
            table(
                f"A tick with {DUE} of the entries due, and with none (medians of {ROUNDS})",
                ["entries", "", "trips", "ratio", "ms", "ratio"]
                + ["idle trips", "ratio", "idle ms", "ratio"],
                ticks_rows,
            )
        if "memory" in parts:
            title = f"Memory of beat (resident) after {DUE} of the entries were sent"
            table(title, ["entries", "", "MB", "ratio"], memory_rows)
        if "burst" in parts:
            table(
                f"{burst:,} of {loaded:,} entries due in one second",
                ["", "first s", "ratio", "last s", "ratio", "unrelated late ms", "ratio"],
                burst_rows(stages, burst, bursts),
            )


def ticks(stages: Sequence[Stage], count: int) -> list[list[str]]:
    """Return the rows of a tick's round trips and times."""
    found = {stage.peer: stage.measure("ticks", DUE, ROUNDS) for stage in stages}
    plain = found[REDBEAT]
    return [
        [
            f"{count:,}",
            peer.name,
            *with_ratio(one["due_trips"], plain["due_trips"], ".0f"),
            *with_ratio(one["due_seconds"] * 1000, plain["due_seconds"] * 1000, ".1f"),
            *with_ratio(one["idle_trips"], plain["idle_trips"], ".0f"),
            *with_ratio(one["idle_seconds"] * 1000, plain["idle_seconds"] * 1000, ".2f"),
        ]
        for peer, one in found.items()
    ]


def memory(stages: Sequence[Stage], count: int) -> list[list[str]]:
    """Return the rows of beat's memory; the beats run side by side, which memory doesn't mind."""
    sizes = dict(zip(PEERS, _side_by_side(_resident_mb, stages), strict=True))
    return [
        [f"{count:,}", peer.name, *with_ratio(size, sizes[REDBEAT], ".1f")]
        for peer, size in sizes.items()
    ]


def _resident_mb(stage: Stage) -> float:
    stage.measure("due", DUE)
    with stage.server.client(2) as broker:
        before = broker.llen("default")
        beat = stage.beat()
        wait_until(
            lambda: broker.llen("default") >= before + DUE,
            f"{stage.peer.name} sends {DUE} messages",
            seconds=LIMIT_SECONDS,
        )
    time.sleep(SETTLE_SECONDS)
    listed = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(beat.pid)], check=True, capture_output=True, text=True
    )
    stage.end(beat)
    return int(listed.stdout) / 1024


def burst_rows(stages: Sequence[Stage], count: int, bursts: int) -> list[list[str]]:
    """Return the rows of the bursts, each peer's made after the other's."""
    found = {}
    for stage in stages:
        made = [burst_of(stage, count, number) for number in range(bursts)]
        first, last, late = zip(*made, strict=True)
        found[stage.peer] = statistics.median(first), statistics.median(last), max(late)
    rows = []
    for peer, (first, last, late) in found.items():
        plain_first, plain_last, plain_late = found[REDBEAT]
        rows.append(
            [
                peer.name,
                *with_ratio(first, plain_first, ".2f"),
                *with_ratio(last, plain_last, ".2f"),
                *with_ratio(late * 1000, plain_late * 1000, ".0f"),
            ]
        )
    return rows


def burst_of(stage: Stage, count: int, number: int) -> tuple[float, float, float]:
    """Return the seconds to the first and to the last message, and the unrelated's lateness."""
    lead_ms = LEAD_MS * (number + 1)
    child = stage.ticks("burst", DUE + number * count, count, lead_ms)
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        child.wait()
        stage.give_up(child)
    said = json.loads(line)
    seen: dict[str, float] = {}
    until = time.time() + LIMIT_SECONDS
    with stage.server.client(2) as broker:
        while len(seen) < 3 and time.time() < until:
            with broker.pipeline(transaction=False) as pipe:
                waiting, unrelated = pipe.llen("default").llen("high").execute()
            now, sent = time.time(), waiting - said["before"]
            for name, there in (
                ("first", sent >= 1),
                ("last", sent >= count),
                ("unrelated", unrelated >= 1),
            ):
                if there:
                    seen.setdefault(name, now)
            time.sleep(LOOK_SECONDS)
        if len(seen) == 3:
            child.wait(timeout=LIMIT_SECONDS)
    if child.poll() != 0:
        stage.end(child)
        stage.give_up(child)
    start = said["start"]
    return (
        seen["first"] - start,
        seen["last"] - start,
        seen["unrelated"] - said["unrelated_due"],
    )


def _load(stages: Sequence[Stage], first: int, stop: int) -> None:
    _side_by_side(lambda stage: stage.measure("load", first, stop), stages)
    for stage in stages:
        wait_for_rewrite(stage.server)


def _side_by_side(work: Callable[[Stage], T], stages: Sequence[Stage]) -> list[T]:
    with ThreadPoolExecutor(len(stages)) as pool:
        return list(pool.map(work, stages))


def _median_and_p99(values: Sequence[float]) -> tuple[float, float]:
    return statistics.median(values), statistics.quantiles(values, n=100, method="inclusive")[98]


if __name__ == "__main__":
    main()
