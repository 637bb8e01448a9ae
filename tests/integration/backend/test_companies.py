"""Companies: put, list, page, filter."""

from support.backend_app import GILD, RunningBackend


def test_put_creates_and_replaces(backend: RunningBackend) -> None:
    """A new company is a 201, a known one a 200, and only a change moves `updated_at`."""
    created = backend.call("PUT", "companies/MRNA", json={"name": "Moderna", "ticker": "MRNA"})
    assert created.status_code == 201
    first = created.json()
    assert (
        first
        | {
            "id": "MRNA",
            "cik": None,
            "aliases": [],
            "priority": "medium",
            "analysis_frequency": "daily",
            "status": "active",
        }
        == first
    )
    backend.clock.advance(hours=1)
    again = backend.call("PUT", "companies/MRNA", json={"name": "Moderna", "ticker": "MRNA"})
    assert again.status_code == 200
    assert again.json() == first
    changed = backend.call("PUT", "companies/MRNA", json={"name": "Moderna", "status": "paused"})
    assert changed.status_code == 200
    assert changed.json()["ticker"] is None
    assert changed.json()["created_at"] == first["created_at"]
    assert changed.json()["updated_at"] == "2026-03-01T13:00:00Z"


def test_put_refuses_what_isnt_a_company(backend: RunningBackend) -> None:
    """Wrong ids, values and unknown keys are refused, and nothing is stored."""
    for company_id, body in (
        (".hidden", GILD),
        ("a b", GILD),
        ("OK", {**GILD, "status": "inactive"}),
        ("OK", {**GILD, "cik": "882095"}),
        ("OK", {**GILD, "nmae": "x"}),
        ("OK", {**GILD, "name": "  "}),
    ):
        answer = backend.call("PUT", f"companies/{company_id}", json=body)
        assert answer.status_code == 422, (company_id, body)
    assert [company["id"] for company in backend.all("companies")] == ["GILD"]


def test_filters(backend: RunningBackend) -> None:
    """Status, priority and time of change narrow the list."""
    backend.add_company("MRNA", priority="high")
    backend.clock.advance(days=1)
    backend.add_company("PFE", status="paused")

    def ids(**filters: str) -> list[str]:
        return [company["id"] for company in backend.all("companies", **filters)]

    assert ids() == ["GILD", "MRNA", "PFE"]
    assert ids(status="active") == ["GILD", "MRNA"]
    assert ids(priority="high") == ["MRNA"]
    assert ids(updated_since="2026-03-02T12:00:00Z") == ["PFE"]


def test_paging_is_stable_under_change(backend: RunningBackend) -> None:
    """Rows added or changed between pages make none of the others come twice or not at all."""
    for number in range(10, 20):
        backend.add_company(f"C{number}")
    pages = backend.pages("companies", limit=4)
    first = next(pages)["items"]
    backend.add_company("A-new")
    backend.add_company("C15", name="Changed")
    rest = [item for page in pages for item in page["items"]]
    ids = [company["id"] for company in first + rest]
    assert ids == [*(f"C{number}" for number in range(10, 20)), "GILD"]
