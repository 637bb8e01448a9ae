"""Reports: written once per period, replaced only by who has read what is there."""

from typing import Any

import requests
from support.backend_app import RunningBackend


def put(
    backend: RunningBackend, content: Any, *, period: str = "2026-W48", **headers: str
) -> requests.Response:
    """Put a weekly report."""
    return backend.call("PUT", f"reports/weekly/{period}", json=content, headers=headers)


def test_report_is_written_once(backend: RunningBackend) -> None:
    """The first PUT is a 201; the same content again, in any order of keys, changes nothing."""
    first = put(backend, {"a": 1, "b": [1.5, None]})
    assert first.status_code == 201
    stored = first.json()
    assert (stored["type"], stored["period"]) == ("weekly", "2026-W48")
    assert stored["content"] == {"a": 1, "b": [1.5, None]}
    assert first.headers["ETag"] == f'"{stored["etag"]}"'
    backend.clock.advance(hours=1)
    again = put(backend, {"b": [1.5, None], "a": 1})
    assert (again.status_code, again.json()) == (200, stored)
    read = backend.call("GET", first.headers["Location"])
    assert (read.json(), read.headers["ETag"]) == (stored, first.headers["ETag"])


def test_other_content_needs_if_match(backend: RunningBackend) -> None:
    """Without If-Match 428, with a wrong one 412, with the right one it is replaced."""
    first = put(backend, {"a": 1})
    refused = put(backend, {"a": 2})
    assert refused.status_code == 428
    assert refused.json()["id"] == first.json()["id"]
    assert put(backend, {"a": 2}, **{"If-Match": '"0123"'}).status_code == 412
    assert put(backend, {"a": 2}, **{"If-Match": "0123"}).status_code == 422
    backend.clock.advance(hours=1)
    changed = put(backend, {"a": 2}, **{"If-Match": f'"0123", {first.headers["ETag"]}'})
    assert changed.status_code == 200
    assert changed.json()["id"] == first.json()["id"]
    assert changed.json()["content"] == {"a": 2}
    assert changed.json()["created_at"] == first.json()["created_at"]
    assert changed.json()["updated_at"] == "2026-03-01T13:00:00Z"
    assert put(backend, {"a": 3}, **{"If-Match": "*"}).status_code == 200
    # Sent twice: the first one was stored, so the second one finds its own content.
    assert put(backend, {"a": 3}, **{"If-Match": changed.headers["ETag"]}).status_code == 200


def test_if_match_never_creates(backend: RunningBackend) -> None:
    """Who says what was there can't make what wasn't."""
    assert put(backend, {"a": 1}, **{"If-Match": "*"}).status_code == 412
    assert backend.all("reports") == []


def test_weeks_are_iso_weeks(backend: RunningBackend) -> None:
    """A weekly report's period is a week that exists."""
    for period in ("2026-W54", "2025-W53", "2026-48", "last"):
        answer = put(backend, {}, period=period)
        assert answer.status_code == 422, period
        assert "2026-W48" in answer.json()["detail"]
    assert put(backend, {}, period="2026-W53").status_code == 201


def test_list_and_delete(backend: RunningBackend) -> None:
    """Type and age narrow the list; a report is deleted, twice without harm."""
    old = put(backend, {"n": 1}).json()
    backend.call("PUT", "reports/monthly/2026-11", json={"n": 2})
    backend.clock.advance(days=1)
    new = put(backend, {"n": 3}, period="2026-W49").json()
    assert backend.all("reports", type="weekly", limit=1) == [new, old]
    assert len(backend.all("reports")) == 3
    before = "2026-03-02T12:00:00Z"
    assert backend.all("reports", type="weekly", before=before) == [old]
    for _ in range(2):
        assert backend.call("DELETE", f"reports/{old['id']}").status_code == 204
    assert backend.all("reports", type="weekly") == [new]
    assert backend.call("GET", f"reports/{old['id']}").status_code == 404
