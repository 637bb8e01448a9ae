"""What all tasks share: strict options, a place in the ledger, retries, one log line an event."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Ignore, Reject, Retry
from kombu.exceptions import OperationalError
from redis import RedisError

from bionewsbot import logs
from bionewsbot.celeryconfig import MAX_RETRY_WAIT
from bionewsbot.errors import RetryableError
from bionewsbot.runs import dispatch
from bionewsbot.runs.ending import log_end
from bionewsbot.runs.heartbeat import heartbeat
from bionewsbot.runs.ledger import Verdict, ledger
from bionewsbot.runs.model import Address, Message

logger = logging.getLogger("bionewsbot.tasks")

MAX_RETRIES = 6
"""With the waits below at most ten minutes in all: longer than a backend's restart."""

FIRST_RETRY_WAIT = 2
"""Seconds of the first wait at most; each further one at most doubles (full jitter)."""

_TASK_OPTIONS = frozenset(
    "autoretry_for dont_autoretry_for retry_kwargs retry_backoff retry_backoff_max retry_jitter "
    "queue exchange routing_key delivery_mode immediate mandatory compression".split()
)
"""Options that Celery reads from a task without having them as attributes of Task."""

_SEND_OPTIONS = frozenset(
    "args kwargs task_id producer link link_error shadow queue exchange routing_key priority "
    "countdown eta expires headers retry retry_policy serializer compression time_limit "
    "soft_time_limit ignore_result group_id group_index chord chain root_id parent_id reply_to "
    "retries add_to_parent replaced_task_nesting origin immutable connection stamped_headers "
    "argsrepr kwargsrepr redelivered".split()
)


class CheckedTask(Task):
    """Refuses options that Celery would silently ignore, such as `ignore_results`."""

    abstract = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Only what a decorator makes of a function: its options arrive as class attributes.
        if "_decorated" not in vars(cls):
            return
        parent = cls.__mro__[1]
        unknown = [
            name
            for name in vars(cls)
            if not name.startswith("_") and name not in _TASK_OPTIONS and not hasattr(parent, name)
        ]
        if unknown:
            raise TypeError(f"task {cls.__name__}: unknown option {', '.join(sorted(unknown))}")

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Send the task as Celery does. Raises TypeError for an option that Celery lacks."""
        unknown = options.keys() - _SEND_OPTIONS
        if unknown:
            raise TypeError(f"task {self.name}: unknown send option {', '.join(sorted(unknown))}")
        return super().apply_async(args, kwargs, **options)


@dataclass(frozen=True)
class FanOut:
    """What a job returns that selects targets and leaves the work to other tasks."""

    targets: tuple[Message, ...]


Outcome = FanOut | Mapping[str, int] | None
"""What a task returns: targets, or totals for the run's summary, or nothing."""


class RunTask(CheckedTask):
    """A task that carries out an item of a run: a job, or the work on one target.

    The function gets the task as its first argument and finds its occurrence in `self.address`;
    it never asks the clock what it is for. It returns an Outcome. A RetryableError is tried again
    with backoff and jitter; every other exception ends the item as failed.
    """

    abstract = True
    carries_runs = True
    max_retries = MAX_RETRIES
    autoretry_for = (RetryableError,)
    retry_backoff = FIRST_RETRY_WAIT
    retry_backoff_max = MAX_RETRY_WAIT
    retry_jitter = True

    @property
    def address(self) -> Address:
        """The place in the ledger of the message at hand. Raises NotARun."""
        return Address.from_headers(self.request.headers)

    def retry(self, *args: Any, **options: Any) -> Any:
        """Ask for another attempt as Celery does; one that was told when waits at least so long."""
        asked = getattr(options.get("exc"), "retry_after", None)
        if asked is not None:
            wait = max(options.get("countdown") or 0, min(asked, MAX_RETRY_WAIT))
            options["countdown"] = wait
        return super().retry(*args, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Carry out the message at hand and record in the ledger what came of it."""
        address = self.address
        with logs.context(
            run_id=address.run_id,
            task_id=str(self.request.id),
            request_id=f"{address.run_id}/{address.generation}",
            task=self.name,
            target=address.target,
        ):
            verdict = ledger().begin(
                address, task_id=str(self.request.id), worker=str(self.request.hostname)
            )
            if verdict is not Verdict.GO:
                logger.info("task_dropped", extra={"why": str(verdict)})
                return
            logger.info("task_started", extra={"attempt": self.request.retries + 1})
            with heartbeat().holding(address):
                self._carry_out(address, args, kwargs)

    def _carry_out(self, address: Address, args: Any, kwargs: Any) -> None:
        started = time.monotonic()
        try:
            outcome = self.run(*args, **kwargs)
            totals: Mapping[str, int] = {}
            if isinstance(outcome, FanOut):
                dispatch.fan_out(self.app, ledger(), address, outcome.targets)
            else:
                totals = outcome or {}
            ended = ledger().finish(address, totals)
        except Retry as retry:
            ledger().pause(address, seconds=float(retry.when or 0), error=str(retry.exc))
            logger.warning("task_retrying", extra={"wait": retry.when, "error": str(retry.exc)})
            raise
        except (Ignore, Reject, RedisError, OperationalError) as error:
            # Not the work failed but the way to it: the item stays open, and the reconciler
            # sends it again when its lease has run out.
            logger.error("task_interrupted", extra={"error": str(error)})
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            logger.exception("task_failed", extra={"error": reason})
            log_end(ledger(), address.run_id, ledger().fail(address, reason)[1])
            raise
        duration = round(time.monotonic() - started, 3)
        logger.info("task_succeeded", extra={"duration": duration, **totals})
        log_end(ledger(), address.run_id, ended[1])


def run_task(name: str, **options: Any) -> Callable[[Callable[..., Outcome]], RunTask]:
    """Make a function a RunTask of that name; `options` are Celery's task options."""
    decorate: Callable[[Callable[..., Outcome]], RunTask] = shared_task(
        base=RunTask, bind=True, name=name, **options
    )
    return decorate
