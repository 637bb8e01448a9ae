"""Kills the worker in the middle of a hand-over: for one that has `-I support.mortal_archive`.

DIES_AT says at which step, by the name of what has been done until then.
"""

import os
import signal
from collections.abc import Iterator
from typing import Any

from bionewsbot.api.client import BackendClient
from bionewsbot.archive.archive import Archive
from bionewsbot.archive.storage import Storage

STEPS = ("exported", "written", "named", "counted", "half deleted", "deleted", "done")
"""600 records exported; the object written and read back; under its name; with its manifest; the
first batch deleted; all deleted; the part marked as kept and nothing of the next one begun."""


def die_at(step: str) -> None:
    """End the process here, as a crash would, if this is its step."""
    if os.environ.get("DIES_AT") == step:
        os.kill(os.getpid(), signal.SIGKILL)


_export, _rename, _create = BackendClient.export, Storage.rename, Storage.create
_delete, _mark = BackendClient.delete_exported, Archive.mark
_deletes: list[int] = []


def export(self: BackendClient, collection: str, **options: Any) -> Iterator[dict[str, Any]]:
    """Hand records over, and die after 600."""
    for number, record in enumerate(_export(self, collection, **options)):
        if number == 600:
            die_at("exported")
        yield record


def rename(self: Storage, name: str, new: str) -> None:
    """Die before an object gets its name."""
    if new.endswith(".gz"):
        die_at("written")
    _rename(self, name, new)


def create(self: Storage, name: str, content: bytes) -> None:
    """Die before a manifest is written."""
    die_at("named")
    _create(self, name, content)


def delete_exported(self: BackendClient, *args: Any, **options: Any) -> Any:
    """Die before the first delete, or before the second one."""
    die_at("half deleted" if _deletes else "counted")
    _deletes.append(1)
    return _delete(self, *args, **options)


def mark(self: Archive, *args: Any) -> Any:
    """Die before a part is marked, or after it."""
    die_at("deleted")
    part = _mark(self, *args)
    die_at("done")
    return part


for owner, replacement in (
    (BackendClient, export),
    (Storage, rename),
    (Storage, create),
    (BackendClient, delete_exported),
    (Archive, mark),
):
    setattr(owner, replacement.__name__, replacement)
