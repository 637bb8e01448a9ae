"""The Backend API's lists, page by page."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from pydantic import BaseModel

from bionewsbot.api.models import Page
from bionewsbot.api.transport import Answer, Transport
from bionewsbot.errors import (
    BackendRefused,
    BackendUnavailable,
    CollectionMissing,
    MalformedAnswer,
)

PAGE_SIZE = 500
"""Items asked for at a time: the most that the contract allows."""

REPORTS_AT_A_TIME = 5
"""A report over 2,000 companies has 7 MB (docs/benchmarks.md); an answer may have 64."""

M = TypeVar("M", bound=BaseModel)
P = TypeVar("P", bound=Page)


def pages(
    transport: Transport,
    path: str,
    model: type[P],
    params: Mapping[str, str],
    *,
    may_be_missing: bool = False,
) -> Iterator[P]:
    """Yield the pages of a collection until the one that names no next.

    Raises what a call raises; CollectionMissing where it `may_be_missing` and the first one is
    answered with 404 or 501.
    """
    cursors: set[str] = set()
    asked = {"limit": str(PAGE_SIZE), **params}
    while True:
        try:
            page = transport.call(
                "GET", path, read=read_as(model), params=asked, goes_on=bool(cursors)
            )
        except (BackendRefused, BackendUnavailable) as error:
            if may_be_missing and not cursors and error.status in (404, 501):
                raise CollectionMissing(str(error)) from error
            raise
        yield page
        cursor = page.next_cursor
        if cursor is None:
            return
        if cursor in cursors:
            raise MalformedAnswer(f"GET {path}: next_cursor: {cursor!r} came before")
        cursors.add(cursor)
        asked["cursor"] = cursor


def at_a_time(collection: str) -> int:
    """Return how many whole records of a collection fit into a call or an answer."""
    return REPORTS_AT_A_TIME if collection == "reports" else PAGE_SIZE


def read_as(model: type[M]) -> Callable[[Answer], M]:
    """Return what reads an answer's body as `model`."""
    return lambda answer: answer.read(model)
