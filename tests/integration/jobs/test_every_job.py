"""What holds of each job, with a real worker, a real Redis and both databases."""

import pytest
from support.six_jobs import JOBS, World
from support.stack import Stack
from support.struck_jobs import play_failing

pytestmark = pytest.mark.timeout(300)

JOB_OF = {job.entry: job for job in JOBS}


@pytest.mark.parametrize(
    ("database_url", "entry"),
    # `make chaos` has all six on both; the fault matrix has the daily analysis.
    [
        ("sqlite", "weekly_comprehensive_report"),
        ("postgresql", "data_cleanup"),
        ("postgresql", "database_optimisation"),
    ],
    indirect=["database_url"],
)
def test_a_backend_that_fails_in_the_middle_costs_only_time(world: World, entry: str) -> None:
    """Each kind of call fails twice, once carried out: the end is that of an undisturbed run."""
    play_failing(world, JOB_OF[entry])


def test_an_empty_portfolio(stack: Stack, database_url: str) -> None:
    """Nothing to look at is no failure, and the report says so."""
    stack.backend(database_url)
    stack.worker()
    # The neighbours have the jobs that look at no company.
    for entry in ("daily_company_analysis", "hourly_quick_scan", "weekly_comprehensive_report"):
        run = stack.wait_for_end(stack.start_run(entry, JOB_OF[entry].at))
        assert (run.status, run.targets) == ("succeeded", 0)
    (report,) = stack.get("reports")
    assert report["content"]["summary"]["changes"] == ["There is no active company."]
