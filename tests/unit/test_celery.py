"""The app as `celery -A bionewsbot` finds it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery

from bionewsbot import names
from bionewsbot.celery import create_app
from bionewsbot.runs.reconciler import ReconcilerStep
from bionewsbot.tasks.base import CheckedTask, RunTask

WRONG = {"REDIS_PORT": "sesame", "LOG_LEVEL": "loud", "CELERY_WORKER_CONCURRENCY": "0"}


def test_the_app_knows_its_tasks_and_parts(app: Celery) -> None:
    """Every task of names.py is registered, jobs as run tasks, and the reconciler is a step."""
    for name in (names.DAILY_COMPANY_ANALYSIS, names.HOURLY_QUICK_SCAN, names.ANALYZE_COMPANY):
        assert isinstance(app.tasks[name], RunTask)
    assert ReconcilerStep in app.steps["worker"]
    assert app.conf.beat_scheduler == "bionewsbot.scheduling.scheduler:Scheduler"
    assert issubclass(app.Task, CheckedTask)


def test_wrong_settings_end_the_process_with_all_of_them(configured: pytest.MonkeyPatch) -> None:
    """SystemExit, since Celery shows a traceback for anything else."""
    for name, value in WRONG.items():
        configured.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        create_app()
    for name in WRONG:
        assert f"{name}={WRONG[name]}: must be" in str(ended.value)


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_celery_on_wrong_settings_prints_them_and_no_traceback(
    tmp_path: Path, command: str
) -> None:
    """What a user sees who misspelt something: one line each, exit code 1."""
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "bionewsbot", command],
        env={**os.environ, **WRONG},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    for name in WRONG:
        assert f"{name}={WRONG[name]}: must be" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_command_prints_no_bare_names_of_events(tmp_path: Path) -> None:
    """What is logged where no logs are configured goes nowhere."""
    program = (
        "import logging; from bionewsbot import celery; "
        "logging.getLogger('bionewsbot.runs.dispatch').error('run_missed')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout + done.stderr == ""
