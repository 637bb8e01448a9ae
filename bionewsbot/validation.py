"""What pydantic found wrong, in words that name the place and the allowed values."""

from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

LONGEST_VALUE = 80
"""Characters of a wrong value that a message shows."""


class Problem(NamedTuple):
    """One wrong value."""

    kind: str
    """pydantic's name for what is wrong, such as `missing` or `string_type`."""
    place: tuple[int | str, ...]
    """The keys and list positions that lead to the value."""
    value: Any
    text: str
    """What is wrong, without the place."""


def problems(error: ValidationError) -> list[Problem]:
    """Return all problems that pydantic found."""
    return [
        Problem(detail["type"], detail["loc"], detail["input"], describe(detail))
        for detail in error.errors(include_url=False)
    ]


def dotted(place: tuple[int | str, ...]) -> str:
    """Write a place as a path such as `findings.3.severity`; positions count from 0."""
    return ".".join(str(step) for step in place)


def describe(detail: ErrorDetails) -> str:
    """Say what is wrong with one value, without its place."""
    shown = shorten(repr(detail["input"]))
    context = detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return "is missing"
        case "literal_error":
            # pydantic writes "'high', 'medium' or 'low'".
            allowed = str(context["expected"]).replace("'", "").replace(" or ", ", ")
            return f"{shown} is not one of {allowed}"
        case "string_type":
            return f"{shown} is not text"
        case "string_too_short":
            return "is empty"
        case "list_type" | "tuple_type":
            return f"{shown} is not a list"
        case "value_error":
            return str(context["error"])
        case _:
            return f"{shown} is wrong: {detail['msg']}"


def shorten(text: str, longest: int = LONGEST_VALUE) -> str:
    """Cut a text that is too long for a message."""
    return text if len(text) <= longest else text[: longest - 3] + "..."
