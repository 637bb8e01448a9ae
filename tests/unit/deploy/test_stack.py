"""deploy/local/stack.py and dotenv.py: from settings to programs, ports, files, environment."""

import os
import re
import stat
from pathlib import Path

import pytest

import bionewsbot.settings
from deploy.local import dotenv, stack
from deploy.local.errors import LocalError

EXAMPLE = Path(__file__).parents[3] / "config" / ".env.example"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the checkout, and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in re.findall(r"#([A-Z_]+)=", EXAMPLE.read_text(encoding="utf-8")):
        # Set first, so that what local_settings sets is undone too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    bionewsbot.settings.current.cache_clear()
    return tmp_path


def planned(monkeypatch: pytest.MonkeyPatch, **environment: str) -> stack.Stack:
    """Return the stack for an environment."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return stack.plan(stack.local_settings())


def test_embedded_programs_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """All programs, Redis and the backend before what needs them, each on its port."""
    found = planned(monkeypatch, EMBEDDED_REDIS="1", EMBEDDED_BACKEND="1")
    assert found.programs == (
        "redis",
        "backend",
        "worker-high",
        "worker-all",
        "beat",
        "flower",
        "exporter",
    )
    assert {(each.variable, each.host, each.port) for each in found.listeners} == {
        ("REDIS_PORT", "127.0.0.1", 6390),
        ("API_BASE_URL", "127.0.0.1", 8000),
        ("FLOWER_PORT", "127.0.0.1", 5555),
        ("PROMETHEUS_PORT", "127.0.0.1", 9090),
    }


def test_foreign_servers_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What isn't embedded is neither started nor are its ports asked for."""
    found = planned(monkeypatch, EMBEDDED_REDIS="0", EMBEDDED_BACKEND="0")
    assert found.programs[0] == "worker-high"
    assert {each.program for each in found.listeners} == {"flower", "exporter"}
    environment = stack.environment(found, {})
    assert not [name for name in environment if name.startswith("BACKEND_")]


def test_dotenv_reaches_settings_and_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """.env counts for the driver, and its other variables reach the programs."""
    Path(".env").write_text("EMBEDDED_REDIS=1\nLOG_DIR=mine\nFLOWER_XHEADERS=1\n", encoding="utf-8")
    found = planned(monkeypatch, FLOWER_XHEADERS="0")
    assert "redis" in found.programs
    assert found.settings.log_dir == Path("mine")
    assert found.settings.archive_location == "var/archive"
    assert stack.inherited()["FLOWER_XHEADERS"] == "0", "the environment wins"


@pytest.mark.parametrize("url", ["http://localhost:8000/sub", "https://localhost:8000"])
def test_impossible_backend_address(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The embedded backend has neither TLS nor a path, and says so."""
    with pytest.raises(LocalError, match="API_BASE_URL=.* http://127.0.0.1:PORT"):
        planned(monkeypatch, EMBEDDED_BACKEND="1", API_BASE_URL=url)


def test_backend_gets_address_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend listens where the workers look for it and asks for the key that they show."""
    found = planned(
        monkeypatch, EMBEDDED_BACKEND="1", API_BASE_URL="http://localhost:8123", API_KEY="k"
    )
    environment = stack.environment(found, {"BACKEND_LOG_LEVEL": "DEBUG"})
    assert {name: environment[name] for name in environment if name.startswith("BACKEND_")} == {
        "BACKEND_HOST": "127.0.0.1",
        "BACKEND_PORT": "8123",
        "BACKEND_API_KEY": "k",
        "BACKEND_LOG_LEVEL": "DEBUG",
        "BACKEND_LOG_FORMAT": "json",
    }


def test_password_is_made_once_and_kept_private() -> None:
    """Flower's password stays the same and only its owner can read it."""
    first = stack.password()
    assert len(first) >= 20
    assert stack.password() == first
    assert stat.S_IMODE(stack.FLOWER_PASSWORD.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("username", "expected"),
    [
        ("", 'requirepass "a\\"b\\\\ c"\n'),
        ("bot", 'user default off\nuser bot on ">a\\"b\\\\ c" ~* &* +@all\n'),
    ],
)
def test_redis_password_is_in_a_private_file(
    monkeypatch: pytest.MonkeyPatch, username: str, expected: str
) -> None:
    """Redis' password reaches it by a file that only its owner can read, quoted."""
    found = planned(
        monkeypatch, EMBEDDED_REDIS="1", REDIS_PASSWORD='a"b\\ c', REDIS_USERNAME=username
    )
    stack.prepare(found)
    assert stack.REDIS_SECRETS.read_text(encoding="utf-8") == expected
    assert stat.S_IMODE(stack.REDIS_SECRETS.stat().st_mode) == 0o600


def test_dotenv_is_written_once_and_private() -> None:
    """The first call writes .env, private; a later one leaves it alone."""
    assert dotenv.write_once({"EMBEDDED_BACKEND": "0"})
    assert stat.S_IMODE(os.stat(".env").st_mode) == 0o600
    found = bionewsbot.settings.load()
    assert (found.embedded_redis, found.embedded_backend) == (True, False)
    Path(".env").write_text("mine", encoding="utf-8")
    assert not dotenv.write_once({})
    assert Path(".env").read_text(encoding="utf-8") == "mine"


def test_dotenv_names_only_known_variables() -> None:
    """What .env proposes exists, with the default that config/.env.example names."""
    dotenv.write_once({})
    known = EXAMPLE.read_text(encoding="utf-8")
    for name in re.findall(r"^#?([A-Z_]+)=", Path(".env").read_text(encoding="utf-8"), re.M):
        assert f"\n#{name}=" in known
