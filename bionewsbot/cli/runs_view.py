"""How runs are shown: tables and a progress bar for people, JSON for programs."""

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.model import FINAL, JOB, Item, Run, format_time

POLL_SECONDS = 0.25
"""Time between two looks at a run that is followed: smooth to the eye, nothing to Redis."""

_NAMES = {JOB: "(the job)", FINAL: "(the end)"}

_STYLE = {"succeeded": "green", "running": "cyan", "partial": "yellow"}


def as_dict(run: Run, now: float, items: Sequence[Item] | None = None) -> dict[str, Any]:
    """Return a run as JSON shows it: the same fields for every run; times are RFC 3339."""
    shown: dict[str, Any] = {
        "run_id": run.run_id,
        "entry": run.entry,
        "scheduled_for": format_time(run.scheduled_for),
        "generation": run.generation,
        "origin": run.origin,
        "status": run.status,
        "reason": run.reason,
        "opened_at": _time(run.opened_at),
        "ended_at": _time(run.ended_at),
        "deadline": _time(run.deadline),
        "summary": summary(run, now),
        "earlier": list(run.earlier),
    }
    if items is not None:
        by_target = {item.target: _item_dict(item) for item in items}
        shown["job"] = by_target.pop(JOB, None)
        shown["final"] = by_target.pop(FINAL, None)
        shown["targets"] = list(by_target.values())
    return shown


def summary(run: Run, now: float) -> dict[str, Any]:
    """Return a run's totals: targets, what they found, failures, sources failed, seconds."""
    return {
        "targets": run.targets,
        "done": run.done,
        "failed": run.failed,
        "insights": run.totals.get("insights", 0),
        "alerts": run.totals.get("alerts", 0),
        "sources_failed": run.totals.get("sources_failed", 0),
        "seconds": round(run.seconds(now), 1),
        **{
            name: value
            for name, value in run.totals.items()
            if name not in ("insights", "alerts", "sources_failed")
        },
    }


def print_json(value: Any) -> None:
    """Print JSON on standard output."""
    click.echo(json.dumps(value, indent=2))


def print_list(found: Iterable[Run], now: float) -> None:
    """Print a table of runs."""
    table = Table(box=None, header_style="bold")
    columns = ("RUN", "STATUS", "TARGETS", "FAILED", "INSIGHTS", "ALERTS", "SECONDS")
    for column in columns:
        justify: JustifyMethod = "left" if column in columns[:2] else "right"
        table.add_column(column, justify=justify, overflow="fold")
    for run in found:
        totals = summary(run, now)
        table.add_row(
            run.run_id,
            _status(run),
            *(str(totals[name]) for name in ("targets", "failed", "insights", "alerts", "seconds")),
        )
    if table.row_count:
        console().print(table)
    else:
        click.echo("No runs yet. Start one: celery -A bionewsbot runs start daily_company_analysis")


def print_run(run: Run, items: Sequence[Item], now: float, *, only_failed: bool = False) -> None:
    """Print one run: its summary and its targets (with `only_failed`: those that failed)."""
    out = console()
    totals = summary(run, now)
    out.print(f"[bold]{run.run_id}[/bold]  {_status(run)}", highlight=False)
    if run.reason:
        out.print(f"  {run.reason}", highlight=False, markup=False)
    if run.generation > 1:
        out.print(f"  generation {run.generation}", highlight=False)
    out.print(
        f"  {totals['done']} of {totals['targets']} targets, {totals['failed']} failed, "
        f"{totals['seconds']} s",
        highlight=False,
    )
    if run.totals:
        out.print(f"  {said(run.totals)}", highlight=False, markup=False)
    silent = [item.target for item in items if item.state == "done" and _is_silent(item)]
    if silent:
        names = ", ".join(silent)
        out.print(f"  no records in this window: {names}", highlight=False, markup=False)
    shown = [item for item in items if item.state == "failed" or not only_failed]
    if not shown:
        return
    table = Table(box=None, header_style="bold", pad_edge=True)
    for column in ("TARGET", "STATE", "QUEUE", "STARTS", "RESULT"):
        table.add_column(column, overflow="fold")
    for item in shown:
        name = _NAMES.get(item.target, item.target)
        state = "in line" if item.in_line else item.state
        row = (name, state, item.queue, str(item.starts), _result(item))
        table.add_row(*map(escape, row))
    out.print(table)


def said(totals: Mapping[str, int]) -> str:
    """Return totals in words; where one was taken before and after, as `120 -> 40 rows`."""
    words = []
    for name, value in sorted(totals.items()):
        stem, _, when = name.rpartition("_")
        after = totals.get(f"{stem}_after")
        if when == "after" and f"{stem}_before" in totals:
            continue
        if when == "before" and after is not None:
            words.append(f"{value:,} -> {after:,} {stem.replace('_', ' ')}")
        else:
            words.append(f"{value:,} {name.replace('_', ' ')}")
    return ", ".join(words)


def follow(ledger: Ledger, run_id: str, *, quiet: bool = False) -> Run:
    """Draw a run's progress until it has ended, and return it. Raises RunUnknown."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        bar = progress.add_task(run_id, total=None, note="")
        while True:
            run = ledger.get(run_id)
            totals = summary(run, run.opened_at)
            progress.update(
                bar,
                total=totals["targets"] if run.fanned_out else None,
                completed=totals["done"] + totals["failed"],
                note=_note(run),
            )
            if run.ended:
                return run
            time.sleep(POLL_SECONDS)


def _result(item: Item) -> str:
    if item.state != "done":
        return item.error or ""
    # Silence is told apart from no news: a company without records says so.
    if item.totals.get("records") == 0:
        return (
            "no records" if not item.totals.get("sources_failed") else "no records, source failed"
        )
    told = {name: n for name, n in item.totals.items() if n or name.endswith("_after")}
    return said(told)


def _is_silent(item: Item) -> bool:
    """Whether the sources answered and had nothing; one that failed is no such silence."""
    return item.totals.get("records") == 0 and not item.totals.get("sources_failed")


def _note(run: Run) -> str:
    if not run.fanned_out and not run.ended:
        return "waiting for a worker"
    return f"{run.totals['insights']} insights" if "insights" in run.totals else ""


def _status(run: Run) -> str:
    style = _STYLE.get(run.status, "red")
    return f"[{style}]{run.status}[/{style}]"


def console() -> Console:
    """Return the console that tables are printed on."""
    # Without a terminal (a pipe, a log) nothing has to fit 80 columns, and ids stay whole.
    return Console(width=None if sys.stdout.isatty() else 160)


def _item_dict(item: Item) -> dict[str, Any]:
    return {
        "target": item.target,
        "state": item.state,
        "in_line": item.in_line,
        "queue": item.queue,
        "task_id": item.task_id,
        "sends": item.sends,
        "starts": item.starts,
        "sent_at": _time(item.sent_at),
        "begun_at": _time(item.begun_at),
        "ended_at": _time(item.ended_at),
        "worker": item.worker,
        "error": item.error,
        "totals": dict(item.totals),
    }


def _time(epoch: float | None) -> str | None:
    if epoch is None:
        return None
    moment = datetime.fromtimestamp(epoch, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
