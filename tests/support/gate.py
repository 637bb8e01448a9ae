"""An HTTP gate before the real backend: it holds a chosen call, or answers it wrongly."""

import json
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import requests
from support.faulty_backend import FaultyBackend, Received, Reply

HOLD_SECONDS = 100
"""Longest time for which a call is held: a test that failed must not keep threads for ever."""

_FORWARDED = ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID")


class Step(StrEnum):
    """One kind of call in the analysis of a company."""

    START = "start"
    WAIT = "wait"
    STORE = "store"
    LAST = "last"
    """The last one of its stores."""


@dataclass
class Trap:
    """What happens to a company's next call of a kind."""

    company: str
    step: Step
    carried_out: bool = False
    """Whether the backend carries the call out before it is held."""
    reply: Reply | Callable[[Reply], Reply] | None = None
    """What is answered instead of the backend's own answer, or what is made of that."""
    lasting: bool = False
    """Whether each further call of the kind meets the same."""
    reached: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    """Until it is set the call is held."""


class Gate(FaultyBackend):
    """A proxy of the tests' own; all calls but the trapped one reach the backend."""

    def __init__(self, upstream: str) -> None:
        """Forward to the backend at the URL `upstream`."""
        super().__init__()
        self.stores = 0
        """How many stores a company's analysis takes."""
        self._upstream = upstream
        self._trap: Trap | None = None
        self._company_of: dict[str, str] = {}
        self._stored: dict[str, set[str]] = defaultdict(set)

    def set(self, trap: Trap | None) -> None:
        """Set a trap in place of the one before."""
        with self._lock:
            self._trap = trap

    def take(self, request: Received) -> Reply:
        """Forward a call and return the answer, unless it meets the trap."""
        trap = self._sprung(request)
        if trap is None:
            return self._forward(request)
        answer = self._forward(request) if trap.carried_out else None
        trap.reached.set()
        trap.go.wait(HOLD_SECONDS)
        if isinstance(trap.reply, Reply):
            return trap.reply
        answer = answer or self._forward(request)
        return answer if trap.reply is None else trap.reply(answer)

    def _sprung(self, request: Received) -> Trap | None:
        with self._lock:
            place = self._place(request)
            trap = self._trap
            if trap is None or place != (trap.company, trap.step):
                return None
            if not trap.lasting:
                self._trap = None
            return trap

    def _place(self, request: Received) -> tuple[str, Step] | None:
        words = request.path.split("/")[3:]
        if request.method == "GET" and words[0] == "analyses" and len(words) == 2:
            return self._company_of[words[1]], Step.WAIT
        if request.method != "POST":
            return None
        company: str = request.body["company_id"]
        if words == ["analyses"]:
            return company, Step.START
        self._stored[company].add(request.headers["Idempotency-Key"])
        return company, Step.LAST if len(self._stored[company]) == self.stores else Step.STORE

    def _forward(self, request: Received) -> Reply:
        answer = requests.request(
            request.method,
            self._upstream + request.path,
            params=dict(request.query),
            data=None if request.body is None else json.dumps(request.body),
            headers={name: request.headers[name] for name in _FORWARDED if name in request.headers},
            timeout=60,
        )
        if request.method == "POST" and request.path.endswith("/analyses") and answer.ok:
            self._company_of[answer.json()["id"]] = request.body["company_id"]
        return Reply(answer.status_code, answer.content)
