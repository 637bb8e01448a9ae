"""Whether the ports that the local processes need are free, asked before anything starts."""

import errno
import socket
from collections.abc import Collection, Sequence

from deploy.local.errors import LocalError
from deploy.local.stack import Listener


def check(listeners: Sequence[Listener], running: Collection[str]) -> None:
    """Raise LocalError, one line for each port that can't be had; nothing is started or changed.

    `running` names the programs that already run and so hold their ports themselves.
    """
    problems = []
    holders: dict[int, Listener] = {}
    for listener in listeners:
        other = holders.setdefault(listener.port, listener)
        if other is not listener:
            problems.append(
                f"{other.variable} and {listener.variable} both ask for port {listener.port}; "
                f"set {listener.variable} in .env to another one."
            )
        elif listener.program not in running:
            problem = _problem(listener)
            if problem:
                problems.append(problem)
    if problems:
        raise LocalError("\n".join(problems))


def _problem(listener: Listener) -> str | None:
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    mend = f"set {listener.variable} in .env to " + (
        "an address with a free one." if listener.variable.endswith("_URL") else "a free one."
    )
    with socket.socket(family) as probe:
        # As servers do: a port whose last connections are only fading away is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listener.host, listener.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"Port {listener.port} is taken; {mend}"
            return f"Port {listener.port} can't be used ({error.strerror}); {mend}"
    return None
