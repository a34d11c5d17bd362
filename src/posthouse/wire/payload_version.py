"""Payloads as an older version of their event type knew them.

A target that pins version 3 of a type goes on getting what version 3's schema names, and nothing that was added since: safe
changes of a schema (`domain/evolution.py`) only add, so what is left is what it always got. What a version did not describe is
no addition and stays: payloads of a type without a schema, objects whose fields it did not name, and all fields where it
said that there may be others (`additionalProperties` or `patternProperties`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.json_schema import Document, Schema
from posthouse.domain.limits import TAKEN_APART_AT_ONCE_BYTES_MAX
from posthouse.wire.formats.shape import encodable, parsed

_SEVERAL: Final = ("allOf", "anyOf", "oneOf")
_ONE: Final = ("then", "else")

# Schemas that speak of one value together.
_Schemas = tuple[Schema, ...]


class _Level(msgspec.Struct, frozen=True):
    """What schemas name of one value: with `closed`, of an object these fields alone."""

    closed: bool
    fields: dict[str, _Schemas]
    first: list[_Schemas]
    rest: _Schemas


class PinnedVersion:
    """Leaves out of payloads what the schema of a version does not name. Names count wherever they stand that a payload could
    be judged by: behind references, in every branch of `anyOf` and its like. A schema that refers beyond itself leaves all."""

    __slots__ = ("_document", "_levels", "_root")

    def __init__(self, schema: Schema | None) -> None:
        self._root: Final[_Schemas] = () if schema is None else (schema,)
        self._document: Final = Document(True if schema is None else schema)
        self._levels: Final[dict[tuple[int, ...], _Level]] = {}

    def payload(self, payload: bytes) -> bytes:
        """A JSON payload without what was added since; byte for byte as it was where that is nothing.

        Raises: Unsendable for what is no JSON.
        """
        if not self._document.self_contained:
            return payload
        value = parsed(payload)
        kept = self._kept(value, self._root)
        return payload if kept is value else msgspec.json.encode(encodable(kept))

    def _kept(self, value: Any, schemas: _Schemas) -> Any:
        """The value itself where nothing is left out of it."""
        if not schemas or not isinstance(value, (dict, list)):
            return value
        level = self._level(schemas)
        if isinstance(value, list):
            first, rest = level.first, level.rest
            items = [self._kept(each, first[n] if n < len(first) else rest) for n, each in enumerate(value)]
            return value if all(kept is each for kept, each in zip(items, value, strict=True)) else items
        members = {
            name: self._kept(each, level.fields.get(name, ()))
            for name, each in value.items()
            if name in level.fields or not level.closed
        }
        if len(members) == len(value) and all(members[name] is each for name, each in value.items()):
            return value
        return members

    def _level(self, schemas: _Schemas) -> _Level:
        key = tuple(map(id, schemas))
        if (known := self._levels.get(key)) is not None:
            return known
        fields: dict[str, list[Schema]] = {}
        first: list[list[Schema]] = []
        rest: list[Schema] = []
        opened = False
        for schema in self._speaking(schemas, set()):
            opened |= bool(schema.get("additionalProperties")) or "patternProperties" in schema
            for name, below in schema.get("properties", {}).items():
                fields.setdefault(name, []).append(below)
            for place, below in enumerate(schema.get("prefixItems", ())):
                if place == len(first):
                    first.append([])
                first[place].append(below)
            if "items" in schema:
                rest.append(schema["items"])
        level = _Level(
            bool(fields) and not opened,
            {name: tuple(below) for name, below in fields.items()},
            [tuple(below) for below in first],
            tuple(rest),
        )
        self._levels[key] = level
        return level

    def _speaking(self, schemas: _Schemas, seen: set[int]) -> Iterator[dict[str, Any]]:
        """These schemas and those that they apply to the same value."""
        for schema in schemas:
            if not isinstance(schema, dict) or id(schema) in seen:
                continue
            seen.add(id(schema))
            yield schema
            others = [below for keyword in _SEVERAL for below in schema.get(keyword, ())]
            others += [schema[keyword] for keyword in _ONE if keyword in schema]
            others += schema.get("dependentSchemas", {}).values()
            if (
                isinstance(reference := schema.get("$ref"), str)
                and (found := self._document.find(reference)) is not None
            ):
                others.append(found)
            yield from self._speaking(tuple(others), seen)


class Pins:
    """The versions that an endpoint pins, by event type. `schemas` are theirs, as JSON."""

    __slots__ = ("_schemas", "_versions")

    def __init__(self, schemas: Mapping[str, str]) -> None:
        self._schemas: Final = schemas
        self._versions: Final = {type: PinnedVersion(parsed(schema.encode())) for type, schema in schemas.items()}

    def __bool__(self) -> bool:
        return bool(self._versions)

    def later(self, event: Event) -> Pinning | None:
        """What is to be done elsewhere of such an event, since it may take long; None: it does not."""
        schema = self._schemas.get(event.type)
        if schema is None or len(event.payload) <= TAKEN_APART_AT_ONCE_BYTES_MAX:
            return None
        return Pinning(schema, event)

    def event(self, event: Event) -> Event:
        """The event as the version knew it that is pinned of its type. Raises: Unsendable for what is no JSON."""
        version = self._versions.get(event.type)
        if version is None or event.content_type != JSON_CONTENT:
            return event
        payload = version.payload(event.payload)
        return event if payload is event.payload else msgspec.structs.replace(event, payload=payload)


class Pinning(msgspec.Struct, frozen=True):
    """An event that is to be made into what a version knew of it: the schema of that is JSON."""

    schema: str
    event: Event

    def pinned(self) -> Event:
        """Raises: Unsendable for what is no JSON."""
        return Pins({self.event.type: self.schema}).event(self.event)
