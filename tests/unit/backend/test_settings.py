"""The backend's settings: defaults, all errors at once, secrets masked."""

import logging
import os
from pathlib import Path

import pytest

from bionewsbot.backend.__main__ import _warn_if_open
from bionewsbot.backend.settings import BackendSettingsError, load, without_password


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test begins without BACKEND_* variables and without a .env file."""
    for name in list(os.environ):
        if name.startswith("BACKEND_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults() -> None:
    """Without any variable the backend serves this machine alone, on SQLite under var/."""
    settings = load()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.database_url == "sqlite:///var/backend.db"
    assert settings.api_key is None
    assert settings.analysis_concurrency == 8
    assert (settings.log_level, settings.log_format) == ("INFO", "json")
    assert not settings.is_public


def test_dotenv_is_honoured_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable comes from .env unless the environment has it; an empty one is unset."""
    (tmp_path / ".env").write_text("BACKEND_PORT=9001\nBACKEND_HOST=127.0.0.9\nBACKEND_API_KEY=\n")
    monkeypatch.setenv("BACKEND_PORT", "9002")
    settings = load()
    assert (settings.host, settings.port, settings.api_key) == ("127.0.0.9", 9002, None)


def test_all_errors_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wrong variable is named with its value and what is allowed; secrets are masked."""
    wrong = {
        "BACKEND_PORT": "70000",
        "BACKEND_DATABASE_URL": "mysql://root:hunter2@db/x",
        "BACKEND_ANALYSIS_CONCURRENCY": "many",
        "BACKEND_LOG_LEVEL": "LOUD",
        "BACKEND_LOG_FORMAT": "xml",
        "BACKEND_API_KEY_FILE": "/nowhere/key",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BackendSettingsError) as caught:
        load()
    said = str(caught.value)
    for name in wrong:
        assert f"  {name}=" in said
    assert "hunter2" not in said
    assert "mysql://***" in said
    assert "70000: must be a whole number from 1 to 65535" in said


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql://u:p@h:5433/d", "postgresql+psycopg://u:p@h:5433/d"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
    ],
)
def test_database_urls(monkeypatch: pytest.MonkeyPatch, given: str, used: str) -> None:
    """Both usual PostgreSQL schemes lead to psycopg 3."""
    monkeypatch.setenv("BACKEND_DATABASE_URL", given)
    assert load().database_url == used


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "postgres://h", "x", "://"])
def test_database_urls_that_keep_nothing_are_refused(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """A database in memory, without a name or of another kind is refused."""
    monkeypatch.setenv("BACKEND_DATABASE_URL", url)
    with pytest.raises(BackendSettingsError, match="BACKEND_DATABASE_URL"):
        load()


def test_key_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key may stand in a file, alone; an empty file doesn't open the API."""
    path = tmp_path / "key"
    path.write_text("s3cret\n")
    monkeypatch.setenv("BACKEND_API_KEY_FILE", str(path))
    assert load().api_key == "s3cret"
    assert "s3cret" not in repr(load())
    path.write_text("\n")
    with pytest.raises(BackendSettingsError, match="BACKEND_API_KEY_FILE.*empty"):
        load()
    monkeypatch.setenv("BACKEND_API_KEY", "another")
    with pytest.raises(BackendSettingsError, match="give one of the two") as caught:
        load()
    assert "another" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "key", "warned"),
    [
        ("127.0.0.1", "", False),
        ("localhost", "", False),
        ("127.9.9.9", "", False),
        ("::1", "", False),
        ("0.0.0.0", "", True),
        ("backend", "", True),
        ("0.0.0.0", "key", False),
    ],
)
def test_open_api_is_warned_of(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    host: str,
    key: str,
    warned: bool,
) -> None:
    """A backend that other machines can reach without a key says so."""
    monkeypatch.setenv("BACKEND_HOST", host)
    monkeypatch.setenv("BACKEND_API_KEY", key)
    with caplog.at_level(logging.WARNING):
        _warn_if_open(load())
    assert [record.getMessage() for record in caplog.records] == ["api_open_to_everyone"] * warned


def test_password_is_kept_out_of_messages() -> None:
    """A URL for a message has no password."""
    assert without_password("postgresql+psycopg://u:hunter2@h/d").count("hunter2") == 0
