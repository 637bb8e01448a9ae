"""What the client's calls for reports send and make of answers, on a real server."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from support.answers import analysis, page, problem
from support.faulty_backend import FaultyBackend, Reply

from bionewsbot.api.client import BackendClient
from bionewsbot.api.models import Stored
from bionewsbot.errors import BackendRefused, CollectionMissing, MalformedAnswer

START, END = datetime(2026, 1, 19, tzinfo=UTC), datetime(2026, 1, 26, tzinfo=UTC)
SPAN = {"since": ["2026-01-19T00:00:00Z"], "before": ["2026-01-26T00:00:00Z"], "limit": ["500"]}
RISK = "/api/v1/companies/GILD/risk"
REPORT = "/api/v1/reports/weekly/2026-W04"


@pytest.fixture
def client(faulty_backend: FaultyBackend) -> Iterator[BackendClient]:
    """Yield a client of the server."""
    with BackendClient(faulty_backend.url, timeout=5) as client:
        yield client


def point(**changes: Any) -> dict[str, Any]:
    """Return one point of a company's risk."""
    return {
        "analysis_id": "1",
        "company_id": "GILD",
        "analysis_type": "daily",
        "at": "2026-01-20T06:00:00Z",
        "score": 55.5,
        "previous": None,
        "delta": None,
        "contributions": [{"story_id": "s", "type": "t", "points": 5.5}],
        "partial": False,
        **changes,
    }


def stored(**changes: Any) -> dict[str, Any]:
    """Return one report as the backend lists it."""
    return {
        "id": "r1",
        "type": "weekly",
        "period": "2026-W04",
        "etag": "ab" * 32,
        "content": {"schema_version": 1, "n": 0.5, "list": [None]},
        "created_at": "2026-01-26T08:00:00Z",
        "updated_at": "2026-01-26T08:00:00Z",
        **changes,
    }


def test_analyses_of_a_week(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """Those of one company, over all pages."""
    faulty_backend.on(
        "GET",
        "/api/v1/analyses",
        Reply(body=page(analysis(), next_cursor="c")),
        Reply(body=page(analysis(id="43"))),
    )
    found = list(client.analyses(company_id="GILD", since=START, before=END))
    assert [one.id for one in found] == ["42", "43"]
    asked = {"company_id": ["GILD"], **SPAN}
    assert [one.query for one in faulty_backend.received] == [asked, {**asked, "cursor": ["c"]}]


def test_risk_of_a_week(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """Score, time, what it is made of, and whether a source had failed."""
    faulty_backend.on("GET", RISK, Reply(body=page(point(partial=True))))
    (found,) = client.risk("GILD", since=START, before=END)
    assert (found.score, found.partial, found.at.hour) == (55.5, True, 6)
    assert found.contributions == [{"story_id": "s", "type": "t", "points": 5.5}]
    assert faulty_backend.received[0].query == SPAN


@pytest.mark.parametrize("status", [404, 501])
def test_risk_of_a_backend_without_companies(
    client: BackendClient, faulty_backend: FaultyBackend, status: int
) -> None:
    """It keeps none."""
    faulty_backend.on("GET", RISK, Reply(status, problem(status)))
    with pytest.raises(CollectionMissing):
        list(client.risk("GILD"))


def test_malformed_risk_is_told(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """By the place in the answer."""
    faulty_backend.on("GET", RISK, Reply(body=page(point(score="high"))))
    with pytest.raises(MalformedAnswer, match="items.0.score"):
        list(client.risk("GILD"))


def test_reports_come_a_few_at_a_time(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """Each may have megabytes; the next page is asked for only when it is wanted."""
    older = stored(period="2026-W03")
    faulty_backend.on(
        "GET",
        "/api/v1/reports",
        Reply(body=page(stored(), next_cursor="c")),
        Reply(body=page(older)),
    )
    found = client.reports(type="weekly")
    assert next(found).content == stored()["content"]
    assert len(faulty_backend.received) == 1
    assert [one.period for one in found] == ["2026-W03"]
    assert faulty_backend.received[0].query == {"type": ["weekly"], "limit": ["5"]}


@pytest.mark.parametrize(("status", "created"), [(201, True), (200, False)])
def test_a_report_is_put(
    client: BackendClient, faulty_backend: FaultyBackend, status: int, created: bool
) -> None:
    """As it is, without a condition; the answer says whether it is new."""
    faulty_backend.on("PUT", REPORT, Reply(status, stored()))
    done = client.put_report("weekly", "2026-W04", b'{"n": 1}')
    assert done == Stored(id="r1", created=created)
    (request,) = faulty_backend.received
    assert request.body == {"n": 1} and "If-Match" not in request.headers


def test_another_report_is_replaced_by_its_etag(
    client: BackendClient, faulty_backend: FaultyBackend
) -> None:
    """The refusal names it, in the form in which If-Match takes it."""
    other = Reply(428, problem(428), headers={"ETag": '"abc"'})
    faulty_backend.on("PUT", REPORT, other, Reply(200, stored()))
    with pytest.raises(BackendRefused) as refused:
        client.put_report("weekly", "2026-W04", b"{}")
    assert (refused.value.status, refused.value.etag) == (428, '"abc"')
    client.put_report("weekly", "2026-W04", b"{}", if_match=refused.value.etag)
    assert faulty_backend.received[1].headers["If-Match"] == '"abc"'
