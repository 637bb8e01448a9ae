"""The limit of calls as one process keeps it: who waits, in which order, how long, what it logs."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import redis
from billiard.exceptions import SoftTimeLimitExceeded
from limits import parse
from support.ledgers import Clock
from support.polling import wait_until

from bionewsbot.api.client import BackendClient
from bionewsbot.api.rate import (
    SAY_AGAIN,
    SPREAD,
    WAIT_TO_BEGIN,
    WAIT_TO_GO_ON,
    RateLimit,
    share_of,
)
from bionewsbot.api.redis_watch import LOOK_AGAIN
from bionewsbot.errors import RateLimited

CALL = "GET /x"


class Shared:
    """Stands for the shared window: it has room at once, or after `rooms`, or is away."""

    def __init__(self) -> None:
        self.rooms: list[float] = []
        self.away = False
        self.asked: list[tuple[int, str]] = []
        """What the calls that asked might fill, and their threads."""

    def enter(self, most: int) -> float:
        """Return the next of `rooms`; 0 when they are used up."""
        self.asked.append((most, threading.current_thread().name))
        if self.away:
            raise redis.ConnectionError("no Redis")
        return self.rooms.pop(0) if self.rooms else 0.0


class Process:
    """A process' limit of 10 calls a minute, whose sleeps only move its clock."""

    def __init__(self) -> None:
        self.clock = Clock(1000.0)
        self.shared = Shared()
        self.sleeps: list[float] = []
        self.sleep: Callable[[float], None] = self.clock.advance
        self.chance = 0.0
        self.is_urgent = False
        self.limit = RateLimit(
            parse("10/minute"),
            self.shared,
            is_urgent=lambda: self.is_urgent,
            clock=self.clock,
            sleep=self._sleep,
            chance=lambda: self.chance,
        )

    def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.sleep(seconds)

    def enter(self, seconds: float = WAIT_TO_BEGIN) -> str:
        """Enter; return the name of the thread, which is then past the limit."""
        self.limit.enter(CALL, seconds=seconds)
        return threading.current_thread().name

    def in_line(self) -> int:
        """Return how many calls stand in line, the one at its head included."""
        return len(self.limit._lines[False]._waiting)


@pytest.fixture
def process() -> Process:
    """A process whose shared window is empty."""
    return Process()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what reads the names of all events so far."""
    caplog.set_level("INFO", "bionewsbot")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("amount", "share"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (50, 40), (99, 79), (600, 480)]
)
def test_the_share_leaves_room(amount: int, share: int) -> None:
    """Four fifths, rounded down; one where the limit is one."""
    assert share_of(amount) == share


def test_a_call_that_has_room_does_not_wait(process: Process, said: Callable) -> None:
    """It asks once, for its share or for all of the limit."""
    process.enter()
    process.is_urgent = True
    process.enter()
    assert [most for most, _ in process.shared.asked] == [8, 10]
    assert process.sleeps == [] and said() == []


@pytest.mark.parametrize(
    ("is_urgent", "chance", "spread"),
    [(True, 0, 0), (True, 1, SPREAD), (False, 0, SPREAD), (False, 1, 2 * SPREAD)],
)
def test_a_call_waits_for_room(
    process: Process, is_urgent: bool, chance: float, spread: float
) -> None:
    """Each time until there is room and a little longer, urgent calls less than all others."""
    process.is_urgent, process.chance = is_urgent, chance
    process.shared.rooms = [2.0, 0.5]
    process.enter()
    assert process.sleeps == [2.0 + spread, 0.5 + spread]


def test_what_comes_too_late_is_not_waited_for(process: Process) -> None:
    """The call is told at once when to come back."""
    process.shared.rooms = [2.0, 3.1]
    with pytest.raises(RateLimited, match=r"^GET /x: not called, .* 10 per 1 minute") as refused:
        process.enter()
    assert process.sleeps == [2.0 + SPREAD]
    assert refused.value.retry_after == WAIT_TO_BEGIN
    process.shared.rooms = [42.0]
    with pytest.raises(RateLimited, match=r"API_RATE_LIMIT\); look again in 42.0 s$") as refused:
        process.enter()
    assert refused.value.retry_after == 42.0
    process.shared.rooms = [42.0]
    process.enter(seconds=60)


class Stuck:
    """A call at the head of the line that waits for room until the test lets it go."""

    def __init__(self, process: Process, pool: ThreadPoolExecutor) -> None:
        self.go = threading.Event()
        self.error: BaseException | None = None
        process.shared.rooms = [1.0]
        process.sleep = self._sleep
        self.call: Future[str] = pool.submit(process.enter)
        wait_until(lambda: process.sleeps, "the first call waits for room")

    def _sleep(self, seconds: float) -> None:
        assert self.go.wait(timeout=60)
        if self.error is not None:
            raise self.error


def test_calls_get_in_as_they_came(process: Process) -> None:
    """The one at the head asks, the others wait for their turns."""
    with ThreadPoolExecutor(6) as pool:
        stuck = Stuck(process, pool)
        calls = [stuck.call]
        for _ in range(5):
            calls.append(pool.submit(process.enter))
            wait_until(lambda: process.in_line() == len(calls), "it stands in line")
        assert len(process.shared.asked) == 1
        stuck.go.set()
        order = [call.result(timeout=60) for call in calls]
    assert [name for _, name in process.shared.asked] == [order[0], *order]
    assert process.in_line() == 0


def test_an_urgent_call_does_not_stand_behind_others(process: Process) -> None:
    """It has a line of its own."""
    with ThreadPoolExecutor(1) as pool:
        stuck = Stuck(process, pool)
        process.is_urgent = True
        process.enter()
        assert not stuck.call.done()
        stuck.go.set()
        stuck.call.result(timeout=60)


def test_the_wait_in_line_ends_too(process: Process) -> None:
    """A call whose turn doesn't come in time is told to come back; the line goes on without it."""
    with ThreadPoolExecutor(2) as pool:
        stuck = Stuck(process, pool)
        with pytest.raises(RateLimited) as refused:
            process.enter(seconds=0.01)
        assert refused.value.retry_after == WAIT_TO_BEGIN
        assert process.in_line() == 1
        last = pool.submit(process.enter)
        wait_until(lambda: process.in_line() == 2, "it stands in line")
        stuck.go.set()
        assert {stuck.call.result(timeout=60), last.result(timeout=60)}


def test_a_task_that_is_stopped_leaves_the_line(process: Process) -> None:
    """Its time limit ends the wait, and the next one has its turn."""
    with ThreadPoolExecutor(2) as pool:
        stuck = Stuck(process, pool)
        last = pool.submit(process.enter)
        wait_until(lambda: process.in_line() == 2, "it stands in line")
        stuck.error = SoftTimeLimitExceeded()
        stuck.go.set()
        with pytest.raises(SoftTimeLimitExceeded):
            stuck.call.result(timeout=60)
        last.result(timeout=60)
    assert process.in_line() == 0


def test_without_redis_a_process_keeps_it_alone(process: Process, said: Callable) -> None:
    """In memory, with the same limit; Redis is asked again every LOOK_AGAIN seconds."""
    process.shared.away = True
    for _ in range(8):
        process.enter()
    assert len(process.shared.asked) == 1
    with pytest.raises(RateLimited):
        process.enter()
    process.clock.advance(LOOK_AGAIN)
    with pytest.raises(RateLimited):
        process.enter()
    assert len(process.shared.asked) == 2
    process.shared.away = False
    process.clock.advance(LOOK_AGAIN)
    process.enter()
    assert said() == ["rate_kept_locally", "rate_shared_again"]
    process.shared.away = True
    process.enter()
    assert said()[2:] == ["rate_kept_locally"]


def test_held_back_calls_are_summed_up(
    process: Process, said: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    """One line at once, and then one for all calls of the next seconds that had to wait."""
    for wait in (1.0, 3.0, 2.0):
        process.shared.rooms = [wait]
        process.enter()
    assert said() == ["calls_held_back"]
    process.clock.advance(SAY_AGAIN)
    process.enter()
    process.shared.rooms = [0.5]
    process.enter()
    assert said() == ["calls_held_back"] * 2
    first, second = ((each.calls, each.longest, each.limit) for each in caplog.records)
    assert first == (1, 1.0 + SPREAD, "10 per 1 minute")
    assert second == (3, 3.0 + SPREAD, "10 per 1 minute")


def test_the_longest_call_counts_the_wait_in_line(process: Process) -> None:
    """A lock that is to outlast a call has to outlast that, too."""
    url = "http://127.0.0.1:9"
    with BackendClient(url, rate=process.limit) as limited, BackendClient(url) as free:
        assert limited.longest_call == free.longest_call + WAIT_TO_GO_ON
