"""Sending a run's messages, on a real broker and without a worker."""

import base64
import json
from collections import Counter
from datetime import datetime, timedelta

import pytest
from celery import Celery
from celery.exceptions import QueueNotFound
from kombu.exceptions import OperationalError
from support.apps import Broker, send
from support.ledgers import OCCURRENCE, LedgerUnderTest, message, new_run
from support.redis_server import RedisServer

from bionewsbot.errors import RunExists
from bionewsbot.runs import dispatch
from bionewsbot.runs.model import JOB, Address, Item, Message, Occurrence

RUN_ID = OCCURRENCE.run_id


def items(book: LedgerUnderTest) -> dict[str, Item]:
    """Return the run's items by target."""
    return {item.target: item for item in book.ledger.items(RUN_ID)}


def start(app: Celery, book: LedgerUnderTest, **options: object) -> Address | None:
    """Start the run of OCCURRENCE as beat does."""
    return dispatch.start_run(app, book.ledger, new_run(**options)).to_send


def test_a_started_run_has_its_message_on_the_broker(
    app: Celery, book: LedgerUnderTest, broker: Broker
) -> None:
    """JSON, with its place in the headers, under the task id that the ledger has."""
    address = start(app, book)
    (sent,) = broker.messages("default")
    assert Address.from_headers(sent["headers"]) == address == Address(RUN_ID, JOB, 1)
    assert sent["headers"]["task"] == "tests.task"
    assert sent["content-type"] == "application/json"
    job = items(book)[JOB]
    assert (job.state, job.sends, job.task_id) == ("sent", 1, sent["headers"]["id"])


def test_the_message_expires_with_the_starting_deadline(
    app: Celery, book: LedgerUnderTest, broker: Broker
) -> None:
    """At an instant: the scheduled time plus the deadline, however late it was sent."""
    book.clock.advance(100)
    start(app, book, start_by=OCCURRENCE.scheduled_for + timedelta(seconds=900))
    (sent,) = broker.messages("default")
    expires = datetime.fromisoformat(sent["headers"]["expires"])
    assert expires == OCCURRENCE.scheduled_for + timedelta(seconds=900)


def test_a_run_that_is_too_late_sends_nothing(
    app: Celery, book: LedgerUnderTest, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """It is on record as missed, and one line says so."""
    book.clock.advance(901)
    start_by = OCCURRENCE.scheduled_for + timedelta(seconds=900)
    assert start(app, book, start_by=start_by) is None
    assert book.ledger.get(RUN_ID).status == "missed"
    assert broker.messages("default") == []
    assert [record.message for record in caplog.records] == ["run_missed"]


def test_a_second_run_of_the_occurrence_sends_nothing(
    app: Celery, book: LedgerUnderTest, broker: Broker
) -> None:
    """RunExists comes before any message."""
    start(app, book)
    with pytest.raises(RunExists, match=r"already has a run \(running\); wait for its end"):
        start(app, book)
    book.ledger.cancel(RUN_ID, "no")
    with pytest.raises(RunExists, match=r"\(cancelled\); carry it out once more with --again"):
        start(app, book)
    assert len(broker.messages("default")) == 1


def test_a_failed_send_leaves_the_run_on_record(
    app: Celery, book: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run waits for the reconciler."""

    def refuse(*args: object, **options: object) -> None:
        raise OperationalError("broker away")

    monkeypatch.setattr(dispatch, "_publish", refuse)
    with pytest.raises(OperationalError):
        start(app, book)
    assert book.ledger.get(RUN_ID).status == "running"
    assert (items(book)[JOB].state, items(book)[JOB].sends) == ("waiting", 0)


def test_what_is_missed_is_logged_though_another_send_fails(
    app: Celery,
    book: LedgerUnderTest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The next attempt finds it on record and would say nothing of it."""

    def refuse(*args: object) -> None:
        raise OperationalError("broker away")

    monkeypatch.setattr(dispatch, "_publish", refuse)
    other = Occurrence("other", OCCURRENCE.scheduled_for)
    with pytest.raises(OperationalError):
        dispatch.start_runs(app, book.ledger, [new_run(other, missed="too late"), new_run()])
    assert [record.message for record in caplog.records] == ["run_missed"]


def test_a_misspelt_queue_raises(app: Celery, book: LedgerUnderTest) -> None:
    """Nothing goes to a queue that nobody reads."""
    with pytest.raises(QueueNotFound):
        send(app, Address(RUN_ID, JOB, 1), Message(JOB, "tests.task", "hihg", {}))


def test_each_send_has_a_fresh_task_id(app: Celery, broker: Broker) -> None:
    """Old results and revocations of one id can't meet another send."""
    address = Address(RUN_ID, JOB, 1)
    ids = {send(app, address, message()) for _ in range(3)}
    assert len(ids) == 3
    assert {sent["headers"]["id"] for sent in broker.messages("default")} == ids


def test_a_fan_out_is_marked_batch_by_batch(
    app: Celery, book: LedgerUnderTest, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that dies in the second batch goes on with what was not sent."""
    monkeypatch.setattr(dispatch, "BATCH", 2)
    job = book.open()
    targets = [message(f"C{number}") for number in range(5)]
    publish, sent = dispatch._publish, []

    def dies(*args: object) -> None:
        if len(sent) == 3:
            raise OperationalError("broker away")
        sent.append(publish(*args))  # type: ignore[arg-type, func-returns-value]

    monkeypatch.setattr(dispatch, "_publish", dies)
    with pytest.raises(OperationalError):
        dispatch.fan_out(app, book.ledger, job, targets)
    assert len({name for name, item in items(book).items() if item.sends and name != JOB}) == 2
    monkeypatch.setattr(dispatch, "_publish", publish)
    dispatch.fan_out(app, book.ledger, job, targets)
    counts = Counter(
        Address.from_headers(each["headers"]).target for each in broker.messages("default")
    )
    assert counts == {message.target: 1 for message in targets}
    assert {item.sends for name, item in items(book).items() if name != JOB} == {1}


def test_a_broker_that_dies_under_a_batch_is_an_operational_error(
    app: Celery, book: LedgerUnderTest, clean_redis: RedisServer
) -> None:
    """Whatever the client calls it, the run stays to be sent."""
    app.conf.task_publish_retry = False
    opening = book.ledger.open(new_run())
    assert opening.to_send is not None
    clean_redis.stop()
    with pytest.raises(OperationalError):
        send(app, opening.to_send, message())


def test_arguments_travel_as_json(app: Celery, broker: Broker) -> None:
    """Ids, no objects: what a message carries is readable on the broker."""
    send(app, Address(RUN_ID, "GILD", 1), message("GILD"))
    (sent,) = broker.messages("default")
    args, kwargs, _ = json.loads(base64.b64decode(sent["body"]))
    assert (args, kwargs) == ([], {"company_id": "GILD"})
