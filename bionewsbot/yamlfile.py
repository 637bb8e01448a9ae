"""A YAML file as plain data that still knows its lines, and the list of what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from bionewsbot.errors import ConfigurationError

Place = tuple[int | str, ...]
"""Where a value stands: the keys and list positions that lead to it; () is the whole file."""


class YamlFile:
    """One file: its data, where each value stands, and the problems found so far.

    Whoever reads the data puts what is wrong on the list with `refuse`, and ends with `finish`,
    which raises them all as one error.
    """

    def __init__(self, path: Path, error: type[ConfigurationError]) -> None:
        """Read the file. Raises `error` if it is missing, not UTF-8 or not YAML.

        Keys are text whatever YAML makes of them. Doubled keys are put on the list of problems.
        """
        self.path = path
        self._error = error
        self._spots: dict[Place, _Spot] = {}
        self._problems: list[tuple[int, str]] = []
        try:
            loader = _Loader(path.read_text(encoding="utf-8"))
            root = loader.get_single_node()
            self.data = None if root is None else self._read(loader, (), root, root)
        except OSError as problem:
            self._fail(
                f"{path}: {problem.strerror}; set BIONEWSBOT_CONFIG_DIR to the folder "
                "that holds the YAML files",
                problem,
            )
        except UnicodeDecodeError as problem:
            self._fail(f"{path}: not UTF-8 text (byte {problem.start}); save it as UTF-8", problem)
        except yaml.MarkedYAMLError as problem:
            mark = problem.problem_mark or problem.context_mark
            line = f":{mark.line + 1}" if mark else ""
            said = ", ".join(text for text in (problem.context, problem.problem) if text)
            self._fail(f"{path}{line}: not valid YAML: {said}", problem)
        except yaml.YAMLError as problem:
            said = " ".join(str(problem).split())
            self._fail(f"{path}: not valid YAML: {said}", problem)
        except RecursionError as problem:
            self._fail(f"{path}: not valid YAML: nested too deeply", problem)

    def refuse(self, place: Place, message: str) -> None:
        """Put a problem on the list. `place` is found as by `line`."""
        self._problems.append((self.line(place), message))

    def line(self, place: Place) -> int:
        """Return the line of a value, or of its nearest parent where it does not exist."""
        while place and place not in self._spots:
            place = place[:-1]
        spot = self._spots.get(place)
        return spot.line if spot else 1

    def written(self, place: Place) -> str | None:
        """Return a single value as it is written in the file, None for lists and mappings."""
        spot = self._spots.get(place)
        return spot.written if spot else None

    def finish(self) -> None:
        """Raise the error with all problems, in the order of their lines, if there are any."""
        if self._problems:
            lines = sorted(set(self._problems))
            raise self._error("\n".join(f"{self.path}:{line}: {said}" for line, said in lines))

    def _fail(self, message: str, cause: Exception) -> NoReturn:
        raise self._error(message) from cause

    def _read(self, loader: "_Loader", place: Place, node: yaml.Node, named_at: yaml.Node) -> Any:
        """Turn a node into data. `named_at` is the node whose line stands for the place."""
        written = node.value if isinstance(node, yaml.ScalarNode) else None
        self._spots[place] = _Spot(_line_of(named_at), written)
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(loader, place, node)
        if isinstance(node, yaml.SequenceNode):
            return [
                self._read(loader, (*place, index), item, item)
                for index, item in enumerate(node.value)
            ]
        try:
            return loader.construct_object(node)
        except ValueError as problem:  # such as the date 2026-13-45
            self.refuse(place, f"{written!r} can't be read ({problem}): put it in quotes")
            return written

    def _read_mapping(
        self, loader: "_Loader", place: Place, node: yaml.MappingNode
    ) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.append((_line_of(key_node), "a key must be a single word"))
                continue
            key = key_node.value
            if key in read:
                first = self._spots[(*place, key)].line
                self._problems.append(
                    (_line_of(key_node), f"key {key!r} is doubled (it stands in line {first} too)")
                )
                continue
            read[key] = self._read(loader, (*place, key), value_node, key_node)
        return read


@dataclass(frozen=True)
class _Spot:
    line: int
    written: str | None


def _line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses aliases: they can nest without end or grow without bound."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose the next node as the base class does, unless it is an alias."""
        if self.check_event(yaml.AliasEvent):
            event: Any = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None,
                None,
                f"the alias *{event.anchor} stands for another value: write that value out",
                event.start_mark,
            )
        return super().compose_node(parent, index)
