"""What an endpoint is configured with, as structs: read from what a user wrote, with the path of what is wrong in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import inspect

from posthouse.domain.errors import Invalid

_PLACE: Final = re.compile(r" - at `\$(?:\.?([^`]*))`$")
_FIELD: Final = re.compile(r"unknown field `([^`]*)`")
_CHOICE: Final = re.compile(r"Invalid (?:enum )?value ")
_PART: Final = re.compile(r"\[[^\]]*\]|[^.\[]+")


class Configuration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all of it has in common: stored as JSON, of which only what differs from a default, and strict about it."""


def read(value: object, type: Any, path: str) -> Any:
    """The value as `type` (a struct, a union of tagged structs, a sequence of these).

    Raises: Invalid, whose path begins with `path` and whose text does not repeat the value.
    """
    try:
        return msgspec.convert(value, type)
    except msgspec.ValidationError as error:
        message = str(error)
        found, field = _PLACE.search(message), _FIELD.search(message)
        place = found[1] if found else ""
        at = (
            path
            + (place if place.startswith("[") else f".{place}" if place else "")
            + (f".{field[1]}" if field else "")
        ).removeprefix(".")
        text = _PLACE.sub("", message).replace("`", "")
        if _CHOICE.match(text) and (choices := _choices(value, type, place)):
            text += f"; it is one of: {', '.join(choices)}"
        raise Invalid(text[:1].lower() + text[1:], path=at) from None


def _choices(value: Any, type: Any, place: str) -> list[str]:
    """What may stand at a place of the value where only some words may."""
    found = [inspect.type_info(type)]
    if not place:
        return _members(found)
    *way, last = _PART.findall(place) or [""]
    for part in way:
        found = [inner for each in _meant(found, value) for inner in _within(each, part)]
        value = _at(value, part)
    alternatives = list(_meant(found, value))
    words = [str(t.tag) for t in alternatives if isinstance(t, inspect.StructType) and t.tag_field == last]
    if not words:
        inner = _meant([each for one in alternatives for each in _within(one, last)], None)
        words = _members(inner)
    return list(dict.fromkeys(words))


def _members(types: Iterable[inspect.Type]) -> list[str]:
    return [str(member.value) for each in types if isinstance(each, inspect.EnumType) for member in each.cls]


def _at(value: Any, part: str) -> Any:
    try:
        return value[int(part[1:-1])] if part.startswith("[") else value[part]
    except (ValueError, LookupError, TypeError):
        return None


def _meant(types: Sequence[inspect.Type], value: Any) -> Iterator[inspect.Type]:
    """The alternatives of these types, but for structs of another tag than the value has."""
    every = [each for type in types for each in (type.types if isinstance(type, inspect.UnionType) else [type])]
    given = value if isinstance(value, Mapping) else {}
    tagged = [each for each in every if isinstance(each, inspect.StructType) and each.tag_field in given]
    right = [each for each in tagged if given[each.tag_field or ""] == each.tag]
    yield from right or every


def _within(type: inspect.Type, part: str) -> Iterator[inspect.Type]:
    """The type of a field, or of the items."""
    match type:
        case inspect.StructType():
            yield from [field.type for field in type.fields if field.encode_name == part]
        case inspect.VarTupleType() | inspect.ListType():
            yield type.item_type
        case inspect.DictType():
            yield type.value_type
        case _:
            pass
