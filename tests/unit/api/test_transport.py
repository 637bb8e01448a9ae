"""The transport's parts that need no server."""

from datetime import UTC, datetime

import pytest

from bionewsbot.api.client import BackendClient
from bionewsbot.api.models import format_time
from bionewsbot.api.transport import retry_after
from bionewsbot.errors import SettingsError

NOW = datetime(2026, 1, 15, 6, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("Thu, 15 Jan 2026 06:01:30 GMT", 90),
        ("Thu, 15 Jan 2026 06:01:30 -0000", 90),
        ("Thu, 15 Jan 2026 07:01:30 +0100", 90),
        ("Thu, 15 Jan 2026 05:00:00 GMT", 0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("9" * 400, None),
        ("Thu, 45 Jan 2026 06:01:30 GMT", None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    """Seconds and dates are read, dates of the past mean now, and nonsense is ignored."""
    assert retry_after(text, now=NOW) == seconds


@pytest.mark.parametrize("key", ["two words", "line\nend", "schlüssel", ""])
def test_key_that_no_header_can_hold(key: str) -> None:
    """A key that can't be sent is refused at once, by its variable's name and not by its value."""
    with pytest.raises(SettingsError, match="API_KEY") as raised:
        BackendClient("http://localhost:8000", api_key=key)
    assert not key or key not in str(raised.value)


@pytest.mark.parametrize("url", ["localhost", "http://", "http://[x", "http://*.example"])
def test_url_that_leads_nowhere(url: str) -> None:
    """A base URL that can't be called is refused at once, by its variable's name."""
    with pytest.raises(SettingsError, match="API_BASE_URL"):
        BackendClient(url)


def test_time_without_zone_is_refused() -> None:
    """A naive time is the caller's mistake, never a guess."""
    with pytest.raises(ValueError, match="no time zone"):
        format_time(datetime(2026, 1, 15))
