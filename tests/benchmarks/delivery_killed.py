"""The part of the delivery benchmark in which a worker dies, and one in which nothing happens."""

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from delivery_notes import START
from delivery_stage import BARE, OURS, PLAIN, RENEWED_BY_NOBODY, SLOTS, Peer, Stage, on_stage
from table import table

SETTLE_SECONDS = 25.0
"""How long the other worker has had to start when the first one is killed."""

HOLD_SECONDS = 170.0
"""Of the tasks that are killed: longer than all waiting, and within RQ's 180 s."""

LONG_SECONDS = 60.0
LOOK_SECONDS = 30.0
"""After the end of the long task, for starts that come late."""

NEVER = "-"


def killed_part(peers: Sequence[Peer], patience: float) -> None:
    """Print how soon a killed worker's messages run again, and the starts of a long task."""
    dying = [*peers, RENEWED_BY_NOBODY]
    living = [OURS, BARE, PLAIN, RENEWED_BY_NOBODY]
    with ThreadPoolExecutor(len(dying) + len(living)) as pool:
        killed = [pool.submit(killed_run_again, peer, patience) for peer in dying]
        long = [pool.submit(starts_of_long, peer) for peer in living]
        again = dict(zip(dying, [one.result() for one in killed], strict=True))
        starts = dict(zip(living, [one.result() for one in long], strict=True))
    rows = []
    for peer, seconds in again.items():
        shown = [f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}"] if seconds else []
        rows.append([peer.name, f"{len(seconds)} of {SLOTS}", *(shown or [NEVER, NEVER])])
    header = ["", "run again", "median s", "longest s"]
    table(f"A worker killed with -9: its messages, within {patience:.0f} s", header, rows)
    table(
        f"A task of {LONG_SECONDS:.0f} s that nothing disturbs",
        ["", "starts"],
        [[peer.name, str(count)] for peer, count in starts.items()],
    )


def killed_run_again(peer: Peer, patience: float) -> list[float]:
    """Return the seconds from the kill to the second start, of each message that has one."""
    with on_stage(peer) as stage:
        (worker,) = stage.work()
        stage.send("default", "held", SLOTS, HOLD_SECONDS)
        stage.wait_for(START, "held", SLOTS)
        stage.work()
        time.sleep(SETTLE_SECONDS)
        killed_at = time.time()
        stage.end(worker)
        until = time.monotonic() + patience
        while len(_again(stage, killed_at)) < SLOTS and time.monotonic() < until:
            time.sleep(0.1)
        return [at - killed_at for at in _again(stage, killed_at).values()]


def _again(stage: Stage, killed_at: float) -> dict[str, float]:
    starts = [note for note in stage.notes(START, "held") if note.at > killed_at]
    return {note.label: note.at for note in reversed(starts)}


def starts_of_long(peer: Peer) -> int:
    """Return how often a long task was started."""
    with on_stage(peer) as stage:
        stage.work()
        stage.send("default", "long", 1, LONG_SECONDS)
        stage.wait_for(START, "long", 1)
        stage.work()
        time.sleep(LONG_SECONDS + LOOK_SECONDS)
        return Counter(note.label for note in stage.notes(START, "long")).total()
