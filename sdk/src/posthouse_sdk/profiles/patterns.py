"""The body that a format describes (`format.body`), matched with one that came: what its names stand for there.

A field that is `{data}`, or whose name is `*`, may be anything. A text that is `{name:number}` is a number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.profiles.texts import Text

DEPTH_MAX: Final = 16

_NUMBER: Final = re.compile(r"\{([a-z_.\-0-9]+):number\}")
_DATA: Final = "{data}"
_SPREAD: Final = "*"


class Anything:
    """Matches whatever is there."""

    names: tuple[str, ...] = ()


class Number:
    """Matches a number, which is told by its name."""

    def __init__(self, name: str) -> None:
        self.names: Final = (name,)


Pattern = Any
"""Text, Number, Anything, a value of JSON that has to be that, or a dict or list of these."""


def compile_pattern(value: Any, path: str, data: Any = _DATA, depth: int = 0) -> Pattern:
    """`data` is what stands in the place of `{data}`. Raises: SettingError."""
    if depth > DEPTH_MAX:
        raise SettingError(f"a body is at most {DEPTH_MAX} levels deep", path)
    match value:
        case "{data:json}" | "{data:text}" | "{data:markdown}" | "{data:urlencoded}":
            return Anything()
        case "{data}":
            return Anything() if data == _DATA else compile_pattern(data, path, depth=depth + 1)
        case str() if found := _NUMBER.fullmatch(value):
            return Number(found[1])
        case str():
            return Text(value, path)
        case Mapping():
            made: dict[str, Pattern] = {}
            for name, each in value.items():
                if name != _SPREAD:
                    made[name] = compile_pattern(each, f"{path}.{name}", data, depth + 1)
                elif isinstance(data, Mapping):
                    for inner, one in data.items():
                        made.setdefault(inner, compile_pattern(one, f"{path}.{inner}", depth=depth + 1))
            return made
        case list() | tuple():
            return [compile_pattern(each, f"{path}[{index}]", data, depth + 1) for index, each in enumerate(value)]
        case _:
            return value


def names_of(pattern: Pattern) -> set[str]:
    match pattern:
        case Text() | Number():
            return set(pattern.names)
        case dict():
            return set().union(*(names_of(each) for each in pattern.values()))
        case list():
            return set().union(*(names_of(each) for each in pattern))
        case _:
            return set()


def is_telling(pattern: Pattern) -> bool:
    """Whether something of it is not in just any body: a text that stands there, or a name that only handshakes have."""
    match pattern:
        case Anything():
            return False
        case Text() | Number():
            return not pattern.names or any(
                name == "key" or name.startswith(("challenge", "confirm_url")) for name in pattern.names
            )
        case dict():
            return any(is_telling(each) for each in pattern.values())
        case list():
            return any(is_telling(each) for each in pattern)
        case _:
            return True


def flattened(pattern: Pattern, nesting: str) -> dict[str, Pattern]:
    """The pattern of a form: its fields by name, as nested ones are named."""
    flat: dict[str, Pattern] = {}

    def add(name: str, value: Pattern) -> None:
        inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
        if inside is None:
            flat[name] = value
            return
        if nesting == "json":
            flat[name] = Anything()
            return
        for place, each in inside:
            add(f"{name}.{place}" if nesting == "dots" else f"{name}[{place}]", each)

    for name, value in (pattern if isinstance(pattern, dict) else {}).items():
        add(name, value)
    return flat


def match(pattern: Pattern, value: Any, found: list[tuple[str, str]], *, typed: bool) -> bool:
    """Whether a value is what the pattern makes; names and what they stand for are appended to `found`. Not `typed` are XML and
    forms, where all is text."""
    match pattern:
        case Anything():
            return True
        case Number():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number and (typed or not isinstance(value, str)):
                return False
            found.append((pattern.names[0], str(value)))
            return True
        case Text():
            values = pattern.match(value) if isinstance(value, str) else None
            found.extend((values or {}).items())
            return values is not None
        case dict():
            return isinstance(value, dict) and all(
                name in value and match(each, value[name], found, typed=typed) for name, each in pattern.items()
            )
        case list():
            return (
                isinstance(value, list)
                and len(value) == len(pattern)
                and all(match(each, inner, found, typed=typed) for each, inner in zip(pattern, value, strict=True))
            )
        case _ if typed:
            return bool(value == pattern) and isinstance(value, bool) == isinstance(pattern, bool)
        case None:
            return value in ("", None)
        case bool():
            return value in (pattern, "true" if pattern else "false")
        case _:
            return str(value) == str(pattern)


def fill(value: Any, values: Mapping[str, str], path: str) -> Any:
    """A value of JSON with the names in its texts replaced. Raises: SettingError for a name without a value."""

    def told(name: str) -> str:
        if name not in values:
            raise SettingError(f"there is no {{{name}}} in an answer", path)
        return values[name]

    match value:
        case str() if number := _NUMBER.fullmatch(value):
            text = told(number[1])
            return int(text) if text.lstrip("-").isdigit() and len(text) < 100 else text
        case str():
            return Text(value, path).fill(told)
        case Mapping():
            return {name: fill(each, values, path) for name, each in value.items()}
        case list() | tuple():
            return [fill(each, values, path) for each in value]
        case _:
            return value


def put(root: Any, steps: Sequence[str], value: Any) -> Any:
    """The root with a value at a JSON pointer; objects that are missing on the way are made."""
    if not steps:
        return value
    made = root if isinstance(root, dict) else {}
    made[steps[0]] = put(made.get(steps[0]), steps[1:], value)
    return made
