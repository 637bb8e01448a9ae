"""The peer: plain Celery with its defaults, doing the same HTTP calls without a ledger.

`python plain_celery.py N` sends the tasks of N companies.
"""

import os
import sys
import threading

import requests
from celery import Celery

BACKEND = os.environ.get("API_BASE_URL", "")
DONE = "plain:done"

app = Celery("plain_celery", broker=os.environ.get("PLAIN_BROKER_URL"))
app.conf.update(worker_send_task_events=False, broker_connection_retry_on_startup=True)
_local = threading.local()


def session() -> requests.Session:
    """Return this thread's session."""
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
    return _local.session


@app.task(name="plain.analyze", ignore_result=True)
def analyze(company: str) -> None:
    """Start an analysis, wait for it, store its insight, count it."""
    api = f"{BACKEND}/api/v1"
    started = session().post(f"{api}/analyses", json={"company_id": company}, timeout=30).json()
    answer = session().get(f"{api}/analyses/{started['id']}?wait=25", timeout=60).json()
    for finding in answer["findings"]:
        session().post(f"{api}/insights", json=finding, timeout=30).raise_for_status()
    with app.pool.acquire(block=True) as connection:
        connection.default_channel.client.incr(DONE)


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        analyze.delay(f"C{number}")
