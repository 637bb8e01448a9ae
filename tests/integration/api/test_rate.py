"""The limit around real HTTP calls, on a real Redis: breaker, outages, who is limited."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from limits import parse
from support.answers import analysis, company, page, problem
from support.call_windows import KEY, pass_time
from support.faulty_backend import FaultyBackend, Reply
from support.ledgers import Clock
from support.redis_server import RedisServer

from bionewsbot import settings as settings_module
from bionewsbot.api.breaker import Breaker
from bionewsbot.api.call_window import SharedWindow
from bionewsbot.api.circuit import Limits
from bionewsbot.api.client import BackendClient
from bionewsbot.api.models import NewAlert, NewInsight
from bionewsbot.api.rate import WAIT_TO_BEGIN, WAIT_TO_GO_ON, RateLimit
from bionewsbot.api.redis_watch import LOOK_AGAIN
from bionewsbot.api.shared_circuit import SharedCircuit
from bionewsbot.errors import BioNewsBotError, RateLimited

PATH = "/api/v1/analyses/42"
LIMIT = parse("5 per 50 seconds")
CIRCUIT = Limits(failures=3, share=100, min_calls=1000, window_seconds=60, open_seconds=30)
GOOD = Reply(body=analysis())
BAD = Reply(503, problem(503))
NOW = datetime(2026, 1, 15, 6, tzinfo=UTC)


@pytest.fixture
def configured(
    clean_redis: RedisServer, faulty_backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """Settings with the tests' Redis and backend."""
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", str(clean_redis.port))
    monkeypatch.setenv("API_BASE_URL", faulty_backend.url)
    return monkeypatch


def settings() -> settings_module.Settings:
    """Return the settings of the environment."""
    return settings_module.load(Path("no-such-file"))


class Worker:
    """A worker with a limit and a breaker, on a clock that its waits for room move on."""

    def __init__(self, server: RedisServer, url: str) -> None:
        self.clock = Clock(1_768_456_800.0)
        self.redis = server.client(1)
        self.circuit = SharedCircuit(server.client(1), CIRCUIT, clock=self.clock)
        self.waited = 0.0
        self.client = BackendClient(
            url,
            timeout=1,
            breaker=Breaker(self.circuit, CIRCUIT, clock=self.clock),
            rate=RateLimit(
                LIMIT,
                SharedWindow(self.redis, LIMIT),
                is_urgent=lambda: True,
                clock=self.clock,
                sleep=self.pass_time,
            ),
        )

    def pass_time(self, seconds: float) -> None:
        """Move on all clocks, that of Redis included."""
        self.waited += seconds
        self.clock.advance(seconds)
        pass_time(self.redis, seconds)

    def close(self) -> None:
        """Close all connections."""
        self.client.close()
        self.circuit.shut()
        self.redis.close()


@pytest.fixture
def worker(clean_redis: RedisServer, faulty_backend: FaultyBackend) -> Iterator[Worker]:
    """A worker on an empty Redis, whose backend answers well."""
    faulty_backend.on("GET", PATH, GOOD)
    worker = Worker(clean_redis, faulty_backend.url)
    yield worker
    worker.close()


def outcome(client: BackendClient) -> str:
    """Ask for an analysis; return the name of the error that it raised, or "done"."""
    try:
        client.analysis("42")
    except BioNewsBotError as error:
        return type(error).__name__
    return "done"


def start(client: BackendClient) -> None:
    """Make a call that begins some work, as a task's first one."""
    client.start_analysis(
        company_id="GILD", type="daily", scheduled_for=NOW, idempotency_key="run/GILD"
    )


def test_a_call_that_is_held_back_does_not_reach_the_backend(
    worker: Worker, faulty_backend: FaultyBackend
) -> None:
    """Nor the breaker: it counts neither as failure nor as success."""
    for _ in range(5):
        worker.client.analysis("42")
    before = worker.circuit.status()
    with pytest.raises(RateLimited, match="^POST /api/v1/analyses: not called") as refused:
        start(worker.client)
    assert refused.value.retry_after == pytest.approx(50, abs=25)
    assert (len(faulty_backend.received), worker.waited) == (5, 0)
    assert worker.circuit.status() == before and before.tally.calls == 5


def test_the_wait_is_none_of_the_calls_own_times(worker: Worker) -> None:
    """A call whose own time-out is one second waits in place for fifty."""
    assert [outcome(worker.client) for _ in range(6)] == ["done"] * 6
    assert worker.waited > 25


def test_the_trial_begins_after_the_wait(worker: Worker, faulty_backend: FaultyBackend) -> None:
    """The wait takes nothing from the trial's own time, and no trial is lost to it."""
    faulty_backend.on("GET", PATH, BAD, BAD, BAD, GOOD)
    assert [outcome(worker.client) for _ in range(3)] == ["BackendUnavailable"] * 3
    worker.clock.advance(CIRCUIT.open_seconds)
    for _ in range(2):
        worker.client._transport._rate.enter("GET /x", seconds=0)
    with pytest.raises(RateLimited):
        start(worker.client)
    status = worker.circuit.status()
    assert (status.state, status.trials) == ("half-open", 0)
    trials: list[float] = []
    admit = worker.circuit.admit
    worker.circuit.admit = lambda seconds: (  # type: ignore[method-assign]
        trials.append(worker.waited) or admit(seconds)
    )
    assert outcome(worker.client) == "done"
    assert trials == [worker.waited] and worker.waited > 25
    status = worker.circuit.status()
    assert (status.state, status.trials, status.closed) == ("closed", 1, 1)


def test_only_a_first_call_gives_up_soon(
    worker: Worker, faulty_backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that came back in its middle would make its earlier calls again."""
    asked: list[tuple[str, float]] = []
    found = worker.client.analysis("42")
    monkeypatch.setattr(
        RateLimit, "enter", lambda self, call, *, seconds: asked.append((call, seconds))
    )
    faulty_backend.on("POST", "/api/v1/analyses", Reply(202, analysis()))
    faulty_backend.on("POST", "/api/v1/insights", Reply(201, {"id": "1"}))
    faulty_backend.on("POST", "/api/v1/alerts", Reply(201, {"id": "1"}))
    pages = [Reply(body=page(company(), next_cursor=cursor)) for cursor in ("2", None)]
    faulty_backend.on("GET", "/api/v1/companies", *pages)
    list(worker.client.companies())
    start(worker.client)
    worker.client.analysis("42")
    worker.client.store_insight(NewInsight.of(found, found.findings[0]), idempotency_key="1")
    worker.client.store_alert(NewAlert.of(found, found.findings[0]), idempotency_key="2")
    assert asked == [
        ("GET /api/v1/companies", WAIT_TO_BEGIN),
        ("GET /api/v1/companies", WAIT_TO_GO_ON),
        ("POST /api/v1/analyses", WAIT_TO_BEGIN),
        (f"GET {PATH}", WAIT_TO_GO_ON),
        ("POST /api/v1/insights", WAIT_TO_GO_ON),
        ("POST /api/v1/alerts", WAIT_TO_GO_ON),
    ]


@pytest.mark.parametrize("fault", ["kill", "freeze", "full"])
def test_redis_away_and_back(
    configured: pytest.MonkeyPatch,
    clean_redis: RedisServer,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    """A process goes on with a window of its own, and then the shared one holds as it was."""
    configured.setenv("API_RATE_LIMIT", "6/day")
    rate = RateLimit.from_settings(settings(), is_urgent=lambda: True)
    assert rate is not None
    clock = Clock(0.0)
    rate._clock = rate._watch._clock = clock

    def enter() -> bool:
        try:
            rate.enter("GET /x", seconds=0)
        except RateLimited:
            return False
        return True

    assert [enter() for _ in range(3)] == [True] * 3
    if fault == "full":
        with clean_redis.client(1) as redis:
            redis.config_set("maxmemory", "1")
    else:
        getattr(clean_redis, fault)()
    try:
        assert [enter() for _ in range(7)] == [True] * 6 + [False]
    finally:
        clean_redis.thaw()
        clean_redis.start()
        with clean_redis.client(1) as redis:
            redis.config_set("maxmemory", "0")
    clock.advance(LOOK_AGAIN)
    # What a frozen Redis was asked it does when it goes on: that call is counted twice.
    counted_twice = fault == "freeze"
    assert 3 - counted_twice <= sum(enter() for _ in range(4)) <= 3
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [("WARNING", "rate_kept_locally"), ("WARNING", "rate_shared_again")]
    rate._shared._redis.close()


def test_a_workers_client_is_limited_as_the_settings_say(
    configured: pytest.MonkeyPatch, clean_redis: RedisServer, faulty_backend: FaultyBackend
) -> None:
    """Urgent calls to the last one, others to their share; an operator's client not at all."""
    configured.setenv("API_RATE_LIMIT", "5/day")
    faulty_backend.on("GET", PATH, GOOD)
    urgent = False
    with BackendClient.from_settings(settings(), is_urgent=lambda: urgent) as client:
        assert [outcome(client) for _ in range(5)] == ["done"] * 4 + ["RateLimited"]
        urgent = True
        assert [outcome(client) for _ in range(2)] == ["done", "RateLimited"]
    with BackendClient.from_settings(settings(), guarded=False) as free:
        assert outcome(free) == "done"


def test_without_a_limit_there_is_no_cost(
    configured: pytest.MonkeyPatch, clean_redis: RedisServer, faulty_backend: FaultyBackend
) -> None:
    """The breaker's two round trips are all that Redis sees of a call."""
    faulty_backend.on("GET", PATH, GOOD)
    with (
        BackendClient.from_settings(settings()) as client,
        clean_redis.client(1) as redis,
    ):
        assert outcome(client) == "done"
        redis.config_resetstat()
        assert outcome(client) == "done"
        assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] == 2
        assert not redis.exists(KEY)
