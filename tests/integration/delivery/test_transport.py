"""The broker's channels: one client for all commands, as long as it fits."""

import pytest
from celery import Celery
from kombu.transport import resolve_transport

from bionewsbot.delivery import transport


def test_channel_makes_one_client(app: Celery) -> None:
    """Two commands of a channel use the same client; its event loop has one of its own."""
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
            assert first.ping()
        assert channel.client is not first


def test_new_pool_new_client(app: Celery) -> None:
    """A channel that made a new pool after a lost connection doesn't go on with the old one."""
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        with channel.conn_or_acquire() as before:
            pass
        channel._disconnect_pools()
        with channel.conn_or_acquire() as after:
            assert after is not before
            assert after.connection_pool is channel.pool
            assert after.ping()


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("redis", transport.Transport),
        ("rediss", transport.Transport),
        ("sentinel", transport.SentinelTransport),
    ],
)
def test_urls_use_our_transports(app: Celery, scheme: str, expected: type) -> None:
    """An app of ours has them for each URL that the settings allow."""
    assert resolve_transport(scheme) is expected
