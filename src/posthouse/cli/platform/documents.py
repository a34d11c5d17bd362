"""YAML, strictly, with the place of everything: no key twice, no tags, no merge keys, nothing of unbounded size."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from posthouse.domain.errors import Invalid

FILE_BYTES_MAX: Final = 8 * 1024 * 1024
NODES_MAX: Final = 500_000  # aliases count each time that they are used
PROBLEMS_TOLD_MAX: Final = 20
SUFFIXES: Final = (".yaml", ".yml")

Path_ = tuple[str | int, ...]
_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_TAGS: Final = "tag:yaml.org,2002:"
_KINDS: Final[dict[type, tuple[str, ...]]] = {
    yaml.MappingNode: ("map",),
    yaml.SequenceNode: ("seq",),
    yaml.ScalarNode: ("str", "int", "float", "bool", "null", "timestamp"),
}


class Place(NamedTuple):
    """Where something stands, lines and columns from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problem(NamedTuple):
    """What is wrong with a file, and where."""

    place: Place
    path: str
    told: str

    def __str__(self) -> str:
        return f"{self.place}: {self.path}: {self.told}" if self.path else f"{self.place}: {self.told}"


class Document(NamedTuple):
    """One YAML document: what it says, and where it says each part of it."""

    value: Any
    places: dict[Path_, Place]

    def place(self, path: Path_) -> Place:
        """Where something stands; where it does not, what it should be part of."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]


def refuse(problems: Iterable[Problem]) -> Invalid:
    """All problems as one error, in the order in which they stand in the files."""
    found = sorted(problems)
    told = [str(problem) for problem in found[:PROBLEMS_TOLD_MAX]]
    if len(found) > PROBLEMS_TOLD_MAX:
        told.append(f"and {len(found) - PROBLEMS_TOLD_MAX} more")
    error = Invalid("\n".join(told))
    error.add_note("nothing was changed; correct the file and run it again")
    return error


def steps(text: str) -> Path_:
    """`retry.schedule[2]` in its parts."""
    return tuple(int(found[2]) if found[2] else found[1] for found in _STEP.finditer(text))


def read(sources: Iterable[str]) -> list[Document]:
    """The documents of files, of the files in folders (by name), and of `-`, standard input. Raises Invalid."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for name, text in _texts(sources):
        found, wrong = parse(text, name)
        documents += found
        problems += wrong
    if problems:
        raise refuse(problems)
    return documents


def _texts(sources: Iterable[str]) -> Iterator[tuple[str, str]]:
    for source in sources:
        if source == "-":
            yield "<stdin>", sys.stdin.read(FILE_BYTES_MAX)
            continue
        path = Path(source)
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES) if path.is_dir() else [path]
        if not files:
            raise Invalid(f"there is no .yaml or .yml file in {source}")
        for file in files:
            try:
                if file.stat().st_size > FILE_BYTES_MAX:
                    raise Invalid(f"{file} has over {FILE_BYTES_MAX} bytes; divide it into several")
                yield str(file), file.read_text("utf-8")
            except OSError as error:
                raise Invalid(f"{file} cannot be read: {error.strerror}") from None
            except UnicodeDecodeError as error:
                raise Invalid(f"{file} is not UTF-8 at byte {error.start}") from None


def parse(text: str, name: str) -> tuple[list[Document], list[Problem]]:
    """The documents of a text that are not empty, and what is wrong with it."""
    reader = _Reader(name)
    documents = []
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            if node is not None:
                places: dict[Path_, Place] = {}
                value = reader.value(node, (), places)
                if value is not None:
                    documents.append(Document(value, places))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name, 1, 1)
        reader.problems.append(Problem(place, "", f"not YAML: {error.problem or error.context}"))
    except yaml.YAMLError as error:
        reader.problems.append(Problem(Place(name, 1, 1), "", f"not YAML: {error}"))
    except _TooMuch:
        reader.problems.append(Problem(Place(name, 1, 1), "", f"over {NODES_MAX} values; divide it into several files"))
    return documents, reader.problems


class _TooMuch(Exception):
    """An alias of an alias of an alias …"""


class _Reader:
    """From nodes to values."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes = 0
        self._open: set[int] = set()
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, path: Path_, places: dict[Path_, Place]) -> Any:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise _TooMuch
        places[path] = self._place(node)
        if id(node) in self._open:
            self._wrong(node, path, "contains itself")
            return None
        self._open.add(id(node))
        try:
            if node.tag.removeprefix(_TAGS) not in _KINDS[type(node)]:
                self._wrong(node, path, f"the tag {node.tag} is not understood")
                return None
            match node:
                case yaml.MappingNode():
                    return self._mapping(node, path, places)
                case yaml.SequenceNode():
                    return [self.value(one, (*path, index), places) for index, one in enumerate(node.value)]
                case _:
                    return self._scalar(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path_, places: dict[Path_, Place]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = key.value
            if not isinstance(key, yaml.ScalarNode) or key.tag != f"{_TAGS}str":
                told = (
                    "merge keys are not understood" if name == "<<" else f"a name is text: write it in quotes, '{name}'"
                )
                self._wrong(key, path, told)
            elif name in found:
                self._wrong(key, path, f"{name} is there twice")
            else:
                found[name] = self.value(value, (*path, name), places)
                places[(*path, name)] = self._place(key)
        return found

    def _scalar(self, node: yaml.Node, path: Path_) -> Any:
        kind = node.tag.removeprefix(_TAGS)
        if kind == "timestamp":  # times are text in JSON
            return node.value
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (ValueError, yaml.YAMLError):
            self._wrong(node, path, f"{node.value!r} is no {kind}")
            return None

    def _wrong(self, node: yaml.Node, path: Path_, told: str) -> None:
        self.problems.append(Problem(self._place(node), shown(path), told))

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._name, node.start_mark.line + 1, node.start_mark.column + 1)


def shown(path: Path_) -> str:
    """A path in one word: `apps[0].endpoints[1].url`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
