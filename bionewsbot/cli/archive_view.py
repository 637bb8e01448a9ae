"""How the archive is shown: tables for people, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table

from bionewsbot.archive.exchange import Restored
from bionewsbot.archive.parts import Part
from bionewsbot.cli.runs_view import console
from bionewsbot.errors import ArchiveCorrupt


def print_json(value: object) -> None:
    """Print JSON on standard output."""
    click.echo(json.dumps(value, indent=2))


def as_dict(name: str, part: Part | ArchiveCorrupt) -> dict[str, Any]:
    """Return a part as JSON shows it: its name, its manifest and state, or what is wrong."""
    if isinstance(part, ArchiveCorrupt):
        return {"part": name, "error": str(part)}
    return {"part": name, **part.model_dump(mode="json"), "state": part.state}


def print_list(found: Mapping[str, Part | ArchiveCorrupt], location: str) -> None:
    """Print a table of parts, and which ones can't be shown."""
    if not found:
        print_empty(location)
        return
    table = Table(box=None, header_style="bold")
    for heading in ("PART", "RECORDS", "OLDEST", "NEWEST", "KB", "STATE"):
        table.add_column(heading, justify="right" if heading in ("RECORDS", "KB") else "left")
    for part in found.values():
        if isinstance(part, ArchiveCorrupt):
            click.echo(f"Error: {part}", err=True)
            continue
        kilobytes = f"{part.size / 1000:,.0f}" if part.state != "restored" else "-"
        table.add_row(
            part.name,
            f"{part.records:,}",
            _time(part.oldest),
            _time(part.newest),
            kilobytes,
            part.state,
        )
    console().print(table)


def print_empty(location: str) -> None:
    """Print that there are no parts, and what else that can mean."""
    # Looks like an archive that was lost to whoever has no ARCHIVE_LOCATION in this shell.
    click.echo(
        f"Nothing is archived at {location}.\n"
        "Should there be? Then give this command the ARCHIVE_LOCATION of the workers."
    )


def print_verified(answers: Sequence[Mapping[str, str | None]]) -> None:
    """Print what was found wrong, and how many parts are whole."""
    wrong = [answer["error"] for answer in answers if answer["error"]]
    for error in wrong:
        click.echo(f"Error: {error}", err=True)
    click.echo(f"{len(answers) - len(wrong)} of {len(answers)} parts are whole")


def restored_dict(part: Part, answer: Restored | None) -> dict[str, Any]:
    """Return what came of a part as JSON shows it; without an answer nothing has been done."""
    shown: dict[str, Any] = {"part": part.name, "records": part.records}
    if answer is not None:
        shown["restored"] = answer.records
        shown["conflicts"] = [conflict.model_dump() for conflict in answer.conflicts]
        shown["kept_in"] = answer.kept_in.name if answer.kept_in else None
    return shown


def print_restored(answers: Sequence[tuple[Part, Restored | None]]) -> None:
    """Print what came of each part."""
    if not answers:
        click.echo("There is nothing of that to restore.")
    for part, answer in answers:
        if answer is None:
            click.echo(f"Would restore {part.name}: {part.records:,} records")
            continue
        click.echo(f"Restored {part.name}: {answer.records:,} of {part.records:,} records")
        for conflict in answer.conflicts:
            click.echo(f"  stays archived: {conflict.id}: {conflict.reason}", err=True)
        if answer.kept_in:
            click.echo(f"  what stays is in {answer.kept_in.name} now")
    jobs = {
        "report_archival" if part.collection == "reports" else "data_cleanup"
        for part, answer in answers
        if answer and answer.records
    }
    for job in sorted(jobs):
        click.echo(
            f"The next {job} archives them again, unless it is disabled:\n"
            f"  celery -A bionewsbot redbeat disable {job}"
        )


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
