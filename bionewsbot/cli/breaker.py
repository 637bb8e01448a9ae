"""`celery -A bionewsbot breaker ...`: the circuit breaker around the Backend API."""

from typing import TYPE_CHECKING, Any

import click

from bionewsbot.cli.errors import reports_errors
from bionewsbot.cli.options import as_json

if TYPE_CHECKING:
    from bionewsbot.api.shared_circuit import SharedCircuit, Status
    from bionewsbot.settings import Settings

_SHOWN_CHANGES = 10


@click.group()
def breaker() -> None:
    """Show, open and close the circuit breaker around the Backend API.

    All workers share its state. While it is open, no worker calls the backend, and tasks wait.

    \b
    Examples:
      celery -A bionewsbot breaker show
      celery -A bionewsbot breaker open
      celery -A bionewsbot breaker close
    """


@breaker.command()
@as_json
@reports_errors
def show(json_output: bool) -> None:
    """Show the state, what was counted, and the latest changes."""
    _print(_circuit(), json_output)


@breaker.command("open")
@as_json
@reports_errors
def open_(json_output: bool) -> None:
    """Open it and hold it open until `breaker close`: no worker calls the backend."""
    circuit = _circuit()
    changed = circuit.hold("opened by an operator")
    _print(circuit, json_output, None if changed else "It was held open already.")


@breaker.command()
@as_json
@reports_errors
def close(json_output: bool) -> None:
    """Close it, whoever opened it: workers call the backend again."""
    circuit = _circuit()
    changed = circuit.release("closed by an operator")
    _print(circuit, json_output, None if changed else "It was closed already.")


def _circuit() -> "SharedCircuit":
    from bionewsbot import settings as settings_module
    from bionewsbot.api.shared_circuit import SharedCircuit
    from bionewsbot.cli.who import who_i_am

    return SharedCircuit.from_settings(settings_module.current(), by=who_i_am())


def _print(circuit: "SharedCircuit", json_output: bool, note: str | None = None) -> None:
    from bionewsbot import settings as settings_module
    from bionewsbot.cli.runs_view import print_json

    status, settings = circuit.status(), settings_module.current()
    circuit.shut()
    if json_output:
        print_json(_as_dict(status, settings))
        return
    if note is not None:
        click.echo(note)
    _print_text(status, settings)


def _print_text(status: "Status", settings: "Settings") -> None:
    from bionewsbot.api.circuit import Limits

    limits, tally = Limits.from_settings(settings), status.tally
    since = f" since {_time(status.since)}" if status.since is not None else ""
    reason = f": {status.reason}" if status.reason else ""
    click.echo(f"Backend API: {_state(status)}{since}{reason}")
    if status.held:
        click.echo("  held open until `celery -A bionewsbot breaker close`")
    if status.half_open_at is not None and status.state == "open":
        wait = status.half_open_at - status.now
        click.echo(f"  one call is let through in {wait:.1f} s")
    if status.trial_until is not None:
        click.echo("  one call is under way; its outcome decides")
    if status.state == "closed":
        click.echo(f"  {tally.in_row} failures in a row; {limits.failures} open it")
        click.echo(
            f"  {tally.failed} of {tally.calls} calls failed in the last "
            f"{limits.window_seconds:g} s; {limits.share} % of at least {limits.min_calls} open it"
        )
    click.echo(
        f"  in all: opened {status.opened}, closed {status.closed}, "
        f"trials {status.trials}, calls rejected {status.rejected}"
    )
    for change in status.changes[:_SHOWN_CHANGES]:
        click.echo(f"  {_time(change.at)}  {change.after:<6}  {change.reason}  ({change.by})")


def _as_dict(status: "Status", settings: "Settings") -> dict[str, Any]:
    from bionewsbot.api.circuit import Limits

    limits, tally = Limits.from_settings(settings), status.tally
    return {
        "state": status.state,
        "held": status.held,
        "reason": status.reason,
        "since": _time(status.since),
        "half_open_at": _time(status.half_open_at),
        "trial_until": _time(status.trial_until),
        "failures_in_row": tally.in_row,
        "window": {"calls": tally.calls, "failed": tally.failed},
        "limits": {
            "failures": limits.failures,
            "share": limits.share,
            "min_calls": limits.min_calls,
            "window_seconds": limits.window_seconds,
            "open_seconds": limits.open_seconds,
        },
        "totals": {
            "opened": status.opened,
            "closed": status.closed,
            "trials": status.trials,
            "rejected": status.rejected,
        },
        "changes": [
            {
                "at": _time(change.at),
                "from": change.before,
                "to": change.after,
                "reason": change.reason,
                "by": change.by,
            }
            for change in status.changes
        ],
    }


def _state(status: "Status") -> str:
    colour = {"closed": "green", "half-open": "yellow"}.get(status.state, "red")
    held = " (held)" if status.held else ""
    return click.style(status.state + held, fg=colour)


def _time(epoch: float | None) -> str | None:
    from datetime import UTC, datetime

    if epoch is None:
        return None
    moment = datetime.fromtimestamp(epoch, UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
