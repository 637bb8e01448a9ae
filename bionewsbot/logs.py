"""Logs: one JSON object a line, with the run, task and request that the line belongs to."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.core import LogData
from pythonjsonlogger.json import JsonFormatter

from bionewsbot.settings import Settings

FOREIGN_EVENT = "library_message"
"""Event name of lines that libraries write; their text is in the field `message`."""

_context: ContextVar[dict[str, str] | None] = ContextVar("log_context", default=None)


@contextmanager
def context(**fields: str) -> Iterator[None]:
    """Add fields to every line that is logged inside the `with` block."""
    token = _context.set({**(_context.get() or {}), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def current_context() -> dict[str, str]:
    """Return the fields that lines logged here and now carry."""
    return dict(_context.get() or {})


def configure(settings: Settings) -> None:
    """Send all logs of this process to standard error, in the form that the settings ask for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_add_context)
    handler.setFormatter(Formatter() if settings.log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    # The Task base class logs start, end, retry and failure once, with fields; Celery's own
    # lines would say the same a second time, in prose.
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    logging.getLogger("celery.app.trace").setLevel(logging.CRITICAL)
    # It says the path of each call at DEBUG: the path of a channel's webhook is its secret.
    logging.getLogger("urllib3").setLevel(logging.INFO)
    logging.captureWarnings(True)


class Formatter(JsonFormatter):
    """`{"timestamp", "level", "logger", "event", ...fields}`, one line."""

    def __init__(self) -> None:
        super().__init__(json_default=str)

    def add_fields(
        self, log_data: LogData, record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Fill `log_data` in the order in which people read it."""
        log_data["timestamp"] = _timestamp(record)
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name
        log_data["event"] = _event(record)
        super().add_fields(log_data, record, message_dict)
        log_data.pop("taskName", None)
        if _is_ours(record):
            log_data.pop("message", None)


class TextFormatter(logging.Formatter):
    """The same for people: time, level, logger, event, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it where there is one."""
        fields = {
            name: value
            for name, value in vars(record).items()
            if name not in _STANDARD and not name.startswith("_")
        }
        said = " ".join(f"{name}={value}" for name, value in fields.items())
        line = f"{_timestamp(record)} {record.levelname:<8} {record.name} {record.getMessage()}"
        text = f"{line} {said}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.split(".", 1)[0] == "bionewsbot"


def _event(record: logging.LogRecord) -> str:
    return record.getMessage() if _is_ours(record) else FOREIGN_EVENT


def _timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _add_context(record: logging.LogRecord) -> bool:
    for name, value in (_context.get() or {}).items():
        if not hasattr(record, name):
            setattr(record, name, value)
    return True
