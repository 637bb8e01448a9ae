"""Settings -> Celery's configuration: queues, routes, limits; and how Redis is reached."""

from typing import Any

from kombu.entity import Exchange, Queue
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from bionewsbot import names
from bionewsbot.settings import Settings

REDIS_TIMEOUT = 5.0
"""Seconds that one Redis command may take; a healthy server answers in milliseconds."""

BEAT_INTERVAL = 5
"""Seconds between two looks of beat at the schedule: how soon an operator's edit takes effect."""

BEAT_LOCK_SECONDS = 60
"""Life of RedBeat's lock: longer than five ticks and than the Redis retries below together."""

MAX_RETRY_WAIT = 300
"""Longest wait before a retry, in seconds; the visibility time-out has to outlast it."""

_REDIS_RETRIES = 6


def celery_config(settings: Settings) -> dict[str, Any]:
    """Return Celery's configuration for the settings; every limit and time-out is explicit."""
    # The broker hands a message out again when this runs out, so it must outlast the longest
    # wait before a retry plus the longest run; what dies earlier, the ledger sends again.
    visibility_timeout = settings.celery_task_time_limit + MAX_RETRY_WAIT + 300
    direct = Exchange("bionewsbot", type="direct")
    return {
        "broker_url": settings.celery_broker_url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": REDIS_TIMEOUT,
        "broker_pool_limit": settings.redis_max_connections,
        "broker_transport_options": {
            "queue_order_strategy": "priority",
            "visibility_timeout": visibility_timeout,
            "socket_timeout": REDIS_TIMEOUT,
            "socket_connect_timeout": REDIS_TIMEOUT,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "max_connections": settings.redis_max_connections,
        },
        "result_backend": settings.celery_result_backend,
        "result_backend_transport_options": {"visibility_timeout": visibility_timeout},
        "result_expires": 86_400,
        "redis_max_connections": settings.redis_max_connections,
        "redis_socket_timeout": REDIS_TIMEOUT,
        "redis_socket_connect_timeout": REDIS_TIMEOUT,
        "redis_socket_keepalive": True,
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "timezone": "UTC",
        "enable_utc": True,
        "task_queues": [
            Queue(name, direct, routing_key=name, durable=True) for name in names.WORKER_QUEUES
        ],
        "task_default_queue": names.QUEUE_DEFAULT,
        "task_default_exchange": direct.name,
        "task_default_routing_key": names.QUEUE_DEFAULT,
        "task_create_missing_queues": False,
        "task_routes": {
            names.DAILY_COMPANY_ANALYSIS: {"queue": names.QUEUE_DEFAULT},
            names.HOURLY_QUICK_SCAN: {"queue": names.QUEUE_HIGH},
            names.ANALYZE_COMPANY: {"queue": names.QUEUE_DEFAULT},
        },
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # The ledger holds what came of a task; a stored result would be a second, weaker truth.
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_soft_time_limit": settings.celery_task_soft_time_limit,
        "task_time_limit": settings.celery_task_time_limit,
        "task_send_sent_event": True,
        "worker_send_task_events": True,
        "event_queue_expires": 60.0,
        "worker_pool": "threads",
        "worker_concurrency": settings.celery_worker_concurrency,
        "worker_prefetch_multiplier": 1,
        "worker_eta_task_limit": 1000,
        "worker_soft_shutdown_timeout": 30.0,
        "worker_enable_soft_shutdown_on_idle": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "beat_max_loop_interval": BEAT_INTERVAL,
        "redbeat_redis_url": settings.scheduler_redis_url,
        "redbeat_redis_options": _redis_options(settings),
        "redbeat_lock_timeout": BEAT_LOCK_SECONDS,
    }


def connect_redis(settings: Settings) -> "Redis":
    """Return a client of the scheduler's database; connects on first use."""
    return Redis.from_url(
        settings.scheduler_redis_url, decode_responses=True, **_redis_options(settings)
    )


def _redis_options(settings: Settings) -> dict[str, Any]:
    return {
        "socket_timeout": REDIS_TIMEOUT,
        "socket_connect_timeout": REDIS_TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "max_connections": settings.redis_max_connections,
        # Bridges a restart of Redis of a few seconds in the middle of a tick or a task.
        "retry": Retry(ExponentialBackoff(cap=2, base=0.1), _REDIS_RETRIES),
    }
