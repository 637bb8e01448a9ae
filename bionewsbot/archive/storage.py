"""Where the archive lies: a folder or an object store, by fsspec. Errors name place and mend."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any
from uuid import uuid4

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from bionewsbot.errors import ArchiveExists, ArchiveUnavailable

_LET = "let this user or these keys write there, or set ARCHIVE_LOCATION"
_MENDS = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EACCES: _LET,
    errno.EPERM: _LET,
    errno.EROFS: "mount it for writing, or set ARCHIVE_LOCATION",
}
_LOOK = "is ARCHIVE_LOCATION right, and reachable?"


TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")
"""Name of a file that is being written, or whose writer died."""


class Storage:
    """Files below one location. Every method raises ArchiveUnavailable where that can't be used."""

    def __init__(self, location: str) -> None:
        """Use `location`, a path or a URL such as `s3://bucket/folder`; connects on first use."""
        self.location = location
        try:
            self._fs, self._root = url_to_fs(location, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            # fsspec doesn't know the scheme, or the package for it isn't installed.
            raise ArchiveUnavailable(f"can't open {location}: {error}; {_LOOK}") from error
        self._local = isinstance(self._fs, LocalFileSystem)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files right below a folder, sorted; none if it isn't there."""
        with self._told("list", folder):
            try:
                found = self._fs.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return []
            return sorted(
                one["name"].rstrip("/").rpartition("/")[2] for one in found if one["type"] == "file"
            )

    def folders(self) -> list[str]:
        """Return the names of the folders right below the location, sorted."""
        with self._told("list", ""):
            try:
                found = self._fs.ls(self._path(""), detail=True)
            except FileNotFoundError:
                return []
            return sorted(
                one["name"].rstrip("/").rpartition("/")[2]
                for one in found
                if one["type"] == "directory"
            )

    @contextmanager
    def writing(self, folder: str) -> Iterator[tuple[str, IO[bytes]]]:
        """Write a new file under a temporary name, which this yields; it lasts after the block.

        Where the block fails, the file is removed.
        """
        name = f"{folder}/.{uuid4().hex}.tmp"
        try:
            with self._told("write", name):
                if self._local:
                    self._fs.makedirs(self._path(folder), exist_ok=True)
                with self._fs.open(self._path(name), "wb") as file:
                    yield name, file
                    self._settle(file)
        except BaseException:
            self.remove(name)
            raise

    @contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes]]:
        """Read a file."""
        with self._told("read", name), self._fs.open(self._path(name), "rb") as file:
            yield file

    def read(self, name: str) -> bytes:
        """Return a small file's content."""
        with self.reading(name) as file:
            return bytes(file.read())

    def rename(self, name: str, new: str) -> None:
        """Give a file its final name."""
        with self._told("write", new):
            if self._local:
                os.replace(self._path(name), self._path(new))
                self._settle_folder(new)
            else:
                self._fs.mv(self._path(name), self._path(new))

    def create(self, name: str, content: bytes) -> None:
        """Write a small file whole. Raises ArchiveExists where one of that name is there."""
        with self._told("write", name):
            try:
                if self._local:
                    self._create_local(name, content)
                else:
                    self._fs.pipe_file(self._path(name), content, mode="create")
            except FileExistsError as error:
                raise ArchiveExists(f"{self.location}: {name} is there already") from error

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is fine."""
        with self._told("remove", name):
            try:
                self._fs.rm_file(self._path(name))
            except FileNotFoundError:
                return

    def modified(self, name: str) -> float:
        """Return when a file was last written, in epoch seconds."""
        with self._told("read", name):
            return float(self._fs.modified(self._path(name)).timestamp())

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else str(self._root)

    def _create_local(self, name: str, content: bytes) -> None:
        folder = name.rpartition("/")[0]
        with self.writing(folder) as (temporary, file):
            file.write(content)
        try:
            # Unlike a rename, a link fails where the name is taken; and it is whole at once.
            os.link(self._path(temporary), self._path(name))
        finally:
            self.remove(temporary)
        self._settle_folder(name)

    def _settle(self, file: Any) -> None:
        # What is deleted at the backend next has to outlive a power cut here.
        if self._local:
            file.flush()
            os.fsync(file.fileno())

    def _settle_folder(self, name: str) -> None:
        folder = os.open(os.path.dirname(self._path(name)), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _told(self, verb: str, name: str) -> Iterator[None]:
        place = f"{self.location.rstrip('/')}/{name}" if name else self.location
        try:
            yield
        except FileExistsError:
            raise
        except Exception as error:
            if not _is_the_stores(error):
                raise
            # An object store's refusal has no number.
            number = errno.EACCES if isinstance(error, PermissionError) else None
            mend = _MENDS.get(getattr(error, "errno", None) or number or 0, _LOOK)
            said = getattr(error, "strerror", None) or str(error)
            raise ArchiveUnavailable(f"can't {verb} {place}: {said}; {mend}") from error


def _is_the_stores(error: Exception) -> bool:
    # s3fs lets some of its library's own errors through, such as a refused connection.
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or library in ("botocore", "aiobotocore", "aiohttp")
