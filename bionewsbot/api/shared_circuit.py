"""The circuit that all workers share, in Redis: every step is one atomic script (`circuit.lua`)."""

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self

from redis import Redis

from bionewsbot.api.circuit import (
    SHORTEST_WAIT,
    TRIAL_WAIT,
    WINDOW_PARTS,
    Admission,
    Limits,
    Tally,
)
from bionewsbot.celeryconfig import connect_impatient_redis
from bionewsbot.names import KEY_PREFIX
from bionewsbot.settings import Settings

KEEP_CHANGES = 100
"""Changes that are kept: days of an unstable backend, in about 30 KB."""

MAX_REASON = 300
"""Characters of a change's reason."""


@dataclass(frozen=True)
class Change:
    """One change of the circuit's state. `at` is in epoch seconds."""

    at: float
    before: str
    after: str
    reason: str
    by: str
    """`host:pid` of the worker whose call caused it, or the operator."""


@dataclass(frozen=True)
class Status:
    """The circuit as it stands. Times are epoch seconds of Redis' clock."""

    now: float
    state: str
    """closed, open or half-open."""
    held: bool
    """Held open by an operator."""
    reason: str
    """Why it is in this state; "" where it never changed."""
    since: float | None
    half_open_at: float | None
    """From when on one call is let through, where it is open and not held."""
    trial_until: float | None
    """When the trial that is under way is given up on."""
    tally: Tally
    opened: int
    """Changes to open since the keys were made; so with the other three."""
    closed: int
    trials: int
    rejected: int
    changes: tuple[Change, ...]
    """The latest ones first."""


class SharedCircuit:
    """A Circuit. Every method raises redis.RedisError if Redis doesn't answer."""

    def __init__(
        self,
        redis: Redis,
        limits: Limits,
        *,
        by: str | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Use `redis` (answers decoded); `clock` gives epoch seconds, default Redis' own clock.

        Changes are on record as made `by`; default: host and process id.
        """
        self._redis = redis
        self._limits = limits
        self._by = by
        self._clock = clock
        source = files(__package__).joinpath("circuit.lua").read_text(encoding="utf-8")
        self._script = redis.register_script(source)

    @classmethod
    def from_settings(cls, settings: Settings, *, by: str | None = None) -> Self:
        """Return the circuit as the settings want it; connects on first use."""
        limits = Limits.from_settings(settings)
        return cls(connect_impatient_redis(settings), limits, by=by)

    def shut(self) -> None:
        """Close the connections to Redis."""
        self._redis.close()

    def admit(self, seconds: float) -> Admission:
        """See Circuit."""
        answer = json.loads(
            self._call(
                "admit",
                seconds=seconds,
                open_seconds=self._limits.open_seconds,
                trial_wait=TRIAL_WAIT,
            )
        )
        if "retry_after" in answer:
            answer["retry_after"] = max(SHORTEST_WAIT, answer["retry_after"])
        return Admission(**answer)

    def count(self, admission: Admission, *, failed: bool) -> Tally:
        """See Circuit."""
        return Tally(*(self._report("count", admission, failed=failed, **self._window()) or ()))

    def open(self, admission: Admission, reason: str) -> bool:
        """See Circuit."""
        seconds = self._limits.open_seconds
        return bool(self._report("open", admission, open_seconds=seconds, **self._why(reason)))

    def close(self, admission: Admission, reason: str) -> bool:
        """See Circuit."""
        return bool(self._report("close", admission, **self._why(reason)))

    def give_back(self, admission: Admission) -> None:
        """See Circuit."""
        self._report("give_back", admission)

    def hold(self, reason: str) -> bool:
        """Hold the circuit open until `release`; return whether that changed it."""
        return bool(self._call("hold", **self._why(reason)))

    def release(self, reason: str) -> bool:
        """Close the circuit, held or not; return whether that changed it."""
        return bool(self._call("release", **self._why(reason)))

    def status(self, changes: int = KEEP_CHANGES) -> Status:
        """Return how the circuit stands, with up to `changes` of its latest changes."""
        found = json.loads(self._call("status", changes=changes, **self._window()))
        rows = [json.loads(row) for row in found.pop("changes")]
        tally = Tally(*(found.pop(name) for name in ("in_row", "calls", "failed")))
        for name in ("since", "half_open_at", "trial_until"):
            found.setdefault(name, None)
        return Status(
            **found,
            tally=tally,
            changes=tuple(
                Change(row["at"], row["from"], row["to"], row["reason"], row["by"]) for row in rows
            ),
        )

    def _window(self) -> dict[str, float]:
        return {"window_seconds": self._limits.window_seconds, "parts": WINDOW_PARTS}

    def _why(self, reason: str) -> dict[str, Any]:
        # The process is asked for late: one that prepares a circuit may fork afterwards.
        by = self._by or f"{socket.gethostname()}:{os.getpid()}"
        return {"reason": reason[:MAX_REASON], "by": by, "keep": KEEP_CHANGES}

    def _report(self, operation: str, admission: Admission, **argument: Any) -> Any:
        given = {"generation": admission.generation, **argument}
        if admission.trial is not None:
            given["trial"] = admission.trial
        return self._call(operation, **given)

    def _call(self, operation: str, **argument: Any) -> Any:
        name = f"{KEY_PREFIX}breaker"
        return self._script(
            keys=[name, f"{name}:window", f"{name}:changes"],
            args=[
                operation,
                "" if self._clock is None else repr(self._clock()),
                json.dumps(argument),
            ],
        )
