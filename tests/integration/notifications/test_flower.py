"""No secret is seen in Flower, nor in what Celery tells of its configuration."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.channels import TOKEN, Webhooks, variable, write_config
from support.faulty_backend import Reply
from support.polling import wait_until
from support.ports import free_port
from support.stack import ROOT, Stack

from bionewsbot.names import NOTIFY, SEND_NOTICE
from bionewsbot.notifications.notices import ENTRY, Notice
from bionewsbot.notifications.outbox import Outbox

ANSWERS = {
    "works": Reply(200, {}),
    "down": Reply(503, {}),
    "refuses": Reply(404),
}
"""How webhooks answer; each leaves other events."""

MAIL, MAIL_SERVER = "mail", "127.0.0.2"
"""A channel whose server isn't there: apprise's own words name it."""

CHANNELS = [*ANSWERS, MAIL]

SECRETS = {
    "API_KEY": "S3CRETAP1KEY",
    "AWS_ACCESS_KEY_ID": "S3CRETSTOREID",
    "AWS_SECRET_ACCESS_KEY": "S3CRETSTOREKEY",
}
"""What else stands in the environment of a worker."""

USER, PASSWORD = "tests", "flowers"


class Flower:
    """Flower as `make up` starts it, and all that it shows."""

    def __init__(self, stack: Stack) -> None:
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        conf = f"--conf={ROOT / 'deploy' / 'flowerconfig.py'}"
        command = ("-m", "celery", "-q", "-A", "bionewsbot", "flower", "--address=127.0.0.1", conf)
        login = {"FLOWER_PORT": str(port), "FLOWER_BASIC_AUTH": f"{USER}:{PASSWORD}"}
        self.process = stack.start("flower", *command, **login)
        wait_until(self._answers, "Flower answers")

    def get(self, path: str) -> str:
        """Return a page's text."""
        answer = requests.get(f"{self._url}{path}", auth=(USER, PASSWORD), timeout=60)
        answer.raise_for_status()
        return answer.text

    def json(self, path: str) -> Any:
        """Return what one of the API's paths answers."""
        return json.loads(self.get(path))

    def states(self) -> dict[str, set[str]]:
        """Return the states of what each channel sent, by the channel."""
        found: dict[str, set[str]] = {}
        for task in self.json(f"/api/tasks?taskname={SEND_NOTICE}").values():
            for channel in CHANNELS:
                if f"'channel': '{channel}'" in task["kwargs"]:
                    found.setdefault(channel, set()).add(task["state"])
        return found

    def _answers(self) -> bool:
        assert self.process.running, self.process.log.read_text(encoding="utf-8")[-3000:]
        try:
            return requests.get(f"{self._url}/healthcheck", timeout=2).ok
        except requests.RequestException:
            return False


@pytest.fixture
def watched(stack: Stack, webhooks: Webhooks) -> Iterator[Flower]:
    """A worker with channels and secrets, and a Flower that has the same environment."""
    env = {variable(channel): webhooks.on(channel, reply) for channel, reply in ANSWERS.items()}
    people = f"from=bot@example.com&to={TOKEN}@example.com"
    env[variable(MAIL)] = f"mailto://user:passw0rd@{MAIL_SERVER}:{free_port()}?{people}"
    stack.env.update(env, **SECRETS, LOG_LEVEL="DEBUG", BIONEWSBOT_CONFIG_DIR=str(stack.folder))
    stack.env.update(RETRY_ATTEMPTS="2", RETRY_BASE_SECONDS="1")
    write_config(stack.folder, CHANNELS, {"events": ["alert"], "channels": CHANNELS})
    flower = Flower(stack)
    stack.worker()
    yield flower


def test_no_secret_is_seen(watched: Flower, stack: Stack, webhooks: Webhooks) -> None:
    """In any page of Flower, any answer of its API, what workers tell, and no log."""
    outbox = Outbox(stack.server.client(1))
    outbox.put([Notice("one", "alert", "the title", "body", "GILD", "high")])
    outbox.close()
    wait_until(
        lambda: [run.status for run in stack.ledger.latest(9, ENTRY)] == ["partial"],
        "the notice is sent or given up on",
        seconds=60,
    )
    ends = {channel: {"SUCCESS" if channel == "works" else "FAILURE"} for channel in CHANNELS}
    wait_until(lambda: watched.states() == ends, "Flower knows how each ended")
    tasks = watched.json("/api/tasks")
    assert {NOTIFY, SEND_NOTICE} <= {task["name"] for task in tasks.values()}
    (worker,) = watched.json("/api/workers?refresh=1")
    shown = {
        path: watched.get(path)
        for path in (
            *("/", "/workers?json=1", f"/worker/{worker}", f"/api/workers?workername={worker}"),
            *("/tasks", "/api/tasks", "/api/task/types", "/broker", "/api/queues/length"),
            *(f"/task/{one}" for one in tasks),
            *(f"/api/task/info/{one}" for one in tasks),
            "/metrics",
        )
    }
    for command in ("conf", "report", "stats"):
        shown[command] = stack.celery("inspect", "--json", command).stdout
    shown["celery report"] = stack.celery("report").stdout
    for process in stack.processes:
        shown[str(process.log)] = process.log.read_text(encoding="utf-8")

    # What is looked through has what it should have.
    assert "the title" in shown["/api/tasks"]
    assert "redbeat_redis_url" in shown[f"/worker/{worker}"]
    assert "redbeat_redis_url" in shown["conf"]
    assert "redbeat_redis_url" in shown["celery report"]
    for where, text in shown.items():
        for secret in (TOKEN, "passw0rd", MAIL_SERVER, *SECRETS.values()):
            assert secret.lower() not in text.lower(), where
