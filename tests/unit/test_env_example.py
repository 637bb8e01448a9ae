"""config/.env.example against the two readers of the environment."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

import bionewsbot.backend.settings
import bionewsbot.settings

EXAMPLE = Path(__file__).parents[2] / "config" / ".env.example"


def shown(default: Any) -> str:
    """Write a default as a .env file would have it."""
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(int(default))
    if isinstance(default, list):
        return ",".join(default)
    return str(default)


def asked_for(
    module: Any, reader: str, monkeypatch: pytest.MonkeyPatch, missing: Path
) -> dict[str, str]:
    """Return every variable that a module's reader asks for, with its default."""
    asked: dict[str, str] = {}

    class Recorder(getattr(module, reader)):
        def _raw(self, name: str) -> None:
            asked.setdefault(name, "")

        def text(self, name: str, default: Any) -> Any:
            asked[name] = shown(default)
            return super().text(name, default)

        def _parse(self, name: str, default: Any, *rest: Any) -> Any:
            asked[name] = shown(default)
            return super()._parse(name, default, *rest)

        def database(self, name: str, default: str) -> str:
            asked[name] = default
            return super().database(name, default)

    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setattr(module, reader, Recorder)
    module.load(missing)
    return asked


def test_example_names_every_variable_with_its_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The example and the code name the same variables with the same defaults."""
    missing = tmp_path / "no.env"
    wanted = asked_for(bionewsbot.settings, "Reader", monkeypatch, missing)
    wanted |= asked_for(bionewsbot.backend.settings, "_Reader", monkeypatch, missing)
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    pairs = [match.groups() for line in lines if (match := re.fullmatch(r"#([A-Z_]+)=(.*)", line))]
    assert dict(pairs) == wanted
    assert len(pairs) == len(dict(pairs)), "a variable stands there twice"


def test_example_explains_each_variable_and_sets_none() -> None:
    """Each variable is commented out and has a line of meaning above it."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    for above, line in zip(lines, lines[1:], strict=False):
        if re.match(r"#?[A-Z_]+=", line):
            assert line.startswith("#"), line
            assert re.match(r"# [^-]", above), f"{line} has no meaning above it"
