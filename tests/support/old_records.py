"""A backend full of old records, put in through its own API; and what stands where afterwards."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from support.backend_app import GILD, insight, story

from bionewsbot.api.client import BackendClient
from bionewsbot.api.models import format_time
from bionewsbot.api.paging import at_a_time
from bionewsbot.archive.archive import Archive
from bionewsbot.archive.storage import Storage
from bionewsbot.companies import Company

FOREVER = datetime(2999, 1, 1, tzinfo=UTC)

Record = dict[str, Any]


def analysis_at(number: int, at: datetime) -> Record:
    """Return an analysis that was scheduled for a time."""
    when = format_time(at)
    return {
        "id": f"analysis-{number:08}",
        "company_id": "GILD",
        "type": "daily",
        "scheduled_for": when,
        "attempt": 1,
        "status": "succeeded",
        "created_at": when,
        "started_at": when,
        "finished_at": when,
        "sources": [],
        "findings": [],
        "significant": False,
        "risk": None,
        "error": None,
    }


def insight_at(number: int, at: datetime, **fields: Any) -> Record:
    """Return an insight that was stored at a time."""
    return {**insight(number), **_stored("insight", number, at), **fields}


def alert_at(number: int, at: datetime) -> Record:
    """Return an alert that was stored at a time."""
    return {**story(number), **_stored("alert", number, at), "state": "acknowledged"}


def report_at(number: int, at: datetime) -> Record:
    """Return a report that was stored at a time."""
    when = format_time(at)
    return {
        "id": f"report-{number:08}",
        "type": "weekly",
        "period": f"2000-W{number}",
        "etag": hashlib.sha256(str(number).encode()).hexdigest(),
        "content": {"n": [number, 0.1, None], "text": "Größe"},
        "created_at": when,
        "updated_at": when,
    }


def _stored(kind: str, number: int, at: datetime) -> Record:
    source = {"source": "replay", "url": None, "evidence": {"n": 0.1}, "analysis_id": "a1"}
    when = format_time(at)
    return {
        "id": f"{kind}-{number:08}",
        "sources": [source],
        "created_at": when,
        "updated_at": when,
    }


MAKE = {"analyses": analysis_at, "insights": insight_at, "alerts": alert_at, "reports": report_at}


def around(collection: str, cutoff: datetime, *, old: int, young: int) -> list[Record]:
    """Return so many records just before a time, the last one by a microsecond, and from it on."""
    make = MAKE[collection]
    ages = [timedelta(minutes=number) + timedelta(microseconds=1) for number in range(old)]
    older = [make(number, cutoff - age) for number, age in enumerate(ages)]
    return older + [make(old + n, cutoff + timedelta(hours=n)) for n in range(young)]


class Depot:
    """A backend and an archive, seen from outside."""

    def __init__(self, url: str, folder: Path) -> None:
        self.client = BackendClient(url, timeout=300)  # on a busy machine 500 take their time
        self.archive = Archive(Storage(str(folder)))

    def put(self, collection: str, records: Iterable[Record]) -> None:
        """Put records into the backend, with their company."""
        fields = {**GILD, "aliases": tuple(GILD["aliases"])}
        self.client.put_company(Company(id="GILD", **fields))
        self.bring(collection, records)

    def bring(self, collection: str, records: Iterable[Record]) -> None:
        """Put records into the backend, whose companies are there."""
        rows = iter(records)
        while batch := list(islice(rows, at_a_time(collection))):
            answer = self.client.import_records(collection, batch, idempotency_key=uuid4().hex)
            assert answer.imported == len(batch), answer

    def stored(self, collection: str) -> list[Record]:
        """Return what the backend holds, the oldest first."""
        return list(self.client.export(collection, before=FOREVER))

    def archived(self, collection: str) -> Iterator[Record]:
        """Yield what the archive answers for."""
        for part in self.archive.parts(collection):
            if part.state != "restored":
                yield from self.archive.records(part)

    def holds_each_once(self, collection: str, records: Iterable[Record]) -> None:
        """Check that backend and archive together hold these records once, field by field."""
        held = [*self.archived(collection), *self.stored(collection)]
        assert sorted(held, key=_id) == sorted(records, key=_id)
        for part in self.archive.parts(collection):
            if part.state != "restored":
                self.archive.verify(part)

    def holds_all(self, collection: str, records: Iterable[Record]) -> None:
        """Check that each of these records is in the backend, in the archive, or in both."""
        held = {_id(one) for one in (*self.archived(collection), *self.stored(collection))}
        assert held == {_id(one) for one in records}

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


def _id(record: Record) -> str:
    return str(record["id"])
