"""Log lines as they are written: their form, their context, and what is kept out."""

import json
import logging
import warnings
from datetime import UTC, datetime

import pytest
from support.apps import Lines

from bionewsbot import logs

OURS = logging.getLogger("bionewsbot.tests")


def record(**changes: object) -> logging.LogRecord:
    """Return a record of 2026-01-15T10:30:45.123Z."""
    moment = datetime(2026, 1, 15, 10, 30, 45, 123_000, tzinfo=UTC)
    fields = {
        "name": "bionewsbot.tasks.analysis",
        "levelno": logging.INFO,
        "levelname": "INFO",
        "msg": "company_analysis_complete",
        "created": moment.timestamp(),
    }
    return logging.makeLogRecord({**fields, **changes})


def test_a_line_has_the_documented_form() -> None:
    """The README's example, field by field and in its order."""
    line = logs.Formatter().format(record(company_id="GILD", duration=45.2, insights_count=5))
    assert line == (
        '{"timestamp": "2026-01-15T10:30:45.123Z", "level": "info", '
        '"logger": "bionewsbot.tasks.analysis", "event": "company_analysis_complete", '
        '"company_id": "GILD", "duration": 45.2, "insights_count": 5}'
    )


def test_a_librarys_line_keeps_its_text_in_a_field() -> None:
    """Prose is no event: the event is constant, the text is `message`."""
    line = json.loads(
        logs.Formatter().format(record(name="celery.beat", msg="sent %s", args=("x",)))
    )
    assert (line["event"], line["message"]) == (logs.FOREIGN_EVENT, "sent x")


def test_what_json_lacks_is_written_as_text() -> None:
    """A time or a path in a field doesn't cost the line."""
    line = json.loads(logs.Formatter().format(record(start_by=datetime(2026, 1, 15, tzinfo=UTC))))
    assert line["start_by"].startswith("2026-01-15")


def test_every_line_carries_the_context(log_lines: Lines) -> None:
    """Ours and libraries'; inner contexts add to outer ones and end with their block."""
    with logs.context(run_id="daily@x", task_id="t"):
        with logs.context(task_id="u", target="GILD"):
            OURS.info("inner")
            logging.getLogger("urllib3").warning("pool is full")
        OURS.info("outer", extra={"task_id": "mine"})
    OURS.info("outside")
    inner, library, outer, outside = log_lines()
    assert (inner["run_id"], inner["task_id"], inner["target"]) == ("daily@x", "u", "GILD")
    assert (library["run_id"], library["target"]) == ("daily@x", "GILD")
    assert (outer["run_id"], outer["task_id"], "target" in outer) == ("daily@x", "mine", False)
    assert not {"run_id", "task_id", "target"} & outside.keys()
    assert logs.current_context() == {}


def test_the_context_ends_with_an_exception() -> None:
    """A task that fails leaves nothing behind for the next one."""
    with pytest.raises(ZeroDivisionError), logs.context(run_id="x"):
        1 / 0  # noqa: B018
    assert logs.current_context() == {}


def test_a_traceback_stays_in_its_line(log_lines: Lines) -> None:
    """One line a record, whatever was raised."""
    try:
        raise ValueError("two\nlines")
    except ValueError:
        OURS.exception("broken")
    (line,) = log_lines()
    assert (line["level"], line["event"]) == ("error", "broken")
    assert "ValueError: two\nlines" in line["exc_info"]


def test_warnings_and_celerys_doubles(log_lines: Lines) -> None:
    """Python's warnings are logged; Celery's own lines on received and failed tasks are not."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    logging.getLogger("celery.worker.strategy").info("Task received")
    logging.getLogger("celery.app.trace").error("Task raised")
    (line,) = log_lines()
    assert line["logger"] == "py.warnings"
    assert "UserWarning: old" in line["message"]


def test_the_level_is_the_settings(
    configured: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """LOG_LEVEL=WARNING keeps what is less out."""
    configured.setenv("LOG_LEVEL", "WARNING")
    lines: Lines = request.getfixturevalue("log_lines")
    OURS.info("less")
    OURS.warning("enough")
    assert [line["event"] for line in lines()] == ["enough"]


def test_text_is_for_people() -> None:
    """Time, level, logger, event, fields, and the traceback below."""
    assert logs.TextFormatter().format(record(company_id="GILD")) == (
        "2026-01-15T10:30:45.123Z INFO     bionewsbot.tasks.analysis company_analysis_complete "
        "company_id=GILD"
    )
    try:
        raise ValueError("why")
    except ValueError as error:
        text = logs.TextFormatter().format(record(exc_info=(ValueError, error, None)))
    assert text.splitlines()[-1] == "ValueError: why"
