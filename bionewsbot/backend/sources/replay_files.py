"""Reads the replay data: three JSON Lines files, each line checked, into records."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from bionewsbot.backend.sources.base import Record, SourceError

SOURCE_NAME = "replay"

SEC_FILINGS = "sec_filings.jsonl"
TRIAL_CHANGES = "trial_changes.jsonl"
FDA_DECISIONS = "fda_decisions.jsonl"

_CIK = re.compile(r"\d{10}")
_NCT_ID = re.compile(r"NCT\d{8}")
_ACCESSION = re.compile(r"\d{10}-\d{2}-\d{6}")
_TRIAL_FIELDS = ("overall_status", "primary_completion_date", "completion_date")


def read_records(folder: Path) -> tuple[Record, ...]:
    """Return every record of the folder's files, oldest first.

    Raises SourceError where a file is missing, can't be read or has a wrong line.
    """
    records = [
        record
        for name, as_record in (
            (SEC_FILINGS, _filing),
            (TRIAL_CHANGES, _trial_change),
            (FDA_DECISIONS, _decision),
        )
        for record in _read_file(folder / name, as_record)
    ]
    return tuple(sorted(records, key=lambda record: (record.occurred_on, record.id)))


def _read_file(path: Path, as_record: Callable[[Mapping[str, Any]], Record]) -> Iterator[Record]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path}: the replay data can't be read ({error}); reinstall the package"
        ) from error
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not a JSON object")
            yield as_record(row)
        except ValueError as error:
            raise SourceError(
                f"{path}, line {number}: {error}; mend the line as README.md beside it says,"
                " or reinstall the package"
            ) from error


def _filing(row: Mapping[str, Any]) -> Record:
    accession = _matching(row, "accession", _ACCESSION)
    return Record(
        id=f"sec:{accession}",
        kind="sec_filing",
        occurred_on=_day(row, "filed_on"),
        facts={
            "ticker": _text(row, "ticker"),
            "cik": _matching(row, "cik", _CIK),
            "form": _text(row, "form"),
            "accession": accession,
        },
        url=_url(row),
        source=SOURCE_NAME,
    )


def _trial_change(row: Mapping[str, Any]) -> Record:
    nct_id = _matching(row, "nct_id", _NCT_ID)
    ticker = _text(row, "ticker")
    newer = _day(row, "newer_snapshot")
    facts = {
        "ticker": ticker,
        "nct_id": nct_id,
        "older_snapshot": _day(row, "older_snapshot").isoformat(),
        "newer_snapshot": newer.isoformat(),
        "dated_by": _text(row, "dated_by"),
    }
    changes = _objects(row, "changes")
    for change in changes:
        field = _text(change, "field")
        if field not in _TRIAL_FIELDS:
            raise ValueError(f"field is {field!r}, not one of {', '.join(_TRIAL_FIELDS)}")
        read = _text if field == "overall_status" else _iso_day
        facts[f"{field}_old"] = read(change, "old")
        facts[f"{field}_new"] = read(change, "new")
    return Record(
        id=f"ctgov:{nct_id}:{ticker}:{newer.isoformat()}",
        kind="trial_change",
        occurred_on=_day(row, "changed_on"),
        facts=facts,
        url=_url(row),
        source=SOURCE_NAME,
    )


def _decision(row: Mapping[str, Any]) -> Record:
    day = _day(row, "made_public_on")
    ticker = _text(row, "ticker")
    decision = _text(row, "decision")
    facts = {
        "ticker": ticker,
        "cik": _matching(row, "cik", _CIK),
        "subject": _text(row, "subject"),
        "decision": decision,
        "confirmed_by": "; ".join(_citation(place) for place in _objects(row, "confirmed_by")),
    }
    if "new_goal_date" in row:
        facts["new_goal_date"] = _iso_day(row, "new_goal_date")
    return Record(
        id=f"fda:{ticker}:{facts['subject']}:{decision}:{day.isoformat()}".replace(" ", "-"),
        kind="fda_decision",
        occurred_on=day,
        facts=facts,
        url=_url(row),
        source=SOURCE_NAME,
    )


def _citation(place: Mapping[str, Any]) -> str:
    """Name the file and the columns that find the row; `contains` is for the test of it only."""
    columns = (str(value) for key, value in place.items() if key not in ("file", "contains"))
    return " ".join((_text(place, "file"), *columns))


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is {value!r}, not a text")
    return value


def _matching(row: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = _text(row, key)
    if not pattern.fullmatch(value):
        raise ValueError(f"{key} is {value!r}, not of the form {pattern.pattern}")
    return value


def _day(row: Mapping[str, Any], key: str) -> date:
    value = _text(row, key)
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{key} is {value!r}, not a day such as 2026-01-29") from error


def _iso_day(row: Mapping[str, Any], key: str) -> str:
    return _day(row, key).isoformat()


def _url(row: Mapping[str, Any]) -> str:
    value = _text(row, "url")
    if not value.startswith("https://"):
        raise ValueError(f"url is {value!r}, not an https address")
    return value


def _objects(row: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = row.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
        raise ValueError(f"{key} is {value!r}, not a list of objects")
    return value
