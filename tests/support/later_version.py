"""A later version of this software: for a worker started with `-I support.later_version`."""

from bionewsbot.runs import model
from bionewsbot.tasks.base import RunTask, run_task

model.SCHEMA += 1


@run_task("tests.of_the_later_version")
def of_the_later_version(self: RunTask) -> dict[str, int]:
    """Do what only the later version can."""
    return {"insights": 1}
