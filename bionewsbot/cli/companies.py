"""`celery -A bionewsbot companies sync`: bring companies.yaml to the backend."""

import json
from typing import TYPE_CHECKING, Any

import click

from bionewsbot.cli.errors import CommandFailed, reports_errors

if TYPE_CHECKING:
    from bionewsbot.api.client import BackendClient
    from bionewsbot.companies import Difference


@click.group()
def companies() -> None:
    """The companies that are analysed."""


@companies.command()
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@reports_errors
def sync(dry_run: bool, as_json: bool) -> None:
    """Create and update the backend's companies from companies.yaml.

    Companies that only the backend has are shown and left alone. Exits with 0 when the backend
    agrees with the file, 1 when the backend failed, 2 when the file or a setting is wrong.
    """
    from bionewsbot import settings as settings_module
    from bionewsbot.api.client import BackendClient
    from bionewsbot.companies import COMPANIES_FILE, compare, load_companies
    from bionewsbot.errors import CollectionMissing

    settings = settings_module.current()
    path = settings.config_dir / COMPANIES_FILE
    wanted = load_companies(path)
    with BackendClient.from_settings(settings, guarded=False) as client:
        try:
            difference = compare(wanted, client.companies(status=None))
        except CollectionMissing as error:
            raise CommandFailed(
                f"{error}: this backend keeps no companies; the jobs read {path}, nothing to sync"
            ) from error
        if not dry_run:
            _write(client, difference)
    if as_json:
        click.echo(json.dumps(_as_data(difference, dry_run=dry_run)))
    else:
        _print_table(difference, dry_run=dry_run)


def _write(client: "BackendClient", difference: "Difference") -> None:
    from bionewsbot.errors import BioNewsBotError

    for done, company in enumerate(difference.to_write):
        try:
            client.put_company(company)
        except BioNewsBotError as error:
            raise CommandFailed(
                f"{error} (after {done} of {len(difference.to_write)} companies were written; "
                "run it again to finish)"
            ) from error


def _as_data(difference: "Difference", *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "created": [company.id for company in difference.created],
        "updated": [
            {
                "id": company.id,
                "changes": {name: {"from": old, "to": new} for name, (old, new) in changes.items()},
            }
            for company, changes in difference.updated
        ],
        "unchanged": [company.id for company in difference.unchanged],
        "only_at_backend": [company.id for company in difference.only_at_backend],
    }


def _print_table(difference: "Difference", *, dry_run: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("Company", "Name", "Outcome", "Changes")

    def row(company_id: str, name: str, outcome: str, changes: str = "") -> None:
        # As Text, since rich would take a name's square brackets for markup.
        table.add_row(Text(company_id), Text(name), outcome, Text(changes))

    would = "would be " if dry_run else ""
    for company in difference.created:
        row(company.id, company.name, f"{would}created")
    for company, changes in difference.updated:
        told = "\n".join(
            f"{name}: {_shown(old)} -> {_shown(new)}" for name, (old, new) in changes.items()
        )
        row(company.id, company.name, f"{would}updated", told)
    for company in difference.unchanged:
        row(company.id, company.name, "unchanged")
    for company in difference.only_at_backend:
        row(company.id, company.name, "only at the backend")
    Console().print(table)
    click.echo(
        f"{len(difference.created)} {would}created, {len(difference.updated)} {would}updated, "
        f"{len(difference.unchanged)} unchanged, "
        f"{len(difference.only_at_backend)} only at the backend"
    )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value)
