"""Signs of life: for what is held, while it is held, and not for what is stuck."""

import threading
import time
from collections.abc import Iterable, Iterator
from unittest.mock import Mock, create_autospec

import pytest
from redis import ConnectionError as RedisAway
from support.polling import wait_until

from bionewsbot.runs import heartbeat as module
from bionewsbot.runs.heartbeat import BEATS_PER_LEASE, Heartbeat
from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.model import Address

GILD = Address("daily@2026-01-15T06:00:00Z", "GILD", 1)
PFE = Address("daily@2026-01-15T06:00:00Z", "PFE", 1)


@pytest.fixture
def ledger() -> Mock:
    """A ledger that takes what the real one takes."""
    return create_autospec(Ledger, instance=True)


@pytest.fixture
def heartbeat(ledger: Mock) -> Iterator[Heartbeat]:
    """A heartbeat whose thread never comes to beat by itself."""
    heartbeat = Heartbeat(ledger, interval=3600)
    yield heartbeat
    heartbeat.stop()


def renewed(ledger: Mock) -> list[set[Address]]:
    """Return what each call renewed."""
    return [set(call.args[0]) for call in ledger.alive.call_args_list]


def test_what_is_held_is_renewed(heartbeat: Heartbeat, ledger: Mock) -> None:
    """All of it in one call; after its block nothing."""
    with heartbeat.holding(GILD, limit=100):
        with heartbeat.holding(PFE, limit=100):
            heartbeat.beat(time.monotonic())
        heartbeat.beat(time.monotonic())
    heartbeat.beat(time.monotonic())
    assert renewed(ledger) == [{GILD, PFE}, {GILD}]


def test_a_failed_task_is_no_longer_held(heartbeat: Heartbeat, ledger: Mock) -> None:
    """However the block ends."""
    with pytest.raises(ZeroDivisionError), heartbeat.holding(GILD, limit=100):
        raise ZeroDivisionError
    heartbeat.beat(time.monotonic())
    ledger.alive.assert_not_called()


def test_what_is_held_too_long_is_left_to_the_reconciler(
    heartbeat: Heartbeat, ledger: Mock
) -> None:
    """A stuck thread mustn't keep its item for ever; each task has a limit of its own."""
    with heartbeat.holding(GILD, limit=100), heartbeat.holding(PFE, limit=200):
        heartbeat.beat(time.monotonic() + 99)
        heartbeat.beat(time.monotonic() + 101)
    assert renewed(ledger) == [{GILD, PFE}, {PFE}]


def test_redis_away_is_logged_and_tried_again(
    heartbeat: Heartbeat, ledger: Mock, caplog: pytest.LogCaptureFixture
) -> None:
    """The task goes on; the next beat renews."""
    ledger.alive.side_effect = [RedisAway("gone"), None]
    with heartbeat.holding(GILD, limit=100):
        heartbeat.beat(time.monotonic())
        heartbeat.beat(time.monotonic())
    assert renewed(ledger) == [{GILD}, {GILD}]
    (line,) = caplog.records
    assert (line.message, line.error) == ("heartbeat_failed", "gone")  # type: ignore[attr-defined]


def test_the_thread_beats_until_it_is_stopped(ledger: Mock) -> None:
    """It starts with the first item, in the interval that was asked for."""
    heartbeat = Heartbeat(ledger, interval=0.01)
    before = threading.active_count()
    with heartbeat.holding(GILD, limit=100):
        wait_until(lambda: ledger.alive.call_count >= 3, "three beats")
        assert threading.active_count() == before + 1
    heartbeat.stop()
    assert threading.active_count() == before


def test_the_process_heartbeat_follows_the_settings(configured: pytest.MonkeyPatch) -> None:
    """Three beats in a lease."""
    configured.setenv("RUN_LEASE_SECONDS", "30")
    made: list[dict[str, float]] = []

    def make(ledger: Iterable[object], *, interval: float) -> None:
        made.append({"interval": interval})

    configured.setattr(module, "Heartbeat", make)
    configured.setattr(module, "ledger", lambda: ())
    module.heartbeat.__wrapped__()
    assert made == [{"interval": 30 / BEATS_PER_LEASE}]
