"""The tables, as the newest migration leaves them."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC; SQLite, which knows no time zones, holds it without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware time into what the database holds."""
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn what the database holds into an aware time."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# None is SQL's NULL and not the JSON text "null", so that IS NULL finds it.
Json = JSON(none_as_null=True)

# Names are the same on both databases, so that later migrations can refer to them.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _time(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, UtcDateTime(), nullable=nullable)


def _company() -> Column[str]:
    return Column("company_id", String(64), ForeignKey("companies.id"), nullable=False)


companies = Table(
    "companies",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("ticker", String(16)),
    Column("cik", String(10)),
    Column("aliases", Json, nullable=False),
    Column("priority", String(16), nullable=False),
    Column("analysis_frequency", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    _time("created_at"),
    _time("updated_at"),
)

analyses = Table(
    "analyses",
    metadata,
    Column("id", String(64), primary_key=True),
    _company(),
    Column("type", String(16), nullable=False),
    _time("scheduled_for"),
    Column("attempt", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    _time("created_at"),
    _time("started_at", nullable=True),
    _time("finished_at", nullable=True),
    Column("sources", Json, nullable=False),
    Column("findings", Json, nullable=False),
    Column("significant", Boolean, nullable=False),
    Column("risk", Json),
    Column("error", Json),
    Index(None, "scheduled_for", "id"),
    Index(None, "company_id", "scheduled_for", "id"),
    Index(
        "ix_analyses_unfinished",
        "id",
        sqlite_where=text("status IN ('queued', 'running')"),
        postgresql_where=text("status IN ('queued', 'running')"),
    ),
)

risk_history = Table(
    "risk_history",
    metadata,
    # No foreign key: the history outlives the analyses, which are archived.
    Column("analysis_id", String(64), primary_key=True),
    _company(),
    Column("analysis_type", String(16), nullable=False),
    _time("at"),
    Column("score", Float, nullable=False),
    Column("previous", Float),
    Column("delta", Float),
    Column("contributions", Json, nullable=False),
    Column("partial", Boolean, nullable=False),
    Index(None, "company_id", "at", "analysis_id"),
)


def _story_columns() -> list[Any]:
    return [
        Column("id", String(64), primary_key=True),
        _company(),
        # No foreign key: analyses are archived before or after what was found in them.
        Column("analysis_id", String(64), nullable=False),
        Column("story_id", String(255), nullable=False),
        Column("type", String(64), nullable=False),
        Column("polarity", String(64), nullable=False),
        Column("title", Text, nullable=False),
        Column("description", Text, nullable=False),
        Column("severity", String(16), nullable=False),
        _time("occurred_at"),
        Column("url", Text),
        Column("source", Text, nullable=False),
        Column("evidence", Json),
        Column("sources", Json, nullable=False),
        _time("created_at"),
        _time("updated_at"),
        UniqueConstraint("company_id", "story_id", "type"),
        Index(None, "created_at", "id"),
        Index(None, "company_id", "created_at", "id"),
    ]


insights = Table(
    "insights", metadata, *_story_columns(), Column("confidence", Float, nullable=False)
)

alerts = Table(
    "alerts",
    metadata,
    *_story_columns(),
    Column("state", String(16), nullable=False),
    Index(None, "state", "created_at", "id"),
    Index(None, "company_id", "state", "created_at", "id"),
)

reports = Table(
    "reports",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("type", String(64), nullable=False),
    Column("period", String(64), nullable=False),
    Column("etag", String(64), nullable=False),
    Column("content", Json, nullable=False),
    _time("created_at"),
    _time("updated_at"),
    UniqueConstraint("type", "period"),
    Index(None, "created_at", "id"),
)

maintenance_jobs = Table(
    "maintenance_jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("params", Json, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    _time("created_at"),
    _time("started_at", nullable=True),
    _time("finished_at", nullable=True),
    Column("result", Json),
    Column("error", Json),
    Index(
        "uq_maintenance_jobs_unfinished_kind",
        "kind",
        unique=True,
        sqlite_where=text("status IN ('queued', 'running')"),
        postgresql_where=text("status IN ('queued', 'running')"),
    ),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("operation", String(32), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("resource_id", String(64), nullable=False),
    _time("created_at"),
    Index(None, "created_at"),
)
