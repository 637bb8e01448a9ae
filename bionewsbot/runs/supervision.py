"""What the reconciler asks of the ledger: what is overdue, lost, or next in line."""

import json
from collections.abc import Iterable
from typing import cast

from bionewsbot.runs.model import Address, Suspect
from bionewsbot.runs.records import key_of, suspect_of
from bionewsbot.runs.scripting import LedgerScript, slots_argument

KEEP_STORIES = 10
"""Stories that a dead letter keeps: the first and the latest of its generations."""

CLEAR = 1000
"""Settled items whose leases are cleared in one step: 25 to 50 ms of Redis' time, measured."""


class LedgerSupervision(LedgerScript):
    """The reconciler's part. Every method raises redis.RedisError if Redis stays away."""

    def miss(self, run_id: str, reason: str) -> bool:
        """End a run as missed if its job was never begun and may not start any more."""
        return bool(self._call("miss", run_id, reason=reason))

    def overdue(self) -> list[str]:
        """Return the ids of running runs that are past their deadline."""
        found = self._redis.zrangebyscore(key_of("open"), "-inf", self.now())
        return cast(list[str], found)

    def end_overdue(self, run_id: str) -> str | None:
        """Fail what is left of a run past its deadline; returns the final status if it ended."""
        reason = "the run's deadline passed"
        return str(self._call("overdue", run_id, reason=reason, keep_stories=KEEP_STORIES)) or None

    def suspects(self, limit: int) -> list[Suspect]:
        """Return up to `limit` items whose lease ran out; settled ones are cleared on the way.

        Fewer means that there are no more, or that CLEAR were cleared.
        """
        rows = json.loads(self._call("suspects", "", limit=limit, clear=CLEAR))
        return [suspect_of(row) for row in rows]

    def sent_at(self, address: Address) -> float | None:
        """Return when an item was sent last; None if it wasn't or the ledger doesn't know it.

        A message that waits for its next attempt counts as sent when the first one was.
        """
        text = self._redis.hget(key_of("items", address.run_id), address.target)
        sent_at: float | None = json.loads(cast(str | None, text) or "{}").get("sent_at")
        return sent_at

    def call_up(self, slots: int, limit: int) -> list[Suspect]:
        """Give free slots of `slots` to up to `limit` items that are first in line; return them."""
        argument = {"slots": slots_argument(slots), "limit": limit, "lease": self._queued_lease}
        return [suspect_of(row) for row in json.loads(self._call("call_up", "", **argument))]

    def postpone(self, addresses: Iterable[Address], *, seconds: float = 0) -> None:
        """Let items be whose messages wait in their queues, from `seconds` ahead for a while."""
        self._renew(addresses, seconds + self._queued_lease)
