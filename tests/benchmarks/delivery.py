"""Benchmark: delivery by BioNewsBot beside plain Celery, Dramatiq and RQ, all with their defaults.

    python tests/benchmarks/delivery.py [--parts noop tasks high killed] [--rounds 3]
        [--noops 3000] [--tasks 400] [--low 20000] [--messages 300] [--patience 100]

noop    Messages wait in the queue, then a worker with four tasks at a time starts: tasks a second
        from the first start to the last end (median of the rounds), and Redis round trips for each
        task, as the server counts reads, to send and to carry out.
tasks   The same for tasks of 50 ms.
high    20,000 messages of 20 ms wait on `low`. How long messages to `high` wait that come one by
        one at random moments; then 200 of 50 ms at once, with 2,000 more waiting on `default`: from
        the first send to the last end, against 200 x 50 ms / tasks at a time. All have eight at a
        time: ours as shipped, a worker for `high` and one for all queues.
killed  A worker is killed with -9 in the middle of four tasks while another one is idle: seconds
        until they run again. And how often a task of 60 s is started that nothing disturbs. All
        peers side by side, since they only wait.

BioNewsBot's tasks are targets of a run, with its ledger; *no run* is a task on the same app and
worker that belongs to none. Ratios are to plain Celery.
"""

import argparse
import signal
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from delivery_high import high_part  # noqa: E402
from delivery_killed import killed_part  # noqa: E402
from delivery_notes import END, START  # noqa: E402
from delivery_stage import PEERS, PLAIN, SLOTS, Peer, on_stage  # noqa: E402
from table import table, with_ratio  # noqa: E402

TASK_SECONDS = 0.05

PARTS = ("noop", "tasks", "high", "killed")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--peers", nargs="+", help="some of " + ", ".join(p.module for p in PEERS))
    parser.add_argument("--rounds", type=int, default=3, help="of noop and tasks")
    parser.add_argument("--noops", type=int, default=3000)
    parser.add_argument("--tasks", type=int, default=400, help="of 50 ms")
    parser.add_argument("--low", type=int, default=20_000, help="messages that wait on `low`")
    parser.add_argument("--messages", type=int, default=300, help="to `high`, one by one")
    parser.add_argument("--patience", type=float, default=100, help="seconds after a kill")
    options = parser.parse_args()
    peers = [peer for peer in PEERS if not options.peers or peer.module in options.peers]
    if PLAIN not in peers:
        parser.error(f"--peers: {PLAIN.module} is what the ratios are to")
    # Ends the way Ctrl-C does: with all that was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if "noop" in options.parts:
        throughput_part(peers, "No-op tasks, four at a time", options.noops, 0.0, options.rounds)
    if "tasks" in options.parts:
        title = "Tasks of 50 ms, four at a time"
        throughput_part(peers, title, options.tasks, TASK_SECONDS, options.rounds)
    if "high" in options.parts:
        high_part(peers, options.low, options.messages)
    if "killed" in options.parts:
        killed_part(peers, options.patience)


def throughput_part(
    peers: Sequence[Peer], title: str, count: int, seconds: float, rounds: int
) -> None:
    """Print tasks a second and round trips a task."""
    found: dict[Peer, list[tuple[float, float, float]]] = {peer: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            share = count // 10 if peer.slow and not seconds else count
            found[peer].append(throughput(peer, share, seconds))
    medians = {
        peer: [statistics.median(values) for values in zip(*made, strict=True)]
        for peer, made in found.items()
    }
    header = ["", "tasks a second", "ratio", "trips to send", "to carry out"]
    if seconds:
        header.insert(3, "to ideal")
    rows = []
    for peer, (rate, sent, run) in medians.items():
        row = [peer.name, *with_ratio(rate, medians[PLAIN][0], ".1f")]
        row += [f"{rate * seconds / SLOTS:.3f}"] if seconds else []
        rows.append([*row, f"{sent:.1f}", f"{run:.1f}"])
    table(title, header, rows)


def throughput(peer: Peer, count: int, seconds: float) -> tuple[float, float, float]:
    """Return tasks a second, and the round trips of each task to send and to carry out."""
    with on_stage(peer) as stage:
        before = stage.reads()
        stage.send("default", "task", count, seconds)
        sent = stage.reads()
        stage.work()
        stage.wait_for(END, "task", count)
        done = stage.reads()
        first = min(note.at for note in stage.notes(START, "task"))
        last = max(note.at for note in stage.notes(END, "task"))
    return count / (last - first), (sent - before) / count, (done - sent) / count


if __name__ == "__main__":
    main()
