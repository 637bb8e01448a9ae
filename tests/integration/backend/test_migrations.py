"""Migrations: they lead to the tables that the code knows, once, whoever starts first."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from support.postgres import PostgresServer

from bionewsbot.backend.storage.database import MIGRATIONS, Database, DatabaseUnusable
from bionewsbot.backend.storage.tables import metadata


def test_migrations_lead_to_the_tables(database_url: str) -> None:
    """A migrated database differs in nothing from what the code declares."""
    database = Database(database_url)
    database.migrate()
    with database.read() as connection:
        options = {"compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        assert set(inspect(connection).get_table_names()) >= set(metadata.tables)
    database.close()


def test_migrating_twice_changes_nothing(database_url: str) -> None:
    """A second start finds the schema as it is, and the data."""
    database = Database(database_url)
    database.migrate()
    with database.write() as connection:
        connection.execute(text("DELETE FROM companies"))
    database.migrate()
    database.check()
    database.close()


def test_starts_at_once_migrate_once(database_url: str) -> None:
    """Four processes that start together all find a migrated database."""
    databases = [Database(database_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Database.migrate, databases))
    for database in databases:
        database.check()
        database.close()


def test_newer_schema_is_refused(database_url: str) -> None:
    """A database of a newer version isn't touched, and the message says what to do."""
    database = Database(database_url)
    database.migrate()
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseUnusable, match="9999.*install the version"):
        database.migrate()
    database.close()


def test_sqlite_is_set_up_for_safety(tmp_path: Path) -> None:
    """WAL, full synchronisation, foreign keys and a busy time-out hold on every connection."""
    database = Database(f"sqlite:///{tmp_path / 'new' / 'folder' / 'b.db'}")
    database.migrate()
    with database.read() as connection:
        settings = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.close()
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 15_000,
    }


def test_lost_postgresql_is_found_again(postgres_server: PostgresServer) -> None:
    """After the server's restart the pool's dead connections are replaced unnoticed."""
    database = Database(postgres_server.new_database())
    database.migrate()
    postgres_server.stop()
    postgres_server.start()
    database.check()
    database.close()


def test_migrations_lead_back(database_url: str) -> None:
    """Taken back to the beginning, a database is empty, and can be migrated again."""
    database = Database(database_url)
    database.migrate()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    database.migrate()
    database.check()
    database.close()
