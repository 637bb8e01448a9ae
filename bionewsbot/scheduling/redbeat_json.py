"""RedBeat's JSON form of schedules, so that each schedule has one form however it was written."""

import json
from datetime import timedelta
from functools import lru_cache
from typing import Any

from celery.schedules import BaseSchedule, crontab
from celery.schedules import schedule as interval
from redbeat.decoder import RedBeatJSONDecoder, RedBeatJSONEncoder

_REDBEAT = RedBeatJSONDecoder()


def encode(value: Any) -> str:
    """Write a value as RedBeat does."""
    return json.dumps(value, cls=_Encoder)


def decode(text: str) -> Any:
    """Read what RedBeat wrote. Raises whatever RedBeat and Celery raise for wrong values."""
    return json.loads(text, object_hook=_object_of)


def schedule_as_dict(schedule: BaseSchedule) -> dict[str, Any]:
    """Return a schedule as values that can be written as JSON or YAML and compared."""
    if isinstance(schedule, crontab | interval):
        found: dict[str, Any] = _Encoder().default(schedule)
        return found
    return dict(json.loads(encode(schedule)))


class _Encoder(RedBeatJSONEncoder):
    def default(self, obj: Any) -> Any:
        found = super().default(obj)
        if isinstance(obj, crontab):
            return {name: _cron_field(value) for name, value in found.items()}
        return found


def _cron_field(value: Any) -> str:
    # 6, "6", [6, 18], {6, 18}: Celery takes them all.
    if isinstance(value, str | int):
        return str(value)
    return ",".join(str(one) for one in sorted(value))


def _object_of(found: dict[str, Any]) -> Any:
    if found.get("__type__") == "crontab":
        found = {name: _cron_field(value) for name, value in found.items()}
    if found.get("__type__") in ("crontab", "interval"):
        return _schedule_of(tuple(found.items()))
    return _REDBEAT.dict_to_object(found)


# Many entries share few schedules, and to parse a crontab is a large part of a tick.
@lru_cache(maxsize=4096)
def _schedule_of(items: tuple[tuple[str, Any], ...]) -> BaseSchedule:
    schedule: BaseSchedule = _REDBEAT.dict_to_object(dict(items))
    if isinstance(schedule, interval) and not isinstance(schedule.run_every, timedelta):
        raise TypeError(f"an interval can't be {schedule.run_every!r}")
    return schedule
