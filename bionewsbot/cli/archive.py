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
    from bionewsbot.errors import ArchiveCorrupt

EXIT_CORRUPT = 3
"""`verify`, `list`: at least one part isn't what its manifest says, or has no sound one."""

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

    Exit code: 0 done, 3 some manifests are damaged; the other parts are listed.

    \b
    Examples:
      celery -A bionewsbot archive list
      celery -A bionewsbot archive list insights --json
    """
    from bionewsbot.cli import archive_view

    store = _archive()
    found = _survey(store, [collection] if collection else store.collections())
    if json_output:
        archive_view.print_json([archive_view.as_dict(*one) for one in found.items()])
    else:
        archive_view.print_list(found, store.location)
    if any(isinstance(part, Exception) for part in found.values()):
        raise SystemExit(EXIT_CORRUPT)


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

    store = _archive()
    found = _survey(store, _collections(names) if names else store.collections())
    chosen = {name: found[name] if name in found else store.part(name) for name in names or found}
    answers: list[dict[str, str | None]] = [
        {"part": name, "error": _wrong(store, part)}
        for name, part in chosen.items()
        if isinstance(part, Exception) or part.state != "restored"
    ]
    if json_output:
        archive_view.print_json(answers)
    elif chosen:
        archive_view.print_verified(answers)
    else:
        archive_view.print_empty(store.location)
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

    Exit code: 0 all restored, 1 a part failed (those before it are told, those after it are left),
    3 some records stayed archived.

    \b
    Examples:
      celery -A bionewsbot archive restore insights/00000003 --dry-run
      celery -A bionewsbot archive restore --collection alerts --from 2026-01-01 --to 2026-02-01
    """
    from bionewsbot.cli import archive_view

    store = _archive()
    found = _chosen(store, names, collection, start, end)
    answers: list[tuple[Part, Restored | None]] = []
    try:
        for part in found:
            answers.append((part, None if dry_run else _restore(store, part)))
    finally:
        # Where a part fails, too: nothing else tells what became of those before it.
        if json_output:
            shown = [archive_view.restored_dict(part, answer) for part, answer in answers]
            archive_view.print_json({"dry_run": dry_run, "parts": shown})
        elif answers or not found:
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


def _survey(store: "Archive", collections: "list[str]") -> "dict[str, Part | ArchiveCorrupt]":
    _known(collections)
    found: dict[str, Part | ArchiveCorrupt] = {}
    for collection in collections:
        found |= store.survey(collection)
    return found


def _wrong(store: "Archive", part: "Part | ArchiveCorrupt") -> str | None:
    from bionewsbot.errors import ArchiveCorrupt, ArchiveUnavailable

    if isinstance(part, ArchiveCorrupt):
        return str(part)
    try:
        store.verify(part)
    except (ArchiveCorrupt, ArchiveUnavailable) as error:
        return str(error)
    return None


def _named(store: "Archive", names: "tuple[str, ...] | list[str]") -> "list[Part]":
    _known(_collections(names))
    return [store.part(name) for name in dict.fromkeys(names)]


def _collections(names: "tuple[str, ...] | list[str]") -> list[str]:
    return sorted({name.partition("/")[0] for name in names})


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
