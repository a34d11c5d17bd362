"""JSON schemas of configuration structs: what they accept is said once, in the domain."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_REF: Final = "#/$defs/"


def schema_of(type: Any) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a struct, or a union of structs, with everything in place: no references."""
    (schema,), components = msgspec.json.schema_components([type], ref_template=f"{_REF}{{name}}")
    inlined = _inlined(schema, components)
    assert isinstance(inlined, dict)
    return inlined


def _inlined(schema: Any, components: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(each, components) for each in schema]
    if not isinstance(schema, dict):
        return schema
    ref = schema.get("$ref")
    if isinstance(ref, str):
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        return {**_inlined(components[ref.removeprefix(_REF)], components), **rest}
    # A discriminator names schemas by reference; the constant `kind` of each says the same.
    return {name: _inlined(value, components) for name, value in schema.items() if name != "discriminator"}
