"""The breaker around real HTTP calls, on a real Redis: outcomes, threads, workers, outages."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.answers import analysis, problem
from support.faulty_backend import FaultyBackend, Reply
from support.ledgers import Clock
from support.polling import PATIENCE, wait_until
from support.ports import free_port
from support.redis_server import RedisServer

from bionewsbot import settings as settings_module
from bionewsbot.api.breaker import Breaker
from bionewsbot.api.circuit import Limits
from bionewsbot.api.client import BackendClient
from bionewsbot.api.redis_watch import LOOK_AGAIN
from bionewsbot.api.shared_circuit import SharedCircuit
from bionewsbot.api.transport import CONNECT_TIMEOUT, TRIAL_MARGIN
from bionewsbot.errors import BackendUnavailable, BioNewsBotError, CircuitOpen

PATH = "/api/v1/analyses/42"
LIMITS = Limits(failures=3, share=100, min_calls=1000, window_seconds=60, open_seconds=30)
GOOD = Reply(body=analysis())
BAD = Reply(503, problem(503))


class Workers:
    """Workers as processes have them: each with a client, a breaker and connections of its own."""

    def __init__(self, server: RedisServer, url: str, clock: Clock) -> None:
        self.clock = clock
        self._server = server
        self._url = url
        self._close: list[Callable[[], None]] = []
        self.circuit = self._circuit()

    def _circuit(self) -> SharedCircuit:
        settings = settings_module.load(Path("no-such-file"))
        circuit = SharedCircuit.from_settings(settings)
        circuit._limits, circuit._clock = LIMITS, self.clock
        self._close.append(circuit.shut)
        return circuit

    def new(self, timeout: float = 15) -> BackendClient:
        """Return another worker's client."""
        breaker = Breaker(self._circuit(), LIMITS, clock=self.clock)
        client = BackendClient(self._url, timeout=timeout, pool_size=5, breaker=breaker)
        self._close.append(client.close)
        return client

    def close(self) -> None:
        """Close all connections."""
        for close in self._close:
            close()


@pytest.fixture
def workers(
    clean_redis: RedisServer, faulty_backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workers]:
    """Workers on an empty Redis and one backend, with one clock that stands still."""
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", str(clean_redis.port))
    workers = Workers(clean_redis, faulty_backend.url, Clock(1_768_456_800.0))
    yield workers
    workers.close()


def outcome(client: BackendClient) -> str:
    """Make a call; return the name of the error that it raised, or "done"."""
    try:
        client.analysis("42")
    except BioNewsBotError as error:
        return type(error).__name__
    return "done"


def opened(workers: Workers, faulty_backend: FaultyBackend) -> BackendClient:
    """Open the circuit by failing calls; return the client that made them."""
    client = workers.new()
    faulty_backend.on("GET", PATH, BAD)
    assert [outcome(client) for _ in range(4)] == ["BackendUnavailable"] * 3 + ["CircuitOpen"]
    return client


@pytest.mark.parametrize(
    ("reply", "counts"),
    [
        (GOOD, (1, 0)),
        (Reply(500, problem(500)), (1, 1)),
        (BAD, (1, 1)),
        (Reply(408), (1, 1)),
        (Reply(425), (1, 1)),
        (Reply(429, problem(429), headers={"Retry-After": "1"}), (1, 1)),
        (Reply(silent=True), (1, 1)),
        (Reply(reset=True), (1, 1)),
        (Reply(trickle=True), (1, 1)),
        (Reply(body=analysis(), cut_after=20), (1, 1)),
        (Reply(body=b'{"id": "42", "sta'), (1, 1)),
        (Reply(body={"id": 42}), (1, 1)),
        (Reply(301, b"", headers={"Location": "/x"}), (0, 0)),
        *((Reply(status, problem(status)), (0, 0)) for status in (400, 401, 403, 404, 409, 422)),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else "",
)
def test_what_an_outcome_counts_as(
    workers: Workers, faulty_backend: FaultyBackend, reply: Reply, counts: tuple[int, int]
) -> None:
    """What may pass by itself is a failure; a refusal counts neither as failure nor as success."""
    faulty_backend.on("GET", PATH, reply)
    outcome(workers.new(timeout=0.3 if reply.silent or reply.trickle else 15))
    tally = workers.circuit.status().tally
    assert (tally.calls, tally.failed) == counts
    assert tally.in_row == counts[1]


def test_a_refused_connection_is_a_failure(workers: Workers) -> None:
    """Nobody listens: that counts."""
    workers._url = f"http://127.0.0.1:{free_port()}"
    assert outcome(workers.new()) == "BackendUnavailable"
    assert workers.circuit.status().tally.failed == 1


def test_a_refusal_ends_no_row(workers: Workers, faulty_backend: FaultyBackend) -> None:
    """Two failures, a 404, a failure: three in a row."""
    client = workers.new()
    faulty_backend.on("GET", PATH, BAD, BAD, Reply(404, problem(404)), BAD)
    for _ in range(4):
        outcome(client)
    assert outcome(client) == "CircuitOpen"


def test_all_workers_share_it(workers: Workers, faulty_backend: FaultyBackend) -> None:
    """What one worker's calls opened keeps another one's from the backend."""
    opened(workers, faulty_backend)
    calls = len(faulty_backend.received)
    with pytest.raises(CircuitOpen, match="GET /api/v1/analyses/42: not called") as refused:
        workers.new().analysis("42")
    assert refused.value.retry_after == pytest.approx(LIMITS.open_seconds, abs=0.01)
    assert len(faulty_backend.received) == calls


def test_calls_of_a_thread_pool_run_side_by_side(
    workers: Workers, faulty_backend: FaultyBackend
) -> None:
    """Five calls of five threads are at the backend at once: it answers none before all came."""
    client = workers.new()
    faulty_backend.on("GET", PATH, Reply(body=analysis(), meet=threading.Barrier(5)))
    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(lambda _: outcome(client), range(5))) == ["done"] * 5
    assert workers.circuit.status().tally.calls == 5


def test_one_call_of_one_worker_is_the_trial(
    workers: Workers, faulty_backend: FaultyBackend
) -> None:
    """Of twelve calls of four workers at the same moment one goes out, and closes it for all."""
    opened(workers, faulty_backend)
    workers.clock.advance(LIMITS.open_seconds)
    # The trial and this test meet there, once all other calls were told to wait.
    done = threading.Barrier(2)
    faulty_backend.on("GET", PATH, Reply(body=analysis(), meet=done), GOOD)
    faulty_backend.received.clear()
    clients = [workers.new() for _ in range(4)]
    start = threading.Barrier(12)
    outcomes: list[str] = []

    def ask(number: int) -> None:
        start.wait(timeout=PATIENCE)
        outcomes.append(outcome(clients[number % 4]))

    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask, number) for number in range(12)]
        wait_until(lambda: len(outcomes) == 11, "eleven calls are told to wait")
        assert outcomes == ["CircuitOpen"] * 11
        status = workers.circuit.status()
        assert status.state == "half-open"
        longest = CONNECT_TIMEOUT + 3 * 15 + TRIAL_MARGIN
        assert status.trial_until == pytest.approx(workers.clock.now + longest, abs=0.001)
        done.wait(timeout=PATIENCE)
    for each in asked:
        each.result()
    assert len(faulty_backend.received) == 1
    assert (outcomes[-1], workers.circuit.status().state) == ("done", "closed")
    assert [outcome(client) for client in clients] == ["done"] * 4


def test_a_dead_workers_trial_is_given_to_another(
    workers: Workers, faulty_backend: FaultyBackend
) -> None:
    """It is given up on after the longest time that the call can take."""
    client = opened(workers, faulty_backend)
    faulty_backend.on("GET", PATH, GOOD)
    workers.clock.advance(LIMITS.open_seconds)
    # As a worker does that is killed in its call: it takes the trial and never reports.
    assert workers.circuit.admit(40).trial == 1
    workers.clock.advance(39)
    assert outcome(client) == "CircuitOpen"
    workers.clock.advance(1)
    assert outcome(client) == "done"


def test_a_failed_trial_opens_it_again(workers: Workers, faulty_backend: FaultyBackend) -> None:
    """For the whole time; late failures of other calls don't prolong that."""
    client = opened(workers, faulty_backend)
    workers.clock.advance(LIMITS.open_seconds)
    assert [outcome(client) for _ in range(2)] == ["BackendUnavailable", "CircuitOpen"]
    status = workers.circuit.status()
    assert status.half_open_at == workers.clock.now + LIMITS.open_seconds
    assert status.reason.startswith("trial: GET /api/v1/analyses/42: 503 Service Unavailable")


def test_failures_that_come_late_do_not_prolong_it(
    workers: Workers, faulty_backend: FaultyBackend
) -> None:
    """Calls that began before it opened count for nothing afterwards."""
    late = workers.new()
    meet = threading.Barrier(2)
    faulty_backend.on("GET", PATH, Reply(503, problem(503), meet=meet), BAD)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(outcome, late)
        wait_until(lambda: faulty_backend.received, "the slow call is at the backend")
        opened(workers, faulty_backend)
        before = workers.circuit.status()
        meet.wait(timeout=PATIENCE)
        assert slow.result() == "BackendUnavailable"
    assert workers.circuit.status() == before


def test_the_trial_does_not_poll_long(workers: Workers, faulty_backend: FaultyBackend) -> None:
    """All wait for its outcome, so it asks for an answer at once; the next poll is long again."""
    client = opened(workers, faulty_backend)
    faulty_backend.on("GET", PATH, GOOD)
    workers.clock.advance(LIMITS.open_seconds)
    client.analysis("42", wait=25)
    client.analysis("42", wait=25)
    trial, poll = faulty_backend.received[-2:]
    assert (dict(trial.query), dict(poll.query)) == ({}, {"wait": ["25"]})


def test_an_operator_holds_it_open(workers: Workers, faulty_backend: FaultyBackend) -> None:
    """No time and no trial closes it; `close` does."""
    client = workers.new()
    faulty_backend.on("GET", PATH, GOOD)
    workers.circuit.hold("opened by an operator")
    workers.clock.advance(100_000)
    with pytest.raises(CircuitOpen, match="opened by an operator") as refused:
        client.analysis("42")
    assert refused.value.retry_after == LIMITS.open_seconds
    workers.circuit.release("closed by an operator")
    assert outcome(client) == "done"


def test_a_call_costs_two_round_trips(
    workers: Workers, faulty_backend: FaultyBackend, clean_redis: RedisServer
) -> None:
    """One script before it, one after; a rejected one costs one."""
    client = workers.new()
    faulty_backend.on("GET", PATH, GOOD)
    outcome(client)
    with clean_redis.client(1) as redis:

        def cost(calls: int) -> int:
            redis.config_resetstat()
            for _ in range(calls):
                outcome(client)
            return int(redis.info("commandstats")["cmdstat_evalsha"]["calls"])

        assert cost(5) == 10
        workers.circuit.hold("opened by an operator")
        assert cost(5) == 5


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_redis_away_and_back(
    workers: Workers,
    faulty_backend: FaultyBackend,
    clean_redis: RedisServer,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    """Calls go on, it opens by itself, each change is said once, and then the shared one holds."""
    client = workers.new()
    faulty_backend.on("GET", PATH, GOOD, GOOD, *[BAD] * 3, GOOD)
    assert outcome(client) == "done"
    getattr(clean_redis, fault)()
    assert [outcome(client) for _ in range(5)] == (
        ["done"] + ["BackendUnavailable"] * 3 + ["CircuitOpen"]
    )
    clean_redis.thaw()
    clean_redis.start()
    workers.clock.advance(LOOK_AGAIN)
    assert [outcome(client) for _ in range(2)] == ["done"] * 2
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("WARNING", "breaker_works_locally"),
        ("ERROR", "circuit_opened"),
        ("WARNING", "breaker_shared_again"),
    ]
    assert workers.circuit.status().tally.calls == 3


def test_a_full_redis_does_a_call_no_harm(
    workers: Workers, faulty_backend: FaultyBackend, clean_redis: RedisServer
) -> None:
    """A Redis that refuses to write is as good as away."""
    client = workers.new()
    faulty_backend.on("GET", PATH, GOOD)
    with clean_redis.client(1) as redis:
        redis.config_set("maxmemory", "1")
        try:
            assert [outcome(client) for _ in range(3)] == ["done"] * 3
        finally:
            redis.config_set("maxmemory", "0")


def test_a_workers_client_is_guarded_by_default(
    workers: Workers, faulty_backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`from_settings` has the breaker of the settings, unless told otherwise."""
    monkeypatch.setenv("API_BASE_URL", faulty_backend.url)
    monkeypatch.setenv("BREAKER_FAILURES", "1")
    faulty_backend.on("GET", PATH, BAD)
    settings = settings_module.load(Path("no-such-file"))
    with BackendClient.from_settings(settings) as guarded:
        assert [outcome(guarded) for _ in range(2)] == ["BackendUnavailable", "CircuitOpen"]
    with BackendClient.from_settings(settings, guarded=False) as free:
        with pytest.raises(BackendUnavailable):
            free.analysis("42")
