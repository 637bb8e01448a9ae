"""`archive list|verify|cat|restore` on a real archive, backend and Redis: words, JSON, codes."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery
from click.testing import CliRunner, Result
from support.backend_app import RunningBackend
from support.old_records import Depot, around

from bionewsbot import settings as settings_module
from bionewsbot.archive.exchange import hand_over
from bionewsbot.cli.archive import archive
from bionewsbot.runs.exclusive import exclusive, moving
from bionewsbot.runs.ledger import ledger

CUTOFF = datetime(2026, 1, 1, tzinfo=UTC)
Run = Callable[..., Result]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind of database: the commands know nothing of it."""
    return f"sqlite:///{tmp_path / 'backend.db'}"


def set_variables(configured: pytest.MonkeyPatch, **variables: str) -> None:
    """Have the commands find other settings than those that the app was made from."""
    for name, value in variables.items():
        configured.setenv(name, value)
    settings_module.current.cache_clear()


@pytest.fixture
def depot(
    app: Celery, backend: RunningBackend, configured: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Depot]:
    """A backend from which seven old insights and one alert were archived, in three parts."""
    folder = tmp_path / "archive"
    set_variables(configured, API_BASE_URL=backend.url, ARCHIVE_LOCATION=str(folder))
    depot = Depot(backend.url, folder)
    for collection, old in (("insights", 7), ("alerts", 1)):
        depot.put(collection, around(collection, CUTOFF, old=old, young=1))
        hand_over(
            depot.client,
            depot.archive,
            collection,
            before=CUTOFF,
            written_by="data_cleanup@2026-04-01T03:00:00Z",
            still_mine=lambda: None,
            part_records=4,
        )
    yield depot
    depot.close()


@pytest.fixture
def run(app: Celery) -> Run:
    """Return what runs a command as `celery -A bionewsbot archive` does."""

    def run(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(archive, list(arguments), obj=SimpleNamespace(app=app))
        assert done.exit_code == code, f"{done.output}\n{done.stderr}"
        return done

    return run


def test_an_empty_archive_says_so(run: Run, configured: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No table of nothing, and where it was looked for; restore has nothing to do."""
    set_variables(configured, ARCHIVE_LOCATION=str(tmp_path / "none"))
    for command in ("list", "verify"):
        said = run(command).output
        assert said.startswith(f"Nothing is archived at {tmp_path / 'none'}.\n")
        assert "ARCHIVE_LOCATION" in said
        assert json.loads(run(command, "--json").output) == []
    assert "nothing of that" in run("restore", "--collection", "alerts").output


def test_list(run: Run, depot: Depot) -> None:
    """Each part with its records, range and state; of one collection or all."""
    said = run("list").output
    assert said.count("kept") == 3
    assert "insights/00000001" in said and "alerts/00000001" in said
    (part,) = json.loads(run("list", "alerts", "--json").output)
    assert (part["part"], part["records"], part["state"]) == ("alerts/00000001", 1, "kept")
    assert part["oldest"] == "2025-12-31T23:59:59.999999Z"


def test_verify_names_what_is_damaged(run: Run, depot: Depot, tmp_path: Path) -> None:
    """File and mend on stderr, exit code 3; the other parts are counted as whole."""
    assert run("verify").output == "3 of 3 parts are whole\n"
    (path,) = (tmp_path / "archive" / "alerts").glob("*.gz")
    path.write_bytes(bytes(reversed(path.read_bytes())))
    assert "(another SHA-256)" in run("verify", code=3).stderr
    path.write_bytes(b"x")
    done = run("verify", code=3)
    assert "2 of 3 parts are whole" in done.stdout
    assert path.name in done.stderr and "backup" in done.stderr
    assert "(1 bytes, not " in done.stderr
    answers = json.loads(run("verify", "--json", code=3).stdout)
    assert [bool(answer["error"]) for answer in answers] == [True, False, False]
    assert "1 of 1" in run("verify", "insights/00000001").output
    path.unlink()
    assert path.name in run("verify", "alerts/00000001", code=3).stderr


def test_verify_and_list_go_on_past_a_damaged_manifest(
    run: Run, depot: Depot, tmp_path: Path
) -> None:
    """Garbled or missing: it is named, the other parts are checked and listed, exit code 3."""
    (tmp_path / "archive" / "alerts" / "00000001.json").write_text("{")
    (tmp_path / "archive" / "insights" / "00000001.json").unlink()
    for names in ((), ("alerts/00000001", "insights/00000001", "insights/00000002")):
        done = run("verify", *names, code=3)
        assert "1 of 3 parts are whole" in done.stdout
        assert "insights/00000001.json: manifest missing; bring it back" in done.stderr
        assert "alerts/00000001.json" in done.stderr
    done = run("list", code=3)
    assert "insights/00000002" in done.stdout
    assert done.stderr.count("Error: ") == 2
    listed = json.loads(run("list", "--json", code=3).stdout)
    assert [("error" in one, one["part"]) for one in listed] == [
        (True, "alerts/00000001"),
        (True, "insights/00000001"),
        (False, "insights/00000002"),
    ]
    assert "manifest missing" in run("cat", "insights/00000001", code=1).stderr


def test_cat_prints_the_records(run: Run, depot: Depot) -> None:
    """As JSON Lines, one record a line, oldest first."""
    rows = [json.loads(line) for line in run("cat", "insights/00000001").output.splitlines()]
    assert [row["id"] for row in rows] == [f"insight-{number:08}" for number in (6, 5, 4, 3)]


def test_restore_of_parts(run: Run, depot: Depot) -> None:
    """A dry run changes nothing; then the records are back, and the part can't be used twice."""
    said = run("restore", "insights/00000002", "--dry-run").output
    assert said == "Would restore insights/00000002: 3 records\n"
    assert len(depot.stored("insights")) == 1
    first, *hint = run("restore", "insights/00000002").output.splitlines()
    assert first == "Restored insights/00000002: 3 of 3 records"
    assert hint[-1] == "  celery -A bionewsbot redbeat disable data_cleanup"
    assert len(depot.stored("insights")) == 4
    for command in ("restore", "cat"):
        assert "was restored" in run(command, "insights/00000002", code=1).stderr
    assert "2 of 2 parts are whole" in run("verify").output
    assert "restored" in run("list").output


@pytest.mark.parametrize(
    ("span", "parts"),
    [
        ((), [1, 2]),
        (("--from", "2025-12-31T23:58:00Z"), [2]),
        (("--to", "2025-12-31T23:57:00Z"), [1]),
        (("--from", "2026-01-01"), []),
    ],
)
def test_restore_of_a_time(run: Run, depot: Depot, span: tuple[str, ...], parts: list[int]) -> None:
    """All parts of the collection that hold records of it, whole."""
    done = run("restore", "--collection", "insights", *span, "--dry-run", "--json")
    answers = json.loads(done.stdout)["parts"]
    assert [answer["part"] for answer in answers] == [f"insights/{number:08}" for number in parts]


def test_restore_with_a_conflict(run: Run, depot: Depot) -> None:
    """What has another record in its place stays archived, and the exit code says so."""
    depot.put("alerts", [{**next(depot.archived("alerts")), "state": "open"}])
    shown = json.loads(run("restore", "alerts/00000001", "--json", code=3).stdout)
    (part,) = shown["parts"]
    assert (part["restored"], part["kept_in"]) == (0, "alerts/00000002")
    assert "differs" in part["conflicts"][0]["reason"]
    assert next(depot.archived("alerts"))["state"] == "acknowledged"
    done = run("restore", "alerts/00000002", code=3)
    assert "stays archived: alert-00000000" in done.stderr
    assert "disable" not in done.stdout


@pytest.mark.parametrize("json_output", [True, False])
def test_restore_tells_what_it_did_before_it_failed(
    run: Run, depot: Depot, tmp_path: Path, json_output: bool
) -> None:
    """The part before the damaged one is back, and both are told."""
    (path,) = (tmp_path / "archive" / "insights").glob("00000002-*")
    path.write_bytes(b"x")
    options = ["--json"] if json_output else []
    done = run("restore", "--collection", "insights", *options, code=1)
    assert path.name in done.stderr
    if json_output:
        (told,) = json.loads(done.stdout)["parts"]
        assert (told["part"], told["restored"]) == ("insights/00000001", 4)
    else:
        assert done.stdout.startswith("Restored insights/00000001: 4 of 4 records\n")
    assert len(depot.stored("insights")) == 5


def test_restore_that_fails_at_once_tells_nothing_else(run: Run, depot: Depot) -> None:
    """Above all not that there is nothing to restore."""
    with exclusive(ledger(), moving("insights"), seconds=60):
        assert run("restore", "--collection", "insights", code=1).stdout == ""


def test_restore_beside_a_cleanup_is_refused(run: Run, depot: Depot) -> None:
    """One mover at a time; nothing has been done."""
    with exclusive(ledger(), moving("insights"), seconds=60):
        done = run("restore", "insights/00000001", code=1)
    assert "somebody else is at it: moving insights" in done.stderr
    assert len(depot.stored("insights")) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("restore",), 2, "say which"),
        (("restore", "insights/00000001", "--collection", "insights"), 2, "say which"),
        (("restore", "insights/00000001", "--from", "2026-01-01"), 2, "say which"),
        (("restore", "--collection", "photos"), 2, "'photos' is not a collection: alerts, anal"),
        (("list", "photos"), 2, "'photos' is not a collection"),
        (("cat", "insights/00000009"), 1, "holds no part insights/00000009; see `archive list`"),
        (("cat", "../../etc/passwd"), 2, "'..' is not a collection"),
        (("verify", "insights/1"), 1, "holds no part insights/1"),
    ],
)
def test_what_is_refused(
    run: Run, depot: Depot, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """In words, with the exit code of a wrong call or of a thing that isn't there."""
    assert said in run(*arguments, code=code).stderr


def test_a_backend_that_is_down_is_told(
    run: Run, depot: Depot, configured: pytest.MonkeyPatch
) -> None:
    """And the restore goes on where it stopped when it is called again."""
    url = settings_module.current().api_base_url
    set_variables(configured, API_BASE_URL="http://127.0.0.1:9")
    assert "is the backend at" in run("restore", "insights/00000001", code=1).stderr
    set_variables(configured, API_BASE_URL=url)
    run("restore", "insights/00000001")
    assert len(depot.stored("insights")) == 5
