"""JSON Schemas compiled, and where in the data an error is, whoever gave the schema."""

from __future__ import annotations

from typing import Any, Final

import jsonschema_rs

LINEAR: Final = jsonschema_rs.RegexOptions()
"""Patterns take linear time, and so have no look-around and no back-references."""


def validator_of(schema: Any, *, patterns: Any = LINEAR, mask: str | None = None) -> Any:
    """A validator for a decoded schema, draft 2020-12 where it does not say. No reference outside it is ever followed. `mask`
    is what errors say in place of the data.

    Raises ValueError for what is no schema.
    """
    return jsonschema_rs.validator_for(
        schema, mask=mask, retriever=_no_retrieval, validate_formats=True, pattern_options=patterns
    )


def place_of(error: Any) -> str:
    """Where in the data it is: `.items[0].price`; empty: the data themselves."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)


def referred(schema: Any, reference: str) -> Any:
    """What a reference by places leads to (`#/$defs/item`); None where it leads to nothing, or elsewhere."""
    start, *names = reference.split("/")
    found = schema if start == "#" else None
    for name in names:
        key = name.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"a schema may only refer to itself, not to {uri}")
