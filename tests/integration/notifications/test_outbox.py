"""The outbox on a real Redis: each event once, batches that are handed out until they are done."""

import json
from collections.abc import Iterator

import pytest
from support.apps import contents
from support.polling import wait_until
from support.redis_server import RedisServer

from bionewsbot.notifications import outbox as module
from bionewsbot.notifications.notices import Notice
from bionewsbot.notifications.outbox import TOLD, WAITING, Batch, Outbox


@pytest.fixture
def outbox(clean_redis: RedisServer) -> Iterator[Outbox]:
    """An empty outbox."""
    outbox = Outbox(clean_redis.client(1))
    yield outbox
    outbox.close()


def notices(*names: object) -> list[Notice]:
    """Return a notice for each name."""
    return [Notice(f"alert/{name}", "alert", f"title {name}", "body") for name in names]


def ids(batch: Batch) -> list[str]:
    """Return what a batch tells of."""
    return [notice.id.removeprefix("alert/") for notice in batch.notices]


def take(outbox: Outbox) -> Batch:
    """Return the next batch, which may have to wait for the next second."""
    return wait_until(outbox.take, "there is a batch")


def test_an_event_is_told_once(outbox: Outbox) -> None:
    """However often it is put in, also when its notice is long gone."""
    assert outbox.put(notices(1, 2, 1)) == 2
    batch = take(outbox)
    assert batch.notices == tuple(notices(1, 2))
    outbox.done(batch)
    assert outbox.put(notices(2, 3)) == 1
    assert ids(take(outbox)) == ["3"]


def test_what_a_notice_covers_is_told_with_it(outbox: Outbox) -> None:
    """It is known as told, and no notice of its own comes of it."""
    assert outbox.untold(["alert/1", "alert/2"]) == {"alert/1", "alert/2"}
    assert outbox.put(notices(1), covered=["alert/1", "alert/2"]) == 1
    assert outbox.untold(["alert/1", "alert/2", "alert/3"]) == {"alert/3"}
    assert outbox.put(notices(1, 2)) == 0
    assert ids(take(outbox)) == ["1"]


def test_a_batch_stays_until_it_is_done(outbox: Outbox) -> None:
    """Whoever dies with it leaves the same one, under the same second, to the next."""
    outbox.put(notices(1))
    batch = take(outbox)
    outbox.put(notices(2))
    assert outbox.take() == batch
    outbox.done(batch)
    outbox.done(batch)
    second = take(outbox)
    assert ids(second) == ["2"] and second.at > batch.at
    # One that comes late with the first must not forget the second.
    outbox.done(batch)
    assert outbox.take() == second
    outbox.done(second)
    assert outbox.take() is None


def test_a_batch_is_bounded(outbox: Outbox) -> None:
    """What is more waits for the next, in its order."""
    names = [str(number) for number in range(module.BATCH_SIZE + 1)]
    outbox.put(notices(*names))
    first = take(outbox)
    assert ids(first) == names[:-1]
    outbox.done(first)
    assert ids(take(outbox)) == names[-1:]


def test_a_full_outbox_forgets_what_it_drops(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the event is told when it is met again and there is room."""
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    assert outbox.put(notices(1, 2, 3)) == 2
    assert outbox.put(notices(3)) == 0
    outbox.done(take(outbox))
    assert outbox.put(notices(3)) == 1


def test_what_was_told_is_bounded(
    outbox: Outbox, clean_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ones met longest ago are forgotten first; one that is met again counts as new."""
    monkeypatch.setattr(module, "MOST_TOLD", 2)
    outbox.put(notices(1))
    outbox.put(notices(2))
    outbox.put(notices(1))
    outbox.put(notices(3))
    with clean_redis.client(1) as redis:
        assert redis.zrange(TOLD, 0, -1) == ["alert/1", "alert/3"]
        assert len(redis.lrange(WAITING, 0, -1)) == 3


def test_every_key_has_an_age(outbox: Outbox, clean_redis: RedisServer) -> None:
    """An outbox that nobody looks at any more goes away by itself."""
    outbox.put(notices(1), seen=1.5)
    take(outbox)
    outbox.put(notices(2))
    assert outbox.seen() == 1.5
    with clean_redis.client(1) as redis:
        found = contents(redis)
        assert len(found) == 4
        assert all(ages for _, ages in found.values())
        assert json.loads(redis.lrange(WAITING, 0, -1)[0])["id"] == "alert/2"
