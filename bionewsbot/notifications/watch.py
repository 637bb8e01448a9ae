"""Looks for what people are told of in what is on record anyway: runs, dead letters, the breaker.

Whoever fails a run or opens the circuit need not tell of it, and can't die in between.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from celery import Celery

from bionewsbot import settings as settings_module
from bionewsbot.api.shared_circuit import SharedCircuit
from bionewsbot.celeryconfig import connect_redis
from bionewsbot.dead_letters.letters import DEAD, Letters
from bionewsbot.notifications.config import notifications
from bionewsbot.notifications.notices import ENTRY, Notice, of_letters, of_opening, of_run
from bionewsbot.notifications.outbox import outbox
from bionewsbot.runs.ledger import Ledger

OVERLAP_SECONDS = 10.0
"""What two looks have in common, so that a clock that is set back by less loses nothing; what was
told is known by its id."""

LATEST_SECONDS = 86_400.0
"""What happened longer ago is no news any more, when all workers were away for so long."""

_RUNS = {"run_failed", "run_partial", "occurrence_missed"}


def look(app: Celery, ledger: Ledger) -> int:
    """Put what happened since the last look into the outbox; returns how many notices are new.

    Raises redis.RedisError if Redis is away.
    """
    wanted = notifications()
    if wanted.events <= {"alert", "report_ready"}:
        return 0
    now = ledger.now()
    seen = outbox().seen()
    if seen is None:
        # Of what was before nobody asked to be told.
        return outbox().put((), seen=now)
    since = max(seen - OVERLAP_SECONDS, now - LATEST_SECONDS)
    happened = [notice for notice in _since(ledger, since) if wanted.ways(notice)]
    return outbox().put(happened, seen=now)


def _since(ledger: Ledger, moment: float) -> Iterator[Notice]:
    events = notifications().events
    if events & _RUNS:
        for run in ledger.ended_since(moment):
            # A notice that can't be sent leaves a dead letter; its run's end says no more.
            notice = of_run(run) if run.entry != ENTRY else None
            if notice is not None:
                yield notice
    if "dead_letters" in events:
        yield from _letters_since(moment)
    if "breaker_open" in events:
        yield from _openings_since(moment)


def _letters_since(moment: float) -> Iterator[Notice]:
    redis = connect_redis(settings_module.current())
    try:
        found = Letters(redis).find(since=datetime.fromtimestamp(moment, UTC))
    finally:
        redis.close()
    yield from of_letters([letter for letter in found if letter.state == DEAD])


def _openings_since(moment: float) -> Iterator[Notice]:
    circuit = SharedCircuit.from_settings(settings_module.current())
    try:
        changes = circuit.status().changes
    finally:
        circuit.shut()
    for change in changes:
        if change.after == "open" and change.at >= moment:
            yield of_opening(change)
