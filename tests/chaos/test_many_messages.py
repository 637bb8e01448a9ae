"""Ten thousand messages while workers die; `make chaos` runs it."""

from collections.abc import Iterator

import pytest
import requests
from support.polling import wait_until
from support.stack import ROOT, Process, Stack

MESSAGES = 10_000

ANALYSIS_SECONDS = 0.05
"""Of the backend, for each message: with it the run takes far longer than a worker's start."""

STARTS_BEFORE_KILL = 40
"""Tasks that the third worker has begun when it is killed: it is in the middle of its work."""

MIN_KILLS = 3

LIMIT_SECONDS = 1200
"""Longest run: ten times what it takes on two cores with nothing else to do."""

EFFECTS_EACH = 2
"""One analysis and one insight for each message."""


@pytest.fixture
def backend(stack: Stack) -> Iterator[Process]:
    """The backend that counts effects, at the stack's address."""
    port = stack.api.rpartition(":")[2]
    process = stack.start(
        "backend",
        *("-m", "support.slow_backend", port, str(ANALYSIS_SECONDS), str(MESSAGES)),
        PYTHONPATH=str(ROOT / "tests"),
    )
    wait_until(lambda: _effects(stack) is not None, "the backend answers", seconds=60)
    yield process


@pytest.mark.timeout(LIMIT_SECONDS + 300)
def test_every_target_done_no_effect_twice(
    stack: Stack, backend: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two workers carry out 10,000 messages, while a third is killed -9 whenever it is at work."""
    # The shipped lease, not the tests' short one; and no time-out where the machine is busy.
    stack.env.update(RUN_LEASE_SECONDS="10", API_TIMEOUT="60")
    workers = [stack.worker("first"), stack.worker("second")]
    run_id = stack.start_run()
    victims = []
    while not stack.ledger.get(run_id).ended:
        victim = stack.worker(f"third-{len(victims)}")
        wait_until(
            lambda: _logged(victim, "task_started") >= STARTS_BEFORE_KILL
            or stack.ledger.get(run_id).ended,
            "the third worker is at work, or the run has ended",
            seconds=LIMIT_SECONDS,
        )
        if not stack.ledger.get(run_id).ended:
            victim.kill()
            victims.append(victim)
    run = stack.ledger.get(run_id)
    targets = stack.targets(run_id)
    effects = _effects(stack)
    assert effects is not None
    dropped = sum(_logged(worker, "task_dropped") for worker in (*workers, *victims))
    with capsys.disabled():
        print(
            f"\n{MESSAGES:,} messages in {run.seconds(run.opened_at):.0f} s, {len(victims)} kills: "
            f"{sum(target.sends for target in targets):,} sends, "
            f"{sum(target.starts for target in targets):,} starts, "
            f"{dropped} dropped; {effects['effects']:,} effects, "
            f"{effects['again']} asked for again, {effects['twice']} stand twice"
        )

    assert len(victims) >= MIN_KILLS
    assert all(worker.running for worker in workers)
    assert run.status == "succeeded"
    assert len(targets) == MESSAGES
    assert {target.state for target in targets} == {"done"}
    assert run.totals["insights"] == MESSAGES
    assert effects["effects"] == MESSAGES * EFFECTS_EACH
    assert effects["twice"] == 0
    assert stack.celery_json("dlq", "list") == []


def _logged(worker: Process, event: str) -> int:
    # Without parsing it: the last line may be half written.
    return worker.log.read_text(encoding="utf-8").count(f'"event": "{event}"')


def _effects(stack: Stack) -> dict[str, int] | None:
    try:
        counts: dict[str, int] = requests.get(f"{stack.api}/effects", timeout=10).json()
    except requests.ConnectionError:
        return None
    return counts
