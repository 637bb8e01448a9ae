"""A disk that is full: for a worker that is started with `-I support.full_disk`."""

import errno
import os
from typing import Any

from bionewsbot.archive.storage import Storage


def settle(self: Storage, file: Any) -> None:
    """Fail as a write does that finds no room."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


Storage._settle = settle  # type: ignore[method-assign]
