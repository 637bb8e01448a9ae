"""Schedules and durations in words, and back."""

from datetime import timedelta
from typing import Any

import pytest
from celery.schedules import crontab, schedule
from hypothesis import given
from hypothesis import strategies as st

from bionewsbot.scheduling.words import (
    cron_text,
    duration_text,
    in_words,
    parse_cron,
    parse_duration,
    parse_interval,
    schedule_text,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("0 * * * *", "every hour"),
        ("5 * * * *", "every hour at :05"),
        ("5,35 * * * *", "every hour at :05 and :35"),
        ("0 */6 * * *", "every 6 hours"),
        ("30 */6 * * *", "every 6 hours at :30"),
        ("0 6 * * *", "daily at 06:00"),
        ("0 6,18 * * *", "daily at 06:00 and 18:00"),
        ("5,35 6,18 * * *", "daily at 06:05, 06:35, 18:05 and 18:35"),
        ("0 9-17 * * *", "every hour from 09:00 to 17:00"),
        ("*/15 9-17 * * mon-fri", "every 15 minutes from 09:00 to 17:45 from Monday to Friday"),
        ("30 8 * * mon", "at 08:30 on Monday"),
        ("0 8 * * mon,wed,sun", "at 08:00 on Monday, Wednesday and Sunday"),
        ("0 8 * * sat,sun", "at 08:00 on Saturday and Sunday"),
        ("0 6 1 * *", "at 06:00 on day 1 of the month"),
        ("0 6 1-7 * mon", "at 06:00 on Monday if it is days 1 to 7 of the month"),
        ("0 6 1,15 jan,jul *", "at 06:00 on days 1 and 15 of the month in January and July"),
        ("0 6 * 6-8 *", "at 06:00 in June to August"),
        ("1,2,3,4,5,6,7 6 * * *", "crontab 1,2,3,4,5,6,7 6 * * *"),
        ("0 6 1,3,5,7,9,11,13 * *", "crontab 0 6 1,3,5,7,9,11,13 * *"),
        ("*/7 * * * *", "crontab */7 * * * *"),
    ],
)
def test_a_crontab_in_words(text: str, words: str) -> None:
    """The usual forms are told; others are the crontab itself."""
    assert in_words(parse_cron(text)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "every second"),
        (90, "every 90 seconds"),
        (60, "every minute"),
        (900, "every 15 minutes"),
        (3600, "every hour"),
        (86_400, "every day"),
        (172_800, "every 2 days"),
    ],
)
def test_an_interval_in_words(seconds: int, words: str) -> None:
    """In the largest unit that fits without a rest."""
    assert in_words(schedule(timedelta(seconds=seconds))) == words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("1d", 86_400),
        ("1h30m", 5400),
        ("1d2h3m4.5s", 93_784.5),
        ("3600", 3600),
        ("0", 0),
        ("0.5", 0.5),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    """With units, combined, or plain seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "15 m", "m", "-5", "1e3", "5w", "1m1h", "1.5h", "5 ", "nan"])
def test_what_is_no_duration(text: str) -> None:
    """It is refused with examples."""
    with pytest.raises(ValueError, match="not a duration such as 90s, 15m"):
        parse_duration(text)


@given(st.integers(0, 10**9) | st.floats(0, 10**6))
def test_a_duration_survives_being_written(seconds: float) -> None:
    """To the last digit."""
    assert parse_duration(duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0 6 * *", "4 instead of five"),
        ("@daily", "1 instead of five"),
        ("61 * * * *", "Invalid end range"),
        ("* * * * someday", "Invalid weekday literal"),
        ("-1 * * * *", "negative"),
        (", * * * *", "empty part"),
    ],
)
def test_what_is_no_crontab(text: str, why: str) -> None:
    """It is refused with the reason and an example."""
    with pytest.raises(ValueError, match=f"{why}.*such as '0 7 \\* \\* mon-fri'"):
        parse_cron(text)


def test_a_crontab_survives_being_written() -> None:
    """The fields stand in cron's order, however Celery was given them."""
    given: dict[str, Any] = {"minute": 5, "hour": "6, 18", "day_of_month": [1, 15]}
    cron = crontab(**given, month_of_year="jan", day_of_week="mon-fri")
    assert cron_text(cron) == "5 6,18 1,15 jan mon-fri"
    assert parse_cron(cron_text(cron)) == crontab(5, "6,18", "mon-fri", "1,15", "jan")


def test_schedules_as_texts() -> None:
    """A crontab is itself, an interval says `every`."""
    assert schedule_text(parse_cron("0 6 * * *")) == "0 6 * * *"
    assert schedule_text(parse_interval("90m")) == "every 1h30m"
