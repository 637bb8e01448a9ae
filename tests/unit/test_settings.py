"""The environment, read: defaults, what is refused and in which words, and where secrets go."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bionewsbot.errors import SettingsError
from bionewsbot.settings import Settings, load

Load = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return `load` with nothing in the environment but what it is given, and no .env."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        monkeypatch.delenv(name)

    def read(dotenv: Path | None = None, **variables: str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return load(dotenv)

    return read


def problems(read: Load, **variables: str) -> list[str]:
    """Return the lines about wrong variables."""
    with pytest.raises(SettingsError) as refused:
        read(**variables)
    first, *lines = str(refused.value).splitlines()
    assert first == "These settings are wrong (environment or .env); nothing was started:"
    return [line.strip() for line in lines]


def test_without_any_variable_the_defaults_hold(read: Load) -> None:
    """An empty environment is enough to start with a Redis and a backend on this host."""
    settings = read()
    assert settings.celery_broker_url == "redis://localhost:6379/2"
    assert settings.celery_result_backend == "redis://localhost:6379/3"
    assert settings.scheduler_redis_url == "redis://localhost:6379/1"
    assert settings.api_base_url == "http://localhost:8000"
    assert (settings.log_level, settings.log_format) == ("INFO", "json")
    assert (settings.daily_analysis_hour, settings.weekly_report_day) == (6, "mon")
    assert settings.priority_companies == ()
    assert settings.config_dir == Path("config")


def test_settings_are_frozen(read: Load) -> None:
    """Nobody changes them under another's feet."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().redis_port = 1  # type: ignore[misc]


def test_an_empty_variable_counts_as_unset(read: Load) -> None:
    """Compose files pass `NAME=` for what isn't given."""
    assert read(REDIS_PORT="", API_BASE_URL="", API_KEY="", PRIORITY_COMPANIES="") == read()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("REDIS_PORT", "0", "REDIS_PORT=0: must be a whole number from 1 to 65535"),
        ("REDIS_PORT", "65536", "REDIS_PORT=65536: must be a whole number from 1 to 65535"),
        ("REDIS_PORT", "six", "REDIS_PORT=six: must be a whole number from 1 to 65535"),
        ("EMBEDDED_REDIS", "perhaps", "EMBEDDED_REDIS=perhaps: must be 1 or 0"),
        ("REDIS_SCHEDULER_DB", "16", "REDIS_SCHEDULER_DB=16: must be a whole number from 0 to 15"),
        ("DAILY_ANALYSIS_HOUR", "24", "DAILY_ANALYSIS_HOUR=24: must be a whole number from 0 to"),
        ("WEEKLY_REPORT_DAY", "someday", "WEEKLY_REPORT_DAY=someday: must be one of mon, tue, wed"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL=loud: must be one of DEBUG, INFO, WARNING, ERROR, CRIT"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT=xml: must be one of json, text"),
        ("ENVIRONMENT", "moon", "ENVIRONMENT=moon: must be one of development, staging, prod"),
        ("PRIORITY_COMPANIES", "GILD,a b", "PRIORITY_COMPANIES=GILD,a b: must be company ids"),
        ("PRIORITY_COMPANIES", "GILD,,PFE", "PRIORITY_COMPANIES=GILD,,PFE: must be company ids"),
        ("API_BASE_URL", "localhost:8000", "API_BASE_URL=localhost:8000: must be a URL such as"),
        ("API_BASE_URL", "http://x:port", "API_BASE_URL=http://x:port: must be a URL such as"),
        ("API_TIMEOUT", "0", "API_TIMEOUT=0: must be a whole number from 1 to 3600"),
        (
            "API_RATE_LIMIT",
            "many",
            "API_RATE_LIMIT=many: must be a number of calls from 1 to 100000 in a time of up to a "
            "day, such as 50/second, 600/minute or 30 per 10 seconds",
        ),
        ("RUN_LEASE_SECONDS", "2", "RUN_LEASE_SECONDS=2: must be a whole number from 3 to 3600"),
        ("BREAKER_FAILURES", "0", "BREAKER_FAILURES=0: must be a whole number from 1 to 1000"),
        ("BREAKER_SHARE", "101", "BREAKER_SHARE=101: must be a whole number from 1 to 100"),
        ("BREAKER_OPEN_SECONDS", "0", "BREAKER_OPEN_SECONDS=0: must be a whole number from 1 to"),
        (
            "CELERY_BROKER_URL",
            "amqp://u:sesame@h//",
            "CELERY_BROKER_URL=***: must be a URL that starts with redis://, rediss://",
        ),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(
    read: Load, name: str, value: str, line: str
) -> None:
    """Variable, value, mend."""
    (found,) = problems(read, **{name: value})
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("text", "calls", "seconds"),
    [
        ("50/second", 50, 1),
        ("600/Minute", 600, 60),
        (" 30 per 10 seconds ", 30, 10),
        ("100000/day", 100_000, 86_400),
    ],
)
def test_a_rate_is_a_number_in_a_time(read: Load, text: str, calls: int, seconds: int) -> None:
    """In the notation of the library that counts the calls; unset, there is none."""
    rate = read(API_RATE_LIMIT=text).api_rate_limit
    assert rate is not None and (rate.amount, rate.get_expiry()) == (calls, seconds)
    assert read(API_RATE_LIMIT="").api_rate_limit is None


@pytest.mark.parametrize(
    "text",
    "50 50/ /second 0/second 5/0seconds 5/00seconds -5/second 1.5/second 5/fortnight 100001/day "
    "2/month 1/2days 5/second;9/minute".split(),
)
def test_a_wrong_rate_is_refused(read: Load, text: str) -> None:
    """Also what the library would take otherwise than it was meant, or take one of two."""
    (found,) = problems(read, API_RATE_LIMIT=text)
    assert found.startswith(f"API_RATE_LIMIT={text}: must be a number of calls")


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"REDIS_SCHEDULER_DB": "2"},
            "REDIS_CELERY_DB=(unset): must be another database than REDIS_SCHEDULER_DB=2",
        ),
        (
            {"REDIS_CELERY_DB": "3"},
            "REDIS_CELERY_DB=3: must be not 3, which holds the results (or set CELERY_RESULT_BACK",
        ),
        ({"REDIS_SCHEDULER_DB": "3"}, "REDIS_SCHEDULER_DB=3: must be not 3, which holds"),
        (
            {"CELERY_TASK_SOFT_TIME_LIMIT": "900"},
            "CELERY_TASK_SOFT_TIME_LIMIT=900: must be less than CELERY_TASK_TIME_LIMIT=900",
        ),
        (
            {"EMBEDDED_REDIS": "1", "REDIS_HOST": "redis.example"},
            "REDIS_HOST=redis.example: must be 127.0.0.1 while EMBEDDED_REDIS=1",
        ),
        ({"EMBEDDED_REDIS": "1", "REDIS_TLS": "1"}, "REDIS_TLS=1: must be 0 while EMBEDDED_RE"),
        (
            {"EMBEDDED_BACKEND": "1", "API_BASE_URL": "https://u:pw@api.example"},
            "API_BASE_URL=https://***@api.example: must be an address on 127.0.0.1 while EMBED",
        ),
        (
            {"ARCHIVE_LOCATION": "ftp://u:p@w@store.example/a"},
            "ARCHIVE_LOCATION=ftp://***@store.example/a: must be a path or URL without user and "
            "password: give those in the environment",
        ),
        (
            {"API_KEY": "sesame", "API_KEY_FILE": "/key"},
            "API_KEY=***: must be unset where API_KEY_FILE is set: give one of the two",
        ),
    ],
)
def test_values_that_do_not_go_together_are_refused(
    read: Load, variables: dict[str, str], line: str
) -> None:
    """Each is right alone; the message names the other one."""
    (found,) = problems(read, **variables)
    assert found.startswith(line)


def test_a_database_of_the_results_is_free_where_the_results_are_elsewhere(read: Load) -> None:
    """CELERY_RESULT_BACKEND makes database 3 like any other."""
    settings = read(REDIS_CELERY_DB="3", CELERY_RESULT_BACKEND="redis://other/0")
    assert settings.celery_broker_url.endswith("/3")
    assert settings.celery_result_backend == "redis://other/0"


def test_all_problems_are_told_at_once(read: Load) -> None:
    """In the alphabet's order, one line each."""
    found = problems(read, REDIS_PORT="x", API_TIMEOUT="x", LOG_LEVEL="x")
    assert [line.partition("=")[0] for line in found] == ["API_TIMEOUT", "LOG_LEVEL", "REDIS_PORT"]


def test_words_are_read_in_any_case(read: Load) -> None:
    """`debug` and `JSON` are what people write."""
    settings = read(LOG_LEVEL="debug", LOG_FORMAT="TEXT", WEEKLY_REPORT_DAY="Fri")
    assert (settings.log_level, settings.log_format) == ("DEBUG", "text")
    assert settings.weekly_report_day == "fri"


def test_ids_are_separated_by_commas_and_spaces(read: Load) -> None:
    """Spaces around an id are not part of it."""
    assert read(PRIORITY_COMPANIES="GILD, MRNA").priority_companies == ("GILD", "MRNA")


def test_a_dotenv_file_is_read_and_the_environment_wins(read: Load, tmp_path: Path) -> None:
    """`.env` in the working directory, or the file that is named."""
    (tmp_path / ".env").write_text("REDIS_PORT=7000\nREDIS_HOST=here\n", encoding="utf-8")
    settings = read(REDIS_PORT="7001")
    assert (settings.redis_host, settings.redis_port) == ("here", 7001)
    other = tmp_path / "other.env"
    other.write_text("REDIS_HOST=there\n", encoding="utf-8")
    assert read(other).redis_host == "there"
    assert "REDIS_HOST" not in os.environ


def test_a_secret_comes_from_its_file(read: Load, tmp_path: Path) -> None:
    """Without the line's end that editors leave."""
    (tmp_path / "key").write_text("sesame\n", encoding="utf-8")
    (tmp_path / "url").write_text("redis://:pw@h/9\n", encoding="utf-8")
    settings = read(
        API_KEY_FILE=str(tmp_path / "key"), CELERY_BROKER_URL_FILE=str(tmp_path / "url")
    )
    assert settings.api_key == "sesame"
    assert settings.celery_broker_url == "redis://:pw@h/9"


def test_a_secret_file_that_cannot_be_read_is_told(read: Load, tmp_path: Path) -> None:
    """With the reason: not there, or not text."""
    (tmp_path / "bad").write_bytes(b"\xff")
    (absent,) = problems(read, API_KEY_FILE="absent")
    assert (
        absent
        == "API_KEY_FILE=absent: must be the path of a readable file (No such file or "
        + ("directory)")
    )
    (binary,) = problems(read, API_KEY_FILE="bad")
    assert binary.endswith("(not UTF-8 text)")


def test_secrets_are_in_no_repr_and_no_message(read: Load) -> None:
    """A traceback or an error that shows the settings shows no password."""
    settings = read(REDIS_PASSWORD="sesame-1", API_KEY="sesame-2", REDIS_USERNAME="bot")
    assert "sesame" not in repr(settings)
    lines = problems(read, REDIS_PASSWORD_FILE="/nowhere", API_TIMEOUT="0")
    assert "sesame" not in "\n".join(lines)


def test_urls_are_quoted_and_tls_checks_certificates(read: Load) -> None:
    """A password with an @, an IPv6 host and TLS make a URL that reads back."""
    settings = read(
        REDIS_HOST="::1", REDIS_USERNAME="bot", REDIS_PASSWORD="p@ss/word", REDIS_TLS="1"
    )
    assert (
        settings.scheduler_redis_url
        == "rediss://bot:p%40ss%2Fword@[::1]:6379/1?ssl_cert_reqs=required"
    )


def test_the_embedded_redis_has_a_port_of_its_own(read: Load) -> None:
    """It never meets a Redis that is already there."""
    settings = read(EMBEDDED_REDIS="1")
    assert settings.celery_broker_url == "redis://127.0.0.1:6390/2"


def test_a_base_url_loses_its_last_slash(read: Load) -> None:
    """Paths begin with one."""
    assert read(API_BASE_URL="https://api.example/v/").api_base_url == "https://api.example/v"
