"""The part of the delivery benchmark that sends to `high` while lower queues are full."""

import statistics
from collections.abc import Sequence

from delivery_notes import END, START
from delivery_stage import PLAIN, SLOTS, Peer, on_stage
from table import table, with_ratio

LOW_SECONDS = 0.02
BURST = 200
BURST_SECONDS = 0.05
FULL_DEFAULT = 2000
"""Messages on `default` when the burst comes."""

EVERY_SECONDS = 0.06
"""Between two single messages to `high`, on average."""

WORKERS = 2
"""Of ours; the others have as many tasks at a time."""


def high_part(peers: Sequence[Peer], low: int, messages: int) -> None:
    """Print the waits of single messages, and the makespan of a burst."""
    ideal = BURST * BURST_SECONDS / (SLOTS * WORKERS)
    found = {peer: high(peer, low, messages) for peer in peers}
    plain_waits, plain_burst = found[PLAIN]
    rows = []
    for peer, (waits, burst) in found.items():
        rows.append(
            [
                peer.name,
                *with_ratio(statistics.median(waits) * 1000, _ms(plain_waits, 50), ".1f"),
                *with_ratio(_ms(waits, 99), _ms(plain_waits, 99), ".1f"),
                f"{max(waits) * 1000:.1f}",
                *with_ratio(burst, plain_burst, ".2f"),
                f"{burst / ideal:.2f}",
            ]
        )
    title = f"`high` while {low:,} messages of 20 ms wait on `low`: single ones, and a burst"
    header = ["", "median ms", "ratio", "p99 ms", "ratio", "longest ms"]
    table(title, [*header, "burst s", "ratio", "to ideal"], rows)


def high(peer: Peer, low: int, messages: int) -> tuple[list[float], float]:
    """Return the waits of the single messages and the makespan of the burst, in seconds."""
    with on_stage(peer) as stage:
        stage.send("low", "low", low, LOW_SECONDS)
        stage.work(WORKERS)
        stage.wait_for(START, "low", 100)
        stage.send("high", "high", messages, LOW_SECONDS, EVERY_SECONDS)
        stage.wait_for(END, "high", messages)
        waits = [note.at - note.sent_at for note in stage.notes(START, "high")]
        stage.send("default", "full", FULL_DEFAULT, LOW_SECONDS)
        stage.send("high", "burst", BURST, BURST_SECONDS)
        stage.wait_for(END, "burst", BURST)
        ends = stage.notes(END, "burst")
        if len(stage.notes(START, "low")) >= low:
            raise SystemExit(f"{peer.name}: `low` was empty before the burst was done")
    return waits, max(note.at for note in ends) - min(note.sent_at for note in ends)


def _ms(values: Sequence[float], per_cent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[per_cent - 1] * 1000
