"""Log lines: the documented form, and the request that they belong to."""

import json
import logging
import sys
from datetime import UTC, datetime

from bionewsbot.backend.logs import Formatter, TextFormatter, _add_request_id, request_id


def record(name: str, message: str, **fields: object) -> logging.LogRecord:
    """Return a record made at a fixed time."""
    made = logging.makeLogRecord(
        {"name": name, "msg": message, "levelno": logging.INFO, "levelname": "INFO", **fields}
    )
    made.created = datetime(2026, 1, 15, 10, 30, 45, 123_000, tzinfo=UTC).timestamp()
    return made


def test_own_lines_have_an_event_and_fields() -> None:
    """Ours: four fixed fields in order, then what the line says."""
    line = Formatter().format(record("bionewsbot.backend.runner", "analysis_complete", count=5))
    assert line == (
        '{"timestamp": "2026-01-15T10:30:45.123Z", "level": "info", '
        '"logger": "bionewsbot.backend.runner", "event": "analysis_complete", "count": 5}'
    )


def test_library_lines_keep_their_message() -> None:
    """A library's text is a message, not an event, and uvicorn's colours stay out."""
    made = record("uvicorn.error", "Started %d", args=(7,), color_message="\x1b[1mStarted")
    line = json.loads(Formatter().format(made))
    assert (line["event"], line["message"]) == ("library_message", "Started 7")
    assert "color_message" not in line


def test_request_id_is_in_the_line() -> None:
    """Inside a request every line has its id."""
    made = record("bionewsbot.backend", "x")
    token = request_id.set("run-1")
    try:
        assert _add_request_id(made)
    finally:
        request_id.reset(token)
    assert json.loads(Formatter().format(made))["request_id"] == "run-1"
    outside = record("bionewsbot.backend", "x")
    _add_request_id(outside)
    assert "request_id" not in json.loads(Formatter().format(outside))


def test_text_form_has_fields_and_traceback() -> None:
    """For people: one line with the fields, the traceback below."""
    try:
        raise ValueError("bad")
    except ValueError:
        made = record("bionewsbot.backend", "crashed", job="j1", exc_info=sys.exc_info())
    first, *rest = TextFormatter().format(made).splitlines()
    assert first == "2026-01-15T10:30:45.123Z INFO     bionewsbot.backend crashed job=j1"
    assert rest[-1] == "ValueError: bad"
