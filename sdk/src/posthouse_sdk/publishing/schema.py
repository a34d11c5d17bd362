"""JSON Schema of event-type classes: what `event.plain` makes of their instances.

pydantic and msgspec know their own. That of a dataclass is made here, whatever is installed, so that a catalogue does not
change with the machine that pushes it. A field with a default is not required: who published before it was there goes on.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
import typing
from collections.abc import Collection, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from posthouse_sdk.publishing.errors import ConfigurationError

_PLAIN: Final[dict[Any, dict[str, Any]]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    UUID: {"type": "string", "format": "uuid"},
    Decimal: {"type": "string"},
    Any: {},
    object: {},
}


def schema_of(cls: type) -> dict[str, Any]:
    """The schema of what is published of its instances. Raises ConfigurationError, naming the field that has none."""
    if hasattr(cls, "model_json_schema"):
        return dict(cls.model_json_schema(by_alias=True, mode="serialization"))
    if hasattr(cls, "__pydantic_validator__"):
        return dict(sys.modules["pydantic"].TypeAdapter(cls).json_schema(by_alias=True, mode="serialization"))
    if hasattr(cls, "__struct_fields__"):
        return dict(sys.modules["msgspec"].json.schema(cls))
    maker = _Maker()
    made = maker.fields(cls)
    used = {name: schema for name, schema in maker.definitions.items() if schema is not None}
    return made | ({"$defs": used} if used else {})


class _Maker:
    def __init__(self) -> None:
        self.definitions: dict[str, dict[str, Any] | None] = {}
        self._names: dict[type, str] = {}

    def fields(self, cls: type) -> dict[str, Any]:
        """Of a dataclass or a TypedDict, as an object."""
        hints = typing.get_type_hints(cls, include_extras=True)
        if dataclasses.is_dataclass(cls):
            names = [field.name for field in dataclasses.fields(cls)]
            required = [f.name for f in dataclasses.fields(cls) if _has_no_default(f)]
        else:
            names = list(hints)
            required = [name for name in names if name in cls.__required_keys__]  # type: ignore[attr-defined]
        made = {
            "type": "object",
            "properties": {name: self.of(hints[name], f"{cls.__name__}.{name}") for name in names},
        }
        return made | ({"required": required} if required else {})

    def of(self, hint: Any, place: str) -> dict[str, Any]:
        if isinstance(hint, typing.NewType):
            return self.of(hint.__supertype__, place)
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Annotated, typing.Required, typing.NotRequired):
            return self.of(args[0], place)
        if hint in _PLAIN:
            return dict(_PLAIN[hint])
        if origin in (typing.Union, types.UnionType):
            return {"anyOf": [self.of(one, place) for one in args]}
        if origin is typing.Literal:
            return {"enum": list(args)}
        if isinstance(hint, type) and origin is None:
            if issubclass(hint, enum.Enum):
                return {"enum": [member.value for member in hint]}
            if dataclasses.is_dataclass(hint) or typing.is_typeddict(hint):
                return self._reference(hint)
        kind = origin or hint
        if isinstance(kind, type):
            if issubclass(kind, tuple) and args and args[-1] is not Ellipsis:
                items = [self.of(one, place) for one in args]
                return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
            if issubclass(kind, Mapping):
                return {"type": "object"} | ({"additionalProperties": self.of(args[1], place)} if args else {})
            if issubclass(kind, Collection) and not issubclass(kind, str | bytes | bytearray):
                return {"type": "array"} | ({"items": self.of(args[0], place)} if args else {})
        raise ConfigurationError(
            f"{place} is a {hint!r}, for which there is no JSON Schema here; use another type, or a pydantic model"
        )

    def _reference(self, cls: type) -> dict[str, Any]:
        name = self._names.get(cls)
        if name is None:
            name = cls.__name__
            while name in self.definitions:
                name += "_"
            self._names[cls] = name
            self.definitions[name] = None  # so that one that holds itself ends
            self.definitions[name] = self.fields(cls)
        return {"$ref": f"#/$defs/{name}"}


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
