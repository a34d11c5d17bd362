"""JSON schemas of configuration structs: what they accept is said once, in the domain."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_REF: Final = "#/$defs/"


def schema_of(type: Any) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a struct, or a union of structs, with everything in place: no references. What is
    inside itself is an object the second time."""
    (schema,), components = msgspec.json.schema_components([type], ref_template=f"{_REF}{{name}}")
    inlined = _inlined(schema, components, ())
    assert isinstance(inlined, dict)
    return inlined


def _inlined(schema: Any, components: dict[str, Any], within: tuple[str, ...]) -> Any:
    if isinstance(schema, list):
        return [_inlined(each, components, within) for each in schema]
    if not isinstance(schema, dict):
        return schema
    ref = schema.get("$ref")
    if isinstance(ref, str):
        name = ref.removeprefix(_REF)
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        if name in within:
            return {"type": "object", **rest}
        return {**_inlined(components[name], components, (*within, name)), **rest}
    # A discriminator names schemas by reference; the constant `kind` of each says the same.
    return {name: _inlined(value, components, within) for name, value in schema.items() if name != "discriminator"}
