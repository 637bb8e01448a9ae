"""What no worker can read: each message is a dead letter, and the same worker goes on."""

import base64
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from support.apps import Broker, send
from support.ledgers import OCCURRENCE, new_run
from support.polling import wait_until
from support.stack import Stack

from bionewsbot.dead_letters.letters import Letters
from bionewsbot.names import DAILY_COMPANY_ANALYSIS, RUN_HEADER
from bionewsbot.runs.model import JOB, Message

Change = Callable[[dict[str, Any]], object]
"""Spoils a message as kombu has it in a queue."""

QUEUE = "high"


def with_body(text: str) -> Change:
    """Give it a body, in base64 as kombu's own."""
    body = base64.b64encode(text.encode()).decode()
    return lambda message: message.update(body=body)


def with_plain_body(text: str) -> Change:
    """Give it a body that is not in base64."""

    def change(message: dict[str, Any]) -> None:
        message["body"] = text
        del message["properties"]["body_encoding"]

    return change


def with_headers(**headers: Any) -> Change:
    """Give it other headers; None removes one."""

    def change(message: dict[str, Any]) -> None:
        message["headers"].update(headers)
        for name in [name for name, value in headers.items() if value is None]:
            del message["headers"][name]

    return change


ENDLESS = {"run": OCCURRENCE.run_id, "target": JOB, "generation": float("inf")}

MESSAGES: dict[str, tuple[Change, str]] = {
    "null": (with_body("null"), "it is malformed"),
    "number": (with_body("5"), "it is malformed"),
    "true": (with_body("true"), "it is malformed"),
    "too short": (with_body("[1]"), "it is malformed"),
    "no id": (with_headers(id=None), "it is malformed"),
    "a list for its id": (with_headers(id=[1]), "it is malformed"),
    "a list for its task": (with_headers(task=[1]), "it is malformed"),
    "unknown, no id": (with_headers(id=None, task="tests.who"), "its task is unknown"),
    "half a character": (with_plain_body('"\ud83d"'), "it can't be decoded"),
    "endless generation": (
        with_headers(task="tests.who", **{RUN_HEADER: ENDLESS}),
        "its task is unknown",
    ),
    "headers": (lambda message: message.update(headers=[1]), "it is no message"),
    "no properties": (lambda message: message.pop("properties"), "it is no message"),
    "no tag": (lambda message: message["properties"].pop("delivery_tag"), "it is no message"),
    "no exchange": (
        lambda message: message["properties"].update(delivery_info={}),
        "it is no message",
    ),
}

TAGGED = (
    b'"properties": {"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": ""}}'
)

ELEMENTS = {
    "no JSON": b"x",
    "no UTF-8": b"\xff",
    "a list": b"[]",
    "JSON for Lua alone": b"{" + TAGGED + b', "body": 0x1}',
}


def message_of(app: Celery, broker: Broker) -> dict[str, Any]:
    """Return a well-formed message as it stands in its queue."""
    app.send_task(DAILY_COMPANY_ANALYSIS, queue=QUEUE)
    return broker.lose(QUEUE)


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_a_malformed_message_ends_no_worker(
    app: Celery, stack: Stack, broker: Broker, pool: str
) -> None:
    """Each is recorded with its cause; none is left, and what comes after them is begun."""
    good = message_of(app, broker)
    for number, (name, (change, _)) in enumerate(MESSAGES.items()):
        spoilt = json.loads(json.dumps(good))
        spoilt["properties"]["delivery_tag"] = f"tag-{number}"
        # A message without an id is told from another one by its body.
        spoilt["body"] = base64.b64encode(json.dumps([[name], {}, {}]).encode()).decode()
        spoilt["headers"]["id"] = f"id-{number}"
        change(spoilt)
        broker.redis.lpush(QUEUE, json.dumps(spoilt))
    for element in ELEMENTS.values():
        broker.redis.lpush(QUEUE, element)
    opening = stack.ledger.open(new_run(job=Message(JOB, DAILY_COMPANY_ANALYSIS, QUEUE, {})))
    assert opening.to_send is not None
    send(app, opening.to_send, opening.new.job)

    worker = stack.worker("all", "-P", pool, "-c", "1", "-Q", QUEUE)
    wait_until(lambda: stack.ledger.items(OCCURRENCE.run_id)[0].starts, "the last one begins")

    whys = Counter(
        letter.last.why.partition(":")[0] for letter in Letters(stack.ledger._redis).find()
    )
    expected = [*(why for _, why in MESSAGES.values()), *["it is no message"] * len(ELEMENTS)]
    assert whys == Counter(expected)
    assert worker.running
    held = {json.loads(text)[0]["headers"]["id"] for text in broker.redis.hvals("unacked")}
    assert not held & {f"id-{number}" for number in range(len(MESSAGES))}


def test_an_element_is_kept_whole(app: Celery, stack: Stack, broker: Broker) -> None:
    """What was taken from the queue stands in its letter, byte by byte."""
    broker.redis.lpush(QUEUE, b"\xffx")
    stack.worker("all", "-P", "threads", "-c", "1", "-Q", QUEUE)
    letters = Letters(stack.ledger._redis)
    wait_until(lambda: letters.find(), "there is a letter")
    (found,) = letters.find()
    assert (found.run_id, found.queue) == (None, QUEUE)
    assert base64.b64decode((found.last.message or {})["element"]) == b"\xffx"


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_a_task_that_was_sent_without_a_run(
    app: Celery, stack: Stack, broker: Broker, pool: str
) -> None:
    """It can't begin; the letter has the message, and why."""
    spoilt = message_of(app, broker)
    spoilt["headers"][RUN_HEADER] = {"run": "daily"}
    broker.redis.lpush(QUEUE, json.dumps(spoilt))
    app.send_task(DAILY_COMPANY_ANALYSIS, queue=QUEUE)
    worker = stack.worker("all", "-P", pool, "-c", "1", "-Q", QUEUE)
    letters = Letters(stack.ledger._redis)
    wait_until(lambda: len(letters.find()) == 2, "there are two letters")
    whys = sorted(letter.last.why for letter in letters.find())
    assert "header 'bionewsbot' is malformed" in whys[0]
    assert "was sent without one" in whys[1]
    assert {letter.task for letter in letters.find()} == {DAILY_COMPANY_ANALYSIS}
    assert worker.stop() == 0
    assert not broker.redis.exists("unacked", QUEUE)
