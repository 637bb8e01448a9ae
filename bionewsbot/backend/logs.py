"""Logs: one JSON object a line, with the request that the line belongs to.

The form is the scheduler's, so that one reader serves both; the code isn't shared, because the
two share nothing but their contract.
"""

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.core import LogData
from pythonjsonlogger.json import JsonFormatter

FOREIGN_EVENT = "library_message"
"""Event name of lines that libraries write; their text is in the field `message`."""

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the request that the current code works for, also in threads started for it."""

_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}


def configure(level: str, form: str) -> None:
    """Send all logs of this process to standard error; `form` is `json` or `text`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_add_request_id)
    handler.setFormatter(Formatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Alembic says at INFO, on every start, which database it looks at.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.captureWarnings(True)


class Formatter(JsonFormatter):
    """`{"timestamp", "level", "logger", "event", ...fields}`, one line."""

    def __init__(self) -> None:
        super().__init__(json_default=str, reserved_attrs=sorted(_STANDARD))

    def add_fields(
        self, log_data: LogData, record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Fill `log_data` in the order in which people read it."""
        log_data["timestamp"] = _timestamp(record)
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name
        log_data["event"] = record.getMessage() if _is_ours(record) else FOREIGN_EVENT
        super().add_fields(log_data, record, message_dict)
        if _is_ours(record):
            log_data.pop("message", None)


class TextFormatter(logging.Formatter):
    """The same for people: time, level, logger, event, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it where there is one."""
        fields = " ".join(
            f"{name}={value}" for name, value in vars(record).items() if name not in _STANDARD
        )
        line = f"{_timestamp(record)} {record.levelname:<8} {record.name} {record.getMessage()}"
        text = f"{line} {fields}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.split(".", 1)[0] == "bionewsbot"


def _timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _add_request_id(record: logging.LogRecord) -> bool:
    current = request_id.get()
    if current is not None and not hasattr(record, "request_id"):
        record.request_id = current
    return True
