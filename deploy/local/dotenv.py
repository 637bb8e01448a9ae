"""The checkout's .env: written once, so that commands typed there meet the local stack."""

import os
from collections.abc import Mapping
from pathlib import Path

DOTENV = Path(".env")

_TEXT = """\
# Written by the first `make up`, never changed by it again: it is yours.
# All variables and their defaults: config/.env.example. What the environment sets wins.

# 1: `make up` starts a Redis of its own. 0: it uses REDIS_HOST, REDIS_PORT, ...
EMBEDDED_REDIS={EMBEDDED_REDIS}
# 1: `make up` starts the reference backend at API_BASE_URL. 0: it uses the one that is there.
EMBEDDED_BACKEND={EMBEDDED_BACKEND}

LOG_DIR=var/log
ARCHIVE_LOCATION=var/archive

# Where a port is taken, set another one here:
#REDIS_PORT=6390
#API_BASE_URL=http://localhost:8000
#FLOWER_PORT=5555
#PROMETHEUS_PORT=9090
"""


def write_once(environ: Mapping[str, str]) -> bool:
    """Write .env unless there is one; return whether it was written.

    EMBEDDED_REDIS and EMBEDDED_BACKEND are taken from `environ` where they are set, so that later
    commands agree with this one.
    """
    try:
        handle = os.open(DOTENV, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    flags = {name: environ.get(name) or "1" for name in ("EMBEDDED_REDIS", "EMBEDDED_BACKEND")}
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(_TEXT.format(**flags))
    return True
