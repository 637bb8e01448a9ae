"""The keys that a run leaves in Redis: ours by name, and none for ever."""

import pytest
from celery import Celery
from redis import Redis
from support.apps import working
from support.ledgers import OCCURRENCE, LedgerUnderTest, message, new_run
from support.polling import wait_until

from bionewsbot.names import KEY_PREFIX
from bionewsbot.runs import reconciler
from bionewsbot.runs.dispatch import start_run
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import JOB, Message
from bionewsbot.tasks.base import FanOut, Outcome, RunTask


def test_every_key_of_a_run_has_our_prefix(
    app: Celery, book: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through all that a run can meet: fan-out, a failure, the reconciler, a new generation."""
    seen: set[str] = set()
    execute = Redis.execute_command

    def watching(self: "Redis", *command: object, **options: object) -> object:
        answer = execute(self, *command, **options)
        if self is book.redis:
            with book.redis.client() as other:
                seen.update(str(key) for key in execute(other, "KEYS", "*"))
        return answer

    monkeypatch.setattr(Redis, "execute_command", watching)
    job, (gild, pfe) = book.fan_out("GILD", "PFE")
    book.begin(gild)
    book.ledger.pause(gild, seconds=1, error="503")
    book.clock.advance(1000)
    assert reconciler.run_once(app, book.ledger)
    book.ledger.finish(gild, {}, "{}")
    book.ledger.fail(pfe, "no", why="no")
    book.open(again=True)
    assert {key.split(":")[1] for key in seen} == {
        *("run", "items", "leases", "open", "active", "index", "reconciler", "letters"),
        *("ended", "sections"),
    }
    assert all(key.startswith(KEY_PREFIX) for key in seen)


def test_an_ended_run_leaves_only_what_ages(app: Celery) -> None:
    """With a real worker: a run's own keys have an age, and no lease and no lock stays."""

    @app.task(base=RunTask, bind=True, name="tests.job", shared=False)
    def job(self: RunTask) -> Outcome:
        return FanOut((Message("GILD", "tests.task", "low", {"company_id": "GILD"}),))

    @app.task(base=RunTask, bind=True, name="tests.task", shared=False)
    def work(self: RunTask, company_id: str) -> Outcome:
        return None

    assert {job.name, work.name} <= set(app.tasks)
    book = ledger()
    with working(app):
        start_run(app, book, new_run(job=Message(JOB, "tests.job", message().queue, {})))
        wait_until(lambda: book.get(OCCURRENCE.run_id).ended, "the run ends")
    redis = book._redis
    keys = {str(key) for key in redis.keys()}
    assert keys <= {
        *(f"{KEY_PREFIX}{kind}:{OCCURRENCE.run_id}" for kind in ("run", "items")),
        f"{KEY_PREFIX}index",
        f"{KEY_PREFIX}index:{OCCURRENCE.entry}",
        f"{KEY_PREFIX}ended",
    }
    assert all(redis.ttl(key) > 0 for key in keys if key != f"{KEY_PREFIX}index")
