"""Parameters that several calls share."""

from typing import Annotated, Any

from fastapi import Depends, Header, Query

from bionewsbot.backend.models import MAX_BATCH, Id, Time
from bionewsbot.backend.storage.paging import Page, Paging

MAX_WAIT = 25.0
"""Seconds for which an answer is held at most (docs/backend_api.md)."""

DEFAULT_LIMIT = 100


async def _paging(
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_BATCH)] = DEFAULT_LIMIT,
) -> Paging:
    return Paging(cursor=cursor, limit=limit)


Paged = Annotated[Paging, Depends(_paging)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="names the operation; a second call with the same key changes nothing",
    ),
]
RequiredKey = Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=255)]
Wait = Annotated[
    float,
    Query(ge=0, le=MAX_WAIT, description="seconds for which to hold the answer until the end"),
]
Since = Annotated[Time | None, Query(description="from this time on")]
Before = Annotated[Time | None, Query(description="before this time")]
CompanyFilter = Annotated[Id | None, Query()]


def listed(page: Page) -> dict[str, Any]:
    """Return a page as the contract writes lists."""
    return {"items": page.items, "next_cursor": page.next_cursor}
