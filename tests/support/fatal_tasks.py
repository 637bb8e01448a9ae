"""Tasks that end badly: for a worker that is started with `-I support.fatal_tasks`."""

import os
import signal
import time
from contextlib import suppress

from celery.exceptions import SoftTimeLimitExceeded

from bionewsbot.tasks.base import RunTask, run_task


@run_task("tests.kills_its_process")
def kills_its_process(self: RunTask) -> None:
    """End the process that runs it, as the kernel does when memory is out."""
    os.kill(os.getpid(), signal.SIGKILL)


@run_task("tests.eats_memory")
def eats_memory(self: RunTask) -> dict[str, int]:
    """Hold 400 MB for a moment."""
    return {"records": len(bytearray(400 * 1024 * 1024)) // 1024}


@run_task("tests.never_ends", soft_time_limit=1, time_limit=2)
def never_ends(self: RunTask) -> None:
    """Go on through the soft time limit until the hard one."""
    while True:
        with suppress(SoftTimeLimitExceeded):
            time.sleep(60)
