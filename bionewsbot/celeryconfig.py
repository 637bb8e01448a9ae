"""Settings -> Celery's configuration: queues, routes, limits; and how Redis is reached."""

from typing import Any

from kombu.entity import Exchange, Queue
from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from bionewsbot import names
from bionewsbot.settings import Settings

REDIS_TIMEOUT = 5.0
"""Seconds that one Redis command may take; a healthy server answers in milliseconds."""

BEAT_INTERVAL = 1.0
"""Seconds between two looks of beat at the schedule: how soon an operator's edit takes effect."""

BEAT_REDIS_TIMEOUT = 1.0
"""Seconds that one Redis command of beat may take; it looks again instead of retrying."""

BEAT_LOCK_SECONDS = 3.0
"""Life of the lock of the beat that leads. It outlives a look that comes late (an interval and one
command), and with a standby's next look it ends within 5 s of its holder's death."""

FAILOVER_SECONDS = 5.0
"""Within this time after the death of the beat that leads another one sends."""

VISIBILITY_SECONDS = 12.0
"""A message that is out for so long without its lease being renewed goes back to its queue. With a
sweep it is again within 15 s of its worker's death. The shortest one among the apps on a broker
counts for all of them, so each has this one; Flower and the exporter hold no messages."""

RENEWAL_SECONDS = 3.0
"""Between two renewals of a live worker's leases: three may fail before one runs out."""

SWEEP_SECONDS = 1
"""Between two looks of each worker for messages to put back (kombu's default makes 100 s)."""

SWEEP_LOCK_SECONDS = 5
"""Life of the sweep's lock. kombu's 300 s would stop all sweeps for so long when the worker that
holds it is killed; two sweeps at once do no harm."""

IMPATIENT_REDIS_TIMEOUT = 1.0
"""Seconds that one Redis command may take of what goes on without it: the guards of the Backend API
(circuit breaker, limit of calls), and a worker that stops."""

_REDIS_RETRIES = 6


def celery_config(settings: Settings) -> dict[str, Any]:
    """Return Celery's configuration for the settings; every limit and time-out is explicit."""
    direct = Exchange("bionewsbot", type="direct")
    return {
        "broker_url": settings.celery_broker_url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": REDIS_TIMEOUT,
        "broker_pool_limit": settings.redis_max_connections,
        "broker_transport_options": {
            "queue_order_strategy": "priority",
            "visibility_timeout": VISIBILITY_SECONDS,
            "unacked_restore_interval": SWEEP_SECONDS,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": SWEEP_LOCK_SECONDS,
            "socket_timeout": REDIS_TIMEOUT,
            "socket_connect_timeout": REDIS_TIMEOUT,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "max_connections": settings.redis_max_connections,
        },
        "result_backend": settings.celery_result_backend,
        "result_backend_transport_options": {"visibility_timeout": VISIBILITY_SECONDS},
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
            names.DATA_CLEANUP: {"queue": names.QUEUE_LOW},
            names.REPORT_ARCHIVAL: {"queue": names.QUEUE_LOW},
            names.ARCHIVE_COLLECTION: {"queue": names.QUEUE_LOW},
            names.REMOVE_ORPHANS: {"queue": names.QUEUE_LOW},
            names.TRIM_REDIS: {"queue": names.QUEUE_LOW},
            names.DATABASE_OPTIMISATION: {"queue": names.QUEUE_LOW},
            names.OPTIMISE_DATABASE: {"queue": names.QUEUE_LOW},
            names.NOTIFY: {"queue": names.QUEUE_LOW},
            names.SEND_NOTICE: {"queue": names.QUEUE_LOW},
            names.WEEKLY_COMPREHENSIVE_REPORT: {"queue": names.QUEUE_DEFAULT},
            names.GATHER_COMPANY: {"queue": names.QUEUE_LOW},
            names.STORE_WEEKLY_REPORT: {"queue": names.QUEUE_DEFAULT},
        },
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # The ledger holds what came of a task; a stored result would be a second, weaker truth.
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_soft_time_limit": settings.celery_task_soft_time_limit,
        "task_time_limit": settings.celery_task_time_limit,
        # The ledger knows what was sent; an event for each would double the broker's writes.
        "task_send_sent_event": False,
        "worker_send_task_events": True,
        "event_queue_expires": 60.0,
        # Why threads, and what bounds them: docs/delivery.md, "Pools".
        "worker_pool": "threads",
        "worker_max_memory_per_child": settings.worker_max_memory_mb * 1024,
        "worker_concurrency": settings.celery_worker_concurrency,
        "worker_prefetch_multiplier": 1,
        # kombu 5.7 takes nothing else once so many wait for their countdown, and goes on with one
        # thread afterwards. While the circuit is open, 2,000 may wait.
        "worker_eta_task_limit": None,
        # A killed child's result can't come any more; Celery's 10 s would outlast the lease.
        "worker_lost_wait": 1.0,
        # What waits for a token of Celery's own rate limit would have no lease.
        "worker_disable_rate_limits": True,
        # Shutdown is ours (delivery/shutdown.py): Celery's soft shutdown sleeps its whole time.
        "worker_soft_shutdown_timeout": 0,
        # A thread can't be cancelled, and what runs keeps its lease over a reconnect.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "beat_max_loop_interval": BEAT_INTERVAL,
        # `celery report`, `inspect conf` and Flower show this URL; of the options they hide the
        # password.
        "redbeat_redis_url": settings.scheduler_redis_url_without_login,
        "redbeat_redis_options": {
            **_redis_options(settings),
            "username": settings.redis_username,
            "password": settings.redis_password,
        },
        # The lock is ours to take and renew (scheduling/scheduler.py); plain RedBeat honours it.
        "redbeat_lock_timeout": BEAT_LOCK_SECONDS,
    }


def connect_redis(settings: Settings) -> "Redis":
    """Return a client of the scheduler's database; connects on first use.

    What can't be decoded is kept as it is, so that one broken entry doesn't hide the others.
    """
    return Redis.from_url(
        settings.scheduler_redis_url,
        decode_responses=True,
        encoding_errors="surrogateescape",
        **_redis_options(settings),
    )


def connect_beat_redis(settings: Settings) -> "Redis":
    """Return beat's client of the scheduler's database: it gives up soon and never retries.

    Like `connect_redis`, it reads what can't be decoded.
    """
    return Redis.from_url(
        settings.scheduler_redis_url,
        decode_responses=True,
        encoding_errors="surrogateescape",
        **_impatient_options(settings, BEAT_REDIS_TIMEOUT),
    )


def connect_impatient_redis(settings: Settings) -> "Redis":
    """Return a client for what goes on without Redis; it gives up soon and never retries."""
    options = _impatient_options(settings, IMPATIENT_REDIS_TIMEOUT)
    return Redis.from_url(settings.scheduler_redis_url, decode_responses=True, **options)


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


def _impatient_options(settings: Settings, seconds: float) -> dict[str, Any]:
    return {
        **_redis_options(settings),
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
    }
