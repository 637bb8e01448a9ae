"""Windows of calls under any order of entries, beside a plain list of what got in and when."""

from collections.abc import Callable
from itertools import islice

from hypothesis import strategies as st
from limits import parse
from redis import Redis

from bionewsbot.api.call_window import Window

LIMIT = parse("5 per 1000 seconds")
SECONDS = 1000.0
STEP = 300.0
"""Seconds that pass in a step: no number of steps ends at a window's edge, where the time that the
test itself takes would decide."""

KEY = "bionewsbot:rate"

ORDERS = st.lists(st.sampled_from(["urgent", "other", "other", "wait"]), max_size=40)
MOST = {"urgent": 5, "other": 4}


def check_any_order(window: Window, pass_time: Callable[[float], None], order: list[str]) -> None:
    """Let calls enter in the order and time pass between: the window decides as the list does."""
    now = 0.0
    entered: list[float] = []
    for step in order:
        if step == "wait":
            now += STEP
            pass_time(STEP)
            continue
        most = MOST[step]
        room = window.enter(most)
        within = [at for at in reversed(entered) if now - at < SECONDS]
        if len(within) < most:
            assert room == 0
            entered.append(now)
        else:
            # The local one names the first moment that may bring room, not the one that does.
            earliest = within[-1] + SECONDS - now
            exact = next(islice(within, most - 1, None)) + SECONDS - now
            assert earliest - STEP / 2 < room < exact + STEP / 2


def pass_time(redis: "Redis", seconds: float) -> None:
    """Let time pass for the window in Redis: its entries move, since its clock can't."""
    entries = redis.lrange(KEY, 0, -1)
    ttl = redis.ttl(KEY)
    if entries:
        with redis.pipeline() as pipe:
            pipe.delete(KEY)
            pipe.rpush(KEY, *(repr(float(entry) - seconds) for entry in entries))
            pipe.expire(KEY, ttl)
            pipe.execute()
