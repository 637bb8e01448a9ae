"""How dead letters are shown: tables for people, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from bionewsbot.cli.runs_view import console
from bionewsbot.dead_letters.letters import Letter, Story
from bionewsbot.runs.model import FINAL, JOB

_ERROR_WIDTH = 60


def print_json(value: object) -> None:
    """Print JSON on stdout."""
    click.echo(json.dumps(value, indent=2))


def print_list(letters: Sequence[Letter]) -> None:
    """Print a table of letters."""
    if not letters:
        click.echo("No dead letters.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("ID", "LAST", "TASK", "RUN", "TARGET", "STATE", "WHY", "ERROR"):
        table.add_column(heading, no_wrap=heading in ("ID", "LAST"), overflow="fold")
    for letter in letters:
        error = (letter.last.error or "").splitlines()
        table.add_row(
            letter.id,
            _time(letter.last_at),
            escape(letter.task.rpartition(".")[2]),
            letter.run_id or "-",
            escape(_target(letter)),
            letter.state,
            escape(letter.last.why),
            escape(error[0][:_ERROR_WIDTH]) if error else "",
        )
    console().print(table)


def print_letter(letter: Letter) -> None:
    """Print a letter with all its stories."""
    click.echo(f"{letter.id}  {letter.state}")
    click.echo(f"  task     {letter.task} on queue {letter.queue}")
    click.echo(f"  run      {letter.run_id or 'none'}, target {_target(letter)}")
    click.echo(f"  kwargs   {json.dumps(dict(letter.kwargs))}")
    click.echo(f"  first    {_time(letter.first_at)}, last {_time(letter.last_at)}")
    if letter.replays:
        click.echo(
            f"  replays  {letter.replays}, last {_time(letter.replayed_at or 0)} "
            f"by {letter.replayed_by}"
        )
    for story in letter.stories:
        _print_story(story)


def print_replayed(done: Sequence[Mapping[str, Any]], left: int, *, dry_run: bool) -> None:
    """Print what was replayed, what was refused and why, and how many an error left."""
    for answer in done:
        if "refused" in answer:
            click.echo(f"refused: {answer['refused']}", err=True)
    sent = [answer for answer in done if "refused" not in answer]
    for answer in sent:
        click.echo(
            f"{'Would replay' if dry_run else 'Replayed'} {answer['id']}: "
            f"{answer['run_id']} {answer['target']}"
        )
    click.echo(
        f"{len(sent)} {'to replay' if dry_run else 'replayed'}, {len(done) - len(sent)} refused"
        + (f", {left} left; see `dlq list` for where the first of them stands" if left else "")
    )


def print_stats(stats: Mapping[str, Any]) -> None:
    """Print counts."""
    click.echo(f"{stats['letters']} dead letters, the oldest from {stats['oldest'] or '-'}")
    for heading in ("by_state", "by_task", "by_why"):
        for name, number in stats[heading].items():
            click.echo(f"  {heading[3:]:6} {number:6}  {name}")


def _print_story(story: Story) -> None:
    click.echo(
        f"generation {story.generation}: {story.why} ({_time(story.at)}, "
        f"worker {story.worker or '-'}, {story.sends} sends, {story.starts} starts, "
        f"{story.deaths} deaths)"
    )
    for attempt in story.attempts:
        click.echo(f"  {_time(attempt['at'])}  {attempt['error']}")
    if story.error:
        click.echo(f"  {_time(story.at)}  {story.error}")
    if story.traceback:
        click.echo("".join(f"    {line}\n" for line in story.traceback.splitlines()), nl=False)


def _target(letter: Letter) -> str:
    return {JOB: "(job)", FINAL: "(end)"}.get(letter.target or "", letter.target or "-")


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
