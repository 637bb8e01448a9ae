"""`notify list|test`: what they show, send and exit with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.answers import company, page
from support.channels import TOKEN, Webhooks, variable, write_config
from support.faulty_backend import FaultyBackend, Reply

from bionewsbot.cli.notify import notify

Run = Callable[..., Result]


COMPANIES = "/api/v1/companies"


@pytest.fixture
def run(
    configured: pytest.MonkeyPatch,
    tmp_path: Path,
    webhooks: Webhooks,
    faulty_backend: FaultyBackend,
) -> Run:
    """Return what runs a command as `celery -A bionewsbot notify` does, with two channels."""
    configured.setenv("BIONEWSBOT_CONFIG_DIR", str(tmp_path))
    configured.setenv("API_BASE_URL", faulty_backend.url)
    known = page(company("GILD"), company("PFE", status="paused"))
    faulty_backend.on("GET", COMPANIES, Reply(200, known))
    for channel in ("team", "ops"):
        configured.setenv(variable(channel), webhooks.on(channel, Reply(200, {})))
    write_config(
        tmp_path,
        ["team", "ops"],
        {
            "events": ["alert"],
            "severity": "high",
            "companies": ["GILD", "PFE"],
            "channels": ["team", "ops"],
        },
        {"events": ["run_failed", "run_partial"], "channels": ["ops"]},
    )

    def run(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(notify, list(arguments))
        assert done.exit_code == code, f"{done.output}\n{done.stderr}"
        assert TOKEN not in done.output + done.stderr
        return done

    return run


def test_list(run: Run) -> None:
    """Channels with their scheme, rules in words."""
    assert run("list").output.splitlines() == [
        "ops  json://***",
        "team  json://***",
        "alert from high up of GILD, PFE -> team, ops",
        "run_failed, run_partial -> ops",
    ]


def test_list_as_json(run: Run) -> None:
    """The same for programs."""
    shown = json.loads(run("list", "--json").output)
    assert shown["channels"] == {"ops": "json://***", "team": "json://***"}
    assert shown["rules"][1] == {
        "events": ["run_failed", "run_partial"],
        "channels": ["ops"],
        "severity": None,
        "companies": [],
    }


def test_test_sends_by_each_channel(run: Run, webhooks: Webhooks) -> None:
    """At once, and the notice says that nothing has happened."""
    assert run("test").output.splitlines() == ["ops: sent", "team: sent"]
    for channel in ("team", "ops"):
        (got,) = webhooks.got(channel)
        assert got["title"] == "BioNewsBot: a test" and "Nothing has happened" in got["message"]


def test_test_of_one_channel(run: Run, webhooks: Webhooks) -> None:
    """The other one gets nothing; as JSON."""
    shown = json.loads(run("test", "--channel", "ops", "--json").output)
    assert shown == {"channels": [{"channel": "ops", "sent": True, "error": None}], "warnings": []}
    assert webhooks.titles("team") == []


def test_test_of_a_channel_that_fails(run: Run, webhooks: Webhooks) -> None:
    """It says why, tries the others all the same, and exits with 1."""
    webhooks.on("ops", Reply(401, {}))
    failed, sent = run("test", code=1).output.splitlines()
    assert failed.startswith("ops: channel 'ops': ") and "error=401" in failed
    assert failed.endswith("Is what OPS_URL holds still right?")
    assert sent == "team: sent"


def test_test_warns_of_unknown_companies(run: Run, faulty_backend: FaultyBackend) -> None:
    """Nobody would ever be told of what is misspelt; what was sent is sent all the same."""
    faulty_backend.on("GET", COMPANIES, Reply(200, page(company("GILD"), company("PFEX"))))
    done = run("test")
    assert done.stdout.splitlines() == ["ops: sent", "team: sent"]
    warning = "rule 1: there is no company 'PFE': is it 'PFEX'?"
    assert done.stderr.splitlines() == [f"Warning: {warning}"]
    assert json.loads(run("test", "--json").stdout)["warnings"] == [warning]


def test_test_without_a_backend(run: Run, faulty_backend: FaultyBackend, tmp_path: Path) -> None:
    """A backend that is down is said; one that keeps no companies has those of the file."""
    faulty_backend.on("GET", COMPANIES, Reply(503, {}))
    assert "whether the rules' companies exist is not known: GET" in run("test").stderr
    faulty_backend.on("GET", COMPANIES, Reply(404, {}))
    (tmp_path / "companies.yaml").write_text("companies: [{id: GILD, name: Gilead}]\n")
    assert run("test").stderr == "Warning: rule 1: there is no company 'PFE'\n"


def test_test_of_an_unknown_channel(run: Run) -> None:
    """It names those that are there."""
    assert "no channel 'tame'; it has ops, team" in run("test", "--channel", "tame", code=1).stderr


def test_a_wrong_file(run: Run, configured: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """File, line and variable; exit code 2."""
    configured.delenv(variable("ops"))
    said = run("list", code=2).stderr
    assert f"{tmp_path}/notifications.yaml:" in said and "neither OPS_URL" in said
    run("test", code=2)


def test_without_a_file(run: Run, tmp_path: Path) -> None:
    """`list` says that nobody is told; `test` has nothing to try."""
    (tmp_path / "notifications.yaml").unlink()
    assert "nobody is told of anything" in run("list").output
    assert "There are no channels in" in run("test", code=2).stderr
