"""`breaker show|open|close` on a real circuit: words, JSON and exit codes."""

import json
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from support.redis_server import RedisServer

from bionewsbot import settings
from bionewsbot.api.shared_circuit import SharedCircuit
from bionewsbot.cli.breaker import breaker
from bionewsbot.cli.who import who_i_am

Run = Callable[..., Result]
FIELDS = {
    *("state", "held", "reason", "since", "half_open_at", "trial_until", "failures_in_row"),
    *("window", "limits", "totals", "changes"),
}


@pytest.fixture
def run(clean_redis: RedisServer, configured: pytest.MonkeyPatch) -> Run:
    """Return what runs a command as `celery -A bionewsbot breaker` does."""
    configured.setenv("REDIS_HOST", "127.0.0.1")
    configured.setenv("REDIS_PORT", str(clean_redis.port))

    def run(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(breaker, list(arguments))
        assert done.exit_code == code, f"{done.output}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def circuit(run: Run) -> Iterator[SharedCircuit]:
    """The workers' circuit."""
    circuit = SharedCircuit.from_settings(settings.current(), by="worker-1:7")
    yield circuit
    circuit.shut()


def test_show_of_a_new_one(run: Run) -> None:
    """It is closed, and says what would open it."""
    assert run("show").output.splitlines() == [
        "Backend API: closed",
        "  0 failures in a row; 5 open it",
        "  0 of 0 calls failed in the last 60 s; 50 % of at least 20 open it",
        "  in all: opened 0, closed 0, trials 0, calls rejected 0",
    ]


def test_show_of_one_that_failures_opened(run: Run, circuit: SharedCircuit) -> None:
    """Why, since when, for how long, and who noticed."""
    assert circuit.open(circuit.admit(5), "5 failures in a row, the last one: GET /x: 503")
    circuit.admit(5)
    first, wait, totals, change = run("show").output.splitlines()
    assert first.startswith("Backend API: open since 20")
    assert first.endswith("Z: 5 failures in a row, the last one: GET /x: 503")
    assert wait.startswith("  one call is let through in 1")
    assert totals == "  in all: opened 1, closed 0, trials 0, calls rejected 1"
    assert change.endswith("GET /x: 503  (worker-1:7)")


def test_show_during_a_trial(run: Run, circuit: SharedCircuit) -> None:
    """Half-open, and that a call is under way."""
    circuit._clock = lambda: 1_000.0
    circuit.open(circuit.admit(5), "down")
    circuit._clock = None
    assert circuit.admit(5).trial == 1
    said = run("show").output
    assert "half-open" in said
    assert "one call is under way; its outcome decides" in said
    shown = json.loads(run("show", "--json").output)
    assert (shown["state"], shown["trial_until"] > shown["half_open_at"]) == ("half-open", True)


def test_show_as_json(run: Run, circuit: SharedCircuit) -> None:
    """The same fields in every state; times in RFC 3339."""
    shown = json.loads(run("show", "--json").output)
    assert set(shown) == FIELDS
    assert (shown["state"], shown["since"], shown["changes"]) == ("closed", None, [])
    assert shown["limits"] == {
        "failures": 5,
        "share": 50,
        "min_calls": 20,
        "window_seconds": 60,
        "open_seconds": 15,
    }
    circuit.count(circuit.admit(5), failed=True)
    shown = json.loads(run("show", "--json").output)
    assert (shown["failures_in_row"], shown["window"]) == (1, {"calls": 1, "failed": 1})
    circuit.open(circuit.admit(5), "down")
    shown = json.loads(run("show", "--json").output)
    assert set(shown) == FIELDS
    assert (shown["state"], shown["held"], shown["reason"]) == ("open", False, "down")
    assert shown["half_open_at"] > shown["since"]
    (change,) = shown["changes"]
    assert (change["from"], change["to"], change["by"]) == ("closed", "open", "worker-1:7")
    assert shown["totals"] == {"opened": 1, "closed": 0, "trials": 0, "rejected": 0}


def test_open_holds_until_close(run: Run, circuit: SharedCircuit) -> None:
    """Both say what came of them; the operator is on record."""
    said = run("open").output
    assert "open (held)" in said
    assert "held open until `celery -A bionewsbot breaker close`" in said
    assert circuit.admit(5).held
    assert run("open").output.startswith("It was held open already.\n")
    shown = json.loads(run("close", "--json").output)
    assert (shown["state"], shown["held"]) == ("closed", False)
    last, first = shown["changes"]
    assert (first["reason"], last["reason"]) == ("opened by an operator", "closed by an operator")
    assert first["by"] == who_i_am()
    assert circuit.admit(5).state == "closed"
    assert run("close").output.startswith("It was closed already.\n")


def test_open_takes_hold_of_one_that_is_open(run: Run, circuit: SharedCircuit) -> None:
    """What failures opened, an operator can keep open."""
    circuit.open(circuit.admit(5), "down")
    shown = json.loads(run("open", "--json").output)
    assert (shown["held"], shown["half_open_at"]) == (True, None)


@pytest.mark.parametrize("command", ["show", "open", "close"])
def test_a_redis_that_is_away_is_told(run: Run, clean_redis: RedisServer, command: str) -> None:
    """One line with the mend, exit code 1."""
    clean_redis.stop()
    assert "Error: Redis doesn't answer" in run(command, code=1).stderr


def test_a_wrong_setting_is_told(run: Run, configured: pytest.MonkeyPatch) -> None:
    """Variable, value, what is allowed; exit code 2."""
    configured.setenv("BREAKER_SHARE", "0")
    settings.current.cache_clear()
    assert "BREAKER_SHARE=0: must be a whole number from 1 to 100" in run("show", code=2).stderr


def test_a_redis_that_refuses_to_write_is_named(run: Run, clean_redis: RedisServer) -> None:
    """With the mend; `show`, which only reads, still works."""
    with clean_redis.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            said = run("open", code=1).stderr
            assert said.startswith("Error: Redis refuses (") and "set REDIS_HOST" in said
            run("show")
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")
