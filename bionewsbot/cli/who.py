"""Who is at the command line, for what is kept on record."""

import os
import pwd
import socket


def who_i_am() -> str:
    """Return `user@host` of this process, as it stands on record."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container may run under a number that has no name.
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
