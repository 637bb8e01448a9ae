"""Workers that move old records to the archive, and die at it."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from support.old_records import Depot, around
from support.stack import ROOT, Process, Stack

TESTS = {"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
LEAP_DAY = "2024-05-29T03:00:00Z"
"""90 days after 29 February 2024, 03:00."""
CUTOFF = datetime.fromisoformat("2024-02-29T03:00:00Z")


@pytest.fixture
def depot(stack: Stack) -> Iterator[Depot]:
    """The stack's backend and archive; start the backend first."""
    depot = Depot(stack.api, stack.folder / "archive")
    yield depot
    depot.close()


def killed_in_step(stack: Stack, depot: Depot, database_url: str, step: str) -> None:
    """Kill the worker in a step; another one ends the run, and each record is held once."""
    stack.backend(database_url)
    records = around("insights", CUTOFF, old=1200, young=3)
    depot.put("insights", records)
    mortal = worker(stack, "mortal", DIES_AT=step)
    run_id = stack.start_run("data_cleanup", LEAP_DAY)
    assert mortal.wait(90) == -9
    depot.holds_all("insights", records)
    release_locks(stack)
    stack.worker("heir", RETRY_CAP_SECONDS="1")
    run = stack.wait_for_end(run_id, seconds=110)
    assert (run.status, run.failed) == ("succeeded", 0)
    assert len(depot.stored("insights")) == 3
    depot.holds_each_once("insights", records)
    assert len([part for part in depot.archive.parts("insights")]) == 1


def release_locks(stack: Stack) -> None:
    """Let the locks of a dead worker run out, as they do by themselves some time later."""
    with stack.server.client(1) as redis:
        for key in redis.scan_iter("bionewsbot:exclusive:*"):
            redis.delete(key)


def worker(stack: Stack, name: str, module: str = "mortal_archive", **env: str) -> Process:
    """Start a worker with one of the tests' modules in it."""
    return stack.worker(name, "-I", f"support.{module}", **TESTS, **env)
