"""What each maintenance kind does, by what the database really offers.

Every function takes an `Upkeep` and returns the job's result as JSON. With `dry_run` it changes
nothing and says what it would touch.
"""

from collections.abc import Callable, Mapping

from bionewsbot.backend.storage.upkeep import orphans, postgresql, sqlite
from bionewsbot.backend.storage.upkeep.plan import Result, Upkeep

Step = Callable[[Upkeep], Result]

_SQLITE: Mapping[str, Step] = {
    "analyze": sqlite.analyze,
    "reindex": sqlite.reindex,
    "statistics": sqlite.statistics,
    "vacuum": sqlite.vacuum,
    "orphans": orphans.remove,
}
_POSTGRESQL: Mapping[str, Step] = {
    "analyze": postgresql.analyze,
    "reindex": postgresql.reindex,
    "statistics": postgresql.statistics,
    "vacuum": postgresql.vacuum,
    "orphans": orphans.remove,
}


def carry_out(kind: str, upkeep: Upkeep) -> Result:
    """Do one maintenance kind and return its result. Raises SQLAlchemy's errors."""
    steps = _SQLITE if upkeep.database.is_sqlite else _POSTGRESQL
    return steps[kind](upkeep)
