"""How runs are shown, from records made by hand."""

import dataclasses
import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from bionewsbot.cli import runs_view
from bionewsbot.runs.model import JOB, Item, Run

NOW = 1_768_456_900.0
RUN = Run(
    run_id="daily@2026-01-15T06:00:00Z",
    entry="daily",
    scheduled_for=datetime(2026, 1, 15, 6, tzinfo=UTC),
    generation=1,
    origin="beat",
    status="running",
    opened_at=NOW - 12.34,
    deadline=NOW + 60,
    ended_at=None,
    reason=None,
    fanned_out=True,
    targets=3,
    done=1,
    failed=0,
    totals={"insights": 2, "deleted": 5},
    earlier=(),
)
ITEM = Item(
    target="GILD",
    state="failed",
    task="t",
    queue="high",
    kwargs={},
    sends=1,
    starts=2,
    error="why [red]not[/red] [",
)


def test_a_summary_has_its_fields_whatever_the_totals() -> None:
    """What a run didn't count is 0, what only this job counts comes after."""
    assert runs_view.summary(RUN, NOW) == {
        "targets": 3,
        "done": 1,
        "failed": 0,
        "insights": 2,
        "alerts": 0,
        "sources_failed": 0,
        "seconds": 12.3,
        "deleted": 5,
    }


def test_times_are_rfc_3339_in_utc() -> None:
    """With milliseconds; what hasn't happened is null."""
    shown = runs_view.as_dict(RUN, NOW)
    assert shown["deadline"] == "2026-01-15T06:02:40.000Z"
    assert shown["ended_at"] is None
    assert "targets" not in shown


def test_the_job_is_not_a_target() -> None:
    """JSON has it beside them."""
    items = [dataclasses.replace(ITEM, target=JOB), ITEM]
    shown = runs_view.as_dict(RUN, NOW, items)
    assert [each["target"] for each in shown["targets"]] == ["GILD"]
    assert shown["job"]["target"] == JOB


def test_an_error_is_shown_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Brackets in an error's text are text, not markup that vanishes or breaks the command."""
    screen = io.StringIO()
    monkeypatch.setattr(runs_view, "console", lambda: Console(file=screen, width=160))
    runs_view.print_run(RUN, [ITEM], NOW)
    assert "why [red]not[/red] [" in screen.getvalue()


def test_only_what_failed_is_shown_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a wait nobody reads a hundred lines of `done`."""
    screen = io.StringIO()
    monkeypatch.setattr(runs_view, "console", lambda: Console(file=screen, width=160))
    good = dataclasses.replace(ITEM, target="PFE", state="done")
    runs_view.print_run(RUN, [good, ITEM], NOW, only_failed=True)
    assert "GILD" in screen.getvalue()
    assert "PFE" not in screen.getvalue()


def test_an_item_in_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a slot is told apart from what waits in a queue, in table and JSON."""
    out = io.StringIO()
    monkeypatch.setattr(runs_view, "console", lambda: Console(file=out, width=160))
    waiting = dataclasses.replace(ITEM, state="sent", in_line=True)
    runs_view.print_run(RUN, [waiting], NOW)
    assert "in line" in out.getvalue()
    (shown,) = runs_view.as_dict(RUN, NOW, [waiting])["targets"]
    assert (shown["state"], shown["in_line"]) == ("sent", True)
