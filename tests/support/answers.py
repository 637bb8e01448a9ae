"""Answers as docs/backend_api.md has them, to be changed where a test wants them wrong."""

from typing import Any


def company(company_id: str = "GILD", **changes: Any) -> dict[str, Any]:
    """Return one company as `GET /companies` lists it."""
    return {
        "id": company_id,
        "name": f"{company_id} Inc.",
        "ticker": company_id,
        "cik": None,
        "aliases": [],
        "priority": "medium",
        "analysis_frequency": "daily",
        "status": "active",
        **changes,
    }


def finding(**changes: Any) -> dict[str, Any]:
    """Return one finding of an analysis."""
    return {
        "story_id": "sec:0000882095-26-000003",
        "type": "sec_filing",
        "polarity": "neutral",
        "title": "Form 8-K",
        "description": "",
        "confidence": 1,
        "severity": "medium",
        "occurred_at": "2026-01-14T21:05:00Z",
        "url": "https://www.sec.gov/Archives/edgar/data/882095/000088209526000003/",
        "source": "replay",
        "evidence": {"form": "8-K"},
        **changes,
    }


def analysis(**changes: Any) -> dict[str, Any]:
    """Return one analysis that has succeeded."""
    return {
        "id": "42",
        "company_id": "GILD",
        "type": "daily",
        "attempt": 1,
        "status": "succeeded",
        "started_at": "2026-01-15T06:00:01Z",
        "finished_at": "2026-01-15T06:00:02.5Z",
        "sources": [
            {
                "name": "replay",
                "status": "ok",
                "fetched": 1,
                "as_of": "2026-01-15T00:00:00Z",
                "error": None,
            }
        ],
        "findings": [finding()],
        "significant": True,
        "risk": {"score": 12.5, "previous": None, "delta": None, "contributions": []},
        "error": None,
        "a_field_of_a_later_contract": 1,
        **changes,
    }


def page(*items: Any, next_cursor: str | None = None) -> dict[str, Any]:
    """Return one page of a list."""
    return {"items": list(items), "next_cursor": next_cursor}


def problem(status: int, **changes: Any) -> dict[str, Any]:
    """Return the body of an error."""
    return {
        "type": "about:blank",
        "title": "Not now",
        "status": status,
        "detail": "the database is being moved",
        "retryable": status >= 500,
        **changes,
    }
