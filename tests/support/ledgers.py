"""A ledger on the tests' Redis whose clock the test moves by hand."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from support.redis_server import RedisServer

from bionewsbot.runs.ledger import Ledger, Verdict
from bionewsbot.runs.model import JOB, Address, Message, NewRun, Occurrence

LEASE = 10.0
DEADLINE = 3600.0
OCCURRENCE = Occurrence("daily_company_analysis", datetime(2026, 1, 15, 6, tzinfo=UTC))


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`."""
        self.now += seconds


def message(target: str = JOB, queue: str = "default") -> Message:
    """Return a message for a target (default: the job)."""
    return Message(target, "tests.task", queue, {"company_id": target})


def new_run(occurrence: Occurrence = OCCURRENCE, **options: Any) -> NewRun:
    """Return a run to open, of OCCURRENCE unless another is given."""
    given = {"job": message(), "origin": "beat", "deadline": DEADLINE, **options}
    return NewRun(occurrence, **given)


class LedgerUnderTest:
    """The ledger, its clock, and short words for what tests do with it."""

    def __init__(self, server: RedisServer, clock: Clock) -> None:
        self.redis = server.client(1)
        self.clock = clock
        self.ledger = Ledger(self.redis, retention_days=90, lease_seconds=LEASE, clock=clock)

    def open(self, **options: object) -> Address:
        """Open the run of OCCURRENCE."""
        opening = self.ledger.open(new_run(**options))
        assert opening.to_send, opening
        return opening.to_send

    def begin(self, address: Address, task_id: str = "t1") -> Verdict:
        """Begin an item as the task `task_id`."""
        return self.ledger.begin(address, task_id=task_id, worker="w@here")

    def fan_out(self, *targets: str) -> tuple[Address, list[Address]]:
        """Open a run, begin its job, select targets, send them and end the job."""
        job = self.open()
        self.ledger.sent([(job, "job")])
        assert self.begin(job, "job") is Verdict.GO
        self.ledger.fan_out(job, [message(target) for target in targets])
        addresses = [Address(job.run_id, target, job.generation) for target in targets]
        self.ledger.sent([(address, address.target) for address in addresses])
        self.ledger.finish(job, {})
        return job, addresses


@pytest.fixture
def book(clean_redis: RedisServer) -> Iterator[LedgerUnderTest]:
    """An empty ledger at a fixed time."""
    book = LedgerUnderTest(clean_redis, Clock(OCCURRENCE.scheduled_for.timestamp()))
    yield book
    book.redis.close()
