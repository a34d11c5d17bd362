"""JSON Schemas that users give for data that are made for each event: judged in a bounded time, and told without the data.

A schema costs about as many steps for a piece of data as it has keywords with its references followed, so these are counted.
What would cost more than that (dynamic references, unevaluated properties) is not taken, and patterns are matched in linear
time, without look-around and back-references.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import (
    ERROR_LENGTH_MAX,
    JSON_DEPTH_MAX,
    TRANSFORM_SCHEMA_BYTES_MAX,
    TRANSFORM_SCHEMA_STEPS_MAX,
    TRANSFORM_SCHEMA_WORK_MAX,
)
from posthouse.wire.json_schema import place_of, referred
from posthouse.wire.schema_judge import Judge

_REFUSED: Final = frozenset(
    {
        "$anchor",
        "$dynamicAnchor",
        "$dynamicRef",
        "$recursiveAnchor",
        "$recursiveRef",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_MASK: Final = "the value"


class DataSchema:
    """A compiled schema. Raises Invalid, with `path`, for what is none, and for one that could cost too much."""

    __slots__ = ("_steps", "_validator")

    def __init__(self, schema: dict[str, Any], *, path: str) -> None:
        if len(msgspec.json.encode(schema)) > TRANSFORM_SCHEMA_BYTES_MAX:
            raise Invalid(f"a schema has at most {TRANSFORM_SCHEMA_BYTES_MAX} bytes", path=path, code="invalid_schema")
        self._steps: Final = _Counted(schema, path).steps
        try:
            self._validator: Final = Judge(schema, mask=_MASK)
        except ValueError as error:
            told = str(error).partition("\n")[0][:ERROR_LENGTH_MAX]
            raise Invalid(f"this is not a JSON Schema: {told}", path=path, code="invalid_schema") from None

    def fault_of(self, data: Any, size: int) -> str | None:
        """Why these data, of `size` bytes as JSON, do not satisfy it; None where they do. Without anything of the data but the
        names on the way to it."""
        if self._steps * size > TRANSFORM_SCHEMA_WORK_MAX:
            return f"{size} bytes are too many for a schema of {self._steps} keywords and values"
        if self._validator.is_valid(data):
            return None
        for error in self._validator.errors_of(data, most=1):
            return f"data{place_of(error)}: {error.message}"
        return "data: it would take long to find out where they do not fit"


class _Counted:
    def __init__(self, schema: dict[str, Any], path: str) -> None:
        self._root: Final = schema
        self._path: Final = path
        self.steps = 0
        self._count(schema, 0)

    def _count(self, value: Any, depth: int) -> None:
        if isinstance(value, dict):
            for name, each in value.items():
                self._step(depth)
                if name in _REFUSED or (name == "$id" and value is not self._root):
                    raise Invalid(
                        f"a schema for data made anew cannot have {name}", path=self._path, code="invalid_schema"
                    )
                if name == "$ref" and isinstance(each, str):
                    self._count(self._referred(each), depth + 1)
                elif name not in ("$defs", "definitions"):
                    self._count(each, depth + 1)
        elif isinstance(value, list):
            for each in value:
                self._step(depth)
                self._count(each, depth + 1)

    def _step(self, depth: int) -> None:
        self.steps += 1
        if self.steps > TRANSFORM_SCHEMA_STEPS_MAX or depth > JSON_DEPTH_MAX:
            raise Invalid(
                f"a schema has at most {TRANSFORM_SCHEMA_STEPS_MAX} keywords and values, {JSON_DEPTH_MAX} deep, with its "
                "references followed; one that refers to itself has no end",
                path=self._path,
                code="invalid_schema",
            )

    def _referred(self, reference: str) -> Any:
        found = referred(self._root, reference)
        if not isinstance(found, dict | bool):
            raise Invalid(
                "a reference names a place in the schema itself, such as #/$defs/item",
                path=self._path,
                code="invalid_schema",
            )
        return found
