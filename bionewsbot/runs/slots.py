"""Slots: items that wait for one of MAX_CONCURRENT_ANALYSIS are sent when their turn comes."""

from celery import Celery

from bionewsbot import settings as settings_module
from bionewsbot.runs.dispatch import BATCH, can_send, send_all
from bionewsbot.runs.ledger import Ledger


def call_up(app: Celery, ledger: Ledger) -> int:
    """Send those who are first in line, as many as there are free slots; returns how many.

    Raises redis.RedisError or kombu's OperationalError if Redis is away: what was called up and
    not sent is a suspect to the reconciler when its lease runs out.
    """
    slots = settings_module.current().max_concurrent_analysis
    called = ledger.call_up(slots, BATCH)
    sends = [
        (one.address, one.message, None)
        for one in called
        if can_send(app, one.address, one.message)
    ]
    if sends:
        ledger.sent(send_all(app, sends))
    return len(sends)
