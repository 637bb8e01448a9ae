"""Analyses: one per key, run in a bounded pool, waited for, listed, their risk kept."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.backend_app import RunningBackend, StartBackend, StubSource, filing
from support.polling import wait_until

from bionewsbot.backend import waiting
from bionewsbot.backend.sources.base import SourceError


def test_analysis_tells_what_was_found(backend: RunningBackend, source: StubSource) -> None:
    """An analysis has every field of the contract, with the source's as-of time."""
    source.records = (filing(),)
    done = backend.analyse()
    assert done["status"] == "succeeded"
    assert done["attempt"] == 1
    assert done["company_id"] == "GILD"
    assert done["scheduled_for"] == "2026-01-20T06:00:00Z"
    assert done["started_at"] == done["finished_at"] == "2026-03-01T12:00:00Z"
    assert done["sources"] == [
        {
            "name": "stub",
            "status": "ok",
            "fetched": 1,
            "as_of": "2026-01-31T23:59:59Z",
            "error": None,
        }
    ]
    (found,) = done["findings"]
    assert found["occurred_at"] == "2026-01-16T23:59:59Z"
    assert found["evidence"]["as_of"] == "2026-01-31"
    assert done["risk"]["previous"] is None
    assert done["error"] is None
    company, _ = source.asked[0]
    assert (company.id, company.cik, company.aliases) == ("GILD", "0000882095", ("Kite",))


def test_start_says_where(backend: RunningBackend) -> None:
    """A start is a 202 with the place of the analysis."""
    body = {"company_id": "GILD", "type": "daily", "scheduled_for": "2026-01-20T06:00:00Z"}
    answer = backend.post("analyses", body, "k")
    assert answer.status_code == 202
    assert answer.json().keys() == {"id", "status", "attempt"}
    assert answer.headers["Location"] == f"/api/v1/analyses/{answer.json()['id']}"


def test_unknown_company_is_permanent_with_a_mend(backend: RunningBackend) -> None:
    """An analysis of a company that isn't there is refused and leaves its key free."""
    body = {"company_id": "MRNA", "type": "daily", "scheduled_for": "2026-01-20T06:00:00Z"}
    answer = backend.post("analyses", body, "k")
    assert answer.status_code == 404
    assert answer.json()["retryable"] is False
    assert "companies sync" in answer.json()["detail"]
    backend.add_company("MRNA")
    assert backend.post("analyses", body, "k").status_code == 202


def test_key_is_required(backend: RunningBackend) -> None:
    """Without a key a second start couldn't be told from a first one."""
    body = {"company_id": "GILD", "type": "daily", "scheduled_for": "2026-01-20T06:00:00Z"}
    answer = backend.post("analyses", body)
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.json()["detail"]


def test_same_key_same_analysis(backend: RunningBackend, source: StubSource) -> None:
    """The same key and body give the same analysis, run once; another body is refused."""
    first = backend.analyse("k")
    assert backend.start_analysis("k")["id"] == first["id"]
    # The same instant, written otherwise, is the same body.
    same = backend.start_analysis("k", scheduled_for="2026-01-20T07:00:00+01:00")
    assert same == {"id": first["id"], "status": "succeeded", "attempt": 1}
    other = {"company_id": "GILD", "type": "quick_scan", "scheduled_for": "2026-01-20T06:00:00Z"}
    refused = backend.post("analyses", other, "k")
    assert refused.status_code == 422
    assert refused.json()["type"].endswith("key-reused")
    assert backend.start_analysis("other")["id"] != first["id"]
    assert len(backend.all("analyses")) == 2


def test_concurrent_starts_make_one_row(backend: RunningBackend, source: StubSource) -> None:
    """Sixteen starts of one key at the same instant make one analysis, run once."""
    source.gate.clear()
    barrier = threading.Barrier(16)

    def start(_: int) -> Any:
        barrier.wait()
        return backend.start_analysis("k")["id"]

    with ThreadPoolExecutor(16) as pool:
        ids = set(pool.map(start, range(16)))
    source.gate.set()
    assert len(ids) == 1
    backend.get(f"analyses/{ids.pop()}", wait=20)
    assert len(backend.all("analyses")) == 1
    assert len(source.asked) == 1


def test_key_is_kept_for_90_days(backend: RunningBackend) -> None:
    """A key stands for its analysis for 90 days, then for a new one."""
    first = backend.analyse("k")
    backend.clock.advance(days=90, seconds=-1)
    assert backend.start_analysis("k")["id"] == first["id"]
    backend.clock.advance(seconds=1)
    assert backend.start_analysis("k")["id"] != first["id"]


def test_failed_analysis_starts_again_under_its_key(
    backend: RunningBackend, source: StubSource
) -> None:
    """Where every source failed, the key starts the same analysis once more."""
    source.error = SourceError("registry is away")
    first = backend.analyse("k")
    assert first["status"] == "failed"
    assert first["error"]["retryable"] is True
    assert "registry is away" in first["error"]["message"]
    assert first["sources"][0] | {"status": "failed", "as_of": None} == first["sources"][0]
    assert backend.all("companies/GILD/risk") == []
    source.error = None
    again = backend.start_analysis("k")
    assert (again["id"], again["attempt"]) == (first["id"], 2)
    second = backend.get(f"analyses/{first['id']}", wait=20)
    assert (second["status"], second["attempt"], second["error"]) == ("succeeded", 2, None)


def test_one_failed_source_makes_it_partial(
    start_backend: StartBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """A source that fails, by its word or by a bug, is named beside what the others found."""
    good, bad, buggy = StubSource("good"), StubSource("bad"), StubSource("buggy")
    good.records = (filing(),)
    bad.error, buggy.error = SourceError("away"), ZeroDivisionError("bug")
    backend = start_backend(bad, good, buggy)
    backend.add_company()
    done = backend.analyse()
    assert done["status"] == "partial"
    assert [source["status"] for source in done["sources"]] == ["failed", "ok", "failed"]
    assert len(done["findings"]) == 1
    (point,) = backend.all("companies/GILD/risk")
    assert point["partial"] is True
    assert "source_crashed" in {record.getMessage() for record in caplog.records}


def test_bug_in_the_rules_fails_the_analysis(
    backend: RunningBackend, source: StubSource, caplog: pytest.LogCaptureFixture
) -> None:
    """A record that no rule knows fails the analysis, retryably, and the log says why."""
    record = filing()
    object.__setattr__(record, "kind", "gossip")
    source.records = (record,)
    done = backend.analyse()
    assert done["error"]["code"] == "analysis_crashed"
    assert "gossip" in done["error"]["message"]
    assert done["error"]["retryable"] is True
    assert "analysis_crashed" in {entry.getMessage() for entry in caplog.records}


def test_window_derives_from_the_schedule(backend: RunningBackend, source: StubSource) -> None:
    """Daily looks at 7 days, the quick scan at 2, up to the scheduled time and not to now."""
    backend.analyse("a")
    backend.analyse("b", type="quick_scan")
    daily, quick = (window for _, window in source.asked)
    assert daily.end.isoformat() == quick.end.isoformat() == "2026-01-20T06:00:00+00:00"
    assert (daily.end - daily.start).days == 7
    assert (quick.end - quick.start).days == 2


def test_wait_holds_the_answer_until_the_end(
    backend: RunningBackend, source: StubSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long poll is answered when the analysis ends, before its time is over."""
    # No caller looks by itself meanwhile.
    monkeypatch.setattr(waiting, "RECHECK", 3600)
    source.gate.clear()
    started = backend.start_analysis()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: backend.get(f"analyses/{started['id']}", wait=25))
        wait_until(lambda: backend.services.waiters._events, "the caller waits")
        assert not answer.done()
        began = time.monotonic()
        source.gate.set()
        assert answer.result()["status"] == "succeeded"
        assert time.monotonic() - began < 20


def test_wait_ends_with_its_time(backend: RunningBackend, source: StubSource) -> None:
    """A long poll is answered with the state of the moment when its time is over."""
    source.gate.clear()
    started = backend.start_analysis()
    assert backend.get(f"analyses/{started['id']}", wait=0.3)["status"] == "running"
    source.gate.set()


def test_waiting_holds_neither_thread_nor_connection(
    backend: RunningBackend, source: StubSource
) -> None:
    """With more callers waiting than there are threads or connections, others are served."""
    source.gate.clear()
    started = backend.start_analysis()
    callers = 60
    with ThreadPoolExecutor(callers) as pool:
        answers = [
            pool.submit(lambda: backend.get(f"analyses/{started['id']}", wait=25))
            for _ in range(callers)
        ]
        events = backend.services.waiters._events
        wait_until(lambda: len(events.get(started["id"], ())) == callers, "all wait")
        wait_until(
            lambda: backend.database._engine.pool.checkedout() == 0,  # type: ignore[attr-defined]
            "no connection is held",
        )
        assert backend.get("/readyz") == {"status": "ok"}
        assert not any(answer.done() for answer in answers)
        source.gate.set()
        assert {answer.result()["status"] for answer in answers} == {"succeeded"}


def test_pool_is_bounded(start_backend: StartBackend) -> None:
    """Never more analyses at once than configured, and all of them in the end."""
    source = StubSource()
    source.gate.clear()
    backend = start_backend(source, analysis_concurrency=3)
    backend.add_company()
    started = [backend.start_analysis(f"k{number}") for number in range(9)]
    wait_until(lambda: len(source.asked) == 3, "the pool is full")
    source.gate.set()
    for each in started:
        assert backend.get(f"analyses/{each['id']}", wait=20)["status"] == "succeeded"
    assert source.most_at_once == 3


def test_shutdown_answers_who_waits(start_backend: StartBackend) -> None:
    """A long poll doesn't hold up a stop; what was queued is resumed at the next start."""
    source = StubSource()
    source.gate.clear()
    backend = start_backend(source, analysis_concurrency=1)
    backend.add_company()
    running, queued = backend.start_analysis("a"), backend.start_analysis("b")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: backend.get(f"analyses/{queued['id']}", wait=25))
        wait_until(lambda: backend.services.waiters._events, "the caller waits")
        began = time.monotonic()
        backend.services.waiters.close()
        assert answer.result()["status"] == "queued"
        assert time.monotonic() - began < 20
    wait_until(lambda: len(source.asked) == 1, "the first one runs")
    # The stop waits for the one that runs; the other one is no longer begun.
    backend.services.analyses._pool.shutdown(wait=False, cancel_futures=True)
    source.gate.set()
    backend.get(f"analyses/{running['id']}")
    following = StubSource()
    next_backend = start_backend(following)
    done = next_backend.get(f"analyses/{queued['id']}", wait=20)
    assert (done["status"], done["attempt"]) == ("succeeded", 1)
    assert next_backend.get(f"analyses/{running['id']}", wait=20)["status"] == "succeeded"
    assert len(next_backend.all("companies/GILD/risk")) == 2


def test_lists_filter_by_scheduled_time(backend: RunningBackend, source: StubSource) -> None:
    """Company, status and time narrow the list, `since` included and `before` not."""
    backend.add_company("MRNA")
    ids = {
        day: backend.analyse(f"k{day}", scheduled_for=f"2026-01-{day}T06:00:00Z")["id"]
        for day in (10, 11, 12)
    }
    source.error = SourceError("away")
    failed = backend.analyse("m", company_id="MRNA", scheduled_for="2026-01-11T06:00:00Z")["id"]

    def listed(**filters: str) -> list[str]:
        return [item["id"] for item in backend.all("analyses", limit=2, **filters)]

    assert listed()[0] == ids[12]
    assert set(listed()) == {*ids.values(), failed}
    assert listed(company_id="GILD") == [ids[12], ids[11], ids[10]]
    assert listed(status="failed") == [failed]
    span = {"since": "2026-01-10T06:00:00Z", "before": "2026-01-11T06:00:00Z"}
    assert listed(**span) == [ids[10]]


def test_risk_history_compares_like_with_like(backend: RunningBackend, source: StubSource) -> None:
    """`previous` is the score of the same type's last analysis before, by scheduled time."""
    source.records = (filing("NT 10-K"),)
    third = backend.analyse("c", scheduled_for="2026-01-22T06:00:00Z")
    source.records = ()
    first = backend.analyse("a", scheduled_for="2026-01-20T06:00:00Z")
    quick = backend.analyse("q", type="quick_scan", scheduled_for="2026-01-21T06:00:00Z")
    second = backend.analyse("b", scheduled_for="2026-01-21T06:00:00Z")
    assert first["risk"]["previous"] is None
    assert third["risk"]["previous"] is None
    assert quick["risk"]["previous"] is None
    assert second["risk"]["previous"] == first["risk"]["score"]
    history = backend.all("companies/GILD/risk", limit=2)
    assert [point["at"][8:10] for point in history] == ["22", "21", "21", "20"]
    assert history[0] | third["risk"] == history[0]
    assert history[0]["analysis_id"] == third["id"]
    before = backend.all(
        "companies/GILD/risk", since="2026-01-20T06:00:00Z", before="2026-01-21T06:00:00Z"
    )
    assert [point["analysis_id"] for point in before] == [first["id"]]


def test_unstored_analysis_is_taken_up_by_its_key(
    backend: RunningBackend, source: StubSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the database failed at the end, a second start under the key runs it again."""
    runner = backend.services.analyses

    def full_disk(*_: Any) -> bool:
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(runner, "_store", full_disk)
        started = backend.start_analysis("k")
        wait_until(lambda: source.asked and not runner._in_hand, "the attempt is over")
    assert backend.get(f"analyses/{started['id']}")["status"] == "running"
    assert backend.start_analysis("k") == {**started, "status": "running"}
    assert backend.get(f"analyses/{started['id']}", wait=20)["status"] == "succeeded"
