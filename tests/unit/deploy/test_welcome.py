"""deploy/local/welcome.py: the results as `make up` shows them."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from support import answers
from support.faulty_backend import FaultyBackend, Reply

import bionewsbot.settings
from deploy.local import stack, welcome
from deploy.local.errors import LocalError

AS_OF = "2026-02-10T00:00:00Z"


def stored(identity: int, **changes: Any) -> dict[str, Any]:
    """Return one insight or alert as the backend lists it."""
    return answers.finding(
        id=str(identity), company_id="GILD", analysis_id="42", state="open", **changes
    )


def shown(
    monkeypatch: pytest.MonkeyPatch,
    backend: FaultyBackend,
    insights: list[dict[str, Any]],
    alerts: list[dict[str, Any]],
) -> str:
    """Return what is printed for a backend's insights and alerts."""
    backend.on("GET", "/api/v1/insights", Reply(body=answers.page(*insights)))
    backend.on("GET", "/api/v1/alerts", Reply(body=answers.page(*alerts)))
    source = {"name": "replay", "status": "ok", "fetched": 1, "as_of": AS_OF, "error": None}
    backend.on("GET", "/api/v1/analyses/42", Reply(body=answers.analysis(sources=[source])))
    monkeypatch.setenv("API_BASE_URL", backend.url)
    monkeypatch.setenv("EMBEDDED_BACKEND", "0")
    planned = stack.plan(bionewsbot.settings.load())
    console = Console(file=StringIO(), width=140)
    welcome.results(planned, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_worst_come_first_and_only_the_top(
    monkeypatch: pytest.MonkeyPatch, faulty_backend: FaultyBackend
) -> None:
    """Severity orders the rows, then the date; the rest is left to the API."""
    rows = [
        stored(1, severity="low", title="a low one"),
        stored(2, severity="high", title="an old high one", occurred_at="2025-12-01T00:00:00Z"),
        stored(3, severity="critical", title="a critical one"),
        stored(4, severity="high", title="a new high one", occurred_at="2026-01-01T00:00:00Z"),
    ]
    monkeypatch.setattr(welcome, "TOP", 3)
    text = shown(monkeypatch, faulty_backend, rows, [])
    order = ["a critical one", "a new high one", "an old high one"]
    assert sorted(order, key=text.index) == order
    assert "a low one" not in text
    assert "Top alerts: none" in text


def test_replay_is_marked_with_its_date(
    monkeypatch: pytest.MonkeyPatch, faulty_backend: FaultyBackend
) -> None:
    """Recorded facts never look like today's news."""
    text = shown(monkeypatch, faulty_backend, [stored(1)], [stored(2)])
    assert "recorded public facts as of 2026-02-10, not today's news" in text


def test_other_sources_get_no_mark(
    monkeypatch: pytest.MonkeyPatch, faulty_backend: FaultyBackend
) -> None:
    """What isn't replayed isn't called so."""
    text = shown(monkeypatch, faulty_backend, [stored(1, source="live")], [])
    assert "recorded" not in text


def test_markup_in_a_title_is_shown_as_it_is(
    monkeypatch: pytest.MonkeyPatch, faulty_backend: FaultyBackend
) -> None:
    """A title is text, not instructions to the terminal."""
    text = shown(monkeypatch, faulty_backend, [stored(1, title="Phase [bold]2[/bold] [/x]")], [])
    assert "Phase [bold]2[/bold] [/x]" in text


def test_unreadable_results_are_one_line(
    monkeypatch: pytest.MonkeyPatch, faulty_backend: FaultyBackend
) -> None:
    """A backend that doesn't answer its contract is named with what was wrong."""
    with pytest.raises(LocalError, match="The results can't be read: GET /api/v1/alerts"):
        shown(monkeypatch, faulty_backend, [], [{"id": "1"}])
