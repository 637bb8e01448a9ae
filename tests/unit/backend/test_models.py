"""What the API takes: times, plain JSON."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from bionewsbot.backend.models import Json, Time

TIME: TypeAdapter[Any] = TypeAdapter(Time)
JSON: TypeAdapter[Any] = TypeAdapter(Json)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("2026-01-15T06:00:00Z", "2026-01-15T06:00:00Z"),
        ("2026-01-15T06:00:00.123456+01:00", "2026-01-15T05:00:00.123456Z"),
        ("2026-01-15 06:00:00-05:00", "2026-01-15T11:00:00Z"),
    ],
)
def test_times_become_utc(given: str, written: str) -> None:
    """A time with any zone is kept and written as UTC with `Z`."""
    assert TIME.dump_python(TIME.validate_python(given), mode="json") == written


@pytest.mark.parametrize(
    "given",
    [0, "1700000000", "2026-01-15", "2026-01-15T06:00:00", "9999-12-31T23:00:00-05:00", None],
)
def test_what_isnt_an_instant_is_refused(given: Any) -> None:
    """Numbers, days, times without a zone or beyond the calendar are no instants."""
    with pytest.raises(ValidationError):
        TIME.validate_python(given)


@pytest.mark.parametrize("value", [float("nan"), "\udc00", ["\x00"], {"\x00": 1}, "a\\\x00"])
def test_json_that_cant_be_stored_is_refused(value: Any) -> None:
    """What JSON text or PostgreSQL can't hold is refused."""
    with pytest.raises(ValidationError):
        JSON.validate_python(value)


@pytest.mark.parametrize("value", [None, "\\u0000", "\\\\u0000", {"é": [1, 0.1, True]}])
def test_other_json_passes_unchanged(value: Any) -> None:
    """Everything else passes as it is, also text that only looks like an escape."""
    assert JSON.validate_python(value) == value
