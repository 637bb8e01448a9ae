"""deploy/local/find-python: which Python the environments are made of."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "deploy" / "local" / "find-python"


def interpreter(folder: Path, name: str, answer: str) -> Path:
    """Put a program there that answers the script's question as a Python would."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{answer}'\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def find(tmp_path: Path, *words: str, python: str = "") -> subprocess.CompletedProcess[str]:
    """Run the script where only tmp_path's programs are to be found."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir(exist_ok=True)
    cut = bin_folder / "cut"
    if not cut.exists():
        cut.symlink_to("/usr/bin/cut")
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), *words],
        env={"PATH": str(bin_folder), "HOME": str(tmp_path), "PYTHON": python},
        capture_output=True,
        text=True,
    )


def test_newest_in_path_wins(tmp_path: Path) -> None:
    """Of several in PATH the newest supported one is taken."""
    interpreter(tmp_path / "bin", "python3.11", "usable 3.11")
    newest = interpreter(tmp_path / "bin", "python3.13", "usable 3.13")
    assert find(tmp_path).stdout.strip() == str(newest)


def test_pyenv_versions_count(tmp_path: Path) -> None:
    """Where PATH has none, pyenv's are looked at; an old one is passed over."""
    interpreter(tmp_path / "bin", "python3", "unsupported 3.9")
    found = interpreter(tmp_path / ".pyenv/versions/3.12.1/bin", "python3", "usable 3.12")
    assert find(tmp_path).stdout.strip() == str(found)


def test_all_prints_one_per_version(tmp_path: Path) -> None:
    """--all names each supported version once."""
    first = interpreter(tmp_path / "bin", "python3.12", "usable 3.12")
    interpreter(tmp_path / ".pyenv/versions/3.12.1/bin", "python3", "usable 3.12")
    other = interpreter(tmp_path / ".pyenv/versions/3.11.7/bin", "python3", "usable 3.11")
    assert find(tmp_path, "--all").stdout.split() == [str(first), str(other)]


def test_none_is_one_line_that_names_the_variable(tmp_path: Path) -> None:
    """A machine without a fitting Python is told of PYTHON, in one line."""
    answer = find(tmp_path)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.splitlines() == [
        "No Python 3.11, 3.12 or 3.13 was found; install one, or set PYTHON to its path."
    ]


def test_wrong_variable_is_refused(tmp_path: Path) -> None:
    """A PYTHON that doesn't fit is named, also where another one would do."""
    interpreter(tmp_path / "bin", "python3.12", "usable 3.12")
    wrong = interpreter(tmp_path, "python2", "unsupported 2.7")
    answer = find(tmp_path, python=str(wrong))
    assert answer.returncode == 1
    assert (
        answer.stderr == f"PYTHON={wrong} is not a Python 3.11, 3.12 or 3.13; set PYTHON to one.\n"
    )


@pytest.mark.parametrize("by_variable", [True, False])
def test_debian_python_without_venv_is_told_the_package(tmp_path: Path, by_variable: bool) -> None:
    """A Python that lacks ensurepip is one line with the package that mends it."""
    crippled = interpreter(tmp_path / "bin", "python3.12", "no-venv 3.12")
    answer = find(tmp_path, python=str(crippled) if by_variable else "")
    assert answer.returncode == 1
    assert answer.stderr == (
        f"Python 3.12 at {crippled} cannot make environments: "
        "apt install python3.12-venv, or set PYTHON to another Python.\n"
    )


def test_whole_python_wins_over_a_newer_one_without_venv(tmp_path: Path) -> None:
    """A Python that can't make environments is passed over for one that can."""
    interpreter(tmp_path / "bin", "python3.13", "no-venv 3.13")
    whole = interpreter(tmp_path / "bin", "python3.11", "usable 3.11")
    assert find(tmp_path).stdout.strip() == str(whole)
