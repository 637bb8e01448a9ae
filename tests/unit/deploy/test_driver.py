"""deploy/local/__main__.py and readiness.py: what the user is told."""

import errno
import os
from pathlib import Path

import pytest
from support.ports import free_port

from bionewsbot.errors import SettingsError
from deploy.local import __main__ as driver
from deploy.local import readiness, stack, supervisor
from deploy.local.errors import LocalError


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the checkout."""
    monkeypatch.setattr(driver, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in stack.LOCAL_DEFAULTS:
        monkeypatch.setenv(name, "")
    driver.local_settings.__globals__["scheduler_settings"].current.cache_clear()
    return tmp_path


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (LocalError("Port 1 is taken."), "Port 1 is taken.\n"),
        (SettingsError("REDIS_PORT=x"), "REDIS_PORT=x\n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "The disk is full: free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "var"), "[Errno 13]"),
    ],
)
def test_failure_is_a_line_and_exit_code_1(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    line: str,
) -> None:
    """Whatever stops the driver is said without a traceback."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(driver, "up", fail)
    assert driver.main(["up"]) == 1
    assert capsys.readouterr().err.startswith(line)


def test_nothing_runs(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing runs, `down` and `ps` say so and succeed."""
    assert driver.main(["down"]) == 0
    assert driver.main(["ps"]) == 0
    assert capsys.readouterr().out == "Nothing runs.\nNothing runs; `make up` starts it.\n"


def test_logs_of_one_program(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A log is shown by its program's name; a wrong name lists the right ones."""
    (checkout / "var" / "log").mkdir(parents=True)
    for name in ("beat", "redis"):
        (checkout / "var" / "log" / f"{name}.log").write_text(f"of {name}\n", encoding="utf-8")
    assert driver.main(["logs", "beat"]) == 0
    assert capfd.readouterr().out == "of beat\n"
    assert driver.main(["logs", "beet"]) == 1
    assert capfd.readouterr().err == "No log named 'beet'; there are: beat, redis.\n"


def test_foreign_servers_must_answer(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis and a backend of the user's own that don't answer are two lines with their mends."""
    port, other = free_port(), free_port()
    monkeypatch.setenv("EMBEDDED_REDIS", "0")
    monkeypatch.setenv("EMBEDDED_BACKEND", "0")
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", str(port))
    monkeypatch.setenv("API_BASE_URL", f"http://127.0.0.1:{other}")
    with pytest.raises(LocalError) as caught:
        readiness.require_foreign(stack.plan(stack.local_settings()))
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"Redis at 127.0.0.1:{port} does not answer (")
    assert first.endswith("start it and check REDIS_*, or set EMBEDDED_REDIS=1.")
    assert second.startswith(f"The backend at http://127.0.0.1:{other} is not ready (")
    assert second.endswith("start it and check API_BASE_URL, or set EMBEDDED_BACKEND=1.")


def test_program_that_gives_up_is_named_with_its_log(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that supervisord gave up on ends the wait at once, with the end of its log."""
    log = checkout / "flower.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)), encoding="utf-8")
    state = supervisor.State("flower", "FATAL", 0, 1, log)
    monkeypatch.setattr(supervisor, "states", lambda: {"flower": state})
    monkeypatch.setenv("FLOWER_PORT", str(free_port()))
    planned = stack.plan(stack.local_settings())
    with pytest.raises(LocalError) as caught:
        readiness.wait(planned, ["flower"])
    lines = str(caught.value).splitlines()
    assert lines[0] == f"flower does not stay up. The end of {log}:"
    assert lines[-1] == "line 99"
    assert len(lines) == 1 + readiness.LOG_LINES


def test_program_that_is_never_ready_is_named(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline's message says what was still missing."""
    state = supervisor.State("flower", "RUNNING", 1, 1, checkout / "no.log")
    monkeypatch.setattr(supervisor, "states", lambda: {"flower": state})
    monkeypatch.setenv("FLOWER_PORT", str(free_port()))
    planned = stack.plan(stack.local_settings())
    with pytest.raises(LocalError, match=r"flower is not ready after 0 s \(ConnectionError\)"):
        readiness.wait(planned, ["flower"], seconds=0.1)
