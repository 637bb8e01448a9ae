"""The reference backend inside the test's process, over real HTTP, with clock and source to set."""

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import requests
import uvicorn
from support.polling import PATIENCE, wait_until

from bionewsbot.backend.app import create_app
from bionewsbot.backend.services import Services
from bionewsbot.backend.sources.base import Company, Fetched, Record, Source, Window
from bionewsbot.backend.storage.database import Database

AS_OF = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)

GILD = {"name": "Gilead Sciences", "ticker": "GILD", "cik": "0000882095", "aliases": ["Kite"]}


class StubClock:
    """A clock that stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, **by: float) -> None:
        """Move on by a timedelta's arguments."""
        self.now += timedelta(**by)


class StubSource:
    """A source that answers what the test says, and keeps what it was asked."""

    def __init__(self, name: str = "stub") -> None:
        self.name = name
        self.records: tuple[Record, ...] = ()
        self.error: Exception | None = None
        self.asked: list[tuple[Company, Window]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def fetch(self, company: Company, window: Window) -> Fetched:
        """Answer once the gate is open."""
        with self._lock:
            self.asked.append((company, window))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        assert self.gate.wait(PATIENCE), "the test never opened the gate"
        with self._lock:
            self._at_once -= 1
        if self.error is not None:
            raise self.error
        return Fetched(self.records, AS_OF)


def filing(form: str = "8-K", day: date = date(2026, 1, 16), number: int = 1) -> Record:
    """Return an SEC filing of Gilead's, in the replay source's form."""
    return Record(
        id=f"sec:0000882095-26-{number:06}",
        kind="sec_filing",
        occurred_on=day,
        facts={"form": form, "ticker": "GILD", "cik": "0000882095", "as_of": "2026-01-31"},
        url=f"https://www.sec.gov/Archives/edgar/data/882095/{number}.htm",
        source="replay",
    )


class RunningBackend:
    """A backend that serves, and what a test needs to talk to it and to look inside."""

    def __init__(self, database_url: str, sources: tuple[Source, ...], **options: Any) -> None:
        self.clock = StubClock()
        self.database = Database(database_url)
        self.database.migrate()
        self.app = create_app(self.database, sources, clock=self.clock, **options)
        self.services: Services = self.app.state.services
        self.http = requests.Session()
        # With the protocol named: asyncio sets TCP_NODELAY only then, and each call takes 40 ms
        # more without it.
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(self.app, log_config=None, access_log=False, lifespan="on")
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))

    def start(self) -> "RunningBackend":
        """Serve, once the life cycle's start is over."""
        self._thread.start()
        wait_until(
            lambda: self._server.started or not self._thread.is_alive(), "the backend serves"
        )
        assert self._server.started
        return self

    def stop(self) -> None:
        """Shut down as a signal would."""
        self.http.close()
        self.services.waiters.close()
        self._server.should_exit = True
        self._thread.join(30)
        self._listener.close()
        assert not self._thread.is_alive()

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Make a call; `path` is below /api/v1 unless it begins with a slash."""
        place = path if path.startswith("/") else f"/api/v1/{path}"
        return self.http.request(method, self.url + place, timeout=40, **options)

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a successful GET."""
        answer = self.call("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any, key: str | None = None) -> requests.Response:
        """POST JSON, under an idempotency key where one is given."""
        headers = {"Idempotency-Key": key} if key is not None else {}
        return self.call("POST", path, json=body, headers=headers)

    def add_company(self, company_id: str = "GILD", **fields: Any) -> Any:
        """Put a company and return it."""
        answer = self.call("PUT", f"companies/{company_id}", json={**GILD, **fields})
        assert answer.ok, answer.text
        return answer.json()

    def start_analysis(self, key: str = "k", **fields: Any) -> Any:
        """Start an analysis of Gilead and return the answer's JSON."""
        body = {
            "company_id": "GILD",
            "type": "daily",
            "scheduled_for": "2026-01-20T06:00:00Z",
            **fields,
        }
        answer = self.post("analyses", body, key)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def analyse(self, key: str = "k", **fields: Any) -> Any:
        """Start an analysis and return it when it has ended."""
        started = self.start_analysis(key, **fields)
        return self.get(f"analyses/{started['id']}", wait=20)

    def pages(self, path: str, **params: Any) -> Iterator[Any]:
        """Yield the pages of a list."""
        cursor: str | None = None
        while True:
            page = self.get(path, **params, **({"cursor": cursor} if cursor else {}))
            yield page
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def all(self, path: str, **params: Any) -> list[Any]:
        """Return all items of a list."""
        return [item for page in self.pages(path, **params) for item in page["items"]]


def story(number: int = 1, **fields: Any) -> dict[str, Any]:
    """Return the fields that insights and alerts share, of a story of Gilead's."""
    return {
        "company_id": "GILD",
        "analysis_id": "a1",
        "story_id": f"sec:GILD:8-K:{number}",
        "type": "material_event",
        "polarity": "neutral",
        "title": "Gilead: event",
        "description": "An event.",
        "severity": "medium",
        "occurred_at": "2026-01-16T23:59:59Z",
        "url": "https://www.sec.gov/1.htm",
        "source": "replay",
        "evidence": {"as_of": "2026-01-31", "records": [{"id": "r1", "n": 0.1}]},
        **fields,
    }


def insight(number: int = 1, **fields: Any) -> dict[str, Any]:
    """Return an insight to post."""
    return story(number, **{"confidence": 0.75, **fields})


StartBackend = Callable[..., RunningBackend]


@pytest.fixture
def start_backend(database_url: str) -> Iterator[StartBackend]:
    """Start backends on one database: `start_backend(*sources, api_key=..., ...)`."""
    started: list[RunningBackend] = []

    def start(*sources: Source, **options: Any) -> RunningBackend:
        backend = RunningBackend(database_url, sources or (StubSource(),), **options)
        started.append(backend)
        return backend.start()

    yield start
    for backend in started:
        backend.stop()


@pytest.fixture
def source() -> StubSource:
    """The source of the fixture `backend`."""
    return StubSource()


@pytest.fixture
def backend(start_backend: StartBackend, source: StubSource) -> RunningBackend:
    """A backend with one source and Gilead in it."""
    running = start_backend(source)
    running.add_company()
    return running
