"""Each job with a backend that fails, and with workers that die; `make chaos` runs it."""

import pytest
from support.six_jobs import JOBS, Job, World
from support.struck_jobs import play_deadly, play_failing

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.parametrize("job", JOBS, ids=lambda job: job.entry),
]


def test_a_backend_that_fails_in_the_middle_costs_only_time(world: World, job: Job) -> None:
    """Each kind of call fails twice, once carried out: the end is that of an undisturbed run."""
    play_failing(world, job)


@pytest.mark.parametrize(
    ("database_url", "carried_out"),
    [("sqlite", False), ("postgresql", True)],
    ids=["sqlite-unseen", "postgresql-carried_out"],
    indirect=["database_url"],
)
def test_killed_in_the_middle_of_each_step_it_goes_on(
    world: World, job: Job, carried_out: bool
) -> None:
    """The first call of each kind kills its worker: the end is that of an undisturbed run."""
    play_deadly(world, job, carried_out=carried_out)
