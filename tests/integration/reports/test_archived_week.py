"""A week whose records are archived, with real processes and a real Redis."""

import pytest
from support.movers import CUTOFF, LEAP_DAY
from support.old_records import Depot, around
from support.stack import Stack

pytestmark = pytest.mark.timeout(300)

AT = "2024-03-04T08:00:00Z"
"""Its report is about 26 February to 3 March, in the middle of which CUTOFF lies: 2024-W09."""

AFTER = "2024-03-11T08:00:00Z"


def test_an_archived_week_has_no_report_until_it_is_restored(stack: Stack, depot: Depot) -> None:
    """A report of what is left would be false, and would take the place of a true one."""
    stack.backend()
    depot.put("insights", around("insights", CUTOFF, old=6, young=3))
    stack.worker()
    run = stack.wait_for_end(stack.start_run("weekly_comprehensive_report", AT))
    assert (run.status, run.totals["insights"]) == ("succeeded", 9)
    (true,) = stack.get("reports")
    assert stack.wait_for_end(stack.start_run("data_cleanup", LEAP_DAY)).totals["archived"] == 6

    again = ("runs", "start", "weekly_comprehensive_report", "--at", AT, "--again")
    stack.celery(*again)
    run = stack.wait_for_end(run.run_id)
    assert run.status == "failed"
    (letter,) = stack.celery_json("dlq", "list")
    told = letter["stories"][-1]["error"]
    assert "records of 2024-W09 are archived" in told
    assert "archive restore insights/00000001" in told
    assert stack.get("reports") == [true]
    # Of the week after, nothing is archived.
    run = stack.wait_for_end(stack.start_run("weekly_comprehensive_report", AFTER))
    assert run.status == "succeeded"

    stack.celery("archive", "restore", "insights/00000001")
    stack.celery("dlq", "replay", letter["id"])
    run = stack.wait_for_end(letter["run_id"])
    assert (run.status, run.totals["report_unchanged"]) == ("succeeded", 1)
    assert true in stack.get("reports")
