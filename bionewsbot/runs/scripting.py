"""The ledger's script: every transition is one atomic step of it (`script/*.lua`)."""

import json
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.lock import Lock

from bionewsbot.names import KEY_PREFIX, WORKER_QUEUES
from bionewsbot.runs.model import Address
from bionewsbot.runs.reading import LedgerReader
from bionewsbot.runs.records import key_of

QUEUED_LEASES = 3
"""A message that waits gets this many leases before it is looked for in its queue."""

_SECONDS_PER_DAY = 86_400

_SCRIPT = ("state", "letters", "opening", "slots", "items", "closing")
"""Parts of the script; each uses what those before it define."""


class LedgerScript(LedgerReader):
    """Calls the script. Every method raises redis.RedisError if Redis stays away."""

    def __init__(
        self,
        redis: Redis,
        *,
        retention_days: int,
        lease_seconds: float,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Use `redis` (answers decoded); `clock` gives epoch seconds, default Redis' own clock.

        An item counts as alive for `lease_seconds` after each sign of life.
        """
        super().__init__(redis)
        self._lease = lease_seconds
        self._queued_lease = lease_seconds * QUEUED_LEASES
        self._retention = retention_days * _SECONDS_PER_DAY
        self._clock = clock
        parts = [files(__package__).joinpath("script", f"{name}.lua") for name in _SCRIPT]
        source = [part.read_text(encoding="utf-8") for part in parts]
        self._script = redis.register_script("\n".join([*source, "return operations[ARGV[1]]()"]))

    def now(self) -> float:
        """Return the ledger's time in epoch seconds: Redis' clock, the same for every host."""
        if self._clock is not None:
            return self._clock()
        seconds, microseconds = self._redis.time()
        return seconds + microseconds / 1_000_000

    def lock(self, name: str, *, seconds: float) -> Lock:
        """Return a lock that one process holds at a time, for `seconds` at most."""
        return Lock(self._redis, name, timeout=seconds)

    def _renew(self, addresses: Iterable[Address], seconds: float) -> None:
        until = self.now() + seconds
        leases = {f"{address.run_id}|{address.target}": until for address in addresses}
        if leases:
            self._redis.zadd(key_of("leases"), leases, xx=True)

    def _call(self, operation: str, run_id: str, **argument: Any) -> Any:
        given = {name: value for name, value in argument.items() if value is not None}
        return self._script(
            keys=[
                key_of("run", run_id),
                key_of("items", run_id),
                key_of("leases"),
                key_of("open"),
                key_of("index"),
            ],
            args=[
                operation,
                "" if self._clock is None else repr(self._clock()),
                json.dumps({"prefix": KEY_PREFIX, "run_id": run_id, **given}),
            ],
        )


def slots_argument(limit: int) -> dict[str, Any] | None:
    """Return what the script is told of so many slots; None where there is no limit."""
    return {"limit": limit, "queues": WORKER_QUEUES} if limit else None
