"""deploy/local/environments.py: environments made once, and what is said when they can't be."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import environments
from deploy.local.environments import Environment, InstallError


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a lock file."""
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    (tmp_path / "some.lock").write_text("six==1.17.0", encoding="utf-8")
    return tmp_path


class Commands:
    """Stands for subprocess.run: notes the commands and answers as told."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.failing: dict[str, str] = {}
        """Word in a command -> what it prints as it fails."""
        self.version = environments.VERSION

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if "-c" in command:
            if not Path(command[0]).exists():
                raise FileNotFoundError(command[0])
            return subprocess.CompletedProcess(command, 0, self.version + "\n", "")
        self.seen.append(command)
        for word, output in self.failing.items():
            if word in command:
                return subprocess.CompletedProcess(command, 1, "", output)
        if "venv" in command:
            folder = Path(command[-1]) / "bin"
            folder.mkdir(parents=True)
            (folder / "python").touch()
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """What would be run."""
    fake = Commands()
    monkeypatch.setattr(environments.subprocess, "run", fake)
    return fake


SOME = Environment(".venv-some", "some.lock", package=False)


def test_second_time_nothing_is_run(checkout: Path, commands: Commands) -> None:
    """What is installed stays so until the lock changes."""
    environments.ensure([SOME])
    assert [command[:3] for command in commands.seen] == [
        [sys.executable, "-m", "venv"],
        [str(checkout / ".venv-some/bin/python"), "-m", "pip"],
    ]
    assert "--require-hashes" in commands.seen[1]
    assert environments.installed(SOME)
    (checkout / "some.lock").write_text("six==1.16.0", encoding="utf-8")
    assert not environments.installed(SOME)
    environments.ensure([SOME])
    assert len(commands.seen) == 3, "only pip runs again"


def test_moved_checkout_installs_again(
    checkout: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An environment holds absolute paths and is not taken over from elsewhere."""
    environments.ensure([SOME])
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)
    monkeypatch.setattr(environments, "ROOT", moved)
    assert not environments.installed(SOME)


def test_changed_entry_points_install_the_package_again(checkout: Path, commands: Commands) -> None:
    """setup.cfg decides on the package's commands, so it counts as the lock does."""
    for name in environments.PACKAGE_FILES:
        (checkout / name).write_text("", encoding="utf-8")
    package = Environment(".venv-some", "some.lock", package=True)
    environments.ensure([package])
    assert commands.seen[-1][-4:] == ["--no-deps", "--no-build-isolation", "--editable", "."]
    assert environments.installed(package)
    (checkout / "setup.cfg").write_text("[options.entry_points]", encoding="utf-8")
    assert not environments.installed(package)


def test_failed_install_is_tried_again(checkout: Path, commands: Commands) -> None:
    """A half-made environment never counts as installed."""
    commands.failing["pip"] = "ERROR: first\nERROR: No matching distribution for six\nbye"
    with pytest.raises(InstallError) as caught:
        environments.ensure([SOME])
    assert str(caught.value) == (
        "Installing some.lock into .venv-some failed: ERROR: No matching distribution for six"
    )
    assert not environments.installed(SOME)


def test_full_disk_is_one_line(
    checkout: Path, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk is told from pip's words and from our own writing alike."""
    commands.failing["pip"] = f"ERROR: [Errno 28] {os.strerror(errno.ENOSPC)}: '/x'"
    (checkout / "deploy").mkdir()
    for name in (*environments.PACKAGE_FILES, environments.APP.lock, environments.EXPORTER.lock):
        (checkout / name).touch()
    assert environments.main(["up"]) == 1
    assert capsys.readouterr().err == (
        f"The disk is full: free some space below {checkout}, then run make again.\n"
    )


def test_other_python_is_refused(
    checkout: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment of another Python is neither passed off nor removed under what runs."""
    environments.ensure([SOME])
    commands.version = "3.9"
    monkeypatch.setattr(environments, "VERSION", "3.12")
    assert not environments.installed(SOME)
    with pytest.raises(
        InstallError, match=r"\.venv-some holds Python 3\.9, not 3\.12.*remove \.venv-some"
    ):
        environments.ensure([SOME])


def test_broken_environment_is_made_anew(checkout: Path, commands: Commands) -> None:
    """A folder without a working Python is replaced."""
    (checkout / ".venv-some").mkdir()
    (checkout / ".venv-some" / "leftover").touch()
    environments.ensure([SOME])
    assert not (checkout / ".venv-some" / "leftover").exists()
