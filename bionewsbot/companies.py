"""The companies to analyse: what one is, `companies.yaml`, and how two lists of them differ."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from bionewsbot.errors import CompaniesFileError
from bionewsbot.validation import Problem, problems, shorten
from bionewsbot.yamlfile import Place, YamlFile

COMPANIES_FILE = "companies.yaml"
"""Name of the file in the folder that BIONEWSBOT_CONFIG_DIR names."""

Priority = Literal["high", "medium", "low"]
Frequency = Literal["hourly", "daily", "weekly"]
Status = Literal["active", "paused"]

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Company(BaseModel):
    """One company, from the file or from the Backend API."""

    model_config = ConfigDict(frozen=True)

    # Begins with a letter or digit because it is a step in URL paths, where "." and ".." vanish.
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    name: _Text
    ticker: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9.-]{0,15}$")] | None = None
    cik: Annotated[str, StringConstraints(pattern=r"^[0-9]{10}$")] | None = None
    """The SEC's Central Index Key with its leading zeros."""
    aliases: tuple[_Text, ...] = ()
    """Other names under which the news know it."""
    priority: Priority = "medium"
    analysis_frequency: Frequency = "daily"
    status: Status = "active"


@dataclass(frozen=True)
class Difference:
    """What the backend lacks of the file's companies."""

    created: tuple[Company, ...]
    updated: tuple[tuple[Company, Mapping[str, tuple[Any, Any]]], ...]
    """Each with its differing fields: the backend's value and the file's."""
    unchanged: tuple[Company, ...]
    only_at_backend: tuple[Company, ...]

    @property
    def to_write(self) -> tuple[Company, ...]:
        """The companies that the backend has to be told of."""
        return (*self.created, *(company for company, _ in self.updated))


def compare(wanted: Iterable[Company], stored: Iterable[Company]) -> Difference:
    """Compare the file's companies with the backend's, by id."""
    at_backend = {company.id: company for company in stored}
    created: list[Company] = []
    updated: list[tuple[Company, Mapping[str, tuple[Any, Any]]]] = []
    unchanged: list[Company] = []
    for company in wanted:
        known = at_backend.pop(company.id, None)
        if known is None:
            created.append(company)
        elif known == company:
            unchanged.append(company)
        else:
            updated.append((company, _changes(known, company)))
    return Difference(tuple(created), tuple(updated), tuple(unchanged), tuple(at_backend.values()))


def _changes(old: Company, new: Company) -> dict[str, tuple[Any, Any]]:
    before, after = old.model_dump(), new.model_dump()
    return {name: (before[name], after[name]) for name in after if before[name] != after[name]}


def load_companies(path: Path) -> tuple[Company, ...]:
    """Read the companies file, in its order.

    Raises CompaniesFileError, which lists every problem with file and line.
    """
    file = YamlFile(path, CompaniesFileError)
    companies = [
        company
        for index, entry in enumerate(_entries(file))
        if (company := _company(file, index, entry)) is not None
    ]
    file.finish()
    return tuple(companies)


def _entries(file: YamlFile) -> list[Any]:
    data = file.data
    if not isinstance(data, dict) or "companies" not in data:
        state = "empty" if data is None else "without the key 'companies'"
        file.refuse((), f"the file is {state}: begin it with `companies:` and list them below")
        return []
    for key in data.keys() - {"companies"}:
        file.refuse((key,), f"unknown key {key!r}: 'companies' is the only one at the top")
    entries = data["companies"]
    if not isinstance(entries, list) or not entries:
        file.refuse(
            ("companies",), "companies: must be a list of at least one company (`- id: ...`)"
        )
        return []
    _refuse_doubles(file, entries)
    return entries


def _company(file: YamlFile, index: int, entry: Any) -> Company | None:
    place: Place = ("companies", index)
    label = _label(entry, index)
    if not isinstance(entry, dict):
        file.refuse(
            place, f"{label}: {shorten(repr(entry))} is not a company: begin with `- id: ...`"
        )
        return None
    for key in entry.keys() - Company.model_fields.keys():
        file.refuse((*place, key), f"{label}: unknown key {key!r}: {_known_keys(key)}")
    try:
        return Company.model_validate(entry)
    except ValidationError as error:
        for problem in problems(error):
            name = ".".join(
                str(step + 1 if isinstance(step, int) else step) for step in problem.place
            )
            spot = (*place, *problem.place)
            file.refuse(spot, f"{label}: {name}: {_mend(problem, file.written(spot))}")
        return None


def _label(entry: Any, index: int) -> str:
    known = isinstance(entry, dict) and isinstance(entry.get("id"), str)
    return f"company {entry['id']!r}" if known else f"company number {index + 1}"


def _known_keys(key: str) -> str:
    close = get_close_matches(key, Company.model_fields, n=1)
    return f"is it {close[0]!r}?" if close else f"known are {', '.join(Company.model_fields)}"


_FORMS = {
    "id": "letters, digits, '.', '_' and '-', at most 64, the first a letter or digit",
    "ticker": "capital letters, digits, '.' and '-', at most 16",
    "cik": "ten digits in quotes, such as '0000882095'",
}
_READ_AS = {bool: "true or false", int: "a number", float: "a number", date: "a date"}


def _mend(problem: Problem, written: str | None) -> str:
    """Say what a YAML author has to change. `written` is a single value as the file has it."""
    if problem.kind == "missing" or written is None:
        return problem.text
    if problem.value is None:
        return "is empty"
    if problem.kind == "literal_error":
        # YAML reads a bare `off` as false; the author knows it as `off`.
        return problem.text.replace(repr(problem.value), repr(written), 1)
    if problem.kind == "string_type" and type(problem.value) in _READ_AS:
        read_as = _READ_AS[type(problem.value)]
        return f"YAML reads {written} as {read_as}: put it in quotes, '{written}'"
    if problem.kind == "string_pattern_mismatch":
        return f"{shorten(repr(written))} is not {_FORMS[str(problem.place[0])]}"
    return problem.text


def _refuse_doubles(file: YamlFile, entries: list[Any]) -> None:
    """One company twice would be analysed twice, and the news of a shared ticker be both's."""
    for key in ("id", "ticker", "cik"):
        first: dict[str, int] = {}
        for index, entry in enumerate(entries):
            value = entry.get(key) if isinstance(entry, dict) else None
            if not isinstance(value, str):
                continue
            if value in first:
                line = file.line(("companies", first[value], key))
                file.refuse(
                    ("companies", index, key),
                    f"{_label(entry, index)}: {key} {value!r} is doubled (line {line} has it too)",
                )
            first.setdefault(value, index)
