"""`python -m deploy.local up|down|ps|logs|restart`, in the checkout: what the Makefile calls."""

import argparse
import errno
import os
import subprocess
import sys
from datetime import timedelta

from rich.console import Console
from rich.table import Table

from bionewsbot.errors import BioNewsBotError
from deploy.local import dotenv, lifecycle, supervisor, welcome
from deploy.local.environments import DISK_FULL
from deploy.local.errors import LocalError
from deploy.local.stack import ROOT, Stack, local_settings, plan

LOG_LINES = "50"


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command; what goes wrong is said in a line, with exit code 1."""
    parser = argparse.ArgumentParser(prog="deploy.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "down", "restart", "ps"):
        commands.add_parser(name)
    commands.add_parser("logs").add_argument("name", nargs="?", default="")
    options = parser.parse_args(arguments)
    os.chdir(ROOT)
    try:
        if options.command == "up":
            up()
        elif options.command == "down":
            if not lifecycle.down():
                lifecycle.say("Nothing runs.")
        elif options.command == "restart":
            stack = current_stack()  # wrong settings must not stop what runs
            lifecycle.down()
            lifecycle.up(stack)
        elif options.command == "ps":
            show_processes()
        else:
            show_logs(options.name)
    except (LocalError, BioNewsBotError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        print(DISK_FULL.format(root=ROOT) if full else error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


def up() -> None:
    """Bring everything up, run the main job on a first start, and show the result."""
    if dotenv.write_once(os.environ):
        lifecycle.say("Wrote .env, which is yours to edit.")
    stack = current_stack()
    console = Console()
    started = lifecycle.up(stack)
    if not started:
        lifecycle.say("Everything runs already.")
    try:
        first = not welcome.has_run()
        if started or first:
            welcome.sync_companies()
        if first:
            welcome.first_run()
            welcome.results(stack, console)
    finally:
        # All is up, whatever became of the first run: its failure is best looked into from there.
        welcome.addresses(stack, console)


def current_stack() -> Stack:
    """Return what the settings ask for. Raises LocalError or SettingsError."""
    return plan(local_settings())


def show_processes() -> None:
    """Print each program's state; say so where nothing runs."""
    states = supervisor.states()
    if not states:
        lifecycle.say("Nothing runs; `make up` starts it.")
        return
    stack = current_stack()
    ports = {listener.program: str(listener.port) for listener in stack.listeners}
    table = Table("Program", "State", "Pid", "For", "Port")
    for name in stack.programs:
        state = states[name]
        since = str(timedelta(seconds=state.seconds))
        table.add_row(name, state.state, str(state.pid or "-"), since, ports.get(name, "-"))
    Console().print(table)


def show_logs(name: str) -> None:
    """Print the end of the logs, or of one program's, and follow them on a terminal.

    Raises LocalError that lists the names where there is no such log.
    """
    logs = {path.stem: path for path in sorted(local_settings().log_dir.glob("*.log"))}
    if name and name not in logs:
        raise LocalError(f"No log named {name!r}; there are: {', '.join(logs) or 'none yet'}.")
    chosen = [str(path) for key, path in logs.items() if name in ("", key)]
    if not chosen:
        lifecycle.say("No logs yet; `make up` starts everything.")
        return
    follow = ["-F"] if sys.stdout.isatty() else []
    subprocess.run(["tail", "-n", LOG_LINES, *follow, *chosen], check=True)


if __name__ == "__main__":
    sys.exit(main())
