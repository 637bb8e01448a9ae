"""Replay: what was given up on is carried out once more, under the same idempotency key."""

import logging

from celery import Celery

from bionewsbot.dead_letters.letters import Letter
from bionewsbot.errors import ReplayRefused
from bionewsbot.runs.dispatch import send_all
from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.model import Message

logger = logging.getLogger(__name__)


def check(app: Celery, ledger: Ledger, letter: Letter) -> None:
    """Change nothing. Raises ReplayRefused where `replay` would as things stand now."""
    run_id, target = _item(app, letter)
    verdict = ledger.against_replay(run_id, target)
    if verdict is not None:
        raise _refusal(verdict, letter)


def replay(app: Celery, ledger: Ledger, letter: Letter, *, by: str) -> str:
    """Send a letter's item once more, in a new generation with all its attempts.

    Returns the task id. Raises ReplayRefused where the run, the item or its queue stands against
    it, and kombu's OperationalError where the broker is away: then the reconciler sends it.
    """
    run_id, target = _item(app, letter)
    verdict, address = ledger.replay(run_id, target, by=by)
    if address is None:
        raise _refusal(verdict, letter)
    message = Message(target, letter.task, letter.queue, letter.kwargs)
    sent = send_all(app, [(address, message, None)])
    ledger.sent(sent)
    logger.info("letter_replayed", extra={"letter": letter.id, "run_id": run_id, "by": by})
    return sent[0][1]


def _item(app: Celery, letter: Letter) -> tuple[str, str]:
    if letter.run_id is None or letter.target is None:
        raise ReplayRefused(
            f"{letter.id} belongs to no run that is known ({letter.last.why}); mend its sender and "
            "`dlq purge` it"
        )
    if letter.queue not in app.amqp.queues:
        raise ReplayRefused(
            f"{letter.id}: its queue {letter.queue!r} is not one of {', '.join(app.amqp.queues)}; "
            "start its occurrence with `runs start --again`"
        )
    return letter.run_id, letter.target


def _refusal(verdict: str, letter: Letter) -> ReplayRefused:
    return ReplayRefused(f"{letter.id}: {_why(verdict, letter)}")


def _why(verdict: str, letter: Letter) -> str:
    match verdict:
        case "unknown":
            return (
                f"the ledger has forgotten {letter.run_id}; start its occurrence with `runs start`"
            )
        case "unselected":
            return (
                f"{letter.run_id} was started again and has not selected {letter.target}; "
                "if it doesn't before its end, `dlq purge` the letter"
            )
        case "waiting" | "sent":
            return "it is being carried out; wait for its end"
        case "done":
            return "it has been done meanwhile; `dlq purge` the letter"
        case status:
            return f"{letter.run_id} has ended as {status}; start it with `runs start --again`"
