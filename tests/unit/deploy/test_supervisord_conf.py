"""deploy/local/supervisord.conf against the driver and the names that processes share."""

import configparser
import shlex
from pathlib import Path

import pytest

import bionewsbot.settings
from bionewsbot.names import QUEUE_DEAD_LETTER, WORKER_QUEUES
from deploy.local import stack

CONFIG = Path(__file__).parents[3] / "deploy" / "local" / "supervisord.conf"


@pytest.fixture
def programs() -> dict[str, configparser.SectionProxy]:
    """The programs by name."""
    parser = configparser.RawConfigParser()
    parser.read(CONFIG, encoding="utf-8")
    return {
        name.removeprefix("program:"): parser[name]
        for name in parser.sections()
        if name.startswith("program:")
    }


def queues(program: configparser.SectionProxy) -> list[str]:
    """Return the queues that a program's command names."""
    words = shlex.split(program["command"])
    return words[words.index("-Q") + 1].split(",") if "-Q" in words else []


def test_driver_and_configuration_know_the_same_programs(
    programs: dict[str, configparser.SectionProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the driver starts is configured, and nothing else is."""
    monkeypatch.setenv("EMBEDDED_REDIS", "1")
    monkeypatch.setenv("EMBEDDED_BACKEND", "1")
    planned = stack.plan(bionewsbot.settings.load(Path("no.env")))
    assert set(planned.programs) == set(programs)
    priorities = [int(programs[name]["priority"]) for name in planned.programs]
    assert priorities == sorted(priorities)


def test_every_queue_has_a_worker(programs: dict[str, configparser.SectionProxy]) -> None:
    """`high` has a worker of its own, one serves all in order, none sees the dead letters."""
    assert queues(programs["worker-high"]) == ["high"]
    assert queues(programs["worker-all"]) == list(WORKER_QUEUES)
    consumed = {queue for program in programs.values() for queue in queues(program)}
    assert QUEUE_DEAD_LETTER not in consumed


def test_workers_grace_is_the_setting(
    programs: dict[str, configparser.SectionProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """supervisord kills a worker after WORKER_GRACE_SECONDS, and nothing else says when."""
    monkeypatch.setenv("WORKER_GRACE_SECONDS", "77")
    monkeypatch.setattr(stack, "password", lambda: "secret")
    planned = stack.plan(bionewsbot.settings.load(Path("no.env")))
    environment = stack.environment(planned, {})
    for name in ("worker-high", "worker-all"):
        given = programs[name]["stopwaitsecs"].replace("%(ENV_", "%(")
        assert given % environment == "77"


def test_programs_restart_and_rotate_their_logs(
    programs: dict[str, configparser.SectionProxy],
) -> None:
    """Each program is kept running, once the driver has started it, and its log is bounded."""
    for program in programs.values():
        assert program["autostart"] == "false"
        assert program["autorestart"] == "true"
        assert program["stdout_logfile_maxbytes"] == "10MB"
        assert program["redirect_stderr"] == "true"
