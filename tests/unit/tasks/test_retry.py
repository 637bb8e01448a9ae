"""Whether and when a failed attempt is made again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionewsbot.errors import (
    AnalysisFailed,
    BackendRefused,
    BackendUnavailable,
    CircuitOpen,
    MalformedAnswer,
    NotYet,
    RateLimited,
)
from bionewsbot.tasks.retry import OPEN_SPREAD, Again, GiveUp, RetryPolicy, decide

POLICY = RetryPolicy(attempts=4, base=2.0, cap=60.0, budget=600.0)
chances = st.floats(0, 1)


@pytest.mark.parametrize(("attempt", "longest"), [(1, 2.0), (2, 4.0), (3, 8.0)])
def test_the_longest_wait_doubles(attempt: int, longest: float) -> None:
    """Full jitter: anything between nothing and the backoff."""
    error = BackendUnavailable("503")
    for chance in (0.0, 0.5, 1.0):
        decision = decide(error, attempt=attempt, elapsed=0, policy=POLICY, chance=chance)
        assert decision == Again(longest * chance)


@given(st.integers(1, 1000), chances)
def test_no_wait_is_longer_than_the_cap(attempt: int, chance: float) -> None:
    """However many attempts the policy has."""
    policy = RetryPolicy(attempts=1001, base=2.0, cap=60.0, budget=1e9)
    decision = decide(
        MalformedAnswer("x"), attempt=attempt, elapsed=0, policy=policy, chance=chance
    )
    assert isinstance(decision, Again) and 0 <= decision.seconds <= 60


@pytest.mark.parametrize(("asked", "wait"), [(7.0, 7.0), (9e9, 60.0), (0.5, 2.0), (None, 2.0)])
def test_the_other_side_may_ask_for_more(asked: float | None, wait: float) -> None:
    """Retry-After is the least wait, up to the cap."""
    error = BackendUnavailable("429", retry_after=asked)
    assert decide(error, attempt=1, elapsed=0, policy=POLICY, chance=1.0) == Again(wait)


@pytest.mark.parametrize(
    "error", [BackendRefused("404", status=404), AnalysisFailed("no"), ValueError("bug")]
)
def test_a_permanent_error_is_never_tried_again(error: Exception) -> None:
    """Nor is what nobody foresaw."""
    decision = decide(error, attempt=1, elapsed=0, policy=POLICY, chance=0.0)
    assert decision == GiveUp("the error is permanent")


def test_attempts_are_used_up() -> None:
    """The last one has no successor."""
    error = BackendUnavailable("503")
    assert isinstance(decide(error, attempt=3, elapsed=0, policy=POLICY, chance=0.0), Again)
    decision = decide(error, attempt=4, elapsed=0, policy=POLICY, chance=0.0)
    assert decision == GiveUp("all 4 attempts are used up")


def test_time_is_used_up() -> None:
    """An attempt that would start after the budget isn't made."""
    error = BackendUnavailable("503", retry_after=50.0)
    assert decide(error, attempt=1, elapsed=550, policy=POLICY, chance=0.0) == Again(50.0)
    decision = decide(error, attempt=1, elapsed=551, policy=POLICY, chance=0.0)
    assert decision == GiveUp("its time is used up: 600 s from the first attempt")


@given(
    st.sampled_from([CircuitOpen, RateLimited]),
    st.integers(1, 10_000),
    st.floats(0, 1e9),
    chances,
)
def test_a_call_that_was_not_made_uses_nothing_up(
    kind: type[NotYet], attempt: int, elapsed: float, chance: float
) -> None:
    """The wait is at least as long as it is told, and spread."""
    error = kind("not called", retry_after=20.0)
    decision = decide(error, attempt=attempt, elapsed=elapsed, policy=POLICY, chance=chance)
    assert isinstance(decision, Again) and not decision.counts
    assert 20 <= decision.seconds <= 20 * OPEN_SPREAD
