"""Where the backend keeps things: SQLite or PostgreSQL, through SQLAlchemy Core."""
