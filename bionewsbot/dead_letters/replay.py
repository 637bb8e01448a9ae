"""Replay: what was given up on is carried out once more, under the same idempotency key."""

import logging

from celery import Celery

from bionewsbot.dead_letters.letters import Letter
from bionewsbot.errors import ReplayRefused
from bionewsbot.runs.dispatch import send_all
from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.model import Message

logger = logging.getLogger(__name__)


def replay(app: Celery, ledger: Ledger, letter: Letter, *, by: str) -> str:
    """Send a letter's item once more, in a new generation with all its attempts.

    Returns the task id. Raises ReplayRefused where the run, the item or its queue stands against
    it, and kombu's OperationalError where the broker is away: then the reconciler sends it.
    """
    if letter.run_id is None or letter.target is None:
        raise ReplayRefused(
            f"{letter.id} belongs to no run ({letter.last.why}); mend its sender and `dlq purge` it"
        )
    if letter.queue not in app.amqp.queues:
        raise ReplayRefused(
            f"{letter.id}: its queue {letter.queue!r} is not one of {', '.join(app.amqp.queues)}; "
            "start its occurrence with `runs start --again`"
        )
    verdict, address = ledger.replay(letter.run_id, letter.target, by=by)
    if address is None:
        raise ReplayRefused(f"{letter.id}: {_why(verdict, letter)}")
    message = Message(letter.target, letter.task, letter.queue, letter.kwargs)
    sent = send_all(app, [(address, message, None)])
    ledger.sent(sent)
    logger.info("letter_replayed", extra={"letter": letter.id, "run_id": letter.run_id, "by": by})
    return sent[0][1]


def _why(verdict: str, letter: Letter) -> str:
    match verdict:
        case "unknown":
            return (
                f"the ledger has forgotten {letter.run_id}; start its occurrence with `runs start`"
            )
        case "waiting" | "sent":
            return "it is being carried out; wait for its end"
        case "done":
            return "it has been done meanwhile; `dlq purge` the letter"
        case status:
            return f"{letter.run_id} has ended as {status}; start it with `runs start --again`"
