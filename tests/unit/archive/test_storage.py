"""Storage in a folder: what it refuses, and in which words."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from bionewsbot.archive.storage import Storage
from bionewsbot.errors import ArchiveExists, ArchiveUnavailable


def put(storage: Storage, content: bytes = b"x") -> str:
    """Write a file under a temporary name."""
    with storage.writing("insights") as (name, file):
        file.write(content)
    return name


def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    """First a temporary one, then its own."""
    storage = Storage(str(tmp_path))
    name = put(storage, b"whole")
    assert name.startswith("insights/.")
    storage.rename(name, "insights/1")
    assert storage.read("insights/1") == b"whole"
    assert storage.names("insights") == ["1"]


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """The temporary file goes with the error."""
    storage = Storage(str(tmp_path))
    with pytest.raises(ZeroDivisionError), storage.writing("insights") as (_, file):
        file.write(b"half")
        raise ZeroDivisionError
    assert storage.names("insights") == []


def test_a_name_is_given_once(tmp_path: Path) -> None:
    """The second writer is told, and the first one's content stays."""
    storage = Storage(str(tmp_path))
    storage.create("insights/1.json", b"first")
    with pytest.raises(ArchiveExists, match="insights/1.json is there already"):
        storage.create("insights/1.json", b"second")
    assert storage.read("insights/1.json") == b"first"
    assert storage.names("insights") == ["1.json"]


def test_nothing_is_there_before_the_first_write(tmp_path: Path) -> None:
    """A location that isn't there yet has no names, no folders, and nothing to remove."""
    storage = Storage(str(tmp_path / "later"))
    assert (storage.names("insights"), storage.folders()) == ([], [])
    storage.remove("insights/1")
    assert not (tmp_path / "later").exists()


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.ENOSPC, "No space left on device; free some space there"),
        (
            errno.EACCES,
            "Permission denied; let this user or these keys write there, or set ARCHIVE_LOC",
        ),
        (errno.EIO, "Input/output error; is ARCHIVE_LOCATION right, and reachable"),
    ],
)
def test_the_place_and_the_mend_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, mend: str
) -> None:
    """For a full disk, a missing permission, and anything else; nothing is left there."""
    storage = Storage(str(tmp_path))

    def full(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArchiveUnavailable, match=f"can't write {tmp_path}/insights/.*: {mend}"):
        put(storage)
    assert storage.names("insights") == []


def test_a_location_below_a_file_is_told(tmp_path: Path) -> None:
    """Whatever the system says of it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveUnavailable, match="Not a directory; is ARCHIVE_LOCATION right"):
        put(Storage(str(tmp_path / "file" / "archive")))


def test_an_unknown_kind_of_location_is_told() -> None:
    """With fsspec's own words."""
    with pytest.raises(ArchiveUnavailable, match="can't open nowhere://x.*nowhere"):
        Storage("nowhere://x")
