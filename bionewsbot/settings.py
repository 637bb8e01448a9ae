"""The scheduler's settings: validated, complete, frozen; the only ones who read the environment."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, urlsplit

from limits import RateLimitItem

from bionewsbot.environment import Reader

EMBEDDED_REDIS_PORT = 6390
"""The embedded Redis' port: not 6379, so that it never meets a Redis that is already there."""

RESULT_DB = 3
"""Redis database of Celery's results where CELERY_RESULT_BACKEND is unset."""

SPARE_CONNECTIONS = 10
"""Redis connections of a worker beyond one a thread: consumer, events, heartbeat, reconciler."""

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOG_FORMATS = ("json", "text")
ENVIRONMENTS = ("development", "staging", "production")


@dataclass(frozen=True)
class Settings:
    """The scheduler's configuration. Durations are in seconds unless the name says otherwise."""

    environment: str
    config_dir: Path
    """Folder of companies.yaml and the other YAML files."""

    redis_host: str
    redis_port: int
    redis_username: str | None
    redis_password: str | None = field(repr=False)
    redis_tls: bool
    redis_max_connections: int
    """Most connections that one process opens to each Redis database."""
    redis_scheduler_db: int
    redis_celery_db: int
    embedded_redis: bool

    api_base_url: str
    api_timeout: float
    """Longest wait for the first byte of an answer beyond a long poll's own wait."""
    api_key: str | None = field(repr=False)
    api_rate_limit: RateLimitItem | None
    """Most calls that all workers together make in a time; None: any number."""
    embedded_backend: bool

    breaker_failures: int
    """Failures in a row that open the circuit breaker."""
    breaker_share: int
    """Per cent of failures within the window that open it."""
    breaker_min_calls: int
    """Calls that the window must have for that."""
    breaker_window_seconds: int
    breaker_open_seconds: int

    daily_analysis_hour: int
    weekly_report_day: str
    weekly_report_hour: int
    priority_companies: tuple[str, ...]
    """Ids of companies that the quick scan takes besides those with `priority: high`."""

    celery_broker_url: str = field(repr=False)
    celery_result_backend: str = field(repr=False)
    celery_worker_concurrency: int
    celery_task_soft_time_limit: int
    celery_task_time_limit: int
    worker_max_memory_mb: int
    """Most memory that a worker of threads, or a child of one of processes, may come to hold."""
    worker_grace_seconds: int
    """What a worker gets to stop in; its supervisor kills it after that."""

    retry_attempts: int
    """How often a task is tried in all."""
    retry_base_seconds: float
    """Longest wait before a task's second attempt; doubles with each further one."""
    retry_cap_seconds: float
    """Longest wait before an attempt."""
    retry_budget_seconds: float
    """Time from a task's first attempt within which its last one starts."""

    max_concurrent_analysis: int
    """Most analyses that all workers have under way at a time; 0: as many as they have threads."""

    run_retention_days: int
    """Days for which the ledger keeps a run after its end."""
    run_lease_seconds: int
    """How long a task counts as alive without a sign of life; workers give three in that time."""

    prometheus_port: int
    flower_port: int
    health_check_port: int

    archive_location: str
    cleanup_retention_days: int
    """Age from which analyses, insights and alerts are archived."""
    report_retention_days: int
    database_wait_seconds: int
    """How long database optimisation lets analyses go first."""
    log_dir: Path
    log_level: str
    log_format: str

    @property
    def scheduler_redis_url(self) -> str:
        """URL of the database that holds the schedule and the ledger (secrets included)."""
        return self._scheduler_redis_url(self.redis_username, self.redis_password)

    @property
    def scheduler_redis_url_without_login(self) -> str:
        """The same without user and password, for where it is shown."""
        return self._scheduler_redis_url(None, None)

    def _scheduler_redis_url(self, username: str | None, password: str | None) -> str:
        return _redis_url(
            host=self.redis_host,
            port=self.redis_port,
            username=username,
            password=password,
            tls=self.redis_tls,
            database=self.redis_scheduler_db,
        )


@lru_cache(maxsize=1)
def current() -> Settings:
    """Return this process' settings, read once from `.env` and the environment.

    Raises SettingsError as `load` does.
    """
    return load()


def load(dotenv: Path | None = None) -> Settings:
    """Read `dotenv` (default: `.env` in the working directory), then the environment, which wins.

    Raises SettingsError, which lists every variable that is wrong.
    """
    return _read(reader(dotenv))


def reader(dotenv: Path | None = None) -> Reader:
    """Return what reads variables where `load` does."""
    read = Reader()
    path = dotenv if dotenv is not None else Path(".env")
    if path.is_file():
        read.env.read_env(str(path), recurse=False)
    return read


def _read(read: Reader) -> Settings:
    embedded_redis = read.flag("EMBEDDED_REDIS", False)
    embedded_backend = read.flag("EMBEDDED_BACKEND", False)
    redis = {
        "host": read.text("REDIS_HOST", "127.0.0.1" if embedded_redis else "localhost"),
        "port": read.port("REDIS_PORT", EMBEDDED_REDIS_PORT if embedded_redis else 6379),
        "username": read.text("REDIS_USERNAME", None),
        "password": read.secret("REDIS_PASSWORD"),
        "tls": read.flag("REDIS_TLS", False),
    }
    celery_db = read.integer("REDIS_CELERY_DB", 2, low=0, high=15)
    scheduler_db = read.integer("REDIS_SCHEDULER_DB", 1, low=0, high=15)
    soft_limit = read.integer("CELERY_TASK_SOFT_TIME_LIMIT", 600, low=1)
    hard_limit = read.integer("CELERY_TASK_TIME_LIMIT", 900, low=2)
    api_base_url = read.url("API_BASE_URL", "http://localhost:8000", ("http", "https"))
    broker = read.secret_url("CELERY_BROKER_URL", ("redis", "rediss", "sentinel", "unix"))
    results = read.secret_url("CELERY_RESULT_BACKEND", ("redis", "rediss", "sentinel", "unix"))

    if embedded_redis and redis["host"] not in LOOPBACK_HOSTS:
        read.refuse(
            "REDIS_HOST",
            "127.0.0.1 while EMBEDDED_REDIS=1 (set EMBEDDED_REDIS=0 to use a Redis of your own)",
        )
    if embedded_redis and redis["tls"]:
        read.refuse("REDIS_TLS", "0 while EMBEDDED_REDIS=1 (the embedded server has no TLS)")
    if embedded_backend and (urlsplit(api_base_url).hostname or "") not in LOOPBACK_HOSTS:
        read.refuse(
            "API_BASE_URL",
            "an address on 127.0.0.1 while EMBEDDED_BACKEND=1 "
            "(set EMBEDDED_BACKEND=0 to use a backend of your own)",
        )
    if scheduler_db == celery_db:
        read.refuse("REDIS_CELERY_DB", f"another database than REDIS_SCHEDULER_DB={scheduler_db}")
    if results is None and RESULT_DB in (scheduler_db, celery_db):
        name = "REDIS_CELERY_DB" if celery_db == RESULT_DB else "REDIS_SCHEDULER_DB"
        read.refuse(
            name, f"not {RESULT_DB}, which holds the results (or set CELERY_RESULT_BACKEND)"
        )
    concurrency = read.integer("CELERY_WORKER_CONCURRENCY", 4, low=1, high=1000)
    connections = read.integer("REDIS_MAX_CONNECTIONS", 50, low=1, high=10_000)
    if connections < concurrency + SPARE_CONNECTIONS:
        read.refuse(
            "REDIS_MAX_CONNECTIONS",
            f"at least CELERY_WORKER_CONCURRENCY + {SPARE_CONNECTIONS} "
            f"= {concurrency + SPARE_CONNECTIONS}: each thread of a worker may need one",
        )
    if soft_limit >= hard_limit:
        read.refuse(
            "CELERY_TASK_SOFT_TIME_LIMIT",
            f"less than CELERY_TASK_TIME_LIMIT={hard_limit}, so that a task can still clean up",
        )

    settings = Settings(
        environment=read.choice("ENVIRONMENT", "development", ENVIRONMENTS),
        config_dir=Path(read.text("BIONEWSBOT_CONFIG_DIR", "config") or ""),
        redis_host=redis["host"],
        redis_port=redis["port"],
        redis_username=redis["username"],
        redis_password=redis["password"],
        redis_tls=redis["tls"],
        redis_max_connections=connections,
        redis_scheduler_db=scheduler_db,
        redis_celery_db=celery_db,
        embedded_redis=embedded_redis,
        api_base_url=api_base_url.rstrip("/"),
        api_timeout=read.integer("API_TIMEOUT", 30, low=1, high=3600),
        api_key=read.secret("API_KEY"),
        api_rate_limit=read.rate("API_RATE_LIMIT"),
        embedded_backend=embedded_backend,
        breaker_failures=read.integer("BREAKER_FAILURES", 5, low=1, high=1000),
        breaker_share=read.integer("BREAKER_SHARE", 50, low=1, high=100),
        breaker_min_calls=read.integer("BREAKER_MIN_CALLS", 20, low=1, high=100_000),
        breaker_window_seconds=read.integer("BREAKER_WINDOW_SECONDS", 60, low=1, high=3600),
        # A backend's restart takes seconds; what waits meanwhile costs nothing.
        breaker_open_seconds=read.integer("BREAKER_OPEN_SECONDS", 15, low=1, high=3600),
        daily_analysis_hour=read.integer("DAILY_ANALYSIS_HOUR", 6, low=0, high=23),
        weekly_report_day=read.choice("WEEKLY_REPORT_DAY", "mon", DAYS),
        weekly_report_hour=read.integer("WEEKLY_REPORT_HOUR", 8, low=0, high=23),
        priority_companies=read.ids("PRIORITY_COMPANIES"),
        celery_broker_url=broker or _redis_url(**redis, database=celery_db),
        celery_result_backend=results or _redis_url(**redis, database=RESULT_DB),
        celery_worker_concurrency=concurrency,
        celery_task_soft_time_limit=soft_limit,
        celery_task_time_limit=hard_limit,
        # A worker of four threads was measured to hold 79 MB (docs/delivery.md).
        worker_max_memory_mb=read.integer("WORKER_MAX_MEMORY_MB", 1024, low=128, high=1_000_000),
        # Longer than a call to the backend may take with its long poll (API_TIMEOUT).
        worker_grace_seconds=read.integer("WORKER_GRACE_SECONDS", 45, low=6, high=3600),
        # Waits of up to four minutes in all: longer than a restart of the backend.
        retry_attempts=read.integer("RETRY_ATTEMPTS", 8, low=1, high=100),
        retry_base_seconds=read.integer("RETRY_BASE_SECONDS", 2, low=1, high=3600),
        retry_cap_seconds=read.integer("RETRY_CAP_SECONDS", 300, low=1, high=3600),
        retry_budget_seconds=read.integer("RETRY_BUDGET_SECONDS", 1800, low=1, high=86_400),
        # How many a backend bears is known to whoever runs it.
        max_concurrent_analysis=read.integer("MAX_CONCURRENT_ANALYSIS", 0, low=0, high=1000),
        run_retention_days=read.integer("RUN_RETENTION_DAYS", 90, low=1, high=3650),
        # Ten seconds: a killed worker's task runs again within 15 s, a paused one is not doubled.
        run_lease_seconds=read.integer("RUN_LEASE_SECONDS", 10, low=3, high=3600),
        prometheus_port=read.port("PROMETHEUS_PORT", 9090),
        flower_port=read.port("FLOWER_PORT", 5555),
        health_check_port=read.port("HEALTH_CHECK_PORT", 8080),
        archive_location=read.place("ARCHIVE_LOCATION", "/var/bionewsbot/archive"),
        cleanup_retention_days=read.integer("CLEANUP_RETENTION_DAYS", 90, low=1, high=36_500),
        report_retention_days=read.integer("REPORT_RETENTION_DAYS", 30, low=1, high=36_500),
        database_wait_seconds=read.integer("DATABASE_WAIT_SECONDS", 1800, low=0, high=86_400),
        log_dir=Path(read.text("LOG_DIR", "/var/log/bionewsbot")),
        log_level=read.choice("LOG_LEVEL", "INFO", LOG_LEVELS, fold=str.upper),
        log_format=read.choice("LOG_FORMAT", "json", LOG_FORMATS),
    )
    read.finish()
    return settings


def _redis_url(
    *, host: str, port: int, username: str | None, password: str | None, tls: bool, database: int
) -> str:
    login = ""
    if username or password:
        login = f"{quote(username or '', safe='')}:{quote(password or '', safe='')}@"
    bracketed = f"[{host}]" if ":" in host else host
    # kombu wants to be told how to check the certificate; "required" is the only safe answer.
    query = "?ssl_cert_reqs=required" if tls else ""
    return f"{'rediss' if tls else 'redis'}://{login}{bracketed}:{port}/{database}{query}"
