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


def read_as(model: type[M]) -> Callable[[Answer], M]:
    """Return what reads an answer's body as `model`."""
    return lambda answer: answer.read(model)
