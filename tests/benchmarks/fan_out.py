"""Benchmark: fan-out of companies to a backend that takes a set time for each analysis.

    python tests/benchmarks/fan_out.py [--companies 1000] [--seconds 0.5] [--concurrency 16 64]

Prints, for each pool and beside plain Celery in the same run, the makespan as a ratio to the ideal
(companies x seconds / concurrency) and the Redis round trips for each company.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
import requests

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from support.polling import wait_until  # noqa: E402
from support.ports import free_port  # noqa: E402
from support.redis_server import RedisServer  # noqa: E402

LIMIT_SECONDS = 900
"""Longest wait for one measurement: far beyond any ideal asked for."""


@contextmanager
def process(command: list[str], env: dict[str, str], log: Path) -> Iterator[None]:
    """Run a process for the length of the block."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, env={**os.environ, **env}, cwd=HERE, stdout=output, stderr=output
        )
        try:
            yield
        finally:
            child.terminate()
            child.wait(timeout=90)


def celery(*arguments: str) -> list[str]:
    """Return a `celery` command of this Python."""
    return [sys.executable, "-m", "celery", "-q", *arguments]


def reads(server: RedisServer) -> int:
    """Return how many requests the server has read: one a round trip."""
    with server.client() as client:
        return int(client.info("stats")["total_reads_processed"])


def wait_for_worker(app: str, env: dict[str, str]) -> None:
    """Return when the worker answers a ping."""

    def answers() -> bool:
        command = celery("-A", app, "inspect", "ping", "-t", "2")
        environment = {**os.environ, **env}
        return not subprocess.run(
            command, env=environment, cwd=HERE, capture_output=True
        ).returncode

    wait_until(answers, "the worker answers", seconds=60)


def measure_ours(
    server: RedisServer, env: dict[str, str], pool: str, concurrency: int, log: Path
) -> tuple[float, int]:
    """Return the makespan in seconds, and the round trips, of a run of ours."""
    worker = celery("-A", "bionewsbot", "worker", "-P", pool, "-c", str(concurrency))
    with process(worker, env, log):
        wait_for_worker("bionewsbot", env)
        before = reads(server)
        entry = "daily_company_analysis"
        start = celery("-A", "bionewsbot", "runs", "start", entry)
        subprocess.run(start, env={**os.environ, **env}, cwd=HERE, check=True, capture_output=True)
        with server.client(1) as client:
            (run_id,) = client.zrange("bionewsbot:index", 0, -1)
            key = f"bionewsbot:run:{run_id}"
            wait_until(
                lambda: client.hget(key, "status") != "running",
                "the run ends",
                seconds=LIMIT_SECONDS,
            )
            run = client.hgetall(key)
        trips = reads(server) - before
    if run["status"] != "succeeded":
        raise SystemExit(f"the run ended as {run['status']}; see {log}")
    return float(run["ended_at"]) - float(run["fanned_out_at"]), trips


def measure_plain(
    server: RedisServer,
    env: dict[str, str],
    pool: str,
    concurrency: int,
    log: Path,
    companies: int,
) -> tuple[float, int]:
    """Return the same for plain Celery."""
    worker = celery("-A", "plain_celery", "worker", "-P", pool, "-c", str(concurrency))
    send = [sys.executable, "plain_celery.py", str(companies)]
    with process(worker, env, log), server.client(5) as client:
        wait_for_worker("plain_celery", env)
        before = reads(server)
        started = time.monotonic()
        subprocess.run(send, env={**os.environ, **env}, cwd=HERE, check=True)
        wait_until(
            lambda: int(client.get("plain:done") or 0) >= companies,
            "all are done",
            seconds=LIMIT_SECONDS,
        )
        return time.monotonic() - started, reads(server) - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--companies", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--pools", nargs="+", default=["threads", "processes"])
    options = parser.parse_args()
    print(f"{options.companies} companies, {options.seconds} s an analysis")
    print(f"{'':24}{'concurrency':>13}{'ideal s':>9}{'makespan s':>12}{'ratio':>8}{'trips':>8}")
    for concurrency in options.concurrency:
        ideal = options.companies * options.seconds / concurrency
        for pool in options.pools:
            for name, measure in (("ours", measure_ours), ("plain Celery", measure_plain)):
                makespan, trips = one(name, measure, pool, concurrency, options)
                print(
                    f"{name + ' ' + pool:24}{concurrency:>13}{ideal:>9.1f}{makespan:>12.1f}"
                    f"{makespan / ideal:>8.2f}{trips / options.companies:>8.1f}",
                    flush=True,
                )


def one(
    name: str,
    measure: Callable[..., tuple[float, int]],
    pool: str,
    concurrency: int,
    options: argparse.Namespace,
) -> tuple[float, int]:
    """Make one measurement on a server and a backend of its own."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        env = {
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(server.port),
            "REDIS_MAX_CONNECTIONS": str(concurrency + 20),
            "API_BASE_URL": base,
            "CELERY_WORKER_CONCURRENCY": str(concurrency),
            "PLAIN_BROKER_URL": server.url(5),
        }
        arguments = [str(port), str(options.seconds), str(options.companies)]
        backend = [sys.executable, "-m", "support.slow_backend", *arguments]
        try:
            with process(backend, {"PYTHONPATH": str(HERE.parent)}, Path(folder) / "backend.log"):
                wait_until(lambda: _up(base), "the backend answers")
                log = HERE.parent.parent / "var" / f"bench-{name.replace(' ', '-')}-{pool}.log"
                log.parent.mkdir(exist_ok=True)
                extra = () if name == "ours" else (options.companies,)
                return measure(server, env, pool, concurrency, log, *extra)
        finally:
            server.stop()


def _up(base: str) -> bool:
    try:
        return requests.get(f"{base}/api/v1/companies", timeout=2).ok
    except requests.ConnectionError:
        return False


if __name__ == "__main__":
    try:
        main()
    except redis.RedisError as error:
        raise SystemExit(f"Redis: {error}") from error
