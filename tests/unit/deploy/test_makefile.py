"""The Makefile's help, which is all that a stranger sees of it at first."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_make_alone_prints_a_line_for_each_target() -> None:
    """Bare `make` names every target that a user may type, and starts nothing."""
    answer = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    named = set(re.findall(r"^  make ([a-z-]+) +\S", answer.stdout, re.M))
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert phony is not None
    assert named == set(phony[1].split()) - {"environment"}


def test_locks_have_hashes_and_no_address() -> None:
    """Every requirement of every lock is pinned with hashes, and no index is named."""
    locks = sorted((ROOT / "deploy").glob("*.lock"))
    assert len(locks) == 3
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text and "index" not in text
        requirements = re.findall(r"^[a-z0-9].*$", text, re.M)
        assert requirements
        for line in requirements:
            assert "==" in line and line.endswith("\\"), line
