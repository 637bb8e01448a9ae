"""`reports list|show|render` on a real backend: words, JSON, files and exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.backend_app import RunningBackend
from support.weeks import HOSTILE, full_report

from bionewsbot.cli.reports import reports
from bionewsbot.reports.model import Report
from bionewsbot.reports.render_html import render_html
from bionewsbot.reports.render_markdown import render_markdown

Run = Callable[..., Result]


@pytest.fixture
def run(backend: RunningBackend, configured: pytest.MonkeyPatch) -> Run:
    """Return what runs a command as `celery -A bionewsbot reports` does."""
    configured.setenv("API_BASE_URL", backend.url)

    def run(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(reports, list(arguments))
        assert done.exit_code == code, f"{done.output}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def stored(backend: RunningBackend) -> Report:
    """The report of 2026-W04, and others on more than one page of the backend's list.

    That of 2025-W50 was written last, as a backfill does.
    """
    report = full_report()
    content = report.model_dump(mode="json")
    for week in (
        "2025-W51",
        "2025-W52",
        "2026-W01",
        "2026-W02",
        "2026-W03",
        "2026-W04",
        "2025-W50",
    ):
        backend.clock.advance(days=7)
        period = {**content["period"], "name": week}
        path = f"reports/weekly/{week}"
        assert backend.call("PUT", path, json={**content, "period": period}).status_code == 201
    return report


def test_list_without_reports_says_how_to_make_one(run: Run) -> None:
    """JSON is an empty list."""
    assert "runs start weekly_comprehensive_report" in run("list").output
    assert json.loads(run("list", "--json").output) == []


def test_list_has_the_last_week_first(run: Run, stored: Report) -> None:
    """Whenever it was written; with what is in each, over all pages, up to the limit."""
    rows = json.loads(run("list", "--json").output)
    assert [row["period"] for row in rows[:2]] == ["2026-W04", "2026-W03"] and len(rows) == 7
    assert rows[-1]["period"] == "2025-W50"
    row = rows[0]
    assert (row["companies"], row["gaps"], row["insights"], row["alerts"]) == (4, 1, 8, 2)
    assert (row["risk"], row["change"]) == (62.5, 15)
    table = run("list", "-n", "6").output.splitlines()
    assert table[1].split() == [*("2026-W04", row["updated_at"], "4", "1", "8", "2", "62.5", "+15")]
    assert len(table) == 7 and table[-1].startswith(" 2025-W51")


def test_show_has_the_summary(run: Run, stored: Report) -> None:
    """What changed, what to read first with its link, gaps, recommendations; markup is text."""
    said = run("show", "latest").output
    assert said == run("show", "2026-W04").output
    assert said.startswith("Weekly report 2026-W04  2026-01-19 to 2026-01-25 (UTC)\n")
    for change in stored.summary.changes:
        assert change in said
    assert HOSTILE in said and "https://example.test/GILD/1" in said
    assert "Moderna: BackendRefused: 404" in said
    assert "- 1 company is missing from this report." in said
    assert "(MRNA) Rule: gap" in said
    assert json.loads(run("show", "--json").output) == stored.model_dump(mode="json")


@pytest.mark.parametrize(
    ("form", "render"),
    [
        ("html", render_html),
        ("markdown", render_markdown),
        ("json", lambda report: json.dumps(report.model_dump(mode="json"))),
    ],
)
def test_render_writes_each_format(
    run: Run, stored: Report, tmp_path: Path, form: str, render: Callable[[Report], str]
) -> None:
    """To standard output, or to a file."""
    expected, path = render(stored), tmp_path / "report"
    shown = run("render", "2026-W04", "--format", form).stdout
    done = run("render", "-f", form, "-o", str(path))
    assert (done.stdout, done.stderr) == ("", f"Wrote {path}\n")
    for text in (shown, path.read_text(encoding="utf-8")):
        if form == "json":
            assert json.loads(text) == json.loads(expected)
        else:
            assert text == expected


def test_a_period_without_a_report(run: Run, stored: Report) -> None:
    """Told in words, with exit code 1."""
    said = run("show", "2026-W05", code=1).stderr
    assert "The backend has no weekly report 2026-W05; `reports list` shows those" in said


@pytest.mark.parametrize("command", ["show", "render"])
def test_no_report_at_all(run: Run, command: str) -> None:
    """Told with what makes one."""
    said = run(command, code=1).stderr
    assert "no weekly report yet. Make one: celery -A bionewsbot runs start weekly" in said


@pytest.mark.parametrize("period", ["2026-W54", "2026-48", "2026-w04", "newest", ""])
def test_a_period_that_is_none(run: Run, period: str) -> None:
    """Wrong usage, before the backend is asked."""
    said = run("show", period, code=2).stderr
    assert "2026-W48" in said or "Invalid week" in said
    assert "Traceback" not in said


def test_a_format_that_is_none(run: Run) -> None:
    """Wrong usage; those that there are are named."""
    assert "'html', 'markdown', 'json'" in run("render", "-f", "pdf", code=2).stderr


def test_a_file_that_can_not_be_written(run: Run, stored: Report, tmp_path: Path) -> None:
    """One line with the system's reason."""
    path = tmp_path / "missing" / "report.html"
    said = run("render", "-o", str(path), code=1).stderr
    assert said == f"Error: {path}: No such file or directory\n"
    assert run("render", "-o", str(tmp_path), code=2).stderr.endswith("is a directory.\n")


def test_a_report_of_another_form_is_told(run: Run, backend: RunningBackend) -> None:
    """By a later version, say: it can be had as JSON all the same, and hides no other one."""
    path = "reports/weekly/2026-W04"
    assert backend.call("PUT", path, json={"schema_version": 2}).status_code == 201
    said = run("render", code=1).stderr
    assert "2026-W04 is not one that this version reads" in said and "Traceback" not in said
    assert json.loads(run("render", "-f", "json").stdout) == {"schema_version": 2}
    (row,) = json.loads(run("list", "--json").output)
    assert (row["period"], row["companies"]) == ("2026-W04", None)
    assert "2026-W04" in run("list").output


def test_a_backend_that_is_down(run: Run, configured: pytest.MonkeyPatch) -> None:
    """One line, exit code 1."""
    configured.setenv("API_BASE_URL", "http://127.0.0.1:9")
    assert "GET /api/v1/reports" in run("list", code=1).stderr
