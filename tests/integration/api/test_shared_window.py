"""The window of calls in a real Redis: what it counts, under how much load, and what it leaves."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from limits import parse
from limits.storage import redis as limits_redis
from support.apps import contents
from support.call_windows import KEY, LIMIT, ORDERS, SECONDS, STEP, check_any_order, pass_time
from support.redis_server import RedisServer

from bionewsbot.api.call_window import SharedWindow
from bionewsbot.api.rate import RateLimit


@pytest.fixture
def window(clean_redis: RedisServer) -> Iterator[SharedWindow]:
    """A window of 5 calls per 1000 seconds on an empty Redis."""
    with clean_redis.client(1) as redis:
        yield SharedWindow(redis, LIMIT)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ORDERS)
def test_a_shared_window_counts_as_a_list_does(window: SharedWindow, order: list[str]) -> None:
    """Whatever the order of urgent and other calls, and however time passes between."""
    redis = window._redis
    redis.flushdb()
    check_any_order(window, lambda seconds: pass_time(redis, seconds), order)


def test_two_processes_never_exceed_the_limit(clean_redis: RedisServer) -> None:
    """Six threads of two processes want 60 calls of 20 a second; at no second more get in."""
    limit = parse("20/second")
    clients = [clean_redis.client(1) for _ in range(2)]
    processes = [
        RateLimit(limit, SharedWindow(client, limit), is_urgent=lambda: True) for client in clients
    ]
    entries: list[float] = []
    with clean_redis.client(1) as watcher, watcher.monitor() as monitor:

        def watch() -> None:
            """Note by Redis' own clock what got in."""
            for command in monitor.listen():
                words = command["command"].split()
                if words[0] == "lpush":
                    entries.append(float(words[2]))
                elif words[0] == "ECHO":
                    return

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        with ThreadPoolExecutor(6) as pool:
            calls = [
                pool.submit(processes[number % 2].enter, "GET /x", seconds=60)
                for number in range(60)
            ]
            for call in calls:
                call.result(timeout=60)
        clients[0].echo("done")
        watching.join(timeout=60)
    for client in clients:
        client.close()
    assert len(entries) == 60
    assert all(later - earlier >= 1 for earlier, later in zip(entries, entries[20:], strict=False))


def test_a_flood_never_delays_an_urgent_call(window: SharedWindow) -> None:
    """It fills the share, and what gets free again is for urgent calls first."""
    assert [window.enter(4) == 0 for _ in range(6)] == [True] * 4 + [False] * 2
    pass_time(window._redis, STEP)
    assert window.enter(5) == 0
    pass_time(window._redis, STEP)
    assert window.enter(5) == pytest.approx(SECONDS - 2 * STEP, abs=STEP / 2)
    pass_time(window._redis, 2 * STEP)
    # The flood's four are out of the window: four urgent calls fill it, one other call gets none.
    assert [window.enter(5) for _ in range(3)] == [0, 0, 0]
    assert window.enter(4) == pytest.approx(SECONDS - 3 * STEP, abs=STEP / 2)
    assert window.enter(5) == 0


def test_the_workers_clocks_may_differ(
    window: SharedWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis' clock counts: a worker whose own is a day ahead or behind gets no more calls."""
    for _ in range(5):
        assert window.enter(5) == 0
    for time in (0.0, 9e9):
        monkeypatch.setattr(limits_redis, "time", SimpleNamespace(time=lambda time=time: time))
        assert window.enter(5) == pytest.approx(SECONDS, abs=STEP / 2)


def test_another_limit_takes_over_what_was_counted(window: SharedWindow) -> None:
    """Workers that start with a new limit don't begin at nothing."""
    for _ in range(5):
        window.enter(5)
    larger = SharedWindow(window._redis, parse("7 per 1000 seconds"))
    assert [larger.enter(7) == 0 for _ in range(3)] == [True, True, False]
    smaller = SharedWindow(window._redis, parse("3 per 1000 seconds"))
    assert smaller.enter(3) > 0


def test_what_it_leaves_in_redis(window: SharedWindow) -> None:
    """One list of as many times as the limit has calls, which goes when its time is over."""
    for _ in range(3):
        while window.enter(5) == 0:
            pass
        pass_time(window._redis, 4 * STEP)
    ((key, (entries, ages)),) = contents(window._redis).items()
    assert (key, len(entries), ages) == (KEY, 5, True)
    assert window._redis.ttl(KEY) <= SECONDS


def test_a_call_costs_one_round_trip(window: SharedWindow) -> None:
    """One that has to wait costs another one."""
    window.enter(1)
    redis = window._redis

    def cost(most: int) -> tuple[int, int]:
        redis.config_resetstat()
        window.enter(most)
        counts = redis.info("commandstats")
        calls = counts["cmdstat_evalsha"]["calls"]
        # Those of the script aside: it asks for the time as well.
        asked = counts["cmdstat_time"]["calls"] - calls
        return calls, asked

    assert [cost(5), cost(1)] == [(1, 0), (1, 1)]
