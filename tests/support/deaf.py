"""Tasks that don't hear of the soft time limit: for a worker started with `-I support.deaf`."""

import signal
from typing import Any

from billiard.pool import SIG_SOFT_TIMEOUT
from celery.signals import task_prerun


@task_prerun.connect
def ignore_the_soft_limit(**_: Any) -> None:
    """Ignore its signal, as code does that doesn't come back to Python for a long time."""
    signal.signal(SIG_SOFT_TIMEOUT, signal.SIG_IGN)
