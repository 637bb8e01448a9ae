"""What Redis refuses for good ends an item, on a real ledger."""

from collections.abc import Callable

import pytest
from celery import Celery
from support.apps import Broker, Lines
from support.ledgers import OCCURRENCE, new_run

from bionewsbot.dead_letters.letters import Letter, Letters
from bionewsbot.names import KEY_PREFIX
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import Message
from bionewsbot.tasks.base import FanOut, Gathered, Outcome, RunTask

RUN_ID = OCCURRENCE.run_id


def given_up(app: Celery, work: Callable[[], Outcome]) -> Letter:
    """Carry out a run whose job does `work`; return its letter."""

    @app.task(base=RunTask, bind=True, name="tests.task", shared=False)
    def run(self: RunTask) -> Outcome:
        return work()

    address = ledger().open(new_run()).to_send
    assert address is not None
    app.tasks["tests.task"].apply(headers=address.headers(), task_id="t1", throw=False)
    (letter,) = Letters(ledger()._redis).find()
    return letter


def wrong_type() -> None:
    """Use a key as what it isn't."""
    ledger()._redis.set("text", "x")
    ledger()._redis.hget("text", "field")


def no_data() -> None:
    """Give the client what it can't send."""
    ledger()._redis.set("key", object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fault", "said"), [(wrong_type, "ResponseError: WRONGTYPE"), (no_data, "DataError")]
)
def test_a_command_that_would_be_refused_each_time(
    app: Celery, log_lines: Lines, fault: Callable[[], None], said: str
) -> None:
    """The item has failed, and isn't sent again for ever."""
    letter = given_up(app, fault)
    assert str(letter.last.error).startswith(said)
    assert letter.last.why == "the error is permanent"
    assert ledger().get(RUN_ID).status == "failed"
    assert "task_failed" in [line["event"] for line in log_lines()]


def test_a_broker_that_would_refuse_each_time(app: Celery, broker: Broker) -> None:
    """What a queue that is no list can't take is no broker that is away."""
    broker.redis.set("low", "no list")
    letter = given_up(app, lambda: FanOut((Message("A", "tests.target", "low", {}),)))
    assert "WRONGTYPE" in str(letter.last.error)
    assert letter.last.why == "the error is permanent"


def test_an_end_that_the_ledger_cant_take(app: Celery) -> None:
    """Nothing of it stands but the failure: Redis takes no part of a script back."""
    ledger()._redis.set(f"{KEY_PREFIX}sections:{RUN_ID}", "no hash")
    letter = given_up(app, lambda: Gathered({"insights": 3}, "text"))
    assert "WRONGTYPE" in str(letter.last.error)
    run = ledger().get(RUN_ID)
    assert (run.status, run.totals) == ("failed", {})
