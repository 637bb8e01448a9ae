"""What the reconciler looks at where much waits: little at a time, and what can't be missed not."""

import json

import pytest
from celery import Celery
from support.apps import Broker
from support.ledgers import LEASE, OCCURRENCE, LedgerUnderTest, message

from bionewsbot.runs import reconciler, supervision
from bionewsbot.runs.dispatch import send_all
from bionewsbot.runs.ledger import Verdict
from bionewsbot.runs.model import Address
from bionewsbot.runs.reconciler import reconcile
from bionewsbot.runs.scripting import QUEUED_LEASES

RUN_ID = OCCURRENCE.run_id
QUEUED = LEASE * QUEUED_LEASES + 1


@pytest.fixture
def backlog(app: Celery, book: LedgerUnderTest, broker: Broker) -> None:
    """A run whose four targets, 0 to 3, were sent a second apart and wait."""
    job = book.open()
    book.begin(job, "job")
    targets = [message(str(number), "low") for number in range(4)]
    book.ledger.fan_out(job, targets)
    book.ledger.finish(job, {})
    for target in targets:
        book.clock.advance(1)
        address = Address(RUN_ID, target.target, 1)
        book.ledger.sent(send_all(app, [(address, target, None)]))
    book.clock.advance(QUEUED)


def read_no_queue(app: Celery, queue: str, wanted: set[str]) -> set[str]:
    """Stand in for the reading of a long queue."""
    raise AssertionError(f"{queue} was read for {wanted}")


def test_what_waits_behind_others_is_not_looked_for(
    app: Celery,
    book: LedgerUnderTest,
    broker: Broker,
    backlog: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the message that comes next is read, and those that came with it or before."""
    with monkeypatch.context() as patch:
        patch.setattr(reconciler, "waiting_task_ids", lambda app, queue, wanted: wanted)
        assert reconcile(app, book.ledger) == 0
        book.clock.advance(QUEUED)
        book.ledger.postpone([Address(RUN_ID, "0", 1)])
        patch.setattr(reconciler, "waiting_task_ids", read_no_queue)
        assert reconcile(app, book.ledger) == 0
    assert book.ledger.suspects(10) == []
    book.clock.advance(QUEUED)
    assert reconcile(app, book.ledger) == 0


def test_what_is_lost_behind_others_is_sent_again_in_its_turn(
    app: Celery, book: LedgerUnderTest, broker: Broker, backlog: None
) -> None:
    """Once one is next, or taken, that was sent after it."""
    broker.redis.lrem("low", 1, broker.redis.lindex("low", -2))
    assert reconcile(app, book.ledger) == 0
    broker.lose("low")
    book.clock.advance(QUEUED)
    assert reconcile(app, book.ledger) == 2
    sent = [Address.from_headers(each["headers"]).target for each in broker.messages("low")]
    assert sorted(sent) == ["0", "1", "2", "3"]


def test_what_a_dead_worker_had_is_sent_again_however_late_it_was_sent(
    app: Celery, book: LedgerUnderTest, broker: Broker, backlog: None
) -> None:
    """Begun means taken, also where messages that were sent before it wait."""
    latest = broker.redis.lindex("low", 0)
    broker.redis.lrem("low", 1, latest)
    task_id = json.loads(latest)["headers"]["id"]
    assert book.begin(Address(RUN_ID, "3", 1), task_id) is Verdict.GO
    book.clock.advance(LEASE + 1)
    assert reconcile(app, book.ledger) == 1
    assert Address.from_headers(broker.messages("low")[-1]["headers"]).target == "3"


def test_many_are_looked_at_in_batches(
    app: Celery,
    book: LedgerUnderTest,
    broker: Broker,
    backlog: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All in one pass, up to a number; the rest in the next one."""
    monkeypatch.setattr(reconciler, "BATCH", 2)
    monkeypatch.setattr(reconciler, "MAX_SUSPECTS", 3)
    for number in range(4):
        broker.redis.zadd("bionewsbot:leases", {f"{RUN_ID}|GONE-{number}": 0})
    broker.redis.delete("low")
    assert reconcile(app, book.ledger) == 2
    monkeypatch.setattr(reconciler, "MAX_SUSPECTS", 6)
    broker.redis.delete("low")
    book.clock.advance(QUEUED)
    assert reconcile(app, book.ledger) == 4
    assert len(broker.messages("low")) == 4


def test_settled_leases_are_cleared_a_part_at_a_time(
    book: LedgerUnderTest, backlog: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hide no other until there are too many for one step."""
    monkeypatch.setattr(supervision, "CLEAR", 3)
    gone = {f"{RUN_ID}|GONE-{number}": 0 for number in range(7)}
    book.redis.zadd("bionewsbot:leases", gone)
    assert [len(book.ledger.suspects(2)) for _ in range(3)] == [0, 1, 2]
    assert book.redis.zcard("bionewsbot:leases") == 4
