"""Data cleanup, killed in each of its steps on both databases; `make chaos` runs it."""

import pytest
from support.mortal_archive import STEPS
from support.movers import killed_in_step
from support.old_records import Depot
from support.stack import Stack


@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", STEPS)
def test_killed_in_the_middle_of_any_step_it_goes_on(
    stack: Stack, depot: Depot, database_url: str, step: str
) -> None:
    """Backend and archive together hold each record once."""
    killed_in_step(stack, depot, database_url, step)
