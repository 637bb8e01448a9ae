"""Makes the Python environments from the lock files, once: what is in place is left alone.

Runs with the Python that the environments are made of, before there is any: standard library only.
Run as a file: `python deploy/local/environments.py up|test [FOLDER]`.
"""

import argparse
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAMP = ".installed.json"
PACKAGE_FILES = ("setup.cfg", "pyproject.toml")
"""What decides how the package itself is installed: its entry points above all."""

VERSION = "%d.%d" % sys.version_info[:2]

DISK_FULL = "The disk is full: free some space below {root}, then run make again."


class InstallError(Exception):
    """An environment could not be made; the message is one line for the user."""


@dataclass(frozen=True)
class Environment:
    """One environment: its folder below the checkout, and what goes into it."""

    folder: str
    lock: str
    package: bool
    """Whether bionewsbot itself is installed too, editable."""
    pip_options: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """Return what changes whenever the environment's content has to."""
        digest = hashlib.sha256()
        for name in (self.lock, *(PACKAGE_FILES if self.package else ())):
            digest.update((ROOT / name).read_bytes())
        digest.update(f"{VERSION} {ROOT}".encode())  # an environment holds absolute paths
        return digest.hexdigest()


APP = Environment(".venv", "deploy/requirements.lock", package=True)
# celery-exporter's pins contradict the app's. It declares Python < 3.13 and works on 3.13.
EXPORTER = Environment(
    ".venv-exporter",
    "deploy/exporter.lock",
    package=False,
    pip_options=("--ignore-requires-python",),
)


def main(arguments: list[str] | None = None) -> int:
    """Make what `purpose` needs; print one line and return 1 where that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("purpose", choices=("up", "test"))
    parser.add_argument("folder", nargs="?", default=".venv", help="environment of the tests")
    options = parser.parse_args(arguments)
    if options.purpose == "up":
        wanted = [APP, EXPORTER]
    else:
        wanted = [Environment(options.folder, "deploy/requirements-dev.lock", package=True)]
    try:
        ensure([environment for environment in wanted if not installed(environment)])
    except InstallError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        print(DISK_FULL.format(root=ROOT) if full else error, file=sys.stderr)
        return 1
    return 0


def installed(environment: Environment) -> bool:
    """Whether the environment already holds exactly what its lock says."""
    return _stamps(environment).get(environment.lock) == environment.fingerprint()


def ensure(environments: list[Environment]) -> None:
    """Make the environments, side by side.

    Raises InstallError with one line for the user.
    """
    if not environments:
        return
    folders = " and ".join(environment.folder for environment in environments)
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"Installing into {folders} with Python {version}, once ...", flush=True)
    started = time.monotonic()
    with ThreadPoolExecutor(len(environments)) as threads:
        for made in [threads.submit(_make, environment) for environment in environments]:
            made.result()
    print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)


def _make(environment: Environment) -> None:
    folder = ROOT / environment.folder
    python = folder / "bin" / "python"
    found = _version(python)
    if found is not None and found != VERSION:
        raise InstallError(
            f"{environment.folder} holds Python {found}, not {VERSION}: `make down`, remove "
            f"{environment.folder}, and run make again."
        )
    if found is None:
        if folder.exists():
            shutil.rmtree(folder)
        _run([sys.executable, "-m", "venv", str(folder)], f"Making {environment.folder}")
    what = f"Installing {environment.lock} into {environment.folder}"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-input"]
    _run([*install, *environment.pip_options, "--require-hashes", "-r", environment.lock], what)
    if environment.package:
        what = f"Installing the package into {environment.folder}"
        _run([*install, "--no-deps", "--no-build-isolation", "--editable", "."], what)
    stamps = {**_stamps(environment), environment.lock: environment.fingerprint()}
    (folder / STAMP).write_text(json.dumps(stamps, indent=1), encoding="utf-8")


def _stamps(environment: Environment) -> dict[str, str]:
    try:
        stamps = json.loads((ROOT / environment.folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def _version(python: Path) -> str | None:
    """Return the version of a whole environment's Python, such as "3.12"; None if it is broken."""
    check = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([str(python), "-c", check], capture_output=True, text=True)
    except OSError:
        return None
    return answer.stdout.strip() or None


def _run(command: list[str], what: str) -> None:
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    answer = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **quiet},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if answer.returncode == 0:
        return
    output = answer.stdout + answer.stderr
    if os.strerror(errno.ENOSPC) in output:
        raise InstallError(DISK_FULL.format(root=ROOT))
    lines = output.strip().splitlines() or ["no message"]
    errors = [line for line in lines if line.startswith("ERROR:")]
    raise InstallError(f"{what} failed: {(errors or lines)[-1]}")


if __name__ == "__main__":
    sys.exit(main())
