"""`make up` as a stranger types it: a fresh copy, an empty HOME, nothing installed or running."""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from redis import Redis
from support.polling import wait_until
from support.ports import free_port

ROOT = Path(__file__).parents[2]

UP_SECONDS = 180
"""What a stranger is promised for the first `make up`. Here without what the package index takes,
which is no matter of this code."""

INSTALL_SECONDS = 600
"""What the index is given."""

NOT_COPIED = shutil.ignore_patterns(
    ".venv*", ".env", "var", ".git", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis"
)

pytestmark = [
    pytest.mark.timeout(INSTALL_SECONDS + UP_SECONDS),
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes and ports in /proc"),
]


class Checkout:
    """A copy of the project and an environment that knows nothing of this one."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.ports = {
            name: free_port() for name in ("REDIS_PORT", "API", "FLOWER_PORT", "PROMETHEUS_PORT")
        }
        self.api = f"http://127.0.0.1:{self.ports['API']}"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "LANG", "TMPDIR") or name.startswith(("PIP_", "SSL_"))
        }
        self.environment = {
            **kept,
            "HOME": str(home),
            "PYTHON": str(Path(sys.base_prefix) / "bin" / version),
            "API_BASE_URL": self.api,
            # Nowhere near: no daily analysis of the timetable's own comes between.
            "DAILY_ANALYSIS_HOUR": str((datetime.now(UTC).hour + 12) % 24),
            **{name: str(port) for name, port in self.ports.items() if name != "API"},
        }

    def make(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run make, whatever its exit code."""
        return subprocess.run(
            ["make", *words],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS + UP_SECONDS,
        )

    def celery(self, *words: str) -> Any:
        """Run a celery command of the copy's own environment and return its JSON."""
        command = [".venv/bin/celery", "-A", "bionewsbot", *words, "--json"]
        answer = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    def processes(self) -> set[int]:
        """Return the pids of all processes that run in the copy."""
        found = set()
        for link in Path("/proc").glob("[0-9]*/cwd"):
            try:
                if Path(os.readlink(link)).is_relative_to(self.folder):
                    found.add(int(link.parts[2]))
            except OSError:
                continue  # ended meanwhile
        return found

    def get(self, path: str) -> list[dict[str, Any]]:
        """Return the first page of one of the Backend API's collections."""
        answer = requests.get(f"{self.api}/api/v1/{path}", params={"limit": "500"}, timeout=10)
        answer.raise_for_status()
        items: list[dict[str, Any]] = answer.json()["items"]
        return items


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A copy whose path is long and has a space in it; nothing of it runs afterwards."""
    base = tmp_path_factory.mktemp("make up") / ("deep" * 25)
    home = base / "home"
    home.mkdir(parents=True)
    shutil.copytree(ROOT, base / "bionewsbot", ignore=NOT_COPIED)
    copy = Checkout(base / "bionewsbot", home)
    yield copy
    copy.make("down")


@pytest.fixture(scope="module")
def first(checkout: Checkout) -> subprocess.CompletedProcess[str]:
    """The first `make up`, done once for all tests of this module."""
    started = time.monotonic()
    answer = checkout.make("up")
    took = time.monotonic() - started
    assert answer.returncode == 0, answer.stdout + answer.stderr
    installed = re.search(r"^Installed in (\d+) s\.$", answer.stdout, re.MULTILINE)
    assert installed is not None
    assert took - int(installed[1]) < UP_SECONDS
    return answer


def listening(port: int) -> list[str]:
    """Return the IPv4 and IPv6 addresses, as the kernel writes them, that listen on a port."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            address, _, hexadecimal = fields[1].rpartition(":")
            if int(hexadecimal, 16) == port and fields[3] == "0A":
                found.append(address)
    return found


def test_first_up_ends_with_insights(
    checkout: Checkout, first: subprocess.CompletedProcess[str]
) -> None:
    """The first start runs the daily analysis and shows what it found, marked as a replay."""
    (run,) = checkout.celery("runs", "list", "--entry", "daily_company_analysis")
    assert run["status"] == "succeeded"
    insights, alerts = checkout.get("insights"), checkout.get("alerts")
    assert insights and alerts
    shown = re.sub(r"[│\s]+", " ", first.stdout)
    assert "Top insights" in shown and "Top alerts" in shown
    assert any(insight["company_id"] in shown for insight in insights)
    assert "recorded public facts as of" in shown
    for address in (checkout.api, f"http://127.0.0.1:{checkout.ports['FLOWER_PORT']}"):
        assert address in shown


def test_flower_asks_for_the_printed_password(
    checkout: Checkout, first: subprocess.CompletedProcess[str]
) -> None:
    """Flower lets nobody in without the password, which is printed and private on disk."""
    flower = f"http://127.0.0.1:{checkout.ports['FLOWER_PORT']}/workers"
    printed = re.search(r"user (\S+), password (\S+)", first.stdout)
    assert printed is not None
    assert requests.get(flower, timeout=10).status_code == 401
    assert requests.get(flower, auth=(printed[1], printed[2]), timeout=10).status_code == 200
    for private in ("var/flower.password", ".env"):
        assert stat.S_IMODE((checkout.folder / private).stat().st_mode) == 0o600


def test_metrics_know_the_analyses(
    checkout: Checkout, first: subprocess.CompletedProcess[str]
) -> None:
    """celery-exporter has seen the tasks of the first run."""
    url = f"http://127.0.0.1:{checkout.ports['PROMETHEUS_PORT']}/metrics"
    metric = r"celery_task_succeeded_total\{.*bionewsbot\.analyze_company.*\} [1-9]"
    wait_until(
        lambda: re.search(metric, requests.get(url, timeout=60).text), "the exporter has counted"
    )


def test_everything_listens_on_this_machine_alone(
    checkout: Checkout, first: subprocess.CompletedProcess[str]
) -> None:
    """No port is open to the network."""
    for name, port in checkout.ports.items():
        assert listening(port) == ["0100007F"], name


def documented_keys() -> list[re.Pattern[str]]:
    """Return the Redis keys that the tables of docs/*.md list, as patterns."""
    found = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        of_keys = False
        for line in page.read_text(encoding="utf-8").splitlines():
            of_keys = line.startswith("| key") or (of_keys and line.startswith("|"))
            for key in re.findall(r"`([^`]+)`", line.split(" | ")[0]) if of_keys else ():
                parts = re.split(r"<[^>]+>|\*", key)
                found.append(re.compile(".+".join(map(re.escape, parts))))
    return found


def test_redis_holds_what_the_docs_list(
    checkout: Checkout, first: subprocess.CompletedProcess[str]
) -> None:
    """Every key that a whole stack leaves stands in a table of docs/; no result is kept."""
    known = documented_keys()
    for database in (1, 2, 3):
        with Redis(port=checkout.ports["REDIS_PORT"], db=database, decode_responses=True) as client:
            keys = {str(key) for key in client.keys()}
        unknown = {key for key in keys if not any(one.fullmatch(key) for one in known)}
        assert not unknown
        assert bool(keys) == (database != 3)


def test_second_up_changes_nothing(
    checkout: Checkout, first: subprocess.CompletedProcess[str]
) -> None:
    """Where everything runs, the same processes go on and no run is added."""
    daily = ("runs", "list", "--entry", "daily_company_analysis")
    before, runs = checkout.processes(), checkout.celery(*daily)
    again = checkout.make("up")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("Everything runs already.\n")
    assert first.stdout[first.stdout.index("Where things are") :] in again.stdout
    assert checkout.processes() == before
    assert checkout.celery(*daily) == runs


def test_down_leaves_nothing_and_a_taken_port_starts_nothing(
    checkout: Checkout, first: subprocess.CompletedProcess[str]
) -> None:
    """After `make down` nothing runs; with a port taken it stays so, and one line says which."""
    assert checkout.processes()
    down = checkout.make("down")
    assert down.returncode == 0, down.stderr
    assert checkout.processes() == set()
    assert "Nothing runs" in checkout.make("ps").stdout
    port = checkout.ports["FLOWER_PORT"]
    with socket.socket() as somebody:
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        somebody.bind(("127.0.0.1", port))
        somebody.listen()
        refused = checkout.make("up")
    assert refused.returncode != 0
    line = refused.stderr.splitlines()[0]
    assert line == f"Port {port} is taken; set FLOWER_PORT in .env to a free one."
    assert checkout.processes() == set()


@pytest.mark.parametrize("program", ["beat", "backend"])
def test_logs_are_json_from_start_to_stop(
    checkout: Checkout, first: subprocess.CompletedProcess[str], program: str
) -> None:
    """A program's log, as `make logs` shows it, is made of JSON lines, also once it has ended."""
    assert checkout.make("down").returncode == 0
    shown = checkout.make("logs", f"NAME={program}").stdout.splitlines()
    assert shown
    assert all({"timestamp", "event"} <= json.loads(line).keys() for line in shown)


def test_clean_keeps_what_is_the_users(
    checkout: Checkout, first: subprocess.CompletedProcess[str]
) -> None:
    """`make clean` takes data and environments away and leaves .env, and says so."""
    (checkout.folder / ".env").write_text("# mine\n", encoding="utf-8")
    cleaned = checkout.make("clean")
    assert cleaned.returncode == 0, cleaned.stderr
    assert cleaned.stdout.endswith("Removed all but .env, which is yours.\n")
    assert (checkout.folder / ".env").read_text(encoding="utf-8") == "# mine\n"
    left = {path.name for path in checkout.folder.iterdir()}
    assert not left & {"var", ".venv", ".venv-exporter", "bionewsbot.egg-info"}
    assert checkout.processes() == set()
