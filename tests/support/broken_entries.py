"""Hashes that are no entries, by what is wrong with them: each may stand in Redis."""

import json
from typing import Any

from redbeat.decoder import RedBeatJSONEncoder

EVERY = {"__type__": "interval", "every": 60.0, "relative": False}


def plain_definition(**changes: Any) -> str:
    """Return what plain RedBeat stores as an entry's definition, but for the changes."""
    given_ = {
        "name": "entry",
        "task": "tests.job",
        "args": None,
        "kwargs": None,
        "options": {},
        "schedule": EVERY,
        "enabled": True,
        **changes,
    }
    return json.dumps(given_, cls=RedBeatJSONEncoder)


BROKEN_DEFINITIONS = {
    "none": "",
    "not JSON": "{",
    "not UTF-8": b'{"name": "\xff"'.decode("utf-8", "surrogateescape"),
    "a list": "[]",
    "null": "null",
    "a number": "5",
    "no task": json.dumps({"schedule": EVERY}),
    "no schedule": json.dumps({"task": "tests.job"}),
    "a task that is none": plain_definition(task=5),
    "a schedule that is none": plain_definition(schedule="0 6 * * *"),
    "no schedule at all": plain_definition(schedule=None),
    "args": plain_definition(args="abc"),
    "kwargs": plain_definition(kwargs=["a"]),
    "kwargs that are an object": plain_definition(kwargs=EVERY),
    "enabled": plain_definition(enabled="yes"),
    "options": plain_definition(options=[1]),
    "options in pairs": plain_definition(options=[[1, 2]]),
    "an option": plain_definition(options={"queue": "high", "countdown": 5}),
    "another's name": plain_definition(name="another"),
    "an unknown type": plain_definition(schedule={"__type__": "solar", "event": "sunset"}),
    "an impossible crontab": plain_definition(schedule={"__type__": "crontab", "minute": "61"}),
    "30 February": plain_definition(
        schedule={"__type__": "crontab", "day_of_month": "30", "month_of_year": "2"}
    ),
    "a crontab's field": plain_definition(schedule={"__type__": "crontab", "minutes": "0"}),
    "a field that is none": plain_definition(schedule={"__type__": "crontab", "minute": {}}),
    "an interval without": plain_definition(schedule={"__type__": "interval"}),
    "an interval's text": plain_definition(
        schedule={"__type__": "interval", "every": "x", "relative": False}
    ),
    "an endless interval": plain_definition(
        schedule={"__type__": "interval", "every": 1e300, "relative": False}
    ),
    "a rule without": plain_definition(schedule={"__type__": "rrule"}),
}

BROKEN_METAS = {
    "not JSON": "{",
    "a list": "[]",
    "a text": '"x"',
    "last": '{"last_run_at": "yesterday"}',
    "a date that is none": '{"last_run_at": {"__type__": "datetime", "year": 0}}',
    "a zone that is none": json.dumps(
        {
            "last_run_at": {
                "__type__": "datetime",
                "year": 2026,
                "month": 1,
                "day": 1,
                "timezone": "Nowhere/Land",
            }
        }
    ),
    "long before": '{"last_run_at": {"__type__": "datetime", "year": 1, "month": 1, "day": 2}}',
    "count": '{"last_run_at": null, "total_run_count": "5"}',
}

BROKEN_OWNS = {
    "not JSON": "{",
    "a list": "[]",
    "null": "null",
    "a policy": '{"policy": ["timezone"]}',
    "a text for a policy": '{"policy": "timezone"}',
    "a text from the file": '{"from_file": "x"}',
    "a list from the file": '{"from_file": ["task"]}',
    "seen": '{"seen": 5}',
}
