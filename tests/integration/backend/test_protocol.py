"""What holds for every call: ids, errors, the key, lists, limits."""

import logging
from pathlib import Path
from typing import Any

import pytest
from support.backend_app import GILD, RunningBackend, StartBackend, StubSource, insight
from support.postgres import PostgresServer

WRONG_CALLS = [
    ("GET", "/nowhere", 404),
    ("GET", "nowhere", 404),
    ("DELETE", "companies", 405),
    ("GET", "analyses/none", 404),
    ("GET", "analyses/none?wait=26", 422),
    ("GET", "maintenance/none", 404),
    ("GET", "reports/none", 404),
    ("PATCH", "alerts/none", 422),
    ("GET", "companies/NONE/risk", 404),
    ("GET", "companies?limit=501", 422),
    ("GET", "companies?limit=0", 422),
    ("GET", "companies?cursor=nonsense", 422),
    ("GET", "companies?cursor=W10", 422),
    ("GET", "insights?since=1700000000", 422),
    ("GET", "insights?since=2026-01-01T00:00:00", 422),
    ("GET", "insights?since=0001-01-01T00:00:00Z", 422),
    ("GET", "alerts?state=lost", 422),
    ("GET", "export/companies", 422),
]


def problem(answer: Any, status: int) -> Any:
    """Return an answer's problem document after checking its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert {"type", "title", "detail", "retryable"} <= document.keys()
    assert document["retryable"] is (status in (408, 425, 429) or status >= 500)
    assert ("Retry-After" in answer.headers) is (status in (429, 503))
    return document


def test_request_id_is_echoed(backend: RunningBackend) -> None:
    """A caller's id comes back; a caller without one, or with an unfit one, gets one."""
    given = backend.call("GET", "companies", headers={"X-Request-ID": "run-1"})
    assert given.headers["X-Request-ID"] == "run-1"
    made = {
        backend.call("GET", "companies", headers=headers).headers["X-Request-ID"]
        for headers in ({}, {"X-Request-ID": "a b"}, {"X-Request-ID": "x" * 129})
    }
    assert len(made) == 3
    assert all(len(each) == 32 for each in made)


def test_errors_are_problem_documents(backend: RunningBackend) -> None:
    """Whatever is wrong with a call is said as RFC 9457 has it."""
    for method, path, status in WRONG_CALLS:
        problem(backend.call(method, path), status)
    # PostgreSQL has no such character, and SQLite no such analysis.
    nul = 404 if backend.database.is_sqlite else 422
    problem(backend.call("GET", "analyses/%00"), nul)


def test_invalid_body_names_the_place(backend: RunningBackend) -> None:
    """A wrong, missing or unknown field is named, and broken JSON is a problem document too."""
    body = insight(severity="grave", extra=1)
    del body["title"]
    document = problem(backend.post("insights", body), 422)
    assert {error["location"] for error in document["errors"]} == {
        "body.severity",
        "body.extra",
        "body.title",
    }
    assert "body.severity" in document["detail"]
    broken = backend.call(
        "POST", "insights", data=b'{"title', headers={"Content-Type": "application/json"}
    )
    problem(broken, 422)
    binary = backend.call(
        "POST", "insights", data=b"\xff\xfe", headers={"Content-Type": "application/json"}
    )
    problem(binary, 422)


@pytest.mark.parametrize("value", ["\ud800", "\x00", {"deep": ["\x00"]}])
def test_evidence_that_no_database_can_hold_is_refused(backend: RunningBackend, value: Any) -> None:
    """Half a character, or NUL, is refused; a backslash before `u0000` is just text."""
    problem(backend.post("insights", insight(evidence={"text": value})), 422)
    fine = backend.post("insights", insight(evidence={"text": "\\u0000"}))
    assert fine.status_code == 201
    assert fine.json()["evidence"] == {"text": "\\u0000"}


def test_key_guards_the_api(start_backend: StartBackend) -> None:
    """With a key set, /api needs it and the probes don't."""
    backend = start_backend(api_key="s3cret")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}):
        answer = backend.call("GET", "companies", headers=headers)
        problem(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "X-Request-ID" in answer.headers
    problem(backend.call("GET", "nowhere"), 401)
    right = backend.call("GET", "companies", headers={"Authorization": "Bearer s3cret"})
    assert right.status_code == 200
    assert backend.get("/livez") == backend.get("/readyz") == {"status": "ok"}


def test_crash_is_a_problem_document(
    start_backend: StartBackend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A bug answers 500 without its innards, and the log has the cause."""
    backend = start_backend()

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("innards")

    monkeypatch.setattr("bionewsbot.backend.routes.companies.companies.page", broken)
    answer = backend.call("GET", "companies", headers={"X-Request-ID": "run-7"})
    assert "innards" not in problem(answer, 500)["detail"]
    assert answer.headers["X-Request-ID"] == "run-7"
    (line,) = [record for record in caplog.records if record.getMessage() == "request_failed"]
    assert line.levelno == logging.ERROR
    assert "innards" in str(line.exc_info)


def test_busy_database_is_retryable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On SQLite a write that can't get its turn in time is a 503, and works later."""
    backend = RunningBackend(f"sqlite:///{tmp_path / 'b.db'}", (StubSource(),)).start()
    try:
        monkeypatch.setattr("bionewsbot.backend.storage.database.BUSY_TIMEOUT", 0.1)
        with backend.database.write():
            problem(backend.call("PUT", "companies/GILD", json=GILD), 503)
            assert backend.all("companies") == []
        assert backend.call("PUT", "companies/GILD", json=GILD).status_code == 201
    finally:
        backend.stop()


def test_lost_database_is_retryable(postgres_server: PostgresServer) -> None:
    """While PostgreSQL is away the backend lives but isn't ready, and recovers by itself."""
    backend = RunningBackend(postgres_server.new_database(), (StubSource(),)).start()
    try:
        backend.add_company()
        postgres_server.stop()
        for method, path in (("GET", "/readyz"), ("GET", "companies")):
            assert "database" in problem(backend.call(method, path), 503)["detail"]
        assert backend.get("/livez") == {"status": "ok"}
        postgres_server.start()
        assert backend.get("/readyz") == {"status": "ok"}
        assert len(backend.all("companies")) == 1
    finally:
        postgres_server.start()
        backend.stop()


def test_openapi_lists_every_call(backend: RunningBackend) -> None:
    """The published description has all calls of the contract, and its page is served."""
    paths = backend.get("/openapi.json")["paths"]
    calls = {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, methods in paths.items()
        for method in methods
    }
    assert calls == {
        "GET /livez",
        "GET /readyz",
        "GET /companies",
        "PUT /companies/{company_id}",
        "GET /companies/{company_id}/risk",
        "POST /analyses",
        "GET /analyses",
        "GET /analyses/{analysis_id}",
        "POST /insights",
        "GET /insights",
        "POST /alerts",
        "GET /alerts",
        "PATCH /alerts/{alert_id}",
        "PUT /reports/{report_type}/{period}",
        "GET /reports",
        "GET /reports/{report_id}",
        "DELETE /reports/{report_id}",
        "GET /export/{collection}",
        "POST /export/{collection}/delete",
        "POST /import/{collection}",
        "POST /maintenance",
        "GET /maintenance/{job_id}",
    }
    assert backend.call("GET", "/docs").status_code == 200
