"""Slots: so many items at a time over all workers, in order, and none is lost in line."""

from collections import Counter
from collections.abc import Iterator

import pytest
from celery import Celery
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.apps import Broker
from support.ledgers import LEASE, OCCURRENCE, Clock, LedgerUnderTest, message, new_run
from support.redis_server import RedisServer

from bionewsbot.runs.ledger import Verdict
from bionewsbot.runs.model import Address, Message, Suspect
from bionewsbot.runs.scripting import QUEUED_LEASES
from bionewsbot.runs.slots import call_up

QUEUES = ("high", "default", "low")


def begin(book: LedgerUnderTest, address: Address, slots: int, task_id: str = "t1") -> Verdict:
    """Begin an item that takes one of so many slots, a moment after what came before."""
    book.clock.advance(0.001)
    return book.ledger.begin(address, task_id=task_id, worker="w@here", slots=slots)


def targets(called: list[Suspect]) -> list[str]:
    """Return the targets that were called up, in their order."""
    return [one.address.target for one in called]


def fan_out_to(book: LedgerUnderTest, queues: dict[str, str]) -> dict[str, Address]:
    """Open a run with a target for each name, in the queue that goes with it."""
    job = book.open()
    book.ledger.sent([(job, "job")])
    book.begin(job, "job")
    book.ledger.fan_out(job, [message(target, queue) for target, queue in queues.items()])
    found = {target: Address(job.run_id, target, job.generation) for target in queues}
    book.ledger.sent([(address, target) for target, address in found.items()])
    book.ledger.finish(job, {})
    return found


def test_no_more_begin_than_there_are_slots(book: LedgerUnderTest) -> None:
    """With three slots, one of them kept for `high`, the third item of `default` has to wait."""
    _, items = book.fan_out("A", "B", "C")
    assert [begin(book, item, 3) for item in items] == ["go", "go", "in line"]
    assert book.ledger.call_up(3, 10) == []


def test_the_one_slot_there_is_serves_all_queues(book: LedgerUnderTest) -> None:
    """With a limit of one nothing is kept for `high`, or the others would never begin."""
    _, (gild, pfe) = book.fan_out("GILD", "PFE")
    assert begin(book, gild, 1) is Verdict.GO
    assert begin(book, pfe, 1) is Verdict.IN_LINE


@pytest.mark.parametrize(
    "end", ["done", "failed", "paused", "let go", "cancelled and done", "dead"]
)
def test_a_slot_is_free_when_its_holder_ends(book: LedgerUnderTest, end: str) -> None:
    """However it ends: the next one in line is called up, and the slot is its own."""
    _, (gild, pfe, jnj) = book.fan_out("GILD", "PFE", "JNJ")
    other = book.ledger.open(new_run(OCCURRENCE, again=False)).new.occurrence.run_id
    assert other == gild.run_id
    begin(book, gild, 1)
    begin(book, pfe, 1)
    begin(book, jnj, 1)
    match end:
        case "done":
            book.ledger.finish(gild, {})
        case "failed":
            book.ledger.fail(gild, "no", why="no")
        case "paused":
            book.ledger.pause(gild, seconds=5, error="503")
        case "let go":
            book.ledger.let_go([(gild, "t1")])
        case "dead":
            book.clock.advance(LEASE + 1)
        case _:
            book.ledger.cancel(gild.run_id, "an operator")
            book.ledger.finish(gild, {})
            assert book.ledger.call_up(1, 10) == []
            assert not book.redis.exists("bionewsbot:slots", "bionewsbot:slots:line")
            return
    assert targets(book.ledger.call_up(1, 10)) == ["PFE"]
    assert begin(book, jnj, 1) is Verdict.IN_LINE
    assert begin(book, pfe, 1, "called") is Verdict.GO


def test_those_in_line_come_in_the_order_of_their_queues_and_of_their_coming(
    book: LedgerUnderTest,
) -> None:
    """`high` before `default` before `low`; within a queue who came first."""
    names = {"L1": "low", "D1": "default", "H1": "high", "D2": "default", "H2": "high"}
    items = fan_out_to(book, {"X": "default", **names})
    begin(book, items["X"], 1)
    for name in names:
        assert begin(book, items[name], 1) is Verdict.IN_LINE
        book.clock.advance(1)
    order = []
    current = "X"
    for _ in names:
        book.ledger.finish(items[current], {})
        (current,) = targets(book.ledger.call_up(1, 10))
        order.append(current)
        assert begin(book, items[current], 1, f"called {current}") is Verdict.GO
    assert order == ["H1", "H2", "D1", "D2", "L1"]


def test_who_comes_late_does_not_pass_those_in_line(book: LedgerUnderTest) -> None:
    """A slot that is free belongs to the first in line, also if that one has yet to be called."""
    _, (gild, pfe, jnj) = book.fan_out("GILD", "PFE", "JNJ")
    begin(book, gild, 1)
    begin(book, pfe, 1)
    book.ledger.finish(gild, {})
    assert begin(book, jnj, 1) is Verdict.IN_LINE
    assert targets(book.ledger.call_up(1, 10)) == ["PFE"]


def test_a_flood_on_low_leaves_a_slot_for_high(book: LedgerUnderTest) -> None:
    """However many items of `low` there are, the next one of `high` begins at once."""
    flood = {f"L{number}": "low" for number in range(20)}
    items = fan_out_to(book, {**flood, "H": "high"})
    verdicts = Counter(begin(book, items[name], 4) for name in flood)
    assert verdicts == {"go": 3, "in line": 17}
    assert begin(book, items["H"], 4) is Verdict.GO


def test_waiting_in_line_uses_up_nothing(book: LedgerUnderTest) -> None:
    """No attempt, no time of the budget, no lease that runs out, and no death."""
    _, (gild, pfe) = book.fan_out("GILD", "PFE")
    begin(book, pfe, 1)
    book.ledger.pause(pfe, seconds=5, error="503")
    begin(book, gild, 1)
    book.clock.advance(5)
    assert begin(book, pfe, 1) is Verdict.IN_LINE
    for _ in range(50):
        book.clock.advance(LEASE / 2)
        book.ledger.alive([gild])
    assert "PFE" not in targets(book.ledger.suspects(10))
    book.ledger.finish(gild, {})
    (called,) = book.ledger.call_up(1, 10)
    assert called.deaths == 0
    assert begin(book, pfe, 1, "called") is Verdict.GO
    book.clock.advance(3)
    assert book.ledger.tried(pfe) == (1, pytest.approx(8.0, abs=0.1))


def test_waiting_for_the_circuit_uses_up_no_time(book: LedgerUnderTest) -> None:
    """A pause that doesn't count as an attempt doesn't count in the budget either."""
    _, (gild,) = book.fan_out("GILD")
    book.begin(gild)
    book.clock.advance(2)
    book.ledger.pause(gild, seconds=3600, error="the circuit is open", counts=False)
    book.clock.advance(3600)
    book.begin(gild, "t2")
    book.clock.advance(1)
    assert book.ledger.tried(gild) == (0, 3.0)


def test_a_message_that_is_lost_after_the_call_is_a_suspect(book: LedgerUnderTest) -> None:
    """Who was called up and never began is sent again by the reconciler; its slot was kept."""
    _, (gild, pfe, jnj) = book.fan_out("GILD", "PFE", "JNJ")
    for item in (gild, pfe, jnj):
        begin(book, item, 1)
    book.ledger.finish(gild, {})
    assert targets(book.ledger.call_up(1, 10)) == ["PFE"]
    assert book.ledger.call_up(1, 10) == []
    book.clock.advance(LEASE * QUEUED_LEASES + 1)
    assert "PFE" in targets(book.ledger.suspects(10))


def test_what_ended_while_it_stood_in_line_is_passed_over(book: LedgerUnderTest) -> None:
    """A run's deadline fails what stands in line; the line moves on to what is left."""
    job, (gild, pfe) = book.fan_out("GILD", "PFE")
    begin(book, gild, 1)
    begin(book, pfe, 1)
    book.clock.advance(3601)
    assert book.ledger.end_overdue(job.run_id) == "failed"
    assert book.ledger.call_up(1, 10) == []
    assert not book.redis.exists("bionewsbot:slots", "bionewsbot:slots:line")


def test_without_a_limit_everybody_in_line_is_called(book: LedgerUnderTest) -> None:
    """An operator who takes the limit away leaves nobody standing there."""
    _, items = book.fan_out("A", "B", "C")
    for item in items:
        begin(book, item, 1)
    assert targets(book.ledger.call_up(0, 10)) == ["B", "C"]


def test_in_line_is_shown(book: LedgerUnderTest) -> None:
    """An item says that it stands in line, until it is called."""
    _, (gild, pfe) = book.fan_out("GILD", "PFE")
    begin(book, gild, 1)
    begin(book, pfe, 1)

    def in_line() -> list[str]:
        return [item.target for item in book.ledger.items(gild.run_id) if item.in_line]

    assert in_line() == ["PFE"]
    book.ledger.finish(gild, {})
    book.ledger.call_up(1, 10)
    assert in_line() == []


def test_call_up_passes_over_a_queue_that_is_gone(
    app: Celery, broker: Broker, book: LedgerUnderTest
) -> None:
    """The others in line are sent all the same."""
    items = fan_out_to(book, {"GILD": "low", "ASTRAY": "gone", "PFE": "low"})
    for address in items.values():
        begin(book, address, 1)
    assert call_up(app, book.ledger) == 1
    (sent,) = broker.messages("low")
    assert Address.from_headers(sent["headers"]) == items["PFE"]


def test_call_up_sends_to_the_items_queue(
    app: Celery, broker: Broker, book: LedgerUnderTest, configured: pytest.MonkeyPatch
) -> None:
    """The message is a fresh one of the same item."""
    items = fan_out_to(book, {"GILD": "low", "PFE": "low"})
    begin(book, items["GILD"], 1)
    begin(book, items["PFE"], 1)
    book.ledger.finish(items["GILD"], {})
    assert call_up(app, book.ledger) == 1
    (sent,) = broker.messages("low")
    assert sent["headers"]["bionewsbot"]["target"] == "PFE"
    assert begin(book, items["PFE"], 1, sent["headers"]["id"]) is Verdict.GO


@pytest.fixture(scope="module")
def shared(redis_server: RedisServer) -> Iterator[RedisServer]:
    """The server, for examples that empty it themselves."""
    yield redis_server


STEPS = st.lists(
    st.tuples(st.sampled_from(["begin", "finish", "pause", "call", "die"]), st.integers(0, 7)),
    max_size=60,
)


@given(queues=st.lists(st.sampled_from(QUEUES), min_size=8, max_size=8), steps=STEPS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_any_order_the_limit_holds_and_everybody_gets_a_turn(
    shared: RedisServer, queues: list[str], steps: list[tuple[str, int]]
) -> None:
    """Against a plain count of who works: never over the limit, and in the end all are done."""
    limit = 3
    with shared.client(1) as redis:
        redis.flushdb()
    book = LedgerUnderTest(shared, Clock(OCCURRENCE.scheduled_for.timestamp()))
    names = {f"T{number}": queue for number, queue in enumerate(queues)}
    items = fan_out_to(book, names)
    working: set[str] = set()
    done: set[str] = set()
    sends = 0

    def start(name: str) -> None:
        nonlocal sends
        sends += 1
        if begin(book, items[name], limit, f"send {sends}") is Verdict.GO:
            working.add(name)
        assert len(working) <= limit
        assert sum(names[each] != "high" for each in working) <= limit - 1

    def finish(name: str) -> None:
        book.ledger.finish(items[name], {})
        working.discard(name)
        done.add(name)

    for step, number in steps:
        name = f"T{number}"
        if step == "begin" and name not in working | done:
            start(name)
        elif step == "finish" and name in working:
            finish(name)
        elif step == "pause" and name in working:
            book.ledger.pause(items[name], seconds=1, error="503")
            working.discard(name)
        elif step == "call":
            for one in book.ledger.call_up(limit, 10):
                start(one.address.target)
        elif step == "die":
            book.clock.advance(LEASE + 1)
            working.clear()
    for _ in range(4 * len(names)):
        for name in sorted(working):
            finish(name)
        for one in book.ledger.call_up(limit, 10):
            start(one.address.target)
        if not working:
            # What nobody works on is sent again when its lease has run out.
            book.clock.advance(LEASE * QUEUED_LEASES + 1)
            for one in book.ledger.suspects(20):
                start(one.address.target)
    assert done == set(names)
    assert book.ledger.get(OCCURRENCE.run_id).status == "succeeded"
    book.redis.close()


def test_message_of_called_item_is_whole(book: LedgerUnderTest) -> None:
    """What is called up has the arguments that it was selected with."""
    _, (gild, pfe) = book.fan_out("GILD", "PFE")
    begin(book, gild, 1)
    begin(book, pfe, 1)
    book.ledger.finish(gild, {})
    (called,) = book.ledger.call_up(1, 10)
    assert called.message == Message("PFE", "tests.task", "default", {"company_id": "PFE"})
