"""The process as a user starts it: its logs, its refusals, its end, its resumption."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import requests
from support.polling import wait_until
from support.ports import free_port
from support.stack import Process

COMMAND = ["-m", "bionewsbot.backend"]


class Backend:
    """One backend process after the other, on one port and one SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            "BACKEND_PORT": str(self.port),
            "BACKEND_DATABASE_URL": f"sqlite:///{folder / 'data' / 'backend.db'}",
        }
        self.process: Process | None = None

    def start(self, **env: str) -> Process:
        """Start a process and wait until it is ready."""
        process = Process("backend", [sys.executable, *COMMAND], self.env | env, self.folder)
        self.process = process
        wait_until(lambda: self._ready(process), "the backend is ready")
        return process

    def _ready(self, process: Process) -> bool:
        assert process.running, process.log.read_text(encoding="utf-8")
        try:
            return requests.get(f"{self.url}/readyz", timeout=2).ok
        except requests.RequestException:
            return False

    def refused(self, **env: str) -> str:
        """Start a process that ends at once, with an error, and return its only line."""
        done = subprocess.run(
            [sys.executable, *COMMAND],
            env={**os.environ, **self.env, **env},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1
        assert done.stdout == ""
        (line,) = done.stderr.strip().splitlines()
        return line


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    """A backend whose process is ended with the test."""
    made = Backend(tmp_path)
    yield made
    if made.process is not None and made.process.running:
        made.process.kill()


def analyse(backend: Backend, number: int) -> Any:
    """Start an analysis under a request id."""
    answer = requests.post(
        f"{backend.url}/api/v1/analyses",
        json={
            "company_id": "GILD",
            "type": "daily",
            "scheduled_for": f"2026-01-{10 + number}T06:00:00Z",
        },
        headers={"Idempotency-Key": f"k{number}", "X-Request-ID": f"run-{number}"},
        timeout=10,
    )
    assert answer.status_code == 202
    return answer.json()


def add_company(backend: Backend) -> None:
    """Put Gilead, which has facts among those shipped."""
    answer = requests.put(
        f"{backend.url}/api/v1/companies/GILD",
        json={"name": "Gilead Sciences", "ticker": "GILD", "cik": "0000882095"},
        timeout=10,
    )
    assert answer.status_code == 201


def test_every_line_is_json_and_knows_its_request(backend: Backend) -> None:
    """All lines have the documented form, uvicorn's too; those of a request its id."""
    process = backend.start(BACKEND_LOG_LEVEL="DEBUG")
    add_company(backend)
    started = analyse(backend, 1)
    url = f"{backend.url}/api/v1/analyses/{started['id']}?wait=20"
    assert requests.get(url, timeout=30).json()["sources"][0]["as_of"].endswith("Z")
    wait_until(lambda: process.events("analysis_complete"), "the end is logged")
    assert process.stop() == 0
    text = process.log.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert list(line)[:4] == ["timestamp", "level", "logger", "event"]
    assert "uvicorn.error" in {line["logger"] for line in lines}
    mine = [line["event"] for line in lines if line.get("request_id") == "run-1"]
    assert sorted(mine) == ["analysis_complete", "request_complete"]
    (done,) = process.events("analysis_complete")
    assert done["company_id"] == "GILD"
    assert process.events("backend_stopped")


def test_log_can_be_text(backend: Backend) -> None:
    """For people there is a plain form with the same fields."""
    process = backend.start(BACKEND_LOG_FORMAT="text")
    add_company(backend)
    process.stop()
    text = process.log.read_text(encoding="utf-8")
    assert "bionewsbot.backend.middleware request_complete method=PUT" in text


def test_killed_backend_resumes(backend: Backend) -> None:
    """What was acknowledged before a SIGKILL is carried out by the next process, once."""
    process = backend.start()
    add_company(backend)
    started = [analyse(backend, number) for number in range(10)]
    process.kill()
    following = backend.start()
    for each in started:
        url = f"{backend.url}/api/v1/analyses/{each['id']}?wait=20"
        analysis = requests.get(url, timeout=30).json()
        assert (analysis["status"], analysis["attempt"]) == ("succeeded", 1)
    risk = requests.get(f"{backend.url}/api/v1/companies/GILD/risk", timeout=10).json()
    assert len(risk["items"]) == 10
    assert following.stop() == 0


def test_stop_answers_who_waits(backend: Backend) -> None:
    """A SIGTERM ends the process with code 0, a long poll gets the state of the moment."""
    process = backend.start()
    add_company(backend)
    done = analyse(backend, 1)["id"]
    requests.get(f"{backend.url}/api/v1/analyses/{done}?wait=20", timeout=30).raise_for_status()
    # Stands for an analysis in the hands of another process: this one won't end it.
    with closing(sqlite3.connect(backend.folder / "data" / "backend.db")) as database:
        database.execute("UPDATE analyses SET status = 'running'")
        database.commit()
    with closing(HTTPConnection("127.0.0.1", backend.port, timeout=40)) as caller:
        caller.request("GET", f"/api/v1/analyses/{done}?wait=25")
        # The event loop takes up what came first before it answers what came later.
        requests.get(f"{backend.url}/livez", timeout=10).raise_for_status()
        began = time.monotonic()
        assert process.stop() == 0
        assert json.load(caller.getresponse())["status"] == "running"
        assert time.monotonic() - began < 20


def test_interrupt_ends_it_well(backend: Backend) -> None:
    """Ctrl-C is a stop like any other."""
    process = backend.start()
    process.signal(signal.SIGINT)
    wait_until(lambda: not process.running, "the backend ends")
    assert process.stop() == 0


def test_taken_port_is_one_line(backend: Backend) -> None:
    """A port that something listens on is named with its variable."""
    with socket.create_server(("127.0.0.1", backend.port)):
        line = backend.refused()
    assert f"BACKEND_PORT={backend.port}" in line
    assert "free port" in line


def test_foreign_host_is_one_line(backend: Backend) -> None:
    """An address that isn't this machine's is named with its variable."""
    line = backend.refused(BACKEND_HOST="192.0.2.1")
    assert "BACKEND_HOST=192.0.2.1" in line


def test_unusable_databases_are_one_line(backend: Backend) -> None:
    """A folder that can't be made, a file that isn't a database, a server that is away."""
    (backend.folder / "file").write_text("no database, but long enough to be read as one" * 100)
    for url, said in (
        (f"sqlite:///{backend.folder / 'file' / 'b.db'}", "can't be made"),
        (f"sqlite:///{backend.folder / 'file'}", "not a database"),
        (f"sqlite:///{backend.folder}", "unable to open"),
        (f"postgresql://u:s3cret@127.0.0.1:{free_port()}/b", "refused"),
    ):
        line = backend.refused(BACKEND_DATABASE_URL=url)
        assert "BACKEND_DATABASE_URL=" in line
        assert said in line
        assert "s3cret" not in line
