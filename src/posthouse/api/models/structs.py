"""JSON schemas of configuration structs: what they accept is said once, in the domain."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_REF: Final = "#/$defs/"


def schema_of(type: Any) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a struct, or a union of structs, with everything in place: no references. What is
    inside itself is an object the second time, and so are structs that are inside each other."""
    (schema,), components = msgspec.json.schema_components([type], ref_template=f"{_REF}{{name}}")
    inside = {name: _inside(name, components) for name in components}
    inlined = _inlined(schema, components, (), inside)
    assert isinstance(inlined, dict)
    return inlined


def _inside(name: str, components: dict[str, Any]) -> frozenset[str]:
    """The structs that may be somewhere inside this one."""
    found: set[str] = set()
    waiting: list[Any] = [components[name]]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            waiting += each.values()
            ref = each.get("$ref")
            if isinstance(ref, str) and (inner := ref.removeprefix(_REF)) not in found:
                found.add(inner)
                waiting.append(components[inner])
    return frozenset(found)


def _inlined(
    schema: Any, components: dict[str, Any], within: tuple[str, ...], inside: dict[str, frozenset[str]]
) -> Any:
    if isinstance(schema, list):
        return [_inlined(each, components, within, inside) for each in schema]
    if not isinstance(schema, dict):
        return schema
    ref = schema.get("$ref")
    if isinstance(ref, str):
        name = ref.removeprefix(_REF)
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        if any(outer in inside[name] for outer in within):
            return {"type": "object", **rest}
        return {**_inlined(components[name], components, (*within, name), inside), **rest}
    # A discriminator names schemas by reference; the constant `kind` of each says the same.
    return {
        name: _inlined(value, components, within, inside) for name, value in schema.items() if name != "discriminator"
    }
