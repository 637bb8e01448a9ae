"""`make up DOCKER=1`: its script, and the first run that it shows."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from bionewsbot.errors import BioNewsBotError
from deploy.compose import welcome
from deploy.local.errors import LocalError

ROOT = Path(__file__).parents[3]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the scripts alone."""
    shutil.copytree(ROOT / "deploy" / "compose", tmp_path / "deploy" / "compose")
    return tmp_path


def run(script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script with nothing in its environment but PATH and what is given."""
    return subprocess.run(
        [shutil.which("sh") or "sh", script],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )


def test_secrets_are_written_once(checkout: Path) -> None:
    """A first call writes all that the compose file requires, a second one changes nothing."""
    script, dotenv = checkout / "deploy" / "compose" / "secrets", checkout / ".env"
    required = set(re.findall(r"\$\{(\w+):\?", COMPOSE_TEXT))
    assert set(run(script).stdout.split(": ")[1].split()) == required
    text = dotenv.read_text(encoding="utf-8")
    values = dict(re.findall(r"^(\w+)=([0-9a-f]{48})$", text, re.M))
    assert set(values) == required
    assert len(set(values.values())) == len(required)
    assert stat.S_IMODE(dotenv.stat().st_mode) == 0o600
    assert run(script).stdout == ""
    assert dotenv.read_text(encoding="utf-8") == text


def test_secrets_that_are_there_stay(checkout: Path) -> None:
    """What .env or the environment has is kept, also after a last line without its end."""
    dotenv = checkout / ".env"
    dotenv.write_text("LOG_LEVEL=DEBUG\nAPI_KEY=mine", encoding="utf-8")
    answer = run(checkout / "deploy" / "compose" / "secrets", POSTGRES_PASSWORD="from outside")
    assert answer.stdout.split()[-1:] == ["FLOWER_PASSWORD"]
    lines = dotenv.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["LOG_LEVEL=DEBUG", "API_KEY=mine"]
    assert [line.split("=")[0] for line in lines[2:]] == ["FLOWER_PASSWORD"]


def test_missing_docker_is_said_in_a_line(checkout: Path, tmp_path: Path) -> None:
    """Without Docker, `up` names the two ways out and writes nothing."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "dirname").symlink_to(shutil.which("dirname") or "")
    answer = run(checkout / "deploy" / "compose" / "up", PATH=str(tools))
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1
    assert "install Docker" in answer.stderr and "`make up`" in answer.stderr
    assert not (checkout / ".env").exists()


def test_first_run_is_the_first_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daily analysis runs, and is shown, where the ledger knows none."""
    done: list[str] = []
    monkeypatch.setattr(welcome.welcome, "first_run", lambda: done.append("run"))
    monkeypatch.setattr(welcome.welcome, "results", lambda *_: done.append("results"))
    monkeypatch.setattr(welcome.welcome, "has_run", lambda: True)
    assert welcome.main() == 0
    assert done == []
    monkeypatch.setattr(welcome.welcome, "has_run", lambda: False)
    assert welcome.main() == 0
    assert done == ["run", "results"]


@pytest.mark.parametrize("error", [LocalError("it failed"), BioNewsBotError("it failed")])
def test_failed_first_run_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """A first run that fails is told without a traceback, with exit code 1."""

    def fail() -> bool:
        raise error

    monkeypatch.setattr(welcome.welcome, "has_run", fail)
    assert welcome.main() == 1
    assert capsys.readouterr().err == "it failed\n"


def test_interrupted_first_run_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C at the progress bar is told without a traceback, with the shell's own exit code."""

    def interrupt() -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(welcome.welcome, "has_run", interrupt)
    assert welcome.main() == 130
    assert capsys.readouterr().err == "Interrupted; the run goes on.\n"


@pytest.mark.parametrize(
    ("target", "docker", "command"),
    [
        ("up", "1", "sh deploy/compose/up"),
        ("up", "0", "deploy.local up"),
        ("down", "1", "docker compose down"),
        ("ps", "1", "docker compose ps"),
        ("logs", "1", "docker compose logs"),
    ],
)
def test_make_uses_docker_on_request(target: str, docker: str, command: str) -> None:
    """DOCKER=1 chooses Compose, DOCKER=0 does not; shown, not carried out."""
    answer = subprocess.run(
        ["make", "--dry-run", target, f"DOCKER={docker}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert command in answer.stdout
