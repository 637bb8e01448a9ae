"""Records move from the backend to the archive and back; each is always in one of the two, or both.

Whatever dies here leaves a part whose state says how to go on, and the next call goes on.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from bionewsbot.api.client import BackendClient
from bionewsbot.api.models import Conflict
from bionewsbot.api.paging import at_a_time
from bionewsbot.archive.archive import Archive, Record
from bionewsbot.archive.parts import Part
from bionewsbot.errors import BackendRefused

logger = logging.getLogger(__name__)

PART_RECORDS = 10_000
"""Records of one part: some megabytes, and some twenty calls to delete them."""

StillMine = Callable[[], None]
"""Called before each step; raises where somebody else may have begun to move records."""


@dataclass(frozen=True)
class Moved:
    """What a hand-over moved."""

    records: int = 0
    parts: int = 0
    bytes: int = 0
    """Compressed."""

    def __add__(self, other: "Moved") -> "Moved":
        return Moved(
            self.records + other.records, self.parts + other.parts, self.bytes + other.bytes
        )


def hand_over(
    client: BackendClient,
    archive: Archive,
    collection: str,
    *,
    before: datetime,
    written_by: str,
    still_mine: StillMine,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    part_records: int = PART_RECORDS,
) -> Moved:
    """Archive a collection's records older than `before`, then delete exactly those.

    First goes on with what an earlier call left half done. Raises what client and archive do.
    """
    moved = go_on(client, archive, collection, still_mine=still_mine, now=now)
    while True:
        still_mine()
        records = islice(client.export(collection, before=before), part_records)
        part = archive.write(
            collection,
            _watched(records, still_mine, at_a_time(collection)),
            written_by=written_by,
            now=now(),
        )
        if part is None:
            return moved
        kept = _delete(client, archive, part, still_mine, now)
        if kept is None:
            # All of it had changed meanwhile, which is too much for chance: the next run looks.
            return moved
        moved += _moved(kept)


def go_on(
    client: BackendClient,
    archive: Archive,
    collection: str,
    *,
    still_mine: StillMine,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Moved:
    """Finish what died half way: deleting what was archived, restoring what was asked for."""
    moved = Moved()
    for part in archive.parts(collection):
        if part.state == "handing over":
            logger.warning("hand_over_goes_on", extra={"part": part.name})
            archive.verify(part)
            moved += _moved(_delete(client, archive, part, still_mine, now))
        elif part.state == "restoring":
            logger.warning("restore_goes_on", extra={"part": part.name})
            restore(client, archive, part, still_mine=still_mine, now=now)
    return moved


@dataclass(frozen=True)
class Restored:
    """What a restore brought back."""

    records: int
    conflicts: tuple[Conflict, ...]
    kept_in: Part | None
    """The part that holds what stays out of the backend."""


def restore(
    client: BackendClient,
    archive: Archive,
    part: Part,
    *,
    still_mine: StillMine,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Restored:
    """Put a part's records back as they were, and take them out of the archive.

    Goes on where a hand-over or a restore of the part died. What the backend refuses, such as what
    has another record in its place there, stays archived, in a part of its own.
    """
    archive.verify(part)
    if part.state == "handing over":
        kept = _delete(client, archive, part, still_mine, now)
        if kept is None or kept.state == "restored":
            return Restored(0, (), None)
        part = kept
    still_mine()
    part = archive.mark(part, "restoring")
    conflicts: dict[str, Conflict] = {}
    for batch in _batches(archive, part):
        conflicts |= _put_back(client, part, batch, still_mine)
    still_mine()
    kept_in = _keep(archive, part, conflicts.__contains__, now()) if conflicts else None
    archive.give_up(part)
    return Restored(part.records - len(conflicts), tuple(conflicts.values()), kept_in)


def _put_back(
    client: BackendClient, part: Part, batch: list[Record], still_mine: StillMine
) -> dict[str, Conflict]:
    still_mine()
    try:
        answer = client.import_records(
            part.collection, batch, idempotency_key=_key(part, "restore", batch)
        )
    except BackendRefused as error:
        if error.status not in (404, 422):
            raise
        # One record of it, say of a company that is gone; the others have a right to come back.
        if len(batch) == 1:
            return {batch[0]["id"]: Conflict(id=batch[0]["id"], reason=str(error))}
        middle = len(batch) // 2
        halves = (batch[:middle], batch[middle:])
        first, second = (_put_back(client, part, half, still_mine) for half in halves)
        return first | second
    return {conflict.id: conflict for conflict in answer.conflicts}


def _keep(archive: Archive, part: Part, stays: Callable[[str], bool], now: datetime) -> Part | None:
    """Archive those of a part's records whose ids stay here in a part that replaces it."""
    # Whoever died before the part was given up has written it already.
    for other in archive.parts(part.collection):
        if other.replaces == part.number:
            return other
    return archive.write(
        part.collection,
        (record for record in archive.records(part) if stays(record["id"])),
        written_by=part.written_by,
        now=now,
        replaces=part.number,
    )


def _delete(
    client: BackendClient,
    archive: Archive,
    part: Part,
    still_mine: StillMine,
    now: Callable[[], datetime],
) -> Part | None:
    """Delete a part's records at the backend, and return the part that has them alone now.

    What has changed since it was archived is left there, and isn't in that part: none where that is
    all.
    """
    left: set[str] = set()
    for batch in _batches(archive, part):
        still_mine()
        answer = client.delete_exported(
            part.collection, batch, idempotency_key=_key(part, "delete", batch)
        )
        left.update(answer.left)
    still_mine()
    if left:
        logger.warning("changed_meanwhile", extra={"part": part.name, "records": len(left)})
        kept = _keep(archive, part, lambda one: one not in left, now())
        archive.give_up(part)
    else:
        kept = archive.mark(part, "kept")
    if kept:
        logger.info(
            "part_archived",
            extra={"part": kept.name, "records": kept.records, "bytes": kept.size},
        )
    return kept


def _moved(part: Part | None) -> Moved:
    return Moved(part.records, 1, part.size) if part else Moved()


def _key(part: Part, what: str, batch: list[Record]) -> str:
    # A mover that was frozen before a call, and comes to it when others have gone on with the part,
    # finds its key spent. The time tells the part from one of its name in another archive.
    named = [part.written_at.isoformat(), *(record["id"] for record in batch)]
    digest = hashlib.sha256("\n".join(named).encode()).hexdigest()[:32]
    return f"{part.name}/{what}/{digest}"


def _watched(records: Iterable[Record], still_mine: StillMine, page: int) -> Iterator[Record]:
    for position, record in enumerate(records):
        if position % page == 0:
            still_mine()
        yield record
    still_mine()


def _batches(archive: Archive, part: Part) -> Iterator[list[Record]]:
    """Yield a part's records in lists as long as the backend takes in one call."""
    records = archive.records(part)
    while batch := list(islice(records, at_a_time(part.collection))):
        yield batch
