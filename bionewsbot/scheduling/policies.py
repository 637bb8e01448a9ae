"""What is done about occurrences that are due: pure functions of a policy and the time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from bionewsbot.runs.model import format_time

CATCH_UP_LATEST = "latest"
CATCH_UP_ALL = "all"
CATCH_UP_NONE = "none"
CATCH_UPS = (CATCH_UP_LATEST, CATCH_UP_ALL, CATCH_UP_NONE)

ON_TIME = timedelta(seconds=15)
"""An occurrence that is less late than this was not missed: a fail-over takes up to 5 s, a restart
of Redis a few more."""


@dataclass(frozen=True)
class Decision:
    """What becomes of one occurrence: it runs, or it is on record as missed for a reason."""

    scheduled_for: datetime
    missed: str | None = None


def decide(
    due: Sequence[datetime],
    now: datetime,
    *,
    catch_up: str,
    starting_deadline: timedelta,
    on_time: timedelta = ON_TIME,
    more: bool = False,
) -> list[Decision]:
    """Decide on all occurrences that are due, oldest first; none is left out.

    With `none`, one that is later than `on_time` isn't made up for. `more` says that `due` is only
    the first part of them, so that its last one isn't the latest.
    """
    allowed = min(starting_deadline, on_time) if catch_up == CATCH_UP_NONE else starting_deadline
    latest = None if more or not due else due[-1]
    return [Decision(one, _missed(one, now, allowed, catch_up, latest)) for one in due]


def coalesce(decisions: Sequence[Decision]) -> list[Decision]:
    """Put those that were missed in a row on record as one: the first, which names the last.

    For the occurrences of a beat that was away for very long; the ledger stays small.
    """
    folded: list[Decision] = []
    for missed, group in groupby(decisions, key=lambda one: one.missed is not None):
        ones = list(group)
        if missed and len(ones) > 1:
            why = f"{len(ones)} occurrences up to {format_time(ones[-1].scheduled_for)} were missed"
            ones = [Decision(ones[0].scheduled_for, why)]
        folded += ones
    return folded


def all_missed(first: datetime, until: datetime) -> Decision:
    """Put more than one cares to count on record as one: the first, which names the end."""
    return Decision(first, f"all occurrences up to {format_time(until)} were missed")


def _missed(
    one: datetime, now: datetime, allowed: timedelta, catch_up: str, latest: datetime | None
) -> str | None:
    if now - one > allowed:
        return f"{_seconds(now - one)} late; {_seconds(allowed)} are allowed"
    if catch_up == CATCH_UP_LATEST and one != latest:
        return "a later occurrence stands for it (catch_up: latest)"
    return None


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.0f} s"
