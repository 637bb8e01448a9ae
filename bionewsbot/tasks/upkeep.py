"""The weekly job that keeps the database fast: steps that let analyses go first."""

from collections.abc import Mapping
from math import inf
from typing import Any

from bionewsbot import names
from bionewsbot import settings as settings_module
from bionewsbot.api.client import MAX_WAIT
from bionewsbot.api.models import MaintenanceKind
from bionewsbot.errors import NotYet
from bionewsbot.runs.exclusive import LOOK_AGAIN_SECONDS as LOOK_AT_STEPS_SECONDS
from bionewsbot.runs.exclusive import exclusive
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import Message
from bionewsbot.tasks.analysis import backend
from bionewsbot.tasks.base import FanOut, RunTask, run_task
from bionewsbot.tasks.maintenance import maintain
from bionewsbot.tasks.worthwhile import sizes, worthwhile

STEPS: tuple[MaintenanceKind, ...] = ("analyze", "reindex", "vacuum")
"""In the order in which they are done: what an index wastes is estimated from ANALYZE's numbers,
and VACUUM reads each index whole, which is quicker once the bloated ones are built anew."""

ANALYSING = (names.DAILY_COMPANY_ANALYSIS, names.HOURLY_QUICK_SCAN)
"""Jobs that a step waits for."""

LOOK_AGAIN_SECONDS = 30.0
"""How soon a step looks again whether an analysis is still under way."""

STEP_SECONDS = 2 * 3600
"""Hard time limit of a step, which a table of many gigabytes may need."""

_STATISTICS_SECONDS = 600
_WORK_SECONDS = STEP_SECONDS - 2 * _STATISTICS_SECONDS - 120
"""How long the step's jobs at the backend may take, which together end before its limit."""


@run_task(names.DATABASE_OPTIMISATION)
def database_optimisation(self: RunTask) -> FanOut:
    """Renew statistics, rebuild bloated indexes, vacuum; a step that fails stops no other."""
    return FanOut(
        tuple(
            Message(step, names.OPTIMISE_DATABASE, names.QUEUE_LOW, {"step": step})
            for step in STEPS
        )
    )


@run_task(
    names.OPTIMISE_DATABASE,
    soft_time_limit=STEP_SECONDS - 60,
    time_limit=STEP_SECONDS,
    # A step may work for an hour before it fails: no reason to give it up.
    retry_policy={"budget": inf},
)
def optimise_database(self: RunTask, step: MaintenanceKind) -> dict[str, int]:
    """Carry out one step where it is worth it; returns totals with the sizes before and after.

    Raises NotYet while an analysis or another step is under way, and before its turn; for the
    analysis it waits until DATABASE_WAIT_SECONDS after the run began.
    """
    _let_analyses_go_first(self.address.run_id)
    _let_earlier_steps_go_first(self.address.run_id, step)
    client = backend()
    key = f"{self.address.run_id}/{self.address.generation}/{step}"
    seconds = 2 * client.longest_call + MAX_WAIT
    with exclusive(ledger(), "database upkeep", seconds=seconds) as still_mine:

        def do(kind: MaintenanceKind, key: str, seconds: float, **what: Any) -> Mapping[str, Any]:
            return maintain(client, kind, key=key, seconds=seconds, still_mine=still_mine, **what)

        before = do("statistics", f"{key}/before", _STATISTICS_SECONDS)
        chosen = worthwhile(step, before)
        if chosen.tables:
            do(step, key, _WORK_SECONDS, tables=chosen.tables)
        after = do("statistics", f"{key}/after", _STATISTICS_SECONDS)
    return {
        f"{step}_tables": len(chosen.tables),
        f"{step}_unknown": chosen.unknown,
        **{f"{step}_{name}_before": value for name, value in sizes(step, before).items()},
        **{f"{step}_{name}_after": value for name, value in sizes(step, after).items()},
    }


def _let_analyses_go_first(run_id: str) -> None:
    waited = ledger().now() - ledger().get(run_id).opened_at
    if waited >= settings_module.current().database_wait_seconds:
        return
    running = ledger().under_way(ANALYSING)
    if running:
        raise NotYet(f"{running[0]} is under way", retry_after=LOOK_AGAIN_SECONDS)


def _let_earlier_steps_go_first(run_id: str, step: MaintenanceKind) -> None:
    # One that has failed once keeps nobody waiting for its next attempt.
    fresh = {
        item.target
        for item in ledger().items(run_id)
        if item.state in ("waiting", "sent") and not item.attempts
    }
    for earlier in STEPS[: STEPS.index(step)]:
        if earlier in fresh:
            raise NotYet(f"{earlier} comes first", retry_after=LOOK_AT_STEPS_SECONDS)
