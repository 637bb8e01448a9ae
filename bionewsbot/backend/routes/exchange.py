"""Hand old records over, delete what was archived, put archived records back."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ValidationError

from bionewsbot.backend.models import (
    Alert,
    ArchivedAnalysis,
    Deleted,
    DeleteIn,
    Imported,
    ImportIn,
    Insight,
    JsonObject,
    Report,
)
from bionewsbot.backend.problems import Problem
from bionewsbot.backend.routes.params import Before, Key, Paged, listed
from bionewsbot.backend.services import Given
from bionewsbot.backend.storage import exchange, keys
from bionewsbot.backend.storage.rows import Row

router = APIRouter(tags=["archive"])

Name = Literal["analyses", "insights", "alerts", "reports"]

RECORDS: Mapping[str, type[BaseModel]] = {
    "analyses": ArchivedAnalysis,
    "insights": Insight,
    "alerts": Alert,
    "reports": Report,
}


class ExportPage(BaseModel):
    """A page of whole records, as `import` takes them."""

    items: list[JsonObject]
    next_cursor: str | None


@router.get("/export/{collection}", response_model=ExportPage)
def export(
    services: Given, collection: Name, paging: Paged, before: Before = None
) -> dict[str, Any]:
    """List whole records older than `before`, the oldest first; analyses once they have ended.

    An analysis is as old as the time that it was scheduled for, everything else as the time that
    it was first stored.
    """
    with services.database.read() as connection:
        page = exchange.export(connection, collection, paging, before)
    model = RECORDS[collection]
    items = [model.model_validate(row).model_dump(mode="json") for row in page.items]
    return {**listed(page), "items": items}


@router.post("/export/{collection}/delete", response_model=Deleted)
def delete_exported(
    services: Given, collection: Name, body: DeleteIn, key: Key = None
) -> dict[str, Any]:
    """Delete exactly these records, all together. A second use of the key deletes nothing.

    What has changed since `last_changed` is left, and so are analyses that haven't ended.
    """
    ids = sorted(set(body.ids))
    asked = {"ids": ids, "last_changed": body.model_dump(mode="json")["last_changed"]}
    with services.database.write() as connection:
        operation = f"delete-{collection}"
        used = keys.claim(connection, operation, key, asked, collection, services.clock())
        deleted = (
            exchange.remove(connection, collection, ids, body.last_changed) if used is None else []
        )
        left = exchange.there(connection, collection, ids)
    return {"deleted": deleted, "left": left, "absent": sorted({*ids} - {*deleted, *left})}


@router.post("/import/{collection}", response_model=Imported)
def import_records(
    services: Given, collection: Name, body: ImportIn, key: Key = None
) -> dict[str, Any]:
    """Put records back as they were, ids included; what is there already is left as it is.

    A second use of the key puts nothing back: what has gone since is among the conflicts.
    """
    records = [_record(collection, place, item) for place, item in enumerate(body.items)]
    with services.database.write() as connection:
        operation = f"import-{collection}"
        used = keys.claim(connection, operation, key, body.items, collection, services.clock())
        imported, unchanged, conflicts = exchange.put_back(
            connection, collection, records, again=used is not None
        )
    return {"imported": imported, "unchanged": unchanged, "conflicts": conflicts}


def _record(collection: str, place: int, item: Mapping[str, Any]) -> Row:
    """Return an archived record as the columns of its table. Raises Problem."""
    try:
        record = RECORDS[collection].model_validate(item)
    except ValidationError as error:
        errors = [
            {
                "location": ".".join(["body", "items", str(place), *map(str, problem["loc"])]),
                "message": problem["msg"],
            }
            for problem in error.errors()
        ]
        said = "; ".join(f"{problem['location']}: {problem['message']}" for problem in errors)
        raise Problem(
            422,
            f"Nothing was imported; correct the records: {said}",
            kind="invalid",
            more={"errors": errors},
        ) from error
    # Columns hold times as times, but JSON within a column is text.
    values = {name: value for name, value in record if isinstance(value, datetime)}
    return {**record.model_dump(mode="json"), **values}
