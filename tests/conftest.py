"""What all tests share: each module of tests/support that has fixtures or hooks."""

from hypothesis import settings

# A machine that has much else to do is no failure of an example.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

pytest_plugins = [
    "support.skips",
    "support.redis_server",
    "support.ledgers",
    "support.faulty_backend",
    "support.stack",
    "support.apps",
    "support.scheduling",
    "support.beats",
    "support.postgres",
    "support.backend_app",
    "support.operating",
    "support.movers",
    "support.six_jobs",
    "support.smtp_sink",
    "support.channels",
    "support.services",
    "support.fault_stage",
]
