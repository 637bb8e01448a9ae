"""Looks for what people are told of in what is on record anyway: runs, dead letters, the breaker.

Whoever fails a run or opens the circuit need not tell of it, and can't die in between.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby

from celery import Celery

from bionewsbot import settings as settings_module
from bionewsbot.api.shared_circuit import SharedCircuit
from bionewsbot.celeryconfig import connect_redis
from bionewsbot.dead_letters.letters import DEAD, Letters
from bionewsbot.notifications.config import notifications
from bionewsbot.notifications.notices import (
    ENTRY,
    Notice,
    id_of_end,
    of_letters,
    of_missed,
    of_opening,
    of_run,
)
from bionewsbot.notifications.outbox import outbox
from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.model import Run

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
    # A notice that can't be sent leaves a dead letter; its run's end says no more.
    ended = ledger.ended_since(since) if wanted.events & _RUNS else []
    ended = [run for run in ended if run.entry != ENTRY]
    missed = _missed(ended) if "occurrence_missed" in wanted.events else []
    happened = [
        *(notice for run in ended if (notice := of_run(run)) is not None),
        *(of_missed(runs) for runs in missed),
        *(_letters_since(since) if "dead_letters" in wanted.events else ()),
        *(_openings_since(since) if "breaker_open" in wanted.events else ()),
    ]
    return outbox().put(
        [notice for notice in happened if wanted.ways(notice)],
        covered=[id_of_end(run) for runs in missed for run in runs],
        seen=now,
    )


def _missed(ended: Iterable[Run]) -> list[list[Run]]:
    """Return the missed occurrences that were not told, those of an entry together."""
    missed = {id_of_end(run): run for run in ended if run.status == "missed"}
    new = [missed[one] for one in outbox().untold(list(missed))]
    new.sort(key=lambda run: (run.entry, run.scheduled_for))
    return [list(runs) for _, runs in groupby(new, key=lambda run: run.entry)]


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
