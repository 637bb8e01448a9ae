from datetime import UTC, date, datetime

import pytest

from bionewsbot.backend.sources import sources
from bionewsbot.backend.sources.base import Window, end_of_day

NOON = datetime(2026, 1, 20, 12, tzinfo=UTC)


def test_only_replay_is_asked():
    """The backend has one source, and it is replay."""
    assert [source.name for source in sources()] == ["replay"]


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (NOON, NOON, "before the end"),
        (NOON.replace(day=21), NOON, "before the end"),
        (NOON.replace(tzinfo=None), NOON.replace(day=21), "time zone"),
        (NOON, datetime(2026, 1, 21), "time zone"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(start, end, words):
    """A window needs time zones and a start before its end."""
    with pytest.raises(ValueError, match=words):
        Window(start, end)


def test_a_day_counts_as_known_at_its_last_second():
    """A fact with only a date is not known before its day is over."""
    assert end_of_day(date(2026, 1, 29)) == datetime(2026, 1, 29, 23, 59, 59, tzinfo=UTC)
