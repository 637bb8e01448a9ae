"""Whether a failed attempt is made again: a function of what failed, how often and how long."""

from dataclasses import dataclass

from bionewsbot.errors import NotYet, RetryableError

OPEN_SPREAD = 2.0
"""While calls aren't let through (open circuit, limit of calls) tasks wait up to this many times as
long, so that they don't all come back in the instant in which one trial or a few calls are."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a task is tried. Durations are in seconds."""

    attempts: int
    """How often it is tried in all."""
    base: float
    """Longest wait before the second attempt; doubles with each further one."""
    cap: float
    """Longest wait there is, also where the other side asks for a longer one."""
    budget: float
    """Time from the first attempt within which the last one starts, idle waits left out."""


@dataclass(frozen=True)
class Again:
    """Try again after so many seconds."""

    seconds: float
    counts: bool = True
    """Whether the failed attempt used up one of the policy's."""


@dataclass(frozen=True)
class GiveUp:
    """Don't try again."""

    reason: str


def decide(
    error: BaseException, *, attempt: int, elapsed: float, policy: RetryPolicy, chance: float
) -> Again | GiveUp:
    """Decide on a failed attempt.

    `attempt` counts from 1, `elapsed` is in seconds since the first one began (without waits for an
    open circuit or a slot), `chance` is a random number from 0 to 1: the wait is anything between
    nothing and the full backoff ("full jitter"), so that tasks which failed together don't come
    back together.
    """
    if isinstance(error, NotYet):
        # Nothing was tried, so nothing is used up; the run's deadline bounds the waiting.
        opens_in = min(error.retry_after or policy.base, policy.cap)
        return Again(opens_in * (1 + chance * (OPEN_SPREAD - 1)), counts=False)
    if not isinstance(error, RetryableError):
        return GiveUp("the error is permanent")
    if attempt >= policy.attempts:
        return GiveUp(f"all {policy.attempts} attempts are used up")
    wait = chance * min(policy.cap, policy.base * 2 ** (attempt - 1))
    wait = max(wait, min(error.retry_after or 0.0, policy.cap))
    if elapsed + wait > policy.budget:
        return GiveUp(f"its time is used up: {policy.budget:.0f} s from the first attempt")
    return Again(wait)
