"""Long polls: an end is never missed, and nobody waits at a shutdown."""

import asyncio
import threading
import time

import pytest
from support.polling import PATIENCE

from bionewsbot.backend import waiting
from bionewsbot.backend.waiting import Waiters


def test_end_between_look_and_wait_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that ends right after the look wakes the caller all the same."""
    # The caller doesn't look by itself meanwhile.
    monkeypatch.setattr(waiting, "RECHECK", 3600)

    async def scenario() -> tuple[bool, float]:
        waiters = Waiters()
        waiters.attach(asyncio.get_running_loop())
        ended = False

        def read() -> bool:
            nonlocal ended
            seen = ended
            if not ended:
                ended = True
                waiters.notify("job")
            return seen

        began = time.monotonic()
        return await waiters.until("job", read, bool, 2 * PATIENCE), time.monotonic() - began

    ended, seconds = asyncio.run(scenario())
    assert ended
    assert seconds < PATIENCE


def test_state_comes_when_the_time_is_over() -> None:
    """After its seconds the caller gets what there is, and leaves nothing behind."""

    async def scenario() -> tuple[str, int]:
        waiters = Waiters()
        waiters.attach(asyncio.get_running_loop())
        state = await waiters.until("job", lambda: "running", lambda _: False, 0.05)
        return state, len(waiters._events)

    assert asyncio.run(scenario()) == ("running", 0)


def test_other_processes_ends_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word from this process, the state is read again from time to time."""
    monkeypatch.setattr(waiting, "RECHECK", 0.01)
    looks = iter([False, False, True])

    async def scenario() -> bool:
        return await Waiters().until("job", lambda: next(looks), bool, 10)

    assert asyncio.run(scenario())


def test_shutdown_sends_everyone_home() -> None:
    """`close` from another thread ends the waits that are under way and those to come."""

    async def scenario() -> list[str]:
        waiters = Waiters()
        waiters.attach(asyncio.get_running_loop())
        looked = threading.Event()

        def read() -> str:
            looked.set()
            return "running"

        closer = threading.Thread(target=lambda: (looked.wait(PATIENCE), waiters.close()))
        closer.start()
        first = await asyncio.wait_for(
            waiters.until("a", read, lambda _: False, 2 * PATIENCE), PATIENCE
        )
        second = await asyncio.wait_for(
            waiters.until("b", read, lambda _: False, 2 * PATIENCE), PATIENCE
        )
        closer.join()
        return [first, second]

    assert asyncio.run(scenario()) == ["running", "running"]


def test_errors_of_the_look_reach_the_caller() -> None:
    """What the look raises, the caller gets."""

    def read() -> None:
        raise LookupError("none")

    with pytest.raises(LookupError):
        asyncio.run(Waiters().until("a", read, bool, 1))
