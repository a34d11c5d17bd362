"""JSON Schema (draft 2020-12) as a document: where its parts are, what its references name, how it is moved into another one.

A schema is an object or a boolean. Only references within the document are followed (RFC 6901 pointers and `$anchor`): intake
accepts no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

Schema = dict[str, Any] | bool

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_IN_PLACE: Final = frozenset(
    {
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_IN_LIST: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_IN_MAP: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
# What makes the meaning of a reference depend on more than its text.
_MOVING: Final = ("$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor")


def parts(schema: Any) -> Iterator[tuple[str, Any]]:
    """The subschemas of a schema, each with its JSON pointer below it."""
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        if keyword in _IN_PLACE and isinstance(value, dict | bool):
            yield f"/{keyword}", value
        elif keyword in _IN_LIST and isinstance(value, list):
            for index, item in enumerate(value):
                yield f"/{keyword}/{index}", item
        elif keyword in _IN_MAP and isinstance(value, dict):
            for name, item in value.items():
                yield f"/{keyword}/{name.replace('~', '~0').replace('/', '~1')}", item


def everything(schema: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """A schema and all schemas within it, each with its JSON pointer."""
    yield pointer, schema
    for below, part in parts(schema):
        yield from everything(part, pointer + below)


class Document:
    """A schema with what its references name. Raises nothing: what cannot be found is None."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.anchors: dict[str, str] = {}
        self.self_contained = True
        """Whether every reference means what its text says: within this document, and nothing else."""
        for pointer, schema in everything(root):
            if not isinstance(schema, dict):
                continue
            if isinstance(anchor := schema.get("$anchor"), str):
                self.anchors.setdefault(anchor, pointer)
            reference = schema.get("$ref", "#")
            if (
                any(keyword in schema for keyword in _MOVING)
                or (pointer and "$id" in schema)
                or not isinstance(reference, str)
                or not reference.startswith("#")
            ):
                self.self_contained = False
        if isinstance(root, dict) and str(root.get("$schema", DIALECT)).rstrip("#") != DIALECT:
            self.self_contained = False

    def pointer(self, reference: str) -> str | None:
        """The JSON pointer that a local reference comes to: `#/a`, `#`, or `#anchor`."""
        fragment = reference.removeprefix("#")
        return fragment if fragment[:1] in ("", "/") else self.anchors.get(unquote(fragment))

    def find(self, reference: str) -> Schema | None:
        """The schema that a local reference names."""
        pointer = self.pointer(reference)
        if pointer is None:
            return None
        node: Any = self.root
        for word in unquote(pointer).split("/")[1:]:
            word = word.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and word in node:
                node = node[word]
            elif isinstance(node, list) and word.isdecimal() and int(word) < len(node):
                node = node[int(word)]
            else:
                return None
        return node if isinstance(node, dict | bool) else None


def moved(schema: Schema, to: str, *, name: str) -> Schema:
    """The schema as it may stand at `to` (such as `#/components/schemas/Order`) in another document.

    Its references are rewritten to the new place. One whose references cannot be (`Document.self_contained`) keeps them, and
    stands as a resource of its own under its `$id`, or under one made of `name` where it has none.
    """
    document = Document(schema)
    if isinstance(schema, bool):
        return schema
    if not document.self_contained:
        return {"$id": f"urn:posthouse:event-type:{name}"} | schema
    copy: dict[str, Any] = _moved(schema, document, to)
    copy.pop("$id", None)
    copy.pop("$schema", None)
    return copy


def _moved(schema: Any, document: Document, to: str) -> Any:
    if not isinstance(schema, dict):
        return schema
    copy = dict(schema)
    if "$ref" in copy:
        pointer = document.pointer(copy["$ref"])
        if pointer is not None:
            copy["$ref"] = to + pointer
    for keyword, value in schema.items():
        if keyword in _IN_PLACE:
            copy[keyword] = _moved(value, document, to)
        elif keyword in _IN_LIST and isinstance(value, list):
            copy[keyword] = [_moved(item, document, to) for item in value]
        elif keyword in _IN_MAP and isinstance(value, dict):
            copy[keyword] = {key: _moved(item, document, to) for key, item in value.items()}
    return copy


def json_key(value: Any) -> Any:
    """Something hashable that is equal for what is equal as JSON: 1 is 1.0, and neither is true."""
    match value:
        case bool():
            return ("boolean", value)
        case dict():
            return ("object", frozenset((name, json_key(item)) for name, item in value.items()))
        case list():
            return ("array", tuple(json_key(item) for item in value))
        case _:
            return value


class Endless(Exception):
    """More was to be compared than there is patience for."""


class Sameness:
    """Whether parts of two documents say the same, their references followed. `steps` bounds all comparisons together."""

    def __init__(self, old: Document, new: Document, *, steps: int) -> None:
        self._old = old
        self._new = new
        self._steps = steps
        self._assumed: set[str] = set()

    def __call__(self, old: Any, new: Any) -> bool:
        """Raises Endless."""
        self._assumed.clear()
        return self._same(old, new)

    def spend(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise Endless

    def _same(self, old: Any, new: Any) -> bool:
        self.spend()
        if isinstance(old, dict) and isinstance(new, dict):
            if old.keys() != new.keys() or not all(self._same(old[key], new[key]) for key in old):
                return False
            reference = old.get("$ref")
            return not isinstance(reference, str) or self._targets(reference)
        if isinstance(old, list) and isinstance(new, list):
            return len(old) == len(new) and all(self._same(*pair) for pair in zip(old, new, strict=True))
        return bool(json_key(old) == json_key(new))

    def _targets(self, reference: str) -> bool:
        """What one reference names in both. One looked at before counts as the same: a difference has shown, or will."""
        if reference in self._assumed:
            return True
        self._assumed.add(reference)
        old, new = self._old.find(reference), self._new.find(reference)
        return old is not None and new is not None and self._same(old, new)
