"""From the outbox to a run, and into the queue: once, whatever dies in between."""

from pathlib import Path

import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from support.apps import Broker
from support.channels import variable, write_config

from bionewsbot import names, settings
from bionewsbot.notifications import posting
from bionewsbot.notifications.notices import ENTRY, Notice
from bionewsbot.notifications.outbox import Outbox, tell
from bionewsbot.notifications.posting import post
from bionewsbot.runs import dispatch
from bionewsbot.runs.ledger import ledger
from bionewsbot.tasks.base import FanOut
from bionewsbot.tasks.notifications import notify

NOTICE = Notice("alert/GILD/1", "alert", "title", "body", company="GILD", severity="high")


@pytest.fixture(autouse=True)
def rules(app: Celery, configured: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Alerts of GILD go to `team` and `ops`."""
    configured.setenv("BIONEWSBOT_CONFIG_DIR", str(tmp_path))
    both = ["team", "ops"]
    for channel in both:
        configured.setenv(variable(channel), "json://127.0.0.1:1")
    write_config(tmp_path, both, {"events": ["alert"], "companies": ["GILD"], "channels": both})
    settings.current.cache_clear()


def test_a_batch_is_a_run(app: Celery, broker: Broker) -> None:
    """Its job has the notices and waits on `low`; a target for each channel comes of it."""
    assert post(app, ledger()) == 0
    assert tell([NOTICE]) == 1
    assert post(app, ledger()) == 1
    assert post(app, ledger()) == 0
    (message,) = broker.messages("low")
    assert message["headers"]["task"] == names.NOTIFY
    (run,) = ledger().latest(10, ENTRY)
    (job,) = ledger().items(run.run_id)
    outcome = notify.run(**job.kwargs)
    assert isinstance(outcome, FanOut)
    assert [(one.target, one.queue, one.kwargs["channel"]) for one in outcome.targets] == [
        ("team/alert/GILD/1", "low", "team"),
        ("ops/alert/GILD/1", "low", "ops"),
    ]
    assert Notice.from_dict(outcome.targets[0].kwargs["notice"]) == NOTICE


def test_what_no_rule_wants_is_not_kept(app: Celery) -> None:
    """It takes no room, and is told when a rule wants it later."""
    other = Notice("alert/PFE/1", "alert", "title", "body", company="PFE", severity="high")
    assert tell([other]) == 0
    assert ledger()._redis.keys("bionewsbot:notices:*") == []


def test_whoever_dies_after_opening_the_run(
    app: Celery, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one finds the same batch, and that its run is there."""

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    tell([NOTICE])
    with monkeypatch.context() as patched:
        patched.setattr(Outbox, "done", dies)
        with pytest.raises(KeyboardInterrupt):
            post(app, ledger())
    assert post(app, ledger()) == 1
    assert post(app, ledger()) == 0
    assert len(broker.messages("low")) == len(ledger().latest(10, ENTRY)) == 1


def test_a_broker_that_is_away(
    app: Celery, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is opened and sent by the next pass."""

    def away(*_: object) -> None:
        raise OperationalError("the broker is away")

    tell([NOTICE])
    with monkeypatch.context() as patched:
        patched.setattr(dispatch, "send_all", away)
        with pytest.raises(OperationalError):
            post(app, ledger())
    assert broker.messages("low") == []
    assert post(app, ledger()) == 1
    assert len(broker.messages("low")) == len(ledger().latest(10, ENTRY)) == 1


def test_without_rules_nothing_is_asked(
    app: Celery, configured: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A pass costs nothing where nobody is to be told."""

    def fails() -> Outbox:
        raise AssertionError("it was asked")

    (tmp_path / "notifications.yaml").unlink()
    configured.setattr(posting, "outbox", fails)
    assert post(app, ledger()) == 0
