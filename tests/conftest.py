"""What all tests share: each module of tests/support that has fixtures or hooks."""

pytest_plugins = [
    "support.skips",
    "support.redis_server",
    "support.ledgers",
    "support.faulty_backend",
    "support.stack",
    "support.apps",
    "support.postgres",
    "support.backend_app",
]
