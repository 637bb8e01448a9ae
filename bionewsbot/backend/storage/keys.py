"""Idempotency keys: the same call made twice has one effect."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from bionewsbot.backend.problems import Problem
from bionewsbot.backend.storage.rows import fingerprint, insert_if_absent
from bionewsbot.backend.storage.tables import idempotency_keys as keys

RETENTION = timedelta(days=90)
"""The contract's age of a key, above that of the scheduler's dead letters."""


def claim(
    connection: Connection,
    operation: str,
    key: str | None,
    body: Any,
    resource_id: str,
    now: datetime,
) -> str | None:
    """Take the key for the resource, or return the id of the resource that it already stands for.

    A concurrent claim of the same key is waited for. Raises Problem 422 where the key stands for
    another body.
    """
    if key is None:
        return None
    body_hash = fingerprint(body)
    values = {
        "operation": operation,
        "key": key,
        "body_hash": body_hash,
        "resource_id": resource_id,
        "created_at": now,
    }
    if insert_if_absent(connection, keys, values):
        return None
    mine = (keys.c.operation == operation) & (keys.c.key == key)
    stored = connection.execute(select(keys).where(mine).with_for_update()).mappings().one()
    if stored["created_at"] <= now - RETENTION:
        connection.execute(update(keys).where(mine).values(**values))
        return None
    if stored["body_hash"] != body_hash:
        raise Problem(
            422,
            f"Idempotency-Key: {key!r} was used with another body on "
            f"{stored['created_at']:%Y-%m-%d}; use a new key for a new request",
            kind="key-reused",
        )
    return str(stored["resource_id"])


def assign(connection: Connection, operation: str, key: str | None, resource_id: str) -> None:
    """Let a claimed key stand for another resource: the one that was there before the call."""
    if key is not None:
        mine = (keys.c.operation == operation) & (keys.c.key == key)
        connection.execute(update(keys).where(mine).values(resource_id=resource_id))


def gone(operation: str, resource_id: str) -> Problem:
    """Return the problem of a key whose resource was deleted meanwhile."""
    return Problem(
        410,
        f"Idempotency-Key: what it made in {operation} ({resource_id}) was archived and deleted; "
        "restore it from the archive, or use a new key to make another one",
        kind="gone",
    )
