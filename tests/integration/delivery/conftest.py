"""What the tests of delivery share."""

from collections.abc import Iterator

import pytest
from celery import Celery
from support.probes import Probes
from support.stack import Stack


@pytest.fixture
def probes(stack: Stack, app: Celery) -> Iterator[Probes]:
    """An empty Redis and an app that sends probe tasks; no worker yet."""
    probes = Probes(stack, app)
    yield probes
    # Else a test that failed would wait for its workers' grace period.
    for process in stack.processes:
        process.kill()
    probes.broker.close()
