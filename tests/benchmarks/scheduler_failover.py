"""The part of the scheduler benchmark that kills beats."""

import json
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from celery.beat import DEFAULT_MAX_INTERVAL
from redbeat import RedBeatScheduler
from scheduler_stage import (
    APSCHEDULER,
    FIRST_STARTS,
    LIMIT_SECONDS,
    OURS,
    REDBEAT,
    Peer,
    on_stage,
)
from support.polling import wait_until
from table import table, with_ratio

TWO_INSTANCES_SECONDS = 12
"""How long two instances of APScheduler run side by side."""


def failover_part(kills: int) -> None:
    """Print the seconds to fail over; the peers run side by side, since all of them but wait."""
    with ThreadPoolExecutor(3) as pool:
        ours = pool.submit(failovers, OURS, kills, "beat_stands_by", {})
        plain = pool.submit(failovers, REDBEAT, kills, "beat: Starting", {"TIGHT": "1"})
        doubled = pool.submit(doubled_share)
        found = {OURS: ours.result(), REDBEAT: plain.result()}
        share = doubled.result()
    rows = [
        [
            peer.name,
            *with_ratio(statistics.median(one), statistics.median(found[REDBEAT]), ".1f"),
            *with_ratio(max(one), max(found[REDBEAT]), ".1f"),
            note,
        ]
        for (peer, one), note in zip(
            found.items(), ("its defaults", "tightest: looks 1 s, lock 5 s"), strict=True
        )
    ]
    least, most = default_failover()
    note = f"{least:,.0f} to {most:,.0f} s by its defaults, not waited for"
    rows.append([REDBEAT.name, "-", "-", "-", "-", note])
    note = f"no fail-over: of two instances, {share:.0%} of the instants are sent twice"
    rows.append([APSCHEDULER.name, "-", "-", "-", "-", note])
    table(
        f"Fail-over after kill -9 of the beat that leads ({kills} times)",
        ["", "median s", "ratio", "longest s", "ratio", ""],
        rows,
    )


def default_failover() -> tuple[float, float]:
    """Return the shortest and longest time in which plain RedBeat fails over by its defaults.

    With an entry due every second its lock is renewed every second; a standby looks for it at its
    own interval.
    """
    return RedBeatScheduler.lock_timeout - 1, RedBeatScheduler.lock_timeout + DEFAULT_MAX_INTERVAL


def failovers(peer: Peer, kills: int, standby: str, env: dict[str, str]) -> list[float]:
    """Kill the beat that leads, again and again; return the seconds to the next one's message.

    `standby` is what the log of a beat says that stands by.
    """
    found = []
    with on_stage(peer, every_second=True) as stage, stage.server.client(2) as broker:

        def sends_more() -> None:
            before = broker.llen("default")
            wait_until(
                lambda: broker.llen("default") > before,
                f"{peer.name} sends the next message",
                seconds=LIMIT_SECONDS,
            )

        leader = stage.beat("-l", "INFO", **env)
        sends_more()
        for number in range(kills):
            follower = stage.beat("-l", "INFO", **env)
            log = stage.log(follower)
            wait_until(
                lambda log=log: standby in log.read_text(encoding="utf-8"),
                f"{peer.name}: the second beat stands by",
                seconds=LIMIT_SECONDS,
            )
            # Each time at another moment between two looks of the leader.
            sends_more()
            time.sleep((number + 0.5) / kills)
            leader.kill()
            killed = time.monotonic()
            leader.wait()
            sends_more()
            found.append(time.monotonic() - killed)
            leader = follower
    return found


def doubled_share() -> float:
    """Return the share of instants that two instances of APScheduler both send."""
    with on_stage(APSCHEDULER, every_second=True) as stage, stage.server.client(2) as broker:
        beats = [stage.beat(), stage.beat()]
        wait_until(
            lambda: broker.llen("default") >= 2 * FIRST_STARTS, "both send", seconds=LIMIT_SECONDS
        )
        time.sleep(TWO_INSTANCES_SECONDS)
        for beat in beats:
            stage.end(beat)
        messages = [json.loads(text) for text in broker.lrange("default", 0, -1)]
    times = Counter(message["headers"]["kwargsrepr"] for message in messages)
    # At its edges one of the two may not be there yet, or not any more.
    whole = [times[instant] for instant in sorted(times)[FIRST_STARTS:-1]]
    return sum(count > 1 for count in whole) / len(whole)
