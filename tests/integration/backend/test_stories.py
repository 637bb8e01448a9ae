"""Insights and alerts: one per company, story and type, merged, listed, closed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.backend_app import RunningBackend, insight, story

BOTH = pytest.mark.parametrize(("path", "made"), [("insights", insight), ("alerts", story)])


def test_insight_comes_back_as_sent(backend: RunningBackend) -> None:
    """Every field of an insight is kept, its evidence and source as given."""
    answer = backend.post("insights", insight(), "k")
    assert answer.status_code == 201
    stored = answer.json()
    assert stored | insight() == stored
    assert stored["created_at"] == "2026-03-01T12:00:00Z"
    assert backend.all("insights") == [stored]


def test_alert_is_open_until_closed(backend: RunningBackend) -> None:
    """An alert begins open; PATCH moves its state, twice without harm, and lists follow."""
    stored = backend.post("alerts", story()).json()
    assert stored | story() == stored
    assert stored["state"] == "open"
    backend.clock.advance(hours=1)
    for _ in range(2):
        changed = backend.call("PATCH", f"alerts/{stored['id']}", json={"state": "closed"})
        assert changed.status_code == 200
        assert changed.json()["state"] == "closed"
        assert changed.json()["updated_at"] == "2026-03-01T13:00:00Z"
        backend.clock.advance(hours=1)
    assert backend.all("alerts", state="open") == []
    assert backend.all("alerts", state="closed") == [changed.json()]
    # The same story again doesn't open it again.
    again = backend.post("alerts", story(), "later")
    assert (again.status_code, again.json()["state"]) == (200, "closed")
    unknown = backend.call("PATCH", "alerts/none", json={"state": "closed"})
    assert unknown.status_code == 404


def test_alert_has_no_confidence(backend: RunningBackend) -> None:
    """What isn't an alert's field is refused, not dropped."""
    assert backend.post("alerts", insight()).status_code == 422


@BOTH
def test_same_story_is_merged(backend: RunningBackend, path: str, made: Any) -> None:
    """A second source of a story joins the first; the same source again changes nothing."""
    first = backend.post(path, made(), "a").json()
    backend.clock.advance(hours=1)
    same = backend.post(path, made(analysis_id="a2"), "b")
    assert same.status_code == 200
    assert same.json() == first
    other = made(source="wire", url=None, evidence=None, analysis_id="a3", title="Other words")
    merged = backend.post(path, other, "c")
    assert merged.status_code == 200
    assert merged.json() == {
        **first,
        "sources": [
            *first["sources"],
            {"source": "wire", "url": None, "evidence": None, "analysis_id": "a3"},
        ],
        "updated_at": "2026-03-01T13:00:00Z",
    }
    assert backend.all(path) == [merged.json()]
    # The key of a merged call stands for the stored story.
    assert backend.post(path, other, "c").json() == merged.json()
    assert backend.post(path, made(type="merger"), "d").status_code == 201


@BOTH
def test_keys_of_stories(backend: RunningBackend, path: str, made: Any) -> None:
    """The same key and body give the stored one, another body is refused."""
    first = backend.post(path, made(), "k")
    again = backend.post(path, made(), "k")
    assert (again.status_code, again.json()) == (200, first.json())
    assert backend.post(path, made(title="Other"), "k").status_code == 422
    assert backend.post(path, made(company_id="NONE"), "n").status_code == 404


def test_keys_belong_to_their_collection(backend: RunningBackend) -> None:
    """An insight and an alert of one task may have the same key."""
    assert backend.post("insights", insight(), "k").status_code == 201
    assert backend.post("alerts", story(), "k").status_code == 201


@BOTH
@pytest.mark.parametrize("own_keys", [True, False])
def test_concurrent_posts_make_one_row(
    backend: RunningBackend, path: str, made: Any, own_keys: bool
) -> None:
    """Twelve posts of one story at once, under one key or one each, make one row."""
    barrier = threading.Barrier(12)

    def post(number: int) -> Any:
        barrier.wait()
        return backend.post(path, made(source=f"s{number if own_keys else 0}"), f"k{number}")

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(post, range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [201]
    (stored,) = backend.all(path)
    assert {answer.json()["id"] for answer in answers} == {stored["id"]}
    assert len(stored["sources"]) == (12 if own_keys else 1)


@BOTH
def test_lists_are_stable_under_change(backend: RunningBackend, path: str, made: Any) -> None:
    """Newest first, ties included; rows added, removed or changed between pages harm nothing."""
    ids = []
    for number in range(12):
        ids.append(backend.post(path, made(number)).json()["id"])
        if number % 3 == 0:
            backend.clock.advance(minutes=1)
    pages = backend.pages(path, limit=5)
    seen = [item["id"] for item in next(pages)["items"]]
    backend.clock.advance(minutes=1)
    backend.post(path, made(99))
    backend.post(path, made(2, source="wire"))
    left = [each for each in ids if each not in seen]
    # The cursor's own row goes away too.
    backend.post(f"export/{path}/delete", {"ids": [seen[-1], left[0]]})
    seen += [item["id"] for page in pages for item in page["items"]]
    assert len(seen) == len(set(seen))
    assert set(seen) == set(ids) - {left[0]}


@BOTH
def test_filters(backend: RunningBackend, path: str, made: Any) -> None:
    """Company, severity and time of storing narrow the list."""
    backend.add_company("MRNA")
    old = backend.post(path, made(1)).json()["id"]
    backend.clock.advance(days=1)
    new = backend.post(path, made(1, company_id="MRNA", severity="high")).json()["id"]

    def ids(**filters: str) -> list[str]:
        return [item["id"] for item in backend.all(path, **filters)]

    assert ids() == [new, old]
    assert ids(company_id="GILD") == [old]
    assert ids(severity="high") == [new]
    assert ids(since="2026-03-02T12:00:00Z") == [new]
    assert ids(before="2026-03-02T12:00:00Z") == [old]


def test_cursor_of_another_list_is_refused(backend: RunningBackend) -> None:
    """A cursor is good for the list that gave it out."""
    for number in range(2):
        backend.post("insights", insight(number))
    cursor = backend.get("insights", limit=1)["next_cursor"]
    answer = backend.call("GET", "alerts", params={"cursor": cursor})
    assert answer.status_code == 422
    assert "cursor" in answer.json()["detail"]
