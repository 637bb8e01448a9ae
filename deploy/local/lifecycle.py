"""Up, down and restart: from nothing to all programs ready, and back to nothing."""

import sys
import time

from deploy.local import ports, processes, readiness, supervisor
from deploy.local.errors import LocalError
from deploy.local.stack import Stack, environment, inherited, prepare

STOP_MARGIN = 15.0
"""Seconds that supervisord gets beyond all of its programs' stopwaitsecs, one after the other."""


def up(stack: Stack) -> bool:
    """Start what doesn't run yet and wait until all is ready; return whether anything was started.

    Raises LocalError; where nothing ran before, nothing runs then.
    """
    states = supervisor.states()
    running = {name for name, state in states.items() if state.running}
    missing = [name for name in stack.programs if name not in running]
    if not missing:
        readiness.wait(stack, stack.programs)
        return False
    if not states:
        refuse_orphans()
    ports.check(stack.listeners, running)
    readiness.require_foreign(stack)
    prepare(stack)
    if not states:
        supervisor.launch(environment(stack, inherited()))
    say(f"Starting {', '.join(missing)} ...")
    started = time.monotonic()
    try:
        # Redis first: beat ends where it finds none.
        for wave in (["redis"], [name for name in stack.programs if name != "redis"]):
            for name in wave:
                if name in missing:
                    supervisor.start(name)
            readiness.wait(stack, [name for name in wave if name in stack.programs])
    except BaseException:
        if not states:
            down()
        raise
    say(f"All ready after {time.monotonic() - started:.0f} s.")
    return True


def down() -> bool:
    """Stop everything, gracefully; return whether anything ran.

    Raises LocalError naming the pids that could not be ended.
    """
    supervisor_pid = supervisor.pid()
    ours = processes.of_stack()
    if supervisor_pid is None and not ours:
        return False
    say("Stopping; workers finish what they do ...")
    started = time.monotonic()
    if supervisor_pid is not None:
        ours |= {state.pid for state in supervisor.states().values() if state.pid}
        ours.add(supervisor_pid)
        seconds = supervisor.stop_seconds() + STOP_MARGIN
        supervisor.shutdown()
        processes.wait_gone({supervisor_pid}, seconds)
    left = processes.end(ours | processes.of_stack(), seconds=15)
    if left:
        pids = ", ".join(map(str, sorted(left)))
        raise LocalError(f"These processes do not end: {pids}; look at them with `ps -fp {pids}`.")
    supervisor.forget()
    say(f"Nothing runs any more (after {time.monotonic() - started:.0f} s).")
    return True


def refuse_orphans() -> None:
    """Raise LocalError where programs run whose supervisord is gone: they hold ports and data."""
    orphans = processes.of_stack()
    if orphans:
        pids = ", ".join(map(str, sorted(orphans)))
        raise LocalError(
            f"Processes of an earlier start run on without their supervisor ({pids}): "
            "type `make down` first."
        )


def say(text: str) -> None:
    """Tell the user, at once."""
    print(text, file=sys.stdout, flush=True)
