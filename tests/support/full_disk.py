"""A disk that is full: for a worker that is started with `-I support.full_disk`.

What the archive flushes to the disk goes to /dev/full, where the kernel finds no room.
"""

import os
from typing import Any

from bionewsbot.archive.storage import Storage

_settle = Storage._settle


def settle(self: Storage, file: Any) -> None:
    """Have what is still to be written go where there is no room."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, file.fileno())
    os.close(full)
    _settle(self, file)


Storage._settle = settle  # type: ignore[method-assign]
