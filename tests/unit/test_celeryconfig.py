"""Celery's configuration: what must hold between its limits, queues and routes."""

import pytest
from celery import Celery
from celery.exceptions import QueueNotFound

from bionewsbot import names
from bionewsbot.celeryconfig import (
    BEAT_INTERVAL,
    BEAT_LOCK_SECONDS,
    BEAT_REDIS_TIMEOUT,
    FAILOVER_SECONDS,
    REDIS_TIMEOUT,
    RENEWAL_SECONDS,
    VISIBILITY_SECONDS,
    celery_config,
    connect_redis,
)
from bionewsbot.settings import current


@pytest.fixture
def config(configured: pytest.MonkeyPatch) -> dict[str, object]:
    """The configuration of the default settings."""
    return celery_config(current())


def test_messages_are_json_and_acknowledged_late(config: dict[str, object]) -> None:
    """A dead worker's message comes back, and nothing but JSON is read."""
    assert config["accept_content"] == ["json"]
    assert config["task_acks_late"] and config["task_reject_on_worker_lost"]
    assert config["worker_prefetch_multiplier"] == 1
    assert config["broker_transport_options"]["queue_order_strategy"] == "priority"  # type: ignore


def test_a_dead_workers_messages_are_again_within_15_seconds(config: dict[str, object]) -> None:
    """And a live one's lease outlasts two renewals that fail; all apps have the same time-out."""
    options = config["broker_transport_options"]
    assert isinstance(options, dict)
    assert options["visibility_timeout"] == VISIBILITY_SECONDS
    assert config["result_backend_transport_options"] == {"visibility_timeout": VISIBILITY_SECONDS}
    sweep = options["unacked_restore_interval"] * options["unacked_restore_throttle"]
    assert VISIBILITY_SECONDS + sweep < 15
    assert VISIBILITY_SECONDS > 3 * RENEWAL_SECONDS


def test_beats_times_fit_each_other() -> None:
    """Its lock outlives a late look, and ends soon enough for the next beat to send in time."""
    assert BEAT_LOCK_SECONDS >= 2 * BEAT_INTERVAL + BEAT_REDIS_TIMEOUT
    assert BEAT_LOCK_SECONDS + BEAT_INTERVAL + BEAT_REDIS_TIMEOUT <= FAILOVER_SECONDS


def test_each_redis_has_time_limits(config: dict[str, object]) -> None:
    """Broker, results and schedule: no command waits for ever."""
    for options in ("broker_transport_options", "redbeat_redis_options"):
        assert config[options]["socket_timeout"] == REDIS_TIMEOUT  # type: ignore[index]
        assert config[options]["socket_connect_timeout"] == REDIS_TIMEOUT  # type: ignore[index]
    assert config["redis_socket_timeout"] == REDIS_TIMEOUT


def test_queues_are_the_names_that_processes_share(config: dict[str, object]) -> None:
    """In the order in which workers serve them, and without the dead letters."""
    queues = [queue.name for queue in config["task_queues"]]  # type: ignore[attr-defined]
    assert queues == list(names.WORKER_QUEUES) == ["high", "default", "low"]
    assert names.QUEUE_DEAD_LETTER not in queues
    for route in config["task_routes"].values():  # type: ignore[attr-defined]
        assert route["queue"] in queues


def test_every_task_of_ours_has_a_route(config: dict[str, object]) -> None:
    """A task without one would go to the default queue by accident."""
    tasks = {
        value
        for constant, value in vars(names).items()
        if constant.isupper() and str(value).startswith("bionewsbot.")
    }
    assert tasks == set(config["task_routes"])  # type: ignore[call-overload]


def test_a_report_shows_no_secret(configured: pytest.MonkeyPatch) -> None:
    """Nor does `inspect conf`, and so Flower: they show the same, masked by the same rules."""
    secrets = {"REDIS_PASSWORD": "sesame", "API_KEY": "tulip", "REDIS_USERNAME": "ann"}
    for name, value in secrets.items():
        configured.setenv(name, value)
    current.cache_clear()
    app = Celery("tests", set_as_current=False)
    app.config_from_object(celery_config(current()))
    report = app.bugreport()
    assert "redbeat_redis_url: 'redis://localhost:6379/1'" in report
    assert secrets["REDIS_PASSWORD"] not in report
    assert secrets["API_KEY"] not in report


@pytest.mark.parametrize("queue", ["hihg", names.QUEUE_DEAD_LETTER])
def test_an_undeclared_queue_raises(config: dict[str, object], queue: str) -> None:
    """A misspelt queue must not take messages that nobody reads."""
    app = Celery("tests", set_as_current=False)
    app.config_from_object(config)
    with pytest.raises(QueueNotFound):
        app.send_task("x", queue=queue)
    app.close()


def test_the_schedulers_database_is_read_as_text(configured: pytest.MonkeyPatch) -> None:
    """Answers come decoded, in the database that the settings name, with limits of time."""
    configured.setenv("REDIS_SCHEDULER_DB", "5")
    with connect_redis(current()) as redis:
        options = redis.connection_pool.connection_kwargs
    assert (options["db"], options["decode_responses"]) == (5, True)
    assert options["socket_timeout"] == REDIS_TIMEOUT
