"""What a maintenance job is asked to do."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bionewsbot.backend.storage.database import Database
from bionewsbot.backend.storage.tables import metadata

Result = dict[str, Any]

TABLES = tuple(sorted(metadata.tables))
"""Names of the backend's own tables, which are all that upkeep touches."""


@dataclass(frozen=True)
class Upkeep:
    """The database, the tables to look after, and how."""

    database: Database
    tables: tuple[str, ...]
    dry_run: bool
    lock_timeout: float
    """Seconds for which a step waits for a table's lock before it fails."""
    now: datetime
