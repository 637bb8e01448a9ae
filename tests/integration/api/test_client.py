"""What the client's calls send and make of good and malformed answers, on a real server."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from support.answers import analysis, company, finding, page, problem
from support.faulty_backend import FaultyBackend, Reply

from bionewsbot import settings
from bionewsbot.api.client import BackendClient
from bionewsbot.api.models import Analysis, NewAlert, NewInsight, Stored
from bionewsbot.companies import Company
from bionewsbot.errors import (
    BackendRefused,
    BackendUnavailable,
    CollectionMissing,
    MalformedAnswer,
    NotYet,
)

COMPANIES = "/api/v1/companies"
ANALYSIS = "/api/v1/analyses/42"


@pytest.fixture
def client(faulty_backend: FaultyBackend) -> Iterator[BackendClient]:
    """Yield a client of the server."""
    with BackendClient(faulty_backend.url, timeout=5) as client:
        yield client


def test_companies_of_all_pages(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """The listing follows the cursors, with the same filter on each page."""
    faulty_backend.on(
        "GET",
        COMPANIES,
        Reply(body=page(company("GILD"), next_cursor="a b&c")),
        Reply(body=page(next_cursor="d")),
        Reply(body=page(company("MRNA", priority="high"))),
    )
    found = list(client.companies(priority="high"))
    assert [type(item) for item in found] == [Company, Company]
    assert [(item.id, item.priority) for item in found] == [("GILD", "medium"), ("MRNA", "high")]
    asked = {"status": ["active"], "priority": ["high"], "limit": ["500"]}
    assert [request.query for request in faulty_backend.received] == [
        asked,
        {**asked, "cursor": ["a b&c"]},
        {**asked, "cursor": ["d"]},
    ]


def test_companies_of_any_status(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """None asks for companies of any status."""
    faulty_backend.on("GET", COMPANIES, Reply(body=page()))
    assert list(client.companies(status=None)) == []
    assert faulty_backend.received[0].query == {"limit": ["500"]}


@pytest.mark.parametrize("cursors", [["a", "a"], ["a", "b", "a"]])
def test_cursor_that_repeats(
    client: BackendClient, faulty_backend: FaultyBackend, cursors: list[str]
) -> None:
    """A backend that sends the listing in circles is stopped."""
    pages = [Reply(body=page(company(), next_cursor=cursor)) for cursor in cursors]
    faulty_backend.on("GET", COMPANIES, *pages)
    with pytest.raises(MalformedAnswer, match="next_cursor: 'a' came before"):
        list(client.companies())
    assert len(faulty_backend.received) == len(cursors)


@pytest.mark.parametrize("status", [404, 501])
def test_backend_without_companies(
    client: BackendClient, faulty_backend: FaultyBackend, status: int
) -> None:
    """404 or 501 on the collection says that the backend doesn't serve it."""
    faulty_backend.on("GET", COMPANIES, Reply(status, problem(status)))
    with pytest.raises(CollectionMissing, match=f"GET {COMPANIES}: {status} "):
        list(client.companies())


@pytest.mark.parametrize(("status", "error"), [(404, BackendRefused), (501, BackendUnavailable)])
def test_collection_that_vanishes_between_pages(
    client: BackendClient, faulty_backend: FaultyBackend, status: int, error: type[Exception]
) -> None:
    """After a first page the collection is there, so a later 404 is an error, not its absence."""
    faulty_backend.on(
        "GET",
        COMPANIES,
        Reply(body=page(company(), next_cursor="a")),
        Reply(status, problem(status)),
    )
    with pytest.raises(error):
        list(client.companies())


@pytest.mark.parametrize("status", [401, 500])
def test_other_errors_do_not_hide_the_collection(
    client: BackendClient, faulty_backend: FaultyBackend, status: int
) -> None:
    """A wrong key or an outage never looks like a backend without companies."""
    faulty_backend.on("GET", COMPANIES, Reply(status, problem(status)))
    with pytest.raises((BackendRefused, BackendUnavailable)):
        list(client.companies())


def test_put_company(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """A company is put at its id, with all its other fields."""
    faulty_backend.on("PUT", f"{COMPANIES}/BRK.B", Reply(201, {}))
    client.put_company(Company(id="BRK.B", name="Ünïcode", cik="0000000001", aliases=("x",)))
    assert faulty_backend.received[0].body == {
        "name": "Ünïcode",
        "ticker": None,
        "cik": "0000000001",
        "aliases": ["x"],
        "priority": "medium",
        "analysis_frequency": "daily",
        "status": "active",
    }
    assert faulty_backend.received[0].headers["Content-Type"] == "application/json"


def test_start_analysis(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """A start sends the scheduled time in UTC and the key, and returns which analysis it is."""
    answer = {"id": "42", "status": "queued", "attempt": 2}
    faulty_backend.on("POST", "/api/v1/analyses", Reply(202, answer))
    started = client.start_analysis(
        company_id="GILD",
        type="quick_scan",
        scheduled_for=datetime(2026, 1, 15, 7, tzinfo=timezone(timedelta(hours=1))),
        idempotency_key="entry@time/GILD",
    )
    assert (started.id, started.status, started.attempt) == ("42", "queued", 2)
    request = faulty_backend.received[0]
    assert request.headers["Idempotency-Key"] == "entry@time/GILD"
    assert request.body == {
        "company_id": "GILD",
        "type": "quick_scan",
        "scheduled_for": "2026-01-15T06:00:00Z",
    }


def test_analysis(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """An analysis is typed, its times are UTC, and fields of a later contract are ignored."""
    faulty_backend.on("GET", ANALYSIS, Reply(body=analysis()))
    found = client.analysis("42", wait=25)
    assert found.ended
    assert found.finished_at == datetime(2026, 1, 15, 6, 0, 2, 500_000, tzinfo=UTC)
    assert found.findings[0].severity == "medium"
    assert faulty_backend.received[0].query == {"wait": ["25"]}


def test_analysis_id_is_quoted(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """An id with a slash stays one step of the path."""
    faulty_backend.on("GET", "/api/v1/analyses/a%2Fb%3Fc", Reply(body=analysis(id="a/b?c")))
    assert client.analysis("a/b?c").id == "a/b?c"


@pytest.mark.parametrize("wait", [-1, 25.5])
def test_wait_beyond_the_contract(client: BackendClient, wait: float) -> None:
    """A longer wait than the contract allows is the caller's mistake."""
    with pytest.raises(ValueError, match="from 0 to 25"):
        client.analysis("42", wait=wait)


def test_long_poll_outlasts_the_time_out(faulty_backend: FaultyBackend) -> None:
    """The read time-out of a long poll is its wait and the time-out together."""
    faulty_backend.on("GET", ANALYSIS, Reply(silent=True))
    with BackendClient(faulty_backend.url, timeout=0.1) as client:
        with pytest.raises(BackendUnavailable, match="no answer within 0.4 s"):
            client.analysis("42", wait=0.3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            analysis(findings=[finding(), finding(severity="grave")]),
            "findings.1.severity: 'grave' is not one of low, medium, high, critical",
        ),
        (analysis(findings=[finding(confidence=1.5)]), "findings.0.confidence: 1.5 is wrong"),
        (analysis(findings=[finding(occurred_at="2026-01-15")]), "findings.0.occurred_at: "),
        (
            analysis(findings=[finding(occurred_at="2026-01-15T06:00:00")]),
            "findings.0.occurred_at: '2026-01-15T06:00:00' is wrong",
        ),
        (analysis(started_at=1768456801), "started_at: 1768456801 is wrong"),
        (analysis(significant="yes"), "significant: 'yes' is wrong"),
        (analysis(attempt=0), "attempt: 0 is wrong"),
        (analysis(id=""), "id: is empty"),
        (analysis(id=42), "id: 42 is not text"),
        (analysis(sources=None), "sources: None is not a list"),
        (analysis(status="failed"), "status is failed, but error is null"),
        ({key: value for key, value in analysis().items() if key != "findings"}, "findings: is m"),
        ([analysis()], "is wrong"),
        (b'{"id": NaN}', "id: "),
        (
            analysis(findings=[finding(severity="x")] * 7),
            "findings.4.severity: 'x' is not one of low, medium, high, critical; and 2 more",
        ),
    ],
)
def test_malformed_analysis(
    client: BackendClient, faulty_backend: FaultyBackend, wrong: object, said: str
) -> None:
    """A wrong or missing field is named with method, path and place."""
    faulty_backend.on("GET", ANALYSIS, Reply(body=wrong))
    with pytest.raises(MalformedAnswer) as raised:
        client.analysis("42")
    assert str(raised.value).startswith(f"GET {ANALYSIS}: ")
    assert said in str(raised.value)


@pytest.mark.parametrize("field", sorted(company()))
def test_company_with_a_gap(
    client: BackendClient, faulty_backend: FaultyBackend, field: str
) -> None:
    """No default hides a field that the backend left out of a company."""
    gap = {key: value for key, value in company().items() if key != field}
    faulty_backend.on("GET", COMPANIES, Reply(body=page(company(), gap)))
    with pytest.raises(MalformedAnswer, match=f"GET {COMPANIES}: items.1.{field}: is missing"):
        list(client.companies())


def test_page_without_its_frame(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """A page that doesn't say whether there is another one is malformed."""
    faulty_backend.on("GET", COMPANIES, Reply(body={"items": []}))
    with pytest.raises(MalformedAnswer, match="next_cursor: is missing"):
        list(client.companies())


@pytest.mark.parametrize(("status", "created"), [(201, True), (200, False)])
def test_store_insight(
    client: BackendClient, faulty_backend: FaultyBackend, status: int, created: bool
) -> None:
    """An insight is sent with all its finding's fields; 201 says that it is new."""
    faulty_backend.on("POST", "/api/v1/insights", Reply(status, {"id": "i1"}))
    insight = NewInsight.of(Analysis.model_validate(analysis()), _finding())
    assert client.store_insight(insight, idempotency_key="k") == Stored(id="i1", created=created)
    expected = {**finding(), "company_id": "GILD", "analysis_id": "42"}
    assert faulty_backend.received[0].body == expected
    assert faulty_backend.received[0].headers["Idempotency-Key"] == "k"


def test_store_alert(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """An alert is sent with its finding's fields except the confidence."""
    faulty_backend.on("POST", "/api/v1/alerts", Reply(201, {"id": "a1"}))
    alert = NewAlert.of(Analysis.model_validate(analysis()), _finding())
    assert client.store_alert(alert, idempotency_key="k") == Stored(id="a1", created=True)
    expected = {**finding(), "company_id": "GILD", "analysis_id": "42"}
    del expected["confidence"]
    assert faulty_backend.received[0].body == expected
    assert faulty_backend.received[0].headers["Idempotency-Key"] == "k"


def test_read_insights_and_alerts(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """Both readers filter by company and time and follow the cursors."""
    stored = {**finding(), "id": "1", "company_id": "GILD", "analysis_id": "42"}
    alert = {**stored, "state": "open"}
    faulty_backend.on(
        "GET",
        "/api/v1/insights",
        Reply(body=page(stored, next_cursor="n")),
        Reply(body=page({**stored, "id": "2"})),
    )
    faulty_backend.on("GET", "/api/v1/alerts", Reply(body=page(alert)))
    since, before = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    insights = client.insights(company_id="GILD", since=since, before=before)
    assert [insight.id for insight in insights] == ["1", "2"]
    assert [alert.state for alert in client.alerts(state="open", since=since)] == ["open"]
    assert [request.query for request in faulty_backend.received[1:]] == [
        {
            "company_id": ["GILD"],
            "since": ["2026-01-01T00:00:00Z"],
            "before": ["2026-02-01T00:00:00Z"],
            "limit": ["500"],
            "cursor": ["n"],
        },
        {"state": ["open"], "since": ["2026-01-01T00:00:00Z"], "limit": ["500"]},
    ]


def test_ready(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """Readiness is asked without a word on the body; 503 is an error."""
    faulty_backend.on("GET", "/readyz", Reply(body=b"ok"), Reply(503, problem(503)))
    client.ready()
    with pytest.raises(BackendUnavailable):
        client.ready()


def test_headers_of_every_call(
    faulty_backend: FaultyBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call carries the key, whatever ~/.netrc says, and the request id of its moment."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password person\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    faulty_backend.on("GET", "/readyz", Reply(headers={"Set-Cookie": "a=b"}))
    ids = iter(["run-1", None, None])
    with BackendClient(faulty_backend.url, api_key="k1", request_id=lambda: next(ids)) as client:
        for _ in range(3):
            client.ready()
    sent = [request.headers for request in faulty_backend.received]
    assert [headers["Authorization"] for headers in sent] == ["Bearer k1"] * 3
    assert sent[0]["X-Request-ID"] == "run-1"
    assert len({headers["X-Request-ID"] for headers in sent}) == 3
    assert not any("Cookie" in headers for headers in sent)


def test_loopback_ignores_the_proxy(
    client: BackendClient, faulty_backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy for the internet doesn't come between the scheduler and its own machine."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    faulty_backend.on("GET", "/readyz", Reply())
    client.ready()


def test_from_settings(faulty_backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings give the address, prefix included, and the key."""
    monkeypatch.setenv("API_BASE_URL", f"{faulty_backend.url}/prefix/")
    monkeypatch.setenv("API_KEY", "k2")
    faulty_backend.on("GET", "/prefix/readyz", Reply())
    with BackendClient.from_settings(settings.load(Path("no-such-file"))) as client:
        client.ready()
    assert faulty_backend.received[0].headers["Authorization"] == "Bearer k2"


def test_threads_call_at_the_same_time(faulty_backend: FaultyBackend) -> None:
    """Eight threads' calls are inside the server together: it answers none before all are in."""
    threads = 8
    faulty_backend.on("GET", ANALYSIS, Reply(body=analysis(), meet=threading.Barrier(threads)))
    with (
        BackendClient(faulty_backend.url, timeout=15, pool_size=threads) as client,
        ThreadPoolExecutor(threads) as pool,
    ):
        rounds = 3
        for _ in range(rounds):
            found = list(pool.map(client.analysis, ["42"] * threads))
            assert [item.id for item in found] == ["42"] * threads
    assert len(faulty_backend.received) == rounds * threads
    assert faulty_backend.connections == threads


def test_pool_has_its_bound(faulty_backend: FaultyBackend) -> None:
    """More threads than connections wait for one another and open none in addition."""
    faulty_backend.on("GET", ANALYSIS, Reply(body=analysis()))
    with (
        BackendClient(faulty_backend.url, timeout=15, pool_size=2) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(client.analysis, ["42"] * 40))
    assert faulty_backend.connections <= 2


def _finding() -> object:
    return Analysis.model_validate(analysis()).findings[0]


JOB = {"id": "7", "status": "running", "result": None, "error": None}


def test_maintenance_is_started_and_awaited(
    client: BackendClient, faulty_backend: FaultyBackend
) -> None:
    """With the tables that are named, or none, under its key; then by a long poll."""
    faulty_backend.on("POST", "/api/v1/maintenance", Reply(202, JOB), Reply(202, JOB))
    faulty_backend.on(
        "GET", "/api/v1/maintenance/7", Reply(body={**JOB, "status": "succeeded", "result": {}})
    )
    assert not client.start_maintenance("reindex", tables=["a"], idempotency_key="k").ended
    client.start_maintenance("orphans", tables=None, idempotency_key="o")
    assert client.maintenance("7", wait=5).ended
    first, second, third = faulty_backend.received
    assert first.body == {"kind": "reindex", "params": {"tables": ["a"]}}
    assert first.headers["Idempotency-Key"] == "k"
    assert second.body == {"kind": "orphans", "params": {}}
    assert third.query == {"wait": ["5"]}


def test_maintenance_waits_for_another_job_of_the_kind(
    client: BackendClient, faulty_backend: FaultyBackend
) -> None:
    """409: nothing was tried, so no attempt is used up; any other refusal is final."""
    faulty_backend.on(
        "POST", "/api/v1/maintenance", Reply(409, problem(409)), Reply(422, problem(422))
    )
    with pytest.raises(NotYet) as caught:
        client.start_maintenance("vacuum", tables=None, idempotency_key="k")
    assert caught.value.retry_after
    with pytest.raises(BackendRefused):
        client.start_maintenance("vacuum", tables=None, idempotency_key="k")
