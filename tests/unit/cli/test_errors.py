"""How a command ends when something that it calls raises."""

import click
import pytest
from click.testing import CliRunner
from redis import ConnectionError, ResponseError
from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError

from bionewsbot.cli.errors import EXIT_FAILED, EXIT_MISCONFIGURED, reports_errors
from bionewsbot.errors import BackendRefused, CompaniesFileError, RunUnknown


def command_raising(error: Exception) -> click.Command:
    """Return a command that does nothing but raise `error`."""

    @click.command()
    @reports_errors
    def command() -> None:
        """Documented."""
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (CompaniesFileError("config/companies.yaml:3: no id"), EXIT_MISCONFIGURED),
        (BackendRefused("GET /x: 403 Forbidden", status=403), EXIT_FAILED),
        (RunUnknown("no run daily"), EXIT_FAILED),
    ],
)
def test_error_becomes_its_message_and_exit_code(error: Exception, exit_code: int) -> None:
    """An error of ours is one line on stderr, nothing on stdout, and an exit code of its kind."""
    result = CliRunner().invoke(command_raising(error))
    assert result.exit_code == exit_code
    assert result.stderr == f"Error: {error}\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (ConnectionError("refused"), "REDIS_HOST"),
        (OutOfMemoryError("command not allowed"), "maxmemory"),
        (ReadOnlyError("You can't write"), "primary"),
        (NoPermissionError("User x"), "ACL SETUSER"),
        (ResponseError("MISCONF Redis is configured to save"), "its disk"),
        (ResponseError("NOREPLICAS Not enough good replicas"), "bring them back"),
    ],
)
def test_redis_is_named_with_the_mend(error: Exception, mend: str) -> None:
    """One line, whether Redis is away or refuses."""
    result = CliRunner().invoke(command_raising(error))
    assert result.exit_code == EXIT_FAILED
    assert result.stderr.startswith("Error: Redis ") and result.stderr.count("\n") == 1
    assert str(error) in result.stderr and mend in result.stderr


def test_defect_keeps_its_traceback() -> None:
    """An exception that isn't ours is a defect and is not dressed up as a user's error."""
    for defect in (KeyError("defect"), ResponseError("WRONGTYPE Operation against a key")):
        assert CliRunner().invoke(command_raising(defect)).exception is defect


def test_command_keeps_its_help() -> None:
    """The decorator leaves the function's docstring to click's help."""
    result = CliRunner().invoke(command_raising(KeyError()), ["--help"])
    assert "Documented." in result.output
