"""Whose name a change is on record under."""

import os
import socket

import pytest

from bionewsbot.cli.who import who_i_am


def test_a_user_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account's, whatever the environment says."""
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert who_i_am().endswith(f"@{socket.gethostname()}")
    assert "somebody-else" not in who_i_am()


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under any number."""
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert who_i_am() == f"uid4000000@{socket.gethostname()}"
