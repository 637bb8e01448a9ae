"""What all tasks share: strict options, a place in the ledger, retries, one log line an event."""

import json
import logging
import random
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Ignore, Reject
from celery.utils.dispatch import Signal
from kombu.exceptions import OperationalError
from redis import RedisError, exceptions

from bionewsbot import logs
from bionewsbot import settings as settings_module
from bionewsbot.errors import NewerMessage, OutOfMemory
from bionewsbot.runs import dispatch
from bionewsbot.runs.ending import log_end
from bionewsbot.runs.heartbeat import heartbeat
from bionewsbot.runs.ledger import POISONOUS, Verdict, ledger
from bionewsbot.runs.model import PUT_BACK_SECONDS, Address, Message
from bionewsbot.runs.slots import call_up
from bionewsbot.runs.time_limit import hard_limit
from bionewsbot.tasks.retry import Again, RetryPolicy, decide

logger = logging.getLogger("bionewsbot.tasks")

work_done = Signal(name="work_done")
"""Sent by a RunTask, with its `task_id`, when only the record of its end is left to do."""

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
    then: Message | None = None
    """Sent when all targets have ended, with FINAL for its target; the run ends with it."""


@dataclass(frozen=True)
class Gathered:
    """What a target returns that leaves a text (JSON) to the run's final item."""

    totals: Mapping[str, int]
    section: str


Outcome = FanOut | Gathered | Mapping[str, int] | None
"""What a task returns: targets, or totals for the run's summary, or nothing."""


class RunTask(CheckedTask):
    """A task that carries out an item of a run: a job, or the work on one target.

    The function gets the task as its first argument and finds its occurrence in `self.address`;
    it never asks the clock what it is for. It returns an Outcome. A RetryableError is tried again
    as the task's RetryPolicy says; every other exception ends the item as failed.
    """

    abstract = True
    carries_runs = True
    max_retries = None
    """How often is decided here (RetryPolicy), not by Celery, which takes None given to `retry` for
    this attribute, and would otherwise drop the message after three."""
    Request = "bionewsbot.tasks.request:RunRequest"
    retry_policy: Mapping[str, Any] = {}
    """Fields of RetryPolicy that differ from the settings' (RETRY_*)."""
    takes_slot = False
    """Whether it is one of the MAX_CONCURRENT_ANALYSIS that may run at a time."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        unknown = cls.retry_policy.keys() - {field.name for field in fields(RetryPolicy)}
        if unknown:
            raise TypeError(
                f"task {cls.__name__}: retry_policy has no {', '.join(sorted(unknown))}"
            )

    @property
    def address(self) -> Address:
        """The place in the ledger of the message at hand. Raises NotARun."""
        return Address.from_headers(self.request.headers)

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Carry out the message at hand and record in the ledger what came of it."""
        try:
            address = self.address
        except NewerMessage as error:
            logger.warning("message_put_back", extra={"why": str(error), "task_name": self.name})
            # Else an earlier worker's reconciler would miss it and send it in its own form.
            ledger().postpone([error.address], seconds=PUT_BACK_SECONDS)
            raise self.retry(exc=error, countdown=PUT_BACK_SECONDS) from error
        with logs.context(
            run_id=address.run_id,
            task_id=str(self.request.id),
            request_id=f"{address.run_id}/{address.generation}",
            task=self.name,
            target=address.target,
            queue=(self.request.delivery_info or {}).get("routing_key") or "",
        ):
            slots = settings_module.current().max_concurrent_analysis if self.takes_slot else 0
            verdict = ledger().begin(
                address,
                task_id=str(self.request.id),
                worker=str(self.request.hostname),
                slots=slots,
            )
            if verdict is Verdict.POISON:
                logger.error("task_failed", extra={"error": POISONOUS})
                self._give_up(address, POISONOUS, why=POISONOUS)
                return
            if verdict is Verdict.IN_LINE:
                logger.info("task_waits_for_slot", extra={"slots": slots})
                return
            if verdict is not Verdict.GO:
                logger.info("task_dropped", extra={"why": str(verdict)})
                return
            logger.info("task_started", extra={"attempt": self.request.retries + 1})
            try:
                with heartbeat().holding(address, limit=self._hard_limit()):
                    self._carry_out(address, args, kwargs)
            finally:
                if slots:
                    self._call_up_next()

    def _hard_limit(self) -> float:
        sent, _ = self.request.timelimit or (None, None)
        return hard_limit(self, sent)

    def _carry_out(self, address: Address, args: Any, kwargs: Any) -> None:
        started = time.monotonic()
        try:
            outcome = self.run(*args, **kwargs)
            totals: Mapping[str, int] = {}
            section = None
            if isinstance(outcome, FanOut):
                dispatch.fan_out(self.app, ledger(), address, outcome.targets, outcome.then)
            elif isinstance(outcome, Gathered):
                totals, section = outcome.totals, outcome.section
            else:
                totals = outcome or {}
            work_done.send(sender=self, task_id=self.request.id)
            ended = ledger().finish(address, totals, section)
        except Exception as error:
            if _is_interruption(error):
                # Not the work failed but the way to it: the item stays open, and the reconciler
                # sends it again when its lease has run out.
                logger.error("task_interrupted", extra={"error": str(error)})
            else:
                self._after(error, address)
            if isinstance(error, MemoryError):
                # Celery would end the worker for it, or leave the message out in a pool of threads.
                raise OutOfMemory(f"{self.name} of {address.target}") from error
            raise
        duration = round(time.monotonic() - started, 3)
        logger.info("task_succeeded", extra={"duration": duration, **totals})
        log_end(ledger(), address.run_id, ended[1])

    def _call_up_next(self) -> None:
        try:
            call_up(self.app, ledger())
        except (RedisError, OperationalError) as error:
            # The reconciler's next pass does it.
            logger.warning("next_not_called_up", extra={"error": str(error)})

    def _after(self, error: Exception, address: Address) -> None:
        """Have a failed attempt made again, by raising Retry, or record that it was the last."""
        failed_before, elapsed = ledger().tried(address)
        decision = decide(
            error,
            attempt=failed_before + 1,
            elapsed=elapsed,
            policy=replace(default_policy(), **self.retry_policy),
            chance=random.random(),
        )
        said = f"{type(error).__name__}: {error}"
        if isinstance(decision, Again):
            wait = decision.seconds
            ledger().pause(address, seconds=wait, error=said, counts=decision.counts)
            logger.warning(
                "task_retrying",
                extra={"attempt": failed_before + 1, "wait": round(wait, 3), "error": str(error)},
            )
            raise self.retry(exc=error, countdown=wait)
        logger.error("task_failed", extra={"error": said, "why": decision.reason}, exc_info=error)
        told = "".join(traceback.format_exception(error))
        self._give_up(address, said, why=decision.reason, traceback=told)

    def _give_up(self, address: Address, error: str, **details: str) -> None:
        _, ended = ledger().fail(address, error, message=message_of(self.request), **details)
        log_end(ledger(), address.run_id, ended)


_INTERRUPTIONS = (
    Ignore,
    OperationalError,
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.OutOfMemoryError,
)
"""What comes of a Redis that is away or can't work now: of anything else that it refuses, it would
refuse it again."""

_PASSING_REFUSALS = ("BUSY ", "MISCONF ", "NOREPLICAS ")
"""The same, where redis-py has no class for it."""


def _is_interruption(error: Exception) -> bool:
    if isinstance(error, Reject):
        return bool(error.requeue)
    cause: BaseException = error
    if isinstance(error, OperationalError):
        # kombu has this one name for all that goes wrong on the way to the broker.
        while cause.__cause__:
            cause = cause.__cause__
    if isinstance(cause, exceptions.ResponseError):
        return isinstance(cause, _INTERRUPTIONS) or str(cause).startswith(_PASSING_REFUSALS)
    return isinstance(error, _INTERRUPTIONS)


def message_of(request: Any) -> dict[str, Any]:
    """Return a message as it came, as far as it can be written as JSON."""
    given = {
        "id": request.id,
        "task": request.task,
        "args": list(request.args or ()),
        "kwargs": dict(request.kwargs or {}),
        "headers": dict(request.headers or {}),
        "delivery_info": dict(request.delivery_info or {}),
        "expires": request.expires,
        "eta": request.eta,
        "retries": request.retries,
        "hostname": request.hostname,
    }
    plain: dict[str, Any] = json.loads(json.dumps(given, default=str))
    return plain


def default_policy() -> RetryPolicy:
    """Return the retry policy of the settings."""
    settings = settings_module.current()
    return RetryPolicy(
        attempts=settings.retry_attempts,
        base=settings.retry_base_seconds,
        cap=settings.retry_cap_seconds,
        budget=settings.retry_budget_seconds,
    )


def run_task(name: str, **options: Any) -> Callable[[Callable[..., Outcome]], RunTask]:
    """Make a function a RunTask of that name; `options` are Celery's task options."""
    decorate: Callable[[Callable[..., Outcome]], RunTask] = shared_task(
        base=RunTask, bind=True, name=name, **options
    )
    return decorate
