"""Each job over 2,000 companies; `make chaos` runs it."""

from datetime import timedelta

import pytest
from support.old_records import MAKE, Depot, Record
from support.six_jobs import CUTOFFS, JOBS, REGENXBIO, Job, World
from support.stack import Stack

from bionewsbot.companies import Company

COMPANIES = 2000

IN_THE_NEWS = 10
"""Every so-manieth company is one about which the sources know something."""

LIMIT_SECONDS = 1200
"""Longest run: ten times what it takes on two cores with nothing else to do."""


@pytest.mark.timeout(LIMIT_SECONDS + 300)
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.entry)
def test_each_company_is_accounted_for(
    stack: Stack, depot: Depot, database_url: str, job: Job
) -> None:
    """Analysed once, or in the report, or its old records archived once."""
    # The shipped lease, not the tests' short one; and no time-out where the machine is busy.
    stack.env.update(RUN_LEASE_SECONDS="10", API_TIMEOUT="60", RETRY_CAP_SECONDS="1")
    portfolio = [company(number) for number in range(COMPANIES)]
    past = {name: [one_old(name, number) for number in range(COMPANIES)] for name in CUTOFFS}
    world = World(stack, depot, database_url, portfolio, past)
    world.begin()
    stack.worker()
    run_id = stack.start_run(job.entry, job.at)
    world.check(job, stack.wait_for_end(run_id, seconds=LIMIT_SECONDS))


def company(number: int) -> Company:
    """Return a company that the quick scan looks at, too."""
    cik = REGENXBIO if number % IN_THE_NEWS == 0 else None
    return Company(id=f"C{number:04}", name=f"Company {number}", cik=cik, priority="high")


def one_old(collection: str, number: int) -> Record:
    """Return a company's record, from within the hour before the collection's cutoff."""
    record = MAKE[collection](number, CUTOFFS[collection] - timedelta(seconds=number + 1))
    return record if collection == "reports" else {**record, "company_id": f"C{number:04}"}
