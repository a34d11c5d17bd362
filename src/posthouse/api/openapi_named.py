"""What generators of clients make classes of: each object that has a name is told once, and referred to."""

from __future__ import annotations

from typing import Any, Final

_REF: Final = "#/components/schemas/"


def named(document: dict[str, Any]) -> None:
    """Move objects with a title out of where they are told and into the schemas, once each.

    Raises ValueError where two that share a title differ.
    """
    schemas: dict[str, Any] = document["components"]["schemas"]
    for schema in [*schemas.values()]:
        for name, value in schema.items():
            schema[name] = _moved(value, schemas)


def _moved(schema: Any, schemas: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_moved(each, schemas) for each in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {name: _moved(value, schemas) for name, value in schema.items()}
    if isinstance(moved.get("enum"), list):
        return moved | _distinguished(moved["enum"])
    title = moved.get("title")
    if not isinstance(title, str) or moved.get("type") != "object" or "properties" not in moved:
        return moved
    if schemas.setdefault(title, moved) != moved:
        raise ValueError(f"two schemas are named {title}")
    return {"$ref": f"{_REF}{title}"}


def _distinguished(values: list[Any]) -> dict[str, Any]:
    """Names for values that differ in case alone (`HEX`, `hex`): generators write names of constants in capitals."""
    texts = [str(value) for value in values]
    if len({text.upper() for text in texts}) == len(texts):
        return {}
    return {
        "x-enum-varnames": [
            f"UPPER_{text}" if text.isupper() and text.lower() in texts else text.upper() for text in texts
        ]
    }
