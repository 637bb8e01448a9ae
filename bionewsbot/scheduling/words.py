"""Schedules and durations as people write and read them."""

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from celery.schedules import BaseSchedule, ParseException, crontab
from celery.schedules import schedule as interval

DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)

DURATIONS = ("starting_deadline", "run_deadline", "jitter")
"""Fields of `Definition` that are seconds."""

_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_NAMES = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
_DURATION = re.compile(r"(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+(?:\.\d+)?s)?|\d+(?:\.\d+)?")

_MOST_LISTED = 6
"""Times or days that are listed one by one; more are told as the crontab itself."""


def parse_duration(text: str) -> float:
    """Read `90s`, `15m`, `1h30m`, `1d` or plain seconds. Raises ValueError."""
    if not text or not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 90s, 15m, 1h30m, 1d or 3600")
    parts = re.findall(r"([\d.]+)([dhms]?)", text)
    seconds = sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)
    return int(seconds) if seconds == int(seconds) else seconds


def duration_text(seconds: float) -> str:
    """Write seconds as `parse_duration` reads them, in the largest units that fit."""
    if seconds != int(seconds):
        return f"{Decimal(repr(seconds)):f}s"
    left, written = int(seconds), ""
    for unit, length in _UNITS.items():
        count, left = divmod(left, length)
        written += f"{count}{unit}" if count else ""
    return written or "0s"


def parse_cron(text: str) -> crontab:
    """Read a crontab's five fields. Raises ValueError, which shows what they look like."""
    fields = text.split()
    try:
        if len(fields) != 5:
            raise ValueError(f"{len(fields)} instead of five")
        return crontab.from_string(" ".join(fields))
    except (ValueError, ParseException) as error:
        raise ValueError(
            f"crontab {text!r}: {error}; it has five fields (minute, hour, day of month, month, "
            "day of week), such as '0 7 * * mon-fri'"
        ) from error


def parse_interval(text: str) -> interval:
    """Read the duration between two runs. Raises ValueError."""
    seconds = parse_duration(text)
    if seconds > timedelta.max.total_seconds():
        raise ValueError(f"{text!r} is too long")
    return interval(timedelta(seconds=seconds))


def cron_text(cron: crontab) -> str:
    """Write a crontab's five fields as `parse_cron` reads them."""
    fields = (
        cron._orig_minute,
        cron._orig_hour,
        cron._orig_day_of_month,
        cron._orig_month_of_year,
        cron._orig_day_of_week,
    )
    return " ".join(_field_text(one) for one in fields)


def schedule_text(schedule: BaseSchedule) -> str:
    """Write a schedule shortly and exactly: the crontab, `every 15m`, or what it calls itself."""
    if isinstance(schedule, crontab):
        return cron_text(schedule)
    if type(schedule) is interval:
        return f"every {duration_text(schedule.run_every.total_seconds())}"
    return repr(schedule)


def value_text(field: str, value: Any) -> str:
    """Write the value that a field of `Definition` has, shortly."""
    if isinstance(value, BaseSchedule):
        return schedule_text(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field in DURATIONS and isinstance(value, int | float):
        return duration_text(value)
    return "default" if value is None else str(list(value) if isinstance(value, tuple) else value)


def in_words(schedule: BaseSchedule) -> str:
    """Say when a schedule is due; what has no short words is written as `schedule_text` does."""
    if isinstance(schedule, crontab):
        clock, days = _clock(schedule), _days(schedule)
        if clock is None or days is None:
            return f"crontab {cron_text(schedule)}"
        if clock.startswith("at ") and not days:
            return f"daily {clock}"
        return f"{clock} {days}".strip()
    if type(schedule) is interval:
        return _every(int(schedule.run_every.total_seconds()))
    return schedule_text(schedule)


def _field_text(given: Any) -> str:
    # Celery takes a number, text or a collection of numbers.
    if isinstance(given, Iterable) and not isinstance(given, str):
        return ",".join(str(one) for one in sorted(given))
    return "".join(str(given).split())


def _every(seconds: int) -> str:
    for unit, length in _UNITS.items():
        if seconds and seconds % length == 0:
            return _times(seconds // length, _NAMES[unit])
    return _times(seconds, "second")


def _times(count: int, name: str) -> str:
    return f"every {name}" if count == 1 else f"every {count} {name}s"


def _clock(cron: crontab) -> str | None:
    minutes, hours = sorted(cron.minute), sorted(cron.hour)
    times = [f"{hour:02}:{minute:02}" for hour in hours for minute in minutes]
    if len(times) <= 2:
        return f"at {_listed(times)}"
    within = _within_the_hour(minutes)
    if within and len(hours) == 24:
        return within
    step = _step(hours, 24)
    if step and len(minutes) == 1:
        past = f" at :{minutes[0]:02}" if minutes[0] else ""
        return f"{_times(step, 'hour')}{past}"
    if within and len(hours) > 1 and _is_row(hours):
        return f"{within} from {times[0]} to {times[-1]}"
    return f"at {_listed(times)}" if len(times) <= _MOST_LISTED else None


def _within_the_hour(minutes: Sequence[int]) -> str | None:
    if minutes == [0]:
        return "every hour"
    step = _step(minutes, 60)
    if step:
        return _times(step, "minute")
    if len(minutes) <= _MOST_LISTED:
        return f"every hour at {_listed([f':{minute:02}' for minute in minutes])}"
    return None


def _step(found: Sequence[int], size: int) -> int | None:
    if len(found) < 2 or size % len(found):
        return None
    step = size // len(found)
    return step if list(found) == list(range(0, size, step)) else None


def _days(cron: crontab) -> str | None:
    words = []
    # Monday first: a range of days seldom crosses a Sunday night.
    weekdays = sorted(day or 7 for day in cron.day_of_week)
    if len(weekdays) < 7:
        named = _ranged(weekdays, [*DAYS, DAYS[0]])
        words.append(f"from {named}" if " to " in named else f"on {named}")
    month_days = sorted(cron.day_of_month)
    if len(month_days) < 31:
        if len(month_days) > _MOST_LISTED and not _is_row(month_days):
            return None
        day = "day" if len(month_days) == 1 else "days"
        listed = _ranged(month_days, [str(number) for number in range(32)])
        # As Celery has it, both have to fit.
        words.append(f"{'if it is' if words else 'on'} {day} {listed} of the month")
    months = sorted(cron.month_of_year)
    if len(months) < 12:
        words.append(f"in {_ranged(months, ['', *MONTHS])}")
    return " ".join(words)


def _ranged(found: Sequence[int], names: Sequence[str]) -> str:
    if len(found) > 2 and _is_row(found):
        return f"{names[found[0]]} to {names[found[-1]]}"
    return _listed([names[one] for one in found])


def _is_row(found: Sequence[int]) -> bool:
    return found[-1] - found[0] == len(found) - 1


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
