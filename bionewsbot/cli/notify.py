"""`celery -A bionewsbot notify ...`: who is told of what, and whether it gets there."""

from typing import TYPE_CHECKING, Any

import click

from bionewsbot.cli.errors import CommandFailed, CommandMisconfigured, reports_errors
from bionewsbot.cli.options import as_json

if TYPE_CHECKING:
    from bionewsbot.notifications.channels import Channel
    from bionewsbot.notifications.config import Notifications, Rule


@click.group()
def notify() -> None:
    """Show and try the channels of notifications.yaml.

    \b
    Examples:
      celery -A bionewsbot notify list
      celery -A bionewsbot notify test
      celery -A bionewsbot notify test --channel operators
    """


@notify.command("list")
@as_json
@reports_errors
def list_(json_output: bool) -> None:
    """List channels, their addresses hidden, and rules. Exits with 2 when the file is wrong."""
    from bionewsbot.cli.runs_view import print_json
    from bionewsbot.notifications.config import notifications

    found = notifications()
    if json_output:
        print_json(
            {
                "channels": {name: one.shown for name, one in found.channels.items()},
                "rules": [rule.model_dump(mode="json") for rule in found.rules],
            }
        )
        return
    if not found.channels:
        click.echo(f"No channels in {_path()}: nobody is told of anything.")
    for name, channel in found.channels.items():
        click.echo(f"{name}  {channel.shown}")
    for rule in found.rules:
        click.echo(_told(rule))


@notify.command()
@click.option("--channel", "name", help="Only by this channel.")
@as_json
@reports_errors
def test(name: str | None, json_output: bool) -> None:
    """Send a notice by each channel, at once and without retries, and say what came of it.

    Warns of companies in the rules that the backend doesn't have.

    Exit code: 0 all were sent, 1 some failed, 2 the file is wrong or has no channel.

    \b
    Examples:
      celery -A bionewsbot notify test
      celery -A bionewsbot notify test --channel operators --json
    """
    from bionewsbot.cli.runs_view import print_json
    from bionewsbot.notifications.config import notifications

    found = notifications()
    if not found.channels:
        raise CommandMisconfigured(f"There are no channels in {_path()}")
    channels = [found.channel(name)] if name is not None else list(found.channels.values())
    outcomes = [_try(channel) for channel in channels]
    warnings = _strangers(found)
    if json_output:
        print_json({"channels": outcomes, "warnings": warnings})
    else:
        for outcome in outcomes:
            click.echo(f"{outcome['channel']}: {outcome['error'] or 'sent'}")
        for warning in warnings:
            click.echo(f"Warning: {warning}", err=True)
    if any(outcome["error"] for outcome in outcomes):
        raise SystemExit(CommandFailed.exit_code)


def _try(channel: "Channel") -> dict[str, Any]:
    from bionewsbot.cli.who import who_i_am
    from bionewsbot.errors import ChannelFailed, ChannelRefused
    from bionewsbot.notifications.notices import Notice

    said = f"{who_i_am()} tries channel {channel.name!r}. Nothing has happened."
    error: str | None = None
    try:
        channel.send(Notice("test", "test", "BioNewsBot: a test", said))
    except (ChannelFailed, ChannelRefused) as problem:
        error = str(problem)
    return {"channel": channel.name, "sent": error is None, "error": error}


def _strangers(found: "Notifications") -> list[str]:
    from bionewsbot import settings as settings_module
    from bionewsbot.api.client import BackendClient
    from bionewsbot.companies import COMPANIES_FILE, load_companies
    from bionewsbot.errors import BioNewsBotError, CollectionMissing

    if not any(rule.companies for rule in found.rules):
        return []
    settings = settings_module.current()
    try:
        with BackendClient.from_settings(settings, guarded=False) as client:
            known = {company.id for company in client.companies(status=None)}
    except CollectionMissing:
        known = {company.id for company in load_companies(settings.config_dir / COMPANIES_FILE)}
    except BioNewsBotError as error:
        return [f"whether the rules' companies exist is not known: {error}"]
    return found.strangers(known)


def _told(rule: "Rule") -> str:
    only = f" from {rule.severity} up" if rule.severity else ""
    only += f" of {', '.join(rule.companies)}" if rule.companies else ""
    return f"{', '.join(rule.events)}{only} -> {', '.join(rule.channels)}"


def _path() -> str:
    from bionewsbot import settings as settings_module
    from bionewsbot.notifications.config import NOTIFICATIONS_FILE

    return str(settings_module.current().config_dir / NOTIFICATIONS_FILE)
