"""What `make up` does and shows once all is ready: companies, the first run, results, addresses."""

import subprocess
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bionewsbot.api.client import BackendClient
from bionewsbot.api.models import Alert, Insight
from bionewsbot.cli.runs import EXIT_PARTIAL
from bionewsbot.errors import BioNewsBotError
from bionewsbot.runs.ledger import ledger
from deploy.local.errors import LocalError
from deploy.local.stack import FLOWER_PASSWORD, FLOWER_USER, Stack, password

FIRST_ENTRY = "daily_company_analysis"
TOP = 7
SEVERITIES = ("critical", "high", "medium", "low")
REPLAY = "replay"
"""The source that plays recorded public facts; its answers are as old as its records."""


def sync_companies() -> None:
    """Bring config/companies.yaml to the backend. Raises LocalError."""
    _celery("companies", "sync")


def has_run() -> bool:
    """Whether the ledger knows a daily analysis, whatever became of it."""
    return bool(ledger().latest(1, FIRST_ENTRY))


def first_run() -> None:
    """Run the daily analysis with its progress bar and summary.

    Raises LocalError where it can't be started or doesn't do its work.
    """
    _celery("runs", "start", FIRST_ENTRY, "--wait", tolerated=(EXIT_PARTIAL,))


def results(stack: Stack, console: Console) -> None:
    """Print the top alerts and insights as the Backend API has them. Raises LocalError."""
    try:
        with BackendClient.from_settings(stack.settings, guarded=False) as client:
            alerts = sorted(client.alerts(state="open"), key=_weight)
            alerted = {(alert.company_id, alert.story_id, alert.type) for alert in alerts}
            alerts = alerts[:TOP]
            # A story that alerts stands in the upper table already.
            insights = sorted(
                (
                    insight
                    for insight in client.insights()
                    if (insight.company_id, insight.story_id, insight.type) not in alerted
                ),
                key=_weight,
            )[:TOP]
            rows: list[Alert | Insight] = [*alerts, *insights]
            shown = {row.analysis_id for row in rows if row.source == REPLAY}
            as_of = {
                source.as_of.date()
                for analysis_id in shown
                for source in client.analysis(analysis_id).sources
                if source.name == REPLAY and source.as_of
            }
    except BioNewsBotError as error:
        raise LocalError(f"The results can't be read: {error}") from error
    console.print(_table("Top alerts", alerts))
    console.print(_table("Top insights that did not alert", insights))
    if shown:
        dates = " and ".join(map(str, sorted(as_of))) or "an unknown date"
        console.print(
            f"Source “{REPLAY}”: recorded public facts as of {dates}, not today's news.\n"
        )


def addresses(stack: Stack, console: Console) -> None:
    """Print where everything is, and what to type next."""
    table = Table(title="Where things are", title_justify="left", show_header=False, box=None)
    table.add_row("Flower", stack.flower_url)
    table.add_row("", f"user {FLOWER_USER}, password {password()} (kept in {FLOWER_PASSWORD})")
    table.add_row("Metrics", stack.metrics_url)
    if "backend" in stack.programs:
        table.add_row("Backend API", f"{stack.api_url}/docs")
    else:
        table.add_row("Backend API", stack.api_url)
    table.add_row("Logs", str(stack.settings.log_dir))
    console.print(table)
    console.print(
        "\nNext: [bold]make ps[/], [bold]make logs NAME=beat[/], [bold]make down[/], "
        "[bold].venv/bin/celery -A bionewsbot runs list[/]",
        highlight=False,
        soft_wrap=True,
    )


def _table(title: str, rows: list[Alert] | list[Insight]) -> Table:
    table = Table(
        title=title if rows else f"{title}: none",
        title_justify="left",
        show_header=bool(rows),
        header_style="bold",
        box=None,
    )
    for heading in ("Company", "Severity", "Polarity", "Date", "What", "Source"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "What")
    for row in rows:
        date = str(row.occurred_at.date())
        cells = (row.company_id, row.severity, row.polarity, date, row.title, row.source)
        table.add_row(*map(Text, cells))  # as it is: a title may hold what rich takes for markup
    return table


def _weight(item: Alert | Insight) -> tuple[int, float]:
    """Order by severity, the latest first."""
    return SEVERITIES.index(item.severity), -item.occurred_at.timestamp()


def _celery(*words: str, tolerated: tuple[int, ...] = ()) -> None:
    command = [sys.executable, "-m", "celery", "-A", "bionewsbot", *words]
    if subprocess.run(command).returncode not in (0, *tolerated):
        raise LocalError(f"`celery -A bionewsbot {' '.join(words)}` failed, see above.")
