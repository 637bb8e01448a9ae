"""A Redis with TLS, a user and a password: worker, beat, broker and ledger all get in."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from support.polling import PATIENCE, wait_until
from support.ports import free_port
from support.stack import LEASE_SECONDS, Stack

from bionewsbot.runs.ledger import Ledger

PASSWORD = "p@ss/word:1"
"""With the characters that a URL has to quote."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make a self-signed certificate for 127.0.0.1; its key lies beside it."""
    path = tmp_path / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(tmp_path / "server.key"), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture
def tls_port(certificate: Path, tmp_path: Path) -> Iterator[int]:
    """Start a Redis that speaks TLS only and knows one user."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None or shutil.which("openssl") is None:
        pytest.skip("needs redis-server with TLS and openssl (apt-get install redis-server)")
    port = free_port()
    command = [binary, "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1"]
    command += ["--tls-cert-file", str(certificate), "--tls-auth-clients", "no", "--save", ""]
    command += ["--tls-key-file", str(tmp_path / "server.key"), "--dir", str(tmp_path)]
    command += ["--user", "default", "off"]
    command += ["--user", "app", "on", f">{PASSWORD}", "~*", "&*", "+@all"]
    with (tmp_path / "redis.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    yield port
    server.terminate()
    server.wait(timeout=PATIENCE)


def connect(port: int, certificate: Path) -> "redis.Redis":
    """Return a client of the scheduler's database."""
    return redis.Redis(
        host="127.0.0.1",
        port=port,
        db=1,
        ssl=True,
        ssl_ca_certs=str(certificate),
        username="app",
        password=PASSWORD,
        decode_responses=True,
    )


def test_all_processes_speak_tls_as_the_user(
    stack: Stack, tls_port: int, certificate: Path
) -> None:
    """A run goes from `runs start` to its end, and beat gets its lock."""
    stack.env |= {
        "REDIS_PORT": str(tls_port),
        "REDIS_TLS": "1",
        "REDIS_USERNAME": "app",
        "REDIS_PASSWORD": PASSWORD,
        "SSL_CERT_FILE": str(certificate),
    }
    stack.backend()
    stack.worker()
    beat = stack.beat()
    with connect(tls_port, certificate) as client:
        stack.ledger = Ledger(client, retention_days=1, lease_seconds=LEASE_SECONDS)
        run = stack.wait_for_end(stack.start_run())
        assert (run.status, run.targets) == ("succeeded", 0)
        wait_until(lambda: client.exists("redbeat::lock"), "beat holds its lock")
    assert beat.stop() == 0
    assert all(PASSWORD not in process.log.read_text() for process in stack.processes)
