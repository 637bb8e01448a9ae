"""tests/support/skips.py: what a skip means here and in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("ci", "exit_code", "processes"), [("", 0, "0"), ("true", 1, "0"), ("true", 1, "2")]
)
def test_skip_fails_in_ci_alone(tmp_path: Path, ci: str, exit_code: int, processes: str) -> None:
    """A session with a skip passes locally, fails in CI, and says why, in many processes too."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\n\ndef test_one():\n    pass\n\n\n"
        "def test_two():\n    pytest.skip('no PostgreSQL')\n",
        encoding="utf-8",
    )
    options = ["-ra", "-n", processes, "-p", "support.skips"]
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == exit_code, answer.stdout
    assert "no PostgreSQL" in answer.stdout
    assert ("1 skipped, which fails in CI" in answer.stdout) is bool(ci)
