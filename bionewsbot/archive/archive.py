"""Parts of records are written, checked, read and removed; nothing here knows the backend."""

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import IO, Any

from bionewsbot.archive.parts import (
    MANIFEST,
    MARK,
    OBJECT,
    STATES,
    TIME_FIELDS,
    Part,
    State,
    first_state,
    read_part,
)
from bionewsbot.archive.storage import TEMPORARY, Storage
from bionewsbot.errors import ArchiveCorrupt, ArchiveExists, PartUnknown

Record = dict[str, Any]

_CHUNK = 1024 * 1024


class Archive:
    """The archive at one location. Every method raises ArchiveUnavailable if it can't be used."""

    def __init__(self, storage: Storage) -> None:
        """Keep it in `storage`."""
        self._storage = storage

    @property
    def location(self) -> str:
        """Where it lies."""
        return self._storage.location

    def collections(self) -> list[str]:
        """Return the names of the collections that have been archived, sorted."""
        return [name for name in self._storage.folders() if name in TIME_FIELDS]

    def parts(self, collection: str) -> list[Part]:
        """Return a collection's parts by their numbers. Raises ArchiveCorrupt."""
        names = self._storage.names(collection)
        there = frozenset(names)
        return [self._read(collection, number, there) for number in _numbers(MANIFEST, names)]

    def survey(self, collection: str) -> dict[str, Part | ArchiveCorrupt]:
        """Return by its name each part, or what is wrong with its manifest."""
        names = self._storage.names(collection)
        numbers = {*_numbers(MANIFEST, names), *_bereft(names)}
        return {
            f"{collection}/{number}": self._read_or_tell(collection, number, frozenset(names))
            for number in sorted(numbers)
        }

    def holding(self, collection: str, start: datetime | None, end: datetime | None) -> list[Part]:
        """Return the parts that hold records from `start` to before `end` (None: without bound).

        By their oldest and newest record. What was restored is not here. Raises ArchiveCorrupt.
        """
        return [
            part
            for part in self.parts(collection)
            if part.state != "restored"
            and (start is None or part.newest >= start)
            and (end is None or part.oldest < end)
        ]

    def part(self, name: str) -> Part:
        """Return the part of this name. Raises PartUnknown, ArchiveCorrupt."""
        collection, _, number = name.partition("/")
        names = self._storage.names(collection)
        if number not in (*_numbers(MANIFEST, names), *_bereft(names)):
            raise PartUnknown(f"{self.location} holds no part {name}; see `archive list`")
        return self._read(collection, number, names)

    def write(
        self,
        collection: str,
        records: Iterable[Record],
        *,
        written_by: str,
        now: datetime,
        replaces: int | None = None,
    ) -> Part | None:
        """Write a part of all these records, and return it; None where there are none.

        It is read back before it counts. Raises ArchiveExists where another writer took its number
        meanwhile: what it wrote may hold the same records, so begin anew.
        """
        number = self._next_number(collection)
        with self._storage.writing(collection) as (temporary, file):
            written = _Digest(file)
            count, oldest, newest = _write_lines(written, records, TIME_FIELDS[collection])
        if count == 0 or oldest is None or newest is None:
            self._storage.remove(temporary)
            return None
        part = Part(
            collection=collection,
            number=number,
            records=count,
            oldest=oldest,
            newest=newest,
            size=written.bytes,
            sha256=written.sha256,
            written_at=now,
            written_by=written_by,
            replaces=replaces,
            state=first_state(replaces),
        )
        try:
            self._check(part, temporary)
        except ArchiveCorrupt:
            self._storage.remove(temporary)
            raise
        self._storage.rename(temporary, part.object_path)
        self._storage.create(part.manifest_path, part.to_json())
        return part

    def mark(self, part: Part, state: State) -> Part:
        """Bring a part into a later state; one that is further stays there."""
        with suppress(ArchiveExists):  # marked by an earlier call, so there is nothing to do
            self._storage.create(part.mark_path(state), b"")
        return part.model_copy(update={"state": state})

    def records(self, part: Part) -> Iterator[Record]:
        """Yield a part's records as they were archived. Raises ArchiveCorrupt, at its place."""
        yield from _read_lines(self._storage, part, part.object_path)

    def verify(self, part: Part) -> None:
        """Read a part whole. Raises ArchiveCorrupt where it isn't what its manifest says."""
        self._check(part, part.object_path)

    def give_up(self, part: Part) -> None:
        """Remove the object of a part whose records are somewhere else; its manifest stays."""
        # Marked first: from then on the object counts for nothing.
        self.mark(part, "restored")
        self._storage.remove(part.object_path)

    def sweep(self, collection: str, before: datetime) -> int:
        """Remove what writers that died left there before `before`; returns how many files.

        Raises ArchiveCorrupt. Files that aren't ours stay, and so does an object whose manifest is
        lost: it may be the only copy.
        """
        parts = [part for part in self.parts(collection) if part.state != "restored"]
        named = {part.object_path.rpartition("/")[2] for part in parts}
        names = self._storage.names(collection)
        bereft = _bereft(names)
        left = [
            f"{collection}/{name}"
            for name in names
            if TEMPORARY.fullmatch(name)
            or ((found := OBJECT.fullmatch(name)) and name not in named and found[1] not in bereft)
        ]
        old = [name for name in left if self._storage.modified(name) < before.timestamp()]
        for name in old:
            self._storage.remove(name)
        return len(old)

    def _next_number(self, collection: str) -> int:
        names = self._storage.names(collection)
        # A mark counts, too: one whose manifest is lost would be the new part's from the beginning.
        taken = (*_numbers(MANIFEST, names), *_numbers(MARK, names))
        return max(map(int, taken), default=0) + 1

    def _read_or_tell(
        self, collection: str, number: str, names: Container[str]
    ) -> Part | ArchiveCorrupt:
        try:
            return self._read(collection, number, names)
        except ArchiveCorrupt as error:
            return error

    def _read(self, collection: str, number: str, names: Container[str]) -> Part:
        path = f"{collection}/{number}.json"
        if f"{number}.json" not in names:
            raise ArchiveCorrupt(
                f"{self.location}/{path}: manifest missing; "
                "bring it back from a backup of the archive"
            )
        marks = [state for state in STATES if f"{number}.{state}" in names]
        return read_part(self._storage.read(path), f"{self.location}/{path}", marks)

    def _check(self, part: Part, path: str) -> None:
        place = f"{self.location}/{path}"
        digest = hashlib.sha256()
        size = 0
        with self._storage.reading(path) as file:
            while piece := file.read(_CHUNK):
                digest.update(piece)
                size += len(piece)
        if (size, digest.hexdigest()) != (part.size, part.sha256):
            found = "another SHA-256" if size == part.size else f"{size} bytes, not {part.size}"
            raise ArchiveCorrupt(
                f"{place}: its content is not what its manifest says ({found}); bring it back from "
                "a backup of the archive"
            )
        count = sum(1 for _ in _read_lines(self._storage, part, path))
        if count != part.records:
            raise ArchiveCorrupt(f"{place}: it has {count} records, not {part.records}")


def _numbers(pattern: re.Pattern[str], names: Iterable[str]) -> list[str]:
    return [found[1] for name in names if (found := pattern.fullmatch(name))]


def _bereft(names: Iterable[str]) -> set[str]:
    """Return the numbers of parts that had a manifest once, as their marks tell, and have none."""
    marks = [found for name in names if (found := MARK.fullmatch(name))]
    restored = {found[1] for found in marks if found[2] == "restored"}
    # Of one that was restored nothing is lost but its range.
    return {found[1] for found in marks} - restored - set(_numbers(MANIFEST, names))


class _Digest:
    """Counts and sums what is written through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sum = hashlib.sha256()
        self.bytes = 0

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()

    def write(self, data: bytes) -> int:
        self._sum.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _write_lines(
    file: _Digest, records: Iterable[Record], time_field: str
) -> tuple[int, datetime | None, datetime | None]:
    count = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    # Without a time and a name in its head, so that the same records make the same object.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as lines:
        for record in records:
            text = json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
            lines.write(text.encode() + b"\n")
            at = datetime.fromisoformat(record[time_field]).astimezone(UTC)
            oldest = at if oldest is None or at < oldest else oldest
            newest = at if newest is None or at > newest else newest
            count += 1
    return count, oldest, newest


def _read_lines(storage: Storage, part: Part, path: str) -> Iterator[Record]:
    place = f"{storage.location}/{path}"
    number = 0
    with storage.reading(path) as file, _unbroken(place, lambda: number):
        with gzip.GzipFile(mode="rb", fileobj=file) as lines:
            for number, line in enumerate(lines, start=1):
                yield json.loads(line)


@contextmanager
def _unbroken(place: str, line: Any) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise ArchiveCorrupt(
            f"{place}: it breaks off or is garbled after line {line()} ({error}); "
            "bring it back from a backup of the archive"
        ) from error
