"""Alembic's environment: migrations run on the connection that the backend hands over."""

from alembic import context

from bionewsbot.backend.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can't alter most things in place; Alembic then copies the table.
    render_as_batch=True,
)
context.run_migrations()
