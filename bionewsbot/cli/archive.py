"""`celery -A bionewsbot archive ...`: what was archived, whether it is whole, putting it back."""

from datetime import datetime
from typing import TYPE_CHECKING

import click

from bionewsbot.cli.errors import CommandFailed, reports_errors
from bionewsbot.cli.options import as_json, moment

if TYPE_CHECKING:
    from bionewsbot.archive.archive import Archive
    from bionewsbot.archive.exchange import Restored
    from bionewsbot.archive.parts import Part

EXIT_CORRUPT = 3
"""`verify`: at least one part isn't what its manifest says."""

EXIT_CONFLICTS = 3
"""`restore`: some records stayed archived, since other ones have their place in the database."""


@click.group()
def archive() -> None:
    """Look at, check and restore what data cleanup and report archival put away.

    A part is one object of records with its manifest; its name is collection and number.

    \b
    Examples:
      celery -A bionewsbot archive list
      celery -A bionewsbot archive verify
      celery -A bionewsbot archive cat insights/00000003 | jq .title
      celery -A bionewsbot archive restore insights/00000003 --dry-run
    """


@archive.command("list")
@click.argument("collection", required=False)
@as_json
@reports_errors
def list_(collection: str | None, json_output: bool) -> None:
    """List the parts, of one collection or all.

    \b
    Examples:
      celery -A bionewsbot archive list
      celery -A bionewsbot archive list insights --json
    """
    from bionewsbot.cli import archive_view

    store = _archive()
    found = _parts(store, [collection] if collection else store.collections())
    if json_output:
        archive_view.print_json([archive_view.as_dict(part) for part in found])
    else:
        archive_view.print_list(found, store.location)


@archive.command()
@click.argument("names", nargs=-1, metavar="[PART]...")
@as_json
@reports_errors
def verify(names: tuple[str, ...], json_output: bool) -> None:
    """Read parts whole, all or those that are named, and compare them with their manifests.

    Exit code: 0 all are whole, 3 some are not.

    \b
    Examples:
      celery -A bionewsbot archive verify
      celery -A bionewsbot archive verify insights/00000003 --json
    """
    from bionewsbot.cli import archive_view
    from bionewsbot.errors import ArchiveCorrupt, ArchiveUnavailable

    store = _archive()
    found = _named(store, names) if names else _parts(store, store.collections())
    answers: list[dict[str, str | None]] = []
    for part in found:
        if part.state == "restored":
            continue
        try:
            store.verify(part)
            answers.append({"part": part.name, "error": None})
        except (ArchiveCorrupt, ArchiveUnavailable) as error:
            answers.append({"part": part.name, "error": str(error)})
    if json_output:
        archive_view.print_json(answers)
    else:
        archive_view.print_verified(answers)
    if any(answer["error"] for answer in answers):
        raise SystemExit(EXIT_CORRUPT)


@archive.command()
@click.argument("name", metavar="PART")
@reports_errors
def cat(name: str) -> None:
    """Print a part's records as JSON Lines.

    \b
    Example:
      celery -A bionewsbot archive cat insights/00000003 | head -1
    """
    import json

    store = _archive()
    (part,) = _unrestored(_named(store, [name]))
    for record in store.records(part):
        click.echo(json.dumps(record, ensure_ascii=False, sort_keys=True))


@archive.command()
@click.argument("names", nargs=-1, metavar="[PART]...")
@click.option("--collection", help="All parts of a collection that hold records of the time asked.")
@click.option("--from", "start", callback=moment, metavar="TIME", help="... of this time or later.")
@click.option("--to", "end", callback=moment, metavar="TIME", help="... of before this time.")
@click.option("--dry-run", is_flag=True, help="Only say what would be restored.")
@as_json
@reports_errors
def restore(
    names: tuple[str, ...],
    collection: str | None,
    start: datetime | None,
    end: datetime | None,
    dry_run: bool,
    json_output: bool,
) -> None:
    """Put whole parts back into the database, as they were, and take them out of the archive.

    The next data_cleanup (of reports: report_archival) archives them again, unless it is disabled
    first. What has another record in its place stays archived.

    Exit code: 0 all restored, 3 some records stayed archived.

    \b
    Examples:
      celery -A bionewsbot archive restore insights/00000003 --dry-run
      celery -A bionewsbot archive restore --collection alerts --from 2026-01-01 --to 2026-02-01
    """
    from bionewsbot.cli import archive_view

    store = _archive()
    found = _chosen(store, names, collection, start, end)
    answers = [(part, None if dry_run else _restore(store, part)) for part in found]
    if json_output:
        shown = [archive_view.restored_dict(part, answer) for part, answer in answers]
        archive_view.print_json({"dry_run": dry_run, "parts": shown})
    else:
        archive_view.print_restored(answers)
    if any(answer and answer.conflicts for _, answer in answers):
        raise SystemExit(EXIT_CONFLICTS)


def _chosen(
    store: "Archive",
    names: tuple[str, ...],
    collection: str | None,
    start: datetime | None,
    end: datetime | None,
) -> "list[Part]":
    if bool(names) == (collection is not None) or (names and (start or end)):
        raise click.UsageError("say which: names of parts, or --collection [--from] [--to]")
    if names:
        return _unrestored(_named(store, names))
    _known([collection or ""])
    return store.holding(collection or "", start, end)


def _restore(store: "Archive", part: "Part") -> "Restored":
    from bionewsbot import settings as settings_module
    from bionewsbot.api.client import BackendClient
    from bionewsbot.archive.exchange import restore
    from bionewsbot.runs.exclusive import exclusive, moving
    from bionewsbot.runs.ledger import ledger

    with BackendClient.from_settings(settings_module.current(), guarded=False) as client:
        seconds = 2 * client.longest_call
        with exclusive(ledger(), moving(part.collection), seconds=seconds) as still_mine:
            # As it stands now that nobody else moves it.
            (part,) = _unrestored(_named(store, [part.name]))
            return restore(client, store, part, still_mine=still_mine)


def _unrestored(parts: "list[Part]") -> "list[Part]":
    for part in parts:
        if part.state == "restored":
            raise CommandFailed(f"{part.name} was restored; its records are in the database")
    return parts


def _parts(store: "Archive", collections: "list[str]") -> "list[Part]":
    _known(collections)
    return [part for collection in collections for part in store.parts(collection)]


def _named(store: "Archive", names: "tuple[str, ...] | list[str]") -> "list[Part]":
    _known([name.partition("/")[0] for name in names])
    return [store.part(name) for name in dict.fromkeys(names)]


def _known(collections: "list[str]") -> None:
    from bionewsbot.archive.parts import TIME_FIELDS

    for collection in collections:
        if collection not in TIME_FIELDS:
            raise click.UsageError(
                f"{collection!r} is not a collection: {', '.join(sorted(TIME_FIELDS))}"
            )


def _archive() -> "Archive":
    from bionewsbot import settings as settings_module
    from bionewsbot.archive.archive import Archive
    from bionewsbot.archive.storage import Storage

    return Archive(Storage(settings_module.current().archive_location))
