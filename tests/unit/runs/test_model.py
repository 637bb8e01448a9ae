"""Names and addresses: written and read back, and refused with an example."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionewsbot.errors import NotARun
from bionewsbot.runs.model import Address, Occurrence


def test_an_occurrence_is_named_in_utc_and_whole_seconds() -> None:
    """Zone and fraction don't make another occurrence."""
    cet = timezone(timedelta(hours=1))
    occurrence = Occurrence("daily", datetime(2026, 1, 15, 7, 0, 0, 999, tzinfo=cet))
    assert occurrence.run_id == "daily@2026-01-15T06:00:00Z"
    assert occurrence == Occurrence("daily", datetime(2026, 1, 15, 6, tzinfo=UTC))


@given(
    entry=st.from_regex(r"[A-Za-z0-9_.-]+", fullmatch=True),
    moment=st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)),
)
def test_a_run_id_reads_back(entry: str, moment: datetime) -> None:
    """Parsing a run id gives the occurrence that it was made of."""
    occurrence = Occurrence(entry, moment)
    assert Occurrence.parse(occurrence.run_id) == occurrence


@pytest.mark.parametrize(
    "run_id", ["", "daily", "daily@", "daily@yesterday", "@2026-01-15T06:00:00Z", "a b@2026-01-15"]
)
def test_what_is_no_run_id_is_refused(run_id: str) -> None:
    """With an example of one."""
    with pytest.raises(ValueError, match="is not a run id such as daily_company_analysis@2026"):
        Occurrence.parse(run_id)


@pytest.mark.parametrize("entry", ["", "a b", "a|b", "a@b", "ä"])
def test_entry_names_that_would_break_keys_are_refused(entry: str) -> None:
    """Letters, digits, _ . - only."""
    with pytest.raises(ValueError, match="letters, digits"):
        Occurrence(entry, datetime(2026, 1, 15, tzinfo=UTC))


def test_an_address_travels_in_headers() -> None:
    """What is written is read back."""
    address = Address("daily@2026-01-15T06:00:00Z", "GILD", 2)
    assert Address.from_headers(address.headers()) == address
    assert address.occurrence.entry == "daily"


@pytest.mark.parametrize("headers", [None, {}, {"other": 1}, [1]])
def test_a_message_without_an_address_is_told_how_to_start_a_run(headers: object) -> None:
    """The mend is a command."""
    with pytest.raises(NotARun, match="celery -A bionewsbot runs start ENTRY"):
        Address.from_headers(headers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"run": "daily", "target": "x", "generation": 1},
        {"run": "daily@2026-01-15T06:00:00Z", "target": "x", "generation": "one"},
        {"run": "daily@2026-01-15T06:00:00Z", "target": "x", "generation": float("inf")},
    ],
)
def test_a_malformed_address_is_shown(value: dict[str, object]) -> None:
    """The header as it came is in the message."""
    with pytest.raises(NotARun, match="malformed"):
        Address.from_headers({"bionewsbot": value})
