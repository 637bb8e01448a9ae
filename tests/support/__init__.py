"""What several test modules share; each module here is loaded by tests/conftest.py."""
