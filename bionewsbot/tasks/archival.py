"""The jobs that keep the database small: old records move to the archive, leftovers go."""

from datetime import timedelta
from math import inf

from bionewsbot import names
from bionewsbot import settings as settings_module
from bionewsbot.archive.archive import Archive
from bionewsbot.archive.exchange import hand_over
from bionewsbot.archive.storage import Storage
from bionewsbot.celeryconfig import connect_redis
from bionewsbot.dead_letters.trimming import trim_letters
from bionewsbot.runs.exclusive import exclusive, moving
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import Message
from bionewsbot.runs.trimming import trim_changes, trim_indexes
from bionewsbot.tasks.analysis import backend
from bionewsbot.tasks.base import FanOut, RunTask, run_task
from bionewsbot.tasks.maintenance import maintain

CLEANED = ("alerts", "analyses", "insights")

TEMPORARY_DAYS = 1
"""Age from which a temporary file of ours is a dead writer's: none is written for so long."""

MOVING_SECONDS = 6 * 3600
"""Hard time limit of moving one collection: enough for some 50 million records at the speed that
was measured (docs/benchmarks.md)."""

# An attempt may work for hours before it fails, which is no reason to give up: the next one goes on
# where it stopped. The run's deadline bounds them all.
_LIMITS = {
    "soft_time_limit": MOVING_SECONDS - 60,
    "time_limit": MOVING_SECONDS,
    "retry_policy": {"budget": inf},
}


@run_task(names.DATA_CLEANUP)
def data_cleanup(self: RunTask) -> FanOut:
    """Archive old analyses, insights and alerts, and remove what nobody needs any more."""
    days = settings_module.current().cleanup_retention_days
    return FanOut(
        (
            *(_archive(collection, days) for collection in CLEANED),
            Message("orphans", names.REMOVE_ORPHANS, names.QUEUE_LOW, {}),
            Message("redis", names.TRIM_REDIS, names.QUEUE_LOW, {"days": days}),
        )
    )


@run_task(names.REPORT_ARCHIVAL)
def report_archival(self: RunTask) -> FanOut:
    """Archive old reports."""
    return FanOut((_archive("reports", settings_module.current().report_retention_days),))


@run_task(names.ARCHIVE_COLLECTION, **_LIMITS)
def archive_collection(self: RunTask, collection: str, days: int) -> dict[str, int]:
    """Move a collection's records to the archive that are older than `days` before the occurrence.

    Returns totals: records, parts and compressed bytes archived, temporary files removed.
    """
    scheduled_for = self.address.occurrence.scheduled_for
    archive = Archive(Storage(settings_module.current().archive_location))
    seconds = 2 * backend().longest_call
    with exclusive(ledger(), moving(collection), seconds=seconds) as still_mine:
        moved = hand_over(
            backend(),
            archive,
            collection,
            before=scheduled_for - timedelta(days=days),
            written_by=self.address.run_id,
            still_mine=still_mine,
        )
        swept = archive.sweep(collection, scheduled_for - timedelta(days=TEMPORARY_DAYS))
    return {
        "archived": moved.records,
        "archive_parts": moved.parts,
        "archive_bytes": moved.bytes,
        "temporary_files": swept,
    }


@run_task(names.REMOVE_ORPHANS, **_LIMITS)
def remove_orphans(self: RunTask) -> dict[str, int]:
    """Have the backend remove rows that nothing needs any more."""
    key = f"{self.address.run_id}/{self.address.generation}/orphans"
    result = maintain(backend(), "orphans", key=key, seconds=MOVING_SECONDS - 60)
    total = result.get("total")
    return {"orphans": total} if isinstance(total, int) else {}


@run_task(names.TRIM_REDIS)
def trim_redis(self: RunTask, days: int) -> dict[str, int]:
    """Remove what Redis holds of forgotten runs and of old changes that is older than `days`."""
    before = self.address.occurrence.scheduled_for - timedelta(days=days)
    with connect_redis(settings_module.current()) as redis:
        return {
            "index_entries": trim_indexes(redis, before),
            "changes": trim_changes(redis, before),
            "dead_letters": trim_letters(ledger(), redis, before),
        }


def _archive(collection: str, days: int) -> Message:
    arguments = {"collection": collection, "days": days}
    return Message(collection, names.ARCHIVE_COLLECTION, names.QUEUE_LOW, arguments)
