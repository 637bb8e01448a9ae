"""Options that several command groups have."""

from datetime import UTC, datetime, timedelta

import click

as_json = click.option("--json", "json_output", is_flag=True, help="Print JSON for programs.")


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Read a time for click: ISO 8601, UTC where it names no zone."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is not a time such as 2026-01-15T06:00:00Z", ctx, param
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def rate(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Read a number a second for click, one whose pause can be slept: nan's and inf's can't."""
    if value is None or 0.001 <= value <= 1000:
        return value
    raise click.BadParameter(f"{value:g} is not between 0.001 and 1000 a second", ctx, param)


def since(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Read a time as `moment` does, or a span back from now such as 2h."""
    from bionewsbot.scheduling.words import parse_duration

    if value is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(value))
    except ValueError:
        return moment(ctx, param, value)
