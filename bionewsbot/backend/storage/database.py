"""The database: connections, transactions, migrations; SQLite or PostgreSQL."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"

BUSY_TIMEOUT = 15
"""Seconds for which a write waits for another one on SQLite before the caller gets a 503: above
any write of ours, below the 30 s for which the scheduler's client waits."""

CONNECT_TIMEOUT = 5
"""Seconds until a PostgreSQL server that doesn't answer counts as away."""

POOL_SIZE = 10
POOL_OVERFLOW = 10
"""Connections beyond the pool that a burst may open; the next caller waits POOL_TIMEOUT seconds."""
POOL_TIMEOUT = 10

MIGRATION_LOCK = 5_209_461_180_011
"""Key of PostgreSQL's advisory lock: of two backends that start at once, one migrates."""


class DatabaseUnusable(Exception):
    """The database can't be reached, opened or migrated; the message names the reason."""


class Database:
    """One database. `read` and `write` give connections with a transaction around them."""

    def __init__(self, url: str) -> None:
        """Prepare a database; it connects on first use. Raises DatabaseUnusable."""
        self._url = make_url(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        # SQLite has one writer; in the process a lock hands over at once, whereas SQLite itself
        # polls. BEGIN IMMEDIATE and the busy time-out do the same between processes.
        self._writer = threading.Lock()
        self._engine = self._sqlite() if self.is_sqlite else self._postgresql()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading; what it sees is one state of the database on SQLite."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection whose changes are kept together, or undone together on an error."""
        with self._write_lock(), self._engine.connect() as plain:
            connection = plain.execution_options(bionewsbot_mode="write")
            with connection.begin():
                yield connection

    @contextmanager
    def without_transaction(self) -> Iterator[Connection]:
        """Give a connection on which each statement stands alone, as VACUUM wants it."""
        with self._write_lock(), self._engine.connect() as plain:
            if self.is_sqlite:
                yield plain.execution_options(bionewsbot_mode="none")
            else:
                yield plain.execution_options(isolation_level="AUTOCOMMIT")

    def migrate(self) -> None:
        """Bring the schema to the newest version. Raises DatabaseUnusable."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        head = ScriptDirectory.from_config(config).get_current_head()
        try:
            with self.write() as connection:
                if not self.is_sqlite:
                    connection.execute(
                        text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK}
                    )
                before = MigrationContext.configure(connection).get_current_revision()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except CommandError as error:
            raise DatabaseUnusable(
                f"its schema is unknown to this version of the backend ({error}); "
                "install the version that made it, or a newer one"
            ) from error
        except DBAPIError as error:
            raise DatabaseUnusable(_reason(error)) from error
        if before != head:
            logger.info("database_migrated", extra={"from_revision": before, "to_revision": head})

    def check(self) -> None:
        """Return if the database answers. Raises SQLAlchemy's OperationalError and its like."""
        with self.read() as connection:
            connection.execute(text("SELECT 1 FROM alembic_version"))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _write_lock(self) -> Iterator[None]:
        if not self.is_sqlite:
            yield
            return
        if not self._writer.acquire(timeout=BUSY_TIMEOUT):
            raise OperationalError(None, None, sqlite3.OperationalError("database is locked"))
        try:
            yield
        finally:
            self._writer.release()

    def _sqlite(self) -> Engine:
        path = Path(self._url.database or "")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnusable(
                f"its folder {path.parent} can't be made ({error.strerror})"
            ) from error
        engine = create_engine(
            self._url,
            pool_size=POOL_SIZE,
            max_overflow=POOL_OVERFLOW,
            pool_timeout=POOL_TIMEOUT,
            connect_args={"timeout": BUSY_TIMEOUT},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _postgresql(self) -> Engine:
        return create_engine(
            self._url,
            pool_size=POOL_SIZE,
            max_overflow=POOL_OVERFLOW,
            pool_timeout=POOL_TIMEOUT,
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_TIMEOUT, "options": "-c timezone=UTC"},
        )


def _prepare_sqlite(dbapi_connection: Any, _record: Any) -> None:
    # Otherwise the driver begins transactions by itself, and always deferred ones.
    dbapi_connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        # NORMAL could lose what was acknowledged just before a power cut.
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        dbapi_connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("bionewsbot_mode", "read")
    if mode == "write":
        # A deferred transaction that turns from reading to writing fails at once where another
        # one has written meanwhile, whatever the busy time-out.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif mode == "read":
        connection.exec_driver_sql("BEGIN")


def _reason(error: DBAPIError) -> str:
    """Return the database's own words in one line."""
    return " ".join(str(error.orig).split())
