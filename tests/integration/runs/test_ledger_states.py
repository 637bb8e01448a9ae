"""The ledger under any order of calls, with doubled, late and lost messages."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from celery import Celery
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from support.ledgers import LEASE, Clock
from support.redis_server import RedisServer

from bionewsbot.names import KEY_PREFIX
from bionewsbot.runs import reconciler
from bionewsbot.runs.ledger import Ledger, Verdict
from bionewsbot.runs.model import (
    ENDED,
    FINAL,
    JOB,
    Address,
    Message,
    NewRun,
    Occurrence,
    Opened,
)
from bionewsbot.runs.scripting import QUEUED_LEASES

OCCURRENCES = [Occurrence("daily", datetime(2026, 1, day, 6, tzinfo=UTC)) for day in (15, 16)]
TARGETS = ("A", "B", "C")
DEADLINE = 500.0
LAST = Message(FINAL, "end", "default", {})
START = OCCURRENCES[0].scheduled_for.timestamp()

SERVER: list[RedisServer] = []
"""The server of the test at hand: hypothesis makes the machines itself."""


class LedgerStates(RuleBasedStateMachine):
    """Messages are what was ever sent; each may be delivered never, once, twice or late."""

    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.redis = SERVER[0].client(1)
        self.redis.flushdb()
        self.clock = Clock(START)
        self.ledger = Ledger(self.redis, retention_days=90, lease_seconds=LEASE, clock=self.clock)
        self.sends = 0
        self.ends: Counter[tuple[str, int]] = Counter()
        """How often a generation of a run was told to have ended."""
        self.final: dict[tuple[str, int], tuple[str, dict[str, int], int, int]] = {}
        self.totals: dict[tuple[str, int], Counter[str]] = {}
        """Totals of the items that this model saw recorded as done."""
        self.recorded: set[Address] = set()
        """Items whose end was taken down: none may be twice."""
        self.queued: set[str] = set()
        """Task ids whose messages a queue would show."""

    def teardown(self) -> None:
        """Close the connection."""
        self.redis.close()

    @initialize(target=messages)
    def first(self) -> object:
        """Begin with a run whose targets are sent."""
        return self.selected(0)

    @rule(target=messages, which=st.integers(0, 1), final=st.none() | st.just(LAST))
    def again(self, which: int, final: Message | None) -> object:
        """An operator carries an occurrence out once more."""
        return self.selected(which, final)

    def selected(self, which: int, final: Message | None = LAST) -> object:
        """Open a run, if it may be opened, and send its job and targets."""
        job = self.opened(which, None, again=True)
        if not isinstance(job, tuple):
            return multiple()
        rows = [Message(each, "work", "low", {"id": each}) for each in TARGETS]
        _, unsent = self.ledger.fan_out(job[0], rows, final)
        targets = [Address(job[0].run_id, each.target, job[0].generation) for each in unsent]
        assert {each.target for each in targets} == set(TARGETS)
        return multiple(job, *[self.send(address) for address in targets])

    @rule(which=st.integers(0, 1), left=st.integers(0, 2))
    def work_off(self, which: int, left: int) -> None:
        """Workers carry out what is open, all but a few items."""
        run_id = OCCURRENCES[which].run_id
        if not self.redis.exists(f"{KEY_PREFIX}run:{run_id}"):
            return
        generation = self.ledger.get(run_id).generation
        open_items = [each for each in self.ledger.items(run_id) if each.state == "sent"]
        for item in open_items[left:]:
            address = Address(run_id, item.target, generation)
            verdict, status = self.ledger.finish(address, {"insights": 1}, "{}")
            if verdict is Verdict.RECORDED:
                self.totals.setdefault(self.which(address), Counter())["insights"] += 1
            self.told(address, verdict, status)

    @rule(message=messages)
    def mark_late(self, message: tuple[Address, str]) -> None:
        """The mark that a message was sent comes after its worker was done, or twice."""
        address, task_id = message
        self.ledger.sent([(address, task_id)])

    @rule(
        target=messages,
        which=st.integers(0, 1),
        start_by=st.none() | st.integers(-100, 400),
        again=st.booleans(),
    )
    def open(self, which: int, start_by: int | None, again: bool) -> object:
        """Beat, or an operator, opens an occurrence's run."""
        return self.opened(which, start_by, again)

    def opened(self, which: int, start_by: int | None, again: bool = False) -> object:
        """Open a run and send its job; a later run may have been opened before."""
        moment = None if start_by is None else datetime.fromtimestamp(START + start_by, UTC)
        job = Message(JOB, "job", "default", {})
        opening = self.ledger.open(
            NewRun(
                OCCURRENCES[which],
                job,
                origin="beat",
                deadline=DEADLINE,
                start_by=moment,
                again=again,
            )
        )
        if opening.verdict is Opened.MISSED:
            assert moment is not None and self.clock.now > moment.timestamp()
            assert opening.generation is not None
            self.ended(Address(OCCURRENCES[which].run_id, JOB, opening.generation))
        return self.send(opening.to_send) if opening.to_send else multiple()

    def send(self, address: Address) -> tuple[Address, str]:
        """Send a message and mark it."""
        self.sends += 1
        task_id = f"t{self.sends}"
        self.queued.add(task_id)
        self.ledger.sent([(address, task_id)])
        return address, task_id

    @rule(message=messages)
    def lose(self, message: tuple[Address, str]) -> None:
        """The broker loses a message."""
        self.queued.discard(message[1])

    @rule(message=messages)
    def begin(self, message: tuple[Address, str]) -> None:
        """A worker takes a message, perhaps not for the first time."""
        address, task_id = message
        self.queued.discard(task_id)
        verdict = self.ledger.begin(address, task_id=task_id, worker="w")
        assert verdict is not Verdict.RECORDED
        if verdict is Verdict.GO:
            run = self.ledger.get(address.run_id)
            assert (run.status, run.generation) == ("running", address.generation)
            assert self.state(address) == "sent"

    @rule(
        target=messages,
        message=messages,
        chosen=st.sets(st.sampled_from(TARGETS)),
        marked=st.booleans(),
        final=st.none() | st.just(LAST),
    )
    def fan_out(
        self, message: tuple[Address, str], chosen: set[str], marked: bool, final: Message | None
    ) -> object:
        """A job selects and sends; it may die before the mark, or select twice."""
        job = message[0]
        if job.target != JOB:
            return multiple()
        rows = [Message(each, "work", "low", {"id": each}) for each in sorted(chosen)]
        before = {each.target for each in self.ledger.items(job.run_id)}
        verdict, unsent = self.ledger.fan_out(job, rows, final)
        if verdict is not Verdict.GO:
            assert unsent == ()
            return multiple()
        if before != {JOB}:
            assert {each.target for each in self.ledger.items(job.run_id)} == before
        addresses = [Address(job.run_id, each.target, job.generation) for each in unsent]
        if not marked:
            return multiple(*[(address, f"lost-{self.sends}") for address in addresses])
        return multiple(*[self.send(address) for address in addresses])

    @rule(message=messages, insights=st.integers(0, 3))
    def finish(self, message: tuple[Address, str], insights: int) -> None:
        """A worker records an end, whether or not it is the one that should."""
        address = message[0]
        verdict, status = self.ledger.finish(address, {"insights": insights})
        if verdict is Verdict.RECORDED:
            self.totals.setdefault(self.which(address), Counter())["insights"] += insights
        self.told(address, verdict, status)

    @rule(message=messages)
    def fail(self, message: tuple[Address, str]) -> None:
        """A worker gives up."""
        self.told(message[0], *self.ledger.fail(message[0], "no", why="no"))

    @rule(message=messages, seconds=st.integers(0, 60))
    def pause(self, message: tuple[Address, str], seconds: int) -> None:
        """A worker waits for a retry, perhaps of what has ended."""
        self.ledger.pause(message[0], seconds=seconds, error="503")

    @rule(message=messages)
    def let_go(self, message: tuple[Address, str]) -> None:
        """A worker stops and puts a message back, perhaps one that others have begun since."""
        self.ledger.let_go([message])
        self.queued.add(message[1])

    @rule(message=messages)
    def alive(self, message: tuple[Address, str]) -> None:
        """A sign of life, perhaps of what has ended."""
        self.ledger.alive([message[0]])

    @rule(seconds=st.sampled_from([1.0, LEASE + 1, LEASE * QUEUED_LEASES + 1, DEADLINE / 2]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @rule(which=st.integers(0, 1))
    def cancel(self, which: int) -> None:
        """An operator cancels."""
        run_id = OCCURRENCES[which].run_id
        if self.redis.exists(f"{KEY_PREFIX}run:{run_id}"):
            before = self.ledger.get(run_id)
            assert self.ledger.cancel(run_id, "by hand") in ENDED
            if not before.ended:
                self.ended(Address(run_id, JOB, before.generation))

    @rule(target=messages)
    def reconcile(self) -> object:
        """One pass of the real reconciler; what it sends are messages like all others."""
        before = {run.run_id: run for run in self.ledger.latest(10)}
        sent: list[tuple[Address, str]] = []

        def send_all(app: object, messages: list[tuple[Address, Message, object]]) -> object:
            batch = []
            for address, _, _ in messages:
                self.sends += 1
                self.queued.add(f"t{self.sends}")
                batch.append((address, f"t{self.sends}"))
            sent.extend(batch)
            return batch

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(reconciler, "send_all", send_all)
            patched.setattr(reconciler, "next_waiting", lambda app, queue: None)
            patched.setattr(
                reconciler, "waiting_task_ids", lambda app, queue, wanted: self.queued & wanted
            )
            patched.setattr(reconciler, "can_send", lambda app, address, message: True)
            resent = reconciler.reconcile(Celery(set_as_current=False), self.ledger)
        assert resent == len(sent)
        for run in self.ledger.latest(10):
            if run.ended and not before[run.run_id].ended:
                self.ended(Address(run.run_id, JOB, run.generation))
        self.no_lease_of_what_has_ended()
        return multiple(*sent)

    def no_lease_of_what_has_ended(self) -> None:
        """After a look for suspects, an ended run has no lease that has run out."""
        self.ledger.suspects(1000)
        for name in self.redis.zrange("bionewsbot:leases", "-inf", self.clock.now, byscore=True):
            run_id, target = str(name).split("|")
            run = self.ledger.get(run_id)
            assert not run.ended
            assert self.state(Address(run_id, target, run.generation)) in ("waiting", "sent")

    def told(self, address: Address, verdict: Verdict, status: str | None) -> None:
        """Note the end that a call was told to have brought about."""
        if verdict is Verdict.RECORDED:
            assert self.ledger.get(address.run_id).generation == address.generation
            assert address not in self.recorded
            self.recorded.add(address)
        else:
            assert status is None
        if status is not None:
            assert self.ledger.get(address.run_id).status == status
            self.ended(address)

    def ended(self, address: Address) -> None:
        """Note that a generation of a run has ended."""
        self.ends[self.which(address)] += 1

    @staticmethod
    def which(address: Address) -> tuple[str, int]:
        """Return the run and its generation."""
        return address.run_id, address.generation

    def state(self, address: Address) -> str:
        """Return an item's state."""
        items = self.ledger.items(address.run_id)
        return next(item.state for item in items if item.target == address.target)

    @invariant()
    def a_run_ends_once(self) -> None:
        """Each end is told once, and no ended generation changes any more."""
        assert all(count == 1 for count in self.ends.values())
        for run in self.ledger.latest(10):
            which = run.run_id, run.generation
            assert run.ended == (which in self.ends)
            if run.ended:
                record = (run.status, dict(run.totals), run.done, run.failed)
                assert self.final.setdefault(which, record) == record
            earlier = {past["generation"]: past["status"] for past in run.earlier}
            for generation, status in earlier.items():
                assert self.final[(run.run_id, generation)][0] == status

    @invariant()
    def counts_are_the_items_states(self) -> None:
        """Targets, done and failed are what the items say; nothing is open in a complete run."""
        for run in self.ledger.latest(10):
            items = self.ledger.items(run.run_id)
            states = Counter(item.state for item in items if item.target not in (JOB, FINAL))
            assert (run.targets, run.done, run.failed) == (
                states.total(),
                states["done"],
                states["failed"],
            )
            if run.status in ("succeeded", "partial", "failed"):
                assert not {item.state for item in items} & {"waiting", "sent"}
            if run.status == "running":
                assert {item.state for item in items} & {"waiting", "sent"}

    @invariant()
    def totals_are_the_sum_over_what_is_done(self) -> None:
        """However often a message came."""
        for run in self.ledger.latest(10):
            counted = self.totals.get((run.run_id, run.generation), Counter())
            assert run.totals.get("insights", 0) == counted["insights"]

    @invariant()
    def what_is_open_can_be_found(self) -> None:
        """Each open item of a running run has a lease: without it nobody would send it again.

        The final item gets its own when all others have ended, and not before.
        """
        leases = set(self.redis.zrange("bionewsbot:leases", 0, -1))
        running = set(self.redis.zrange("bionewsbot:open", 0, -1))
        for run in self.ledger.latest(10):
            assert (run.run_id in running) == (not run.ended)
            items = self.ledger.items(run.run_id)
            unended = {item.target for item in items if item.state in ("waiting", "sent")}
            if not run.ended:
                leased = {item.target for item in items if f"{run.run_id}|{item.target}" in leases}
                assert leased == (unended - {FINAL} or unended)

    @invariant()
    def sections_stay_until_a_run_ends_well(self) -> None:
        """What targets left is there for the final item and its replay, and no longer."""
        for run in self.ledger.latest(10):
            if run.status == "succeeded":
                assert not self.ledger.sections(run.run_id)

    @invariant()
    def keys_are_ours(self) -> None:
        """Nothing is written that doesn't begin with our prefix."""
        assert all(str(key).startswith(KEY_PREFIX) for key in self.redis.keys())


@pytest.fixture
def server(clean_redis: RedisServer) -> Iterator[None]:
    """Give the machines their server."""
    SERVER.append(clean_redis)
    yield
    SERVER.clear()


def test_the_ledger_holds_in_any_order(server: None) -> None:
    """Random orders of calls, shrunk to the shortest that breaks an invariant."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        LedgerStates,
        settings=settings(
            max_examples=45,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
