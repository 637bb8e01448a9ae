"""Reading YAML with lines, and refusing what is not plain YAML."""

from pathlib import Path

import pytest

from bionewsbot.errors import CompaniesFileError
from bionewsbot.yamlfile import YamlFile


def read(folder: Path, text: str | bytes) -> YamlFile:
    """Write the text to a file and read it."""
    path = folder / "some.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return YamlFile(path, CompaniesFileError)


def test_data_and_lines(tmp_path: Path) -> None:
    """Values come as YAML's types; each knows its line and how it is written."""
    file = read(tmp_path, "\n# comment\na: on\nb:\n  - 007\n  - x: y\n    z: [1,\n      2]\n")
    assert file.data == {"a": True, "b": [7, {"x": "y", "z": [1, 2]}]}
    places = [("a",), ("b",), ("b", 0), ("b", 1, "z"), ("b", 1, "z", 1)]
    assert [file.line(place) for place in places] == [3, 4, 5, 7, 8]
    assert [file.written(place) for place in places] == ["on", None, "007", None, "2"]
    file.finish()


def test_problems_in_the_order_of_their_lines(tmp_path: Path) -> None:
    """All problems make one error; what doesn't exist has its nearest parent's line."""
    file = read(tmp_path, "a: 1\nb:\n  c: 2\n")
    file.refuse(("b", "missing", 3), "second")
    file.refuse(("a",), "first")
    file.refuse(("a",), "first")
    file.refuse(("b", "c"), "third")
    with pytest.raises(CompaniesFileError) as raised:
        file.finish()
    assert str(raised.value).splitlines() == [
        f"{file.path}:1: first",
        f"{file.path}:2: second",
        f"{file.path}:3: third",
    ]


def test_doubled_keys(tmp_path: Path) -> None:
    """A second key of the same name is refused, at any depth, with both lines."""
    file = read(tmp_path, "a: 1\nb:\n  c: 1\n  c: 2\na: 2\n")
    with pytest.raises(CompaniesFileError) as raised:
        file.finish()
    assert str(raised.value).splitlines() == [
        f"{file.path}:4: key 'c' is doubled (it stands in line 3 too)",
        f"{file.path}:5: key 'a' is doubled (it stands in line 1 too)",
    ]


def test_keys_are_text(tmp_path: Path) -> None:
    """A key means what is written, although YAML reads `on` as true; others are refused."""
    file = read(tmp_path, "on: 1\n2: 3\n[a]: 4\n")
    assert file.data == {"on": 1, "2": 3}
    with pytest.raises(CompaniesFileError, match="some.yaml:3: a key must be a single word"):
        file.finish()


def test_unreadable_value(tmp_path: Path) -> None:
    """A value that YAML takes for an impossible date is refused with its line."""
    file = read(tmp_path, "a: 1\nb: 2026-13-45\n")
    with pytest.raises(CompaniesFileError, match=r"some.yaml:2: '2026-13-45' can't be read"):
        file.finish()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a: \xff\n", "some.yaml: not UTF-8 text (byte 3); save it as UTF-8"),
        ("a: 1\nb: [1\nc: 2\n", "some.yaml:3: not valid YAML: "),
        ("a: 1\n\tb: 2\n", "some.yaml:2: not valid YAML: "),
        ("a: b\n---\nc: d\n", "some.yaml:2: not valid YAML: "),
        ("a: \x00\n", "some.yaml: not valid YAML: "),
        ("a: 1\nb: !!python/object:os.system x\n", "some.yaml:2: not valid YAML: "),
        ("a: &x [1]\nb: *x\n", "some.yaml:2: not valid YAML: the alias *x stands for another"),
        ("a: &x [*x]\n", "some.yaml:1: not valid YAML: the alias *x stands for another"),
        ("[" * 5000, "some.yaml: not valid YAML: nested too deeply"),
    ],
    ids=["latin1", "open", "tab", "two", "nul", "object", "alias", "endless", "deep"],
)
def test_what_is_not_plain_yaml(tmp_path: Path, text: str | bytes, said: str) -> None:
    """Each gets one line that names the file and, where there is one, the line."""
    with pytest.raises(CompaniesFileError) as raised:
        read(tmp_path, text)
    assert f"{tmp_path}/{said}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_file(tmp_path: Path) -> None:
    """A missing file names itself and the variable that says where it is looked for."""
    with pytest.raises(CompaniesFileError, match="none.yaml: No such file.*BIONEWSBOT_CONFIG_DIR"):
        YamlFile(tmp_path / "none.yaml", CompaniesFileError)


def test_folder_in_its_place(tmp_path: Path) -> None:
    """A folder where a file should be is said to be one."""
    with pytest.raises(CompaniesFileError, match="Is a directory"):
        YamlFile(tmp_path, CompaniesFileError)


def test_byte_order_mark(tmp_path: Path) -> None:
    """A byte order mark, which some editors write, is no part of the first key."""
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\n").data == {"a": 1}
