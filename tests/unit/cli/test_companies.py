"""`companies sync`: what it writes, shows and says when something is wrong."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.answers import company, page, problem
from support.faulty_backend import FaultyBackend, Reply

from bionewsbot import settings
from bionewsbot.cli.companies import companies

PATH = "/api/v1/companies"
FILE = """\
companies:
  - {id: NEW, name: "NEW Inc. [x]", ticker: NEW}
  - {id: DIFF, name: DIFF Inc., ticker: DIFF, priority: high, aliases: [Dee]}
  - {id: SAME, name: SAME Inc., ticker: SAME}
"""


@pytest.fixture(autouse=True)
def configured(
    tmp_path: Path, faulty_backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Point the settings to the test's folder and server."""
    (tmp_path / "companies.yaml").write_text(FILE)
    monkeypatch.setenv("BIONEWSBOT_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("API_BASE_URL", faulty_backend.url)
    monkeypatch.delenv("API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    settings.current.cache_clear()
    yield
    settings.current.cache_clear()


def sync(*arguments: str) -> Result:
    """Run the command as a user does."""
    return CliRunner().invoke(companies, ["sync", *arguments])


def stored(faulty_backend: FaultyBackend) -> None:
    """Script a backend that has three companies, in two pages, and takes two."""
    faulty_backend.on(
        "GET",
        PATH,
        Reply(body=page(company("OTHER", status="paused"), company("SAME"), next_cursor="2")),
        Reply(body=page(company("DIFF"))),
    )
    faulty_backend.on("PUT", f"{PATH}/NEW", Reply(201, {}))
    faulty_backend.on("PUT", f"{PATH}/DIFF", Reply(200, {}))


def written(faulty_backend: FaultyBackend) -> list[str]:
    """Return the paths of all writes that the server got."""
    return [request.path for request in faulty_backend.received if request.method != "GET"]


def test_sync_writes_what_differs(faulty_backend: FaultyBackend) -> None:
    """What is new or changed is put; the rest, and what only the backend has, is left alone."""
    stored(faulty_backend)
    result = sync()
    assert result.exit_code == 0
    assert written(faulty_backend) == [f"{PATH}/NEW", f"{PATH}/DIFF"]
    assert faulty_backend.received[-1].body["priority"] == "high"
    assert "status" not in faulty_backend.received[0].query
    for text in (
        "NEW Inc. [x]",
        "priority: medium -> high",
        "aliases: none -> Dee",
        "only at the backend",
        "1 created, 1 updated, 1 unchanged, 1 only at the backend",
    ):
        assert text in result.stdout
    assert result.stderr == ""


def test_dry_run_writes_nothing(faulty_backend: FaultyBackend) -> None:
    """A dry run shows the same difference and makes no write."""
    stored(faulty_backend)
    result = sync("--dry-run")
    assert result.exit_code == 0
    assert written(faulty_backend) == []
    assert "1 would be created, 1 would be updated, 1 unchanged" in result.stdout


@pytest.mark.parametrize("dry_run", [False, True])
def test_json(faulty_backend: FaultyBackend, dry_run: bool) -> None:
    """Programs get one JSON object and nothing else."""
    stored(faulty_backend)
    result = sync("--json", *(["--dry-run"] if dry_run else []))
    assert json.loads(result.stdout) == {
        "dry_run": dry_run,
        "created": ["NEW"],
        "updated": [
            {
                "id": "DIFF",
                "changes": {
                    "aliases": {"from": [], "to": ["Dee"]},
                    "priority": {"from": "medium", "to": "high"},
                },
            }
        ],
        "unchanged": ["SAME"],
        "only_at_backend": ["OTHER"],
    }


def test_second_sync_writes_nothing(faulty_backend: FaultyBackend) -> None:
    """Where the backend agrees with the file, nothing is written."""
    faulty_backend.on(
        "GET",
        PATH,
        Reply(
            body=page(
                company("NEW", name="NEW Inc. [x]"),
                company("DIFF", priority="high", aliases=["Dee"]),
                company("SAME"),
            )
        ),
    )
    result = sync()
    assert result.exit_code == 0
    assert written(faulty_backend) == []


def test_bad_file(tmp_path: Path, faulty_backend: FaultyBackend) -> None:
    """A wrong file ends with 2 and its problems before the backend is asked anything."""
    (tmp_path / "companies.yaml").write_text("companies:\n  - {id: A, name: a, priority: hi}\n")
    result = sync()
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {tmp_path}/companies.yaml:2: company 'A': priority: 'hi' is not one of "
        "high, medium, low\n"
    )
    assert faulty_backend.received == []


def test_missing_file(tmp_path: Path) -> None:
    """A missing file ends with 2 and the variable to set."""
    (tmp_path / "companies.yaml").unlink()
    result = sync()
    assert result.exit_code == 2
    assert "BIONEWSBOT_CONFIG_DIR" in result.stderr


def test_bad_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong setting ends with 2 and no traceback."""
    monkeypatch.setenv("API_TIMEOUT", "soon")
    result = sync()
    assert result.exit_code == 2
    assert "API_TIMEOUT=soon" in result.stderr


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(503, problem(503)), f"GET {PATH}: 503 Service Unavailable: Not now: "),
        (Reply(401, problem(401)), f"GET {PATH}: 401 Unauthorized: Not now: "),
        (Reply(body=b"<html>"), f"GET {PATH}: the answer's body is not JSON: "),
        (Reply(reset=True), f"GET {PATH}: Connection reset by peer (is the backend at "),
        (Reply(404, problem(404)), "this backend keeps no companies; the jobs read "),
    ],
    ids=["down", "key", "garbage", "reset", "no-collection"],
)
def test_backend_that_fails(faulty_backend: FaultyBackend, reply: Reply, said: str) -> None:
    """A backend's failure ends with 1 and one line on stderr."""
    faulty_backend.on("GET", PATH, reply)
    result = sync()
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_write_that_fails(faulty_backend: FaultyBackend) -> None:
    """A write that is refused says how far the sync came and that it can be run again."""
    stored(faulty_backend)
    faulty_backend.on("PUT", f"{PATH}/DIFF", Reply(422, problem(422)))
    result = sync()
    assert result.exit_code == 1
    assert f"PUT {PATH}/DIFF: 422 " in result.stderr
    assert "after 1 of 2 companies were written; run it again" in result.stderr
    assert result.stderr.count("\n") == 1


def test_module_is_light() -> None:
    """Every `celery` call imports this module, so it brings none of the heavy libraries along."""
    heavy = ("requests", "pydantic", "rich", "yaml", "environs", "bionewsbot.settings")
    program = (
        "import sys, bionewsbot.cli.companies\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout == "[]\n"
