"""The JSON Schema of a report: what is stored fits it, and what doesn't fit isn't read.

`python tests/unit/reports/test_schema.py` writes docs/report.schema.json anew.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from support.stack import ROOT
from support.weeks import full_report, report, section

from bionewsbot.reports.model import SEVERITIES, STATES, Report

SCHEMA = ROOT / "docs" / "report.schema.json"

ALWAYS_THE_SAME = ("schema_version", "type")
"""What the model fills in where it is missing: a report is told from others by it."""


def schema() -> dict[str, Any]:
    """Return the JSON Schema of what a report is stored as."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **Report.model_json_schema(mode="serialization")}


@pytest.fixture(scope="module")
def shipped() -> Draft202012Validator:
    """What checks a document by the schema that is shipped."""
    found = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found, format_checker=Draft202012Validator.FORMAT_CHECKER)


def reads(document: Any) -> bool:
    """Say whether the model takes a document."""
    try:
        Report.model_validate_json(json.dumps(document))
    except ValidationError:
        return False
    return True


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield each object in a document, itself among them."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def test_the_schema_that_is_shipped_is_the_models() -> None:
    """Each field that isn't plain by its name is described in it."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == schema()
    alerts = schema()["$defs"]["OpenBefore"]["properties"]
    assert alerts["total"]["description"] == "Counted up to 500 for each company."


@pytest.mark.parametrize(
    "made", [full_report(), report(), report(section("JNJ"))], ids=["full", "empty", "quiet"]
)
def test_what_is_stored_fits_the_schema(made: Report, shipped: Draft202012Validator) -> None:
    """And is read as it was written."""
    text = made.model_dump_json()
    assert [error.message for error in shipped.iter_errors(json.loads(text))] == []
    assert Report.model_validate_json(text) == made


def test_what_lacks_a_field_or_has_another_fits_neither(shipped: Draft202012Validator) -> None:
    """Wherever in the report it is: schema and model agree."""
    document = json.loads(full_report().model_dump_json())
    changed = 0
    for number, one in enumerate(list(objects(document))):
        for name in one:
            other = copy.deepcopy(document)
            del list(objects(other))[number][name]
            fits = shipped.is_valid(other)
            # Counts by state or severity are maps, of which any part may be missing.
            assert fits == (set(one) <= {*STATES, *SEVERITIES}), name
            assert reads(other) == (fits or name in ALWAYS_THE_SAME and one is document), name
            changed += 1
        other = copy.deepcopy(document)
        list(objects(other))[number]["unknown"] = 1
        assert not shipped.is_valid(other) and not reads(other)
    assert changed > 200


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema_version",), 2),
        (("type",), "monthly"),
        (("period", "name"), None),
        (("portfolio", "companies"), 1.5),
        (("portfolio", "gaps"), {}),
        (("summary", "read_first", 0, "story", "severity"), "grave"),
        (("alerts", "by_state"), {"lost": 1}),
        (("risk", "companies", 0, "risk", "score"), "high"),
        (("ahead", 0, "day"), "2026-02-30"),
    ],
)
def test_what_is_of_another_kind_fits_neither(
    path: tuple[Any, ...], value: Any, shipped: Draft202012Validator
) -> None:
    """Another version, an unknown word, a number that is none."""
    document = json.loads(full_report().model_dump_json())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert not shipped.is_valid(document)
    assert not reads(document)


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
