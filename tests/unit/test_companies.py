"""The companies file, and comparing it with the backend's companies."""

from pathlib import Path

import pytest

from bionewsbot.companies import Company, compare, load_companies
from bionewsbot.errors import CompaniesFileError


def load(folder: Path, text: str) -> tuple[Company, ...]:
    """Write the text to a companies file and load it."""
    path = folder / "companies.yaml"
    path.write_text(text, encoding="utf-8")
    return load_companies(path)


def complaints(folder: Path, text: str) -> list[str]:
    """Load a wrong file; return the error's lines without the file's name."""
    with pytest.raises(CompaniesFileError) as raised:
        load(folder, text)
    lines = str(raised.value).splitlines()
    assert all(line.startswith(f"{folder}/companies.yaml:") for line in lines)
    return [line.removeprefix(f"{folder}/companies.yaml:") for line in lines]


def test_good_file(tmp_path: Path) -> None:
    """Companies come in the file's order, with defaults for what is left out."""
    found = load(
        tmp_path,
        """\
companies:
  - id: GILD
    name: Gilead Sciences
    ticker: GILD
    cik: "0000882095"
    aliases: [Kite Pharma, Gilead]
    priority: high
    analysis_frequency: hourly
    status: paused
  - {id: private-co, name: " Private Co ", ticker: }
""",
    )
    assert found == (
        Company(
            id="GILD",
            name="Gilead Sciences",
            ticker="GILD",
            cik="0000882095",
            aliases=("Kite Pharma", "Gilead"),
            priority="high",
            analysis_frequency="hourly",
            status="paused",
        ),
        Company(
            id="private-co",
            name="Private Co",
            ticker=None,
            cik=None,
            aliases=(),
            priority="medium",
            analysis_frequency="daily",
            status="active",
        ),
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("priority: hi", "priority: 'hi' is not one of high, medium, low"),
        ("analysis_frequency: 5", "analysis_frequency: '5' is not one of hourly, daily, weekly"),
        ("status: off", "status: 'off' is not one of active, paused"),
        ("status:", "status: is empty"),
        ("ticker: ON", "ticker: YAML reads ON as true or false: put it in quotes, 'ON'"),
        (
            "ticker: gild",
            "ticker: 'gild' is not capital letters, digits, '.' and '-', at most 16",
        ),
        (
            "cik: 0000200406",
            "cik: YAML reads 0000200406 as a number: put it in quotes, '0000200406'",
        ),
        ("cik: 200406", "cik: YAML reads 200406 as a number: put it in quotes, '200406'"),
        (
            "cik: '200406'",
            "cik: '200406' is not ten digits in quotes, such as '0000882095'",
        ),
        ("aliases: Kite", "aliases: 'Kite' is not a list"),
        ("aliases: [a, 1]", "aliases.2: YAML reads 1 as a number: put it in quotes, '1'"),
        ("aliases: [' ']", "aliases.1: is empty"),
        ("aliases: [{a: b}]", "aliases.1: {'a': 'b'} is not text"),
        ("prioritty: low", "unknown key 'prioritty': is it 'priority'?"),
        (
            "ceo: x",
            "unknown key 'ceo': known are id, name, ticker, cik, aliases, priority, "
            "analysis_frequency, status",
        ),
    ],
)
def test_wrong_value(tmp_path: Path, line: str, said: str) -> None:
    """A wrong value names file, line, company, key and what is allowed."""
    text = f"companies:\n  - id: GILD\n    name: Gilead\n    {line}\n"
    assert complaints(tmp_path, text) == [f"4: company 'GILD': {said}"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{name: x}", "company number 1: id: is missing"),
        ("{id: GILD}", "company 'GILD': name: is missing"),
        ("{id: GILD, name: }", "company 'GILD': name: is empty"),
        ("{id: 1, name: x}", "company number 1: id: YAML reads 1 as a number: put it in quotes,"),
        ("{id: .., name: x}", "company '..': id: '..' is not letters, digits,"),
        ("{id: 'a/b', name: x}", "company 'a/b': id: 'a/b' is not letters, digits,"),
        ("GILD", "company number 1: 'GILD' is not a company: begin with `- id: ...`"),
        ("", "company number 1: None is not a company: begin with `- id: ...`"),
    ],
)
def test_wrong_company(tmp_path: Path, entry: str, said: str) -> None:
    """A company that can't be told apart is named by its place in the list."""
    (complaint,) = complaints(tmp_path, f"companies:\n  - {entry}\n")
    assert complaint.startswith(f"2: {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1: the file is empty: begin it with `companies:`"),
        ("# only a comment\n", "1: the file is empty: begin it with `companies:`"),
        ("- id: GILD\n", "1: the file is without the key 'companies': begin it with"),
        ("company: []\n", "1: the file is without the key 'companies': begin it with"),
        ("companies:\n", "1: companies: must be a list of at least one company"),
        ("companies: []\n", "1: companies: must be a list of at least one company"),
        ("companies: {id: x}\n", "1: companies: must be a list of at least one company"),
    ],
)
def test_wrong_top(tmp_path: Path, text: str, said: str) -> None:
    """A file that lists no company says how one begins."""
    (complaint,) = complaints(tmp_path, text)
    assert complaint.startswith(said)


@pytest.mark.parametrize(("key", "value"), [("id", "A"), ("ticker", "TT"), ("cik", "'0000000001'")])
def test_doubled_identity(tmp_path: Path, key: str, value: str) -> None:
    """Two companies never share an id, a ticker or a CIK."""
    entries = [{"id": "A", "name": "x"}, {"id": "B", "name": "y"}]
    for entry in entries:
        entry[key] = value
    text = "companies:\n" + "".join(
        f"  - {{{', '.join(f'{name}: {said}' for name, said in entry.items())}}}\n"
        for entry in entries
    )
    (complaint,) = complaints(tmp_path, text)
    shown = value.strip("'")
    assert complaint.startswith("3: company ")
    assert complaint.endswith(f": {key} '{shown}' is doubled (line 2 has it too)")


def test_all_problems_at_once(tmp_path: Path) -> None:
    """One error lists everything that is wrong, in the order of the lines."""
    text = """\
extra: 1
companies:
  - id: A
    name: x
    name: y
    priority: hi
  - id: A
    nam: x
"""
    assert complaints(tmp_path, text) == [
        "1: unknown key 'extra': 'companies' is the only one at the top",
        "5: key 'name' is doubled (it stands in line 4 too)",
        "6: company 'A': priority: 'hi' is not one of high, medium, low",
        "7: company 'A': id 'A' is doubled (line 3 has it too)",
        "7: company 'A': name: is missing",
        "8: company 'A': unknown key 'nam': is it 'name'?",
    ]


def test_compare() -> None:
    """Companies are matched by id; the changed fields are told, the backend's value first."""
    same = Company(id="A", name="a")
    new = Company(id="B", name="b")
    changed = Company(id="C", name="c", priority="low", aliases=("x",))
    extra = Company(id="D", name="d")
    difference = compare(
        [same, new, changed],
        [extra, changed.model_copy(update={"priority": "high", "aliases": ()}), same],
    )
    assert difference.created == (new,)
    assert difference.updated == (
        (changed, {"aliases": ((), ("x",)), "priority": ("high", "low")}),
    )
    assert difference.unchanged == (same,)
    assert difference.only_at_backend == (extra,)
    assert difference.to_write == (new, changed)
