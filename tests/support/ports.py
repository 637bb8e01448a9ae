"""Free TCP ports on 127.0.0.1 for the servers of the tests."""

import os
import socket
from itertools import count, islice

_FIRST = 12_000
"""Lower than any port that the kernel gives to clients (Linux: from 32,768), so that no connection
takes the port of a server that a test has killed and starts again."""

_PER_PROCESS = 1_000
"""Each pytest-xdist worker has a range of its own: two never find the same port free."""

_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# Two sessions on one machine begin at different places.
_numbers = count(os.getpid())


def free_port() -> int:
    """Return a port that nothing listens on, not the same one soon again."""
    for number in islice(_numbers, _PER_PROCESS):
        port = _FIRST + _process * _PER_PROCESS + number % _PER_PROCESS
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # somebody has it
                continue
            return port
    raise AssertionError(f"all {_PER_PROCESS} ports are taken")
