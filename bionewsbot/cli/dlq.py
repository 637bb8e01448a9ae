"""`celery -A bionewsbot dlq ...`: what was given up on, and putting it right."""

from typing import TYPE_CHECKING, Any

import click

from bionewsbot.cli.errors import CommandFailed, reports_errors
from bionewsbot.cli.options import as_json, rate, since

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from bionewsbot.dead_letters.letters import Letter, Letters


def filters(command: Any) -> Any:
    """Add the options that choose letters."""
    for option in (
        click.option("--error", help="Only where the last error or its cause contains this text."),
        click.option(
            "--since",
            callback=since,
            metavar="TIME",
            help="Only of this time (or 2h, 3d) or later.",
        ),
        click.option("--run", help="Only of this run, or of this entry's runs."),
        click.option("--task", help="Only of this task (`analyze_company` is enough)."),
    ):
        command = option(command)
    return command


@click.group()
def dlq() -> None:
    """Show, replay and purge dead letters.

    A dead letter is an item or a message that was given up on, with its whole story.

    \b
    Examples:
      celery -A bionewsbot dlq list --since 1d
      celery -A bionewsbot dlq show 3f2a91c04b7d
      celery -A bionewsbot dlq replay --all --rate 5
    """


@dlq.command("list")
@filters
@as_json
@reports_errors
def list_(json_output: bool, **wanted: Any) -> None:
    """List dead letters, the latest first."""
    from bionewsbot.cli import dlq_view

    found = _letters().find(**wanted)
    if json_output:
        dlq_view.print_json([letter.as_dict() for letter in found])
    else:
        dlq_view.print_list(found)


@dlq.command()
@click.argument("letter_id", metavar="ID")
@as_json
@reports_errors
def show(letter_id: str, json_output: bool) -> None:
    """Show one dead letter with all its stories."""
    from bionewsbot.cli import dlq_view

    letter = _letters().get(letter_id)
    if json_output:
        dlq_view.print_json(letter.as_dict())
    else:
        dlq_view.print_letter(letter)


@dlq.command()
@click.argument("letter_ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@filters
@click.option("--rate", type=float, callback=rate, metavar="N", help="At most N a second.")
@click.option("--dry-run", is_flag=True, help="Only say what would be replayed.")
@as_json
@click.pass_context
@reports_errors
def replay(
    ctx: click.Context,
    /,
    letter_ids: tuple[str, ...],
    everything: bool,
    rate: float | None,
    dry_run: bool,
    json_output: bool,
    **wanted: Any,
) -> None:
    """Carry out once more what the letters tell of, under the same idempotency keys.

    What can't be replayed is named with its reason and doesn't keep the others back. Exit code: 1
    if it was asked for by its id, or if an error ended it half way; --all and filters take what
    can be, and have done so with 0.

    \b
    Examples:
      celery -A bionewsbot dlq replay 3f2a91c04b7d
      celery -A bionewsbot dlq replay --run daily_company_analysis --since 1d --dry-run
      celery -A bionewsbot dlq replay --all --rate 5
    """
    from bionewsbot.cli import dlq_view
    from bionewsbot.dead_letters.letters import DEAD

    letters = _select(letter_ids, everything, wanted)
    if not letter_ids:
        letters = [letter for letter in letters if letter.state == DEAD]
    done: list[dict[str, Any]] = []
    try:
        for answer in _replay(ctx.obj.app, letters[::-1], rate, dry_run):
            done.append(answer)
    finally:
        # Whatever ends it half way, what was sent is sent.
        left = len(letters) - len(done)
        if json_output:
            dlq_view.print_json({"dry_run": dry_run, "letters": done, "left": left})
        else:
            dlq_view.print_replayed(done, left, dry_run=dry_run)
    if letter_ids and any("refused" in answer for answer in done):
        raise SystemExit(CommandFailed.exit_code)


@dlq.command()
@click.argument("letter_ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@filters
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@as_json
@reports_errors
def purge(
    letter_ids: tuple[str, ...], everything: bool, dry_run: bool, json_output: bool, **wanted: Any
) -> None:
    """Remove dead letters unrun. Their runs keep them as failed."""
    from bionewsbot.cli import dlq_view
    from bionewsbot.runs.ledger import ledger

    ids = [letter.id for letter in _select(letter_ids, everything, wanted)]
    gone = len(ids) if dry_run else ledger().purge_letters(ids)
    if json_output:
        dlq_view.print_json({"dry_run": dry_run, "ids": ids, "removed": 0 if dry_run else gone})
    else:
        click.echo(f"{'Would remove' if dry_run else 'Removed'} {gone} dead letters")


@dlq.command()
@as_json
@reports_errors
def stats(json_output: bool) -> None:
    """Count dead letters by state, task and cause."""
    from bionewsbot.cli import dlq_view

    found = _letters().stats()
    if json_output:
        dlq_view.print_json(found)
    else:
        dlq_view.print_stats(found)


def _replay(
    app: "Celery", letters: "list[Letter]", rate: float | None, dry_run: bool
) -> "Iterator[dict[str, Any]]":
    """Replay letters; yield what came of each before the next is touched."""
    import time

    from bionewsbot.cli.who import who_i_am
    from bionewsbot.dead_letters.replay import check
    from bionewsbot.dead_letters.replay import replay as replay_letter
    from bionewsbot.errors import ReplayRefused
    from bionewsbot.runs.ledger import ledger

    by = who_i_am()
    for number, letter in enumerate(letters):
        answer: dict[str, Any] = {"id": letter.id, "run_id": letter.run_id, "target": letter.target}
        try:
            if dry_run:
                check(app, ledger(), letter)
            else:
                if rate and number:
                    time.sleep(1 / rate)
                answer["task_id"] = replay_letter(app, ledger(), letter, by=by)
        except ReplayRefused as error:
            answer["refused"] = str(error)
        yield answer


def _select(
    letter_ids: tuple[str, ...], everything: bool, wanted: dict[str, Any]
) -> "list[Letter]":
    filtered = any(value is not None for value in wanted.values())
    if sum((bool(letter_ids), everything, filtered)) != 1:
        raise click.UsageError(
            "say which: ids, or --all, or one or more of --task, --run, --since, --error"
        )
    letters = _letters()
    if letter_ids:
        return [letters.get(letter_id) for letter_id in letter_ids]
    return letters.find(**wanted)


def _letters() -> "Letters":
    from bionewsbot import settings as settings_module
    from bionewsbot.celeryconfig import connect_redis
    from bionewsbot.dead_letters.letters import Letters

    return Letters(connect_redis(settings_module.current()))
