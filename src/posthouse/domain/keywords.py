"""What changed in single keywords of a JSON Schema (draft 2020-12), for `domain.evolution`.

Each function compares keywords that say something about values of one type, and tells whether more is allowed than before
(`wider`), less (`narrower`), both, or whether it cannot tell (`unclear`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from posthouse.domain.json_schema import json_key

ANNOTATIONS: Final = frozenset(
    {"$comment", "default", "deprecated", "description", "examples", "readOnly", "title", "writeOnly"}
)
OPAQUE: Final = (
    "not",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "dependencies",
    "additionalItems",
    "$dynamicRef",
    "$recursiveRef",
)
"""Keywords that are only compared as a whole."""

# The types, and numbers in two: what is `integer` is a number too.
INTEGER, FRACTION = "integer", "fraction"
NUMBERS: Final = frozenset({INTEGER, FRACTION})
STRINGS: Final = frozenset({"string"})
ARRAYS: Final = frozenset({"array"})
OBJECTS: Final = frozenset({"object"})
NULL: Final = frozenset({"null"})
ALL_TYPES: Final = NUMBERS | STRINGS | ARRAYS | OBJECTS | NULL | {"boolean"}
SHOWN_LENGTH_MAX: Final = 60


class Finding(msgspec.Struct, frozen=True):
    kind: str
    detail: str
    wider: bool = False
    narrower: bool = False
    unclear: bool = False


def conjuncts(schema: dict[str, Any]) -> list[Any]:
    """The schemas that must hold beside the keywords of this one."""
    found = list(schema.get("allOf", ()))
    if "$ref" in schema:
        found.insert(0, {"$ref": schema["$ref"]})
    return found


def bare(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without what is only told to people."""
    return {keyword: value for keyword, value in schema.items() if keyword not in ANNOTATIONS}


def is_open(schema: Any) -> bool:
    """Whether it plainly allows everything."""
    return schema is True or (isinstance(schema, dict) and all(keyword in ANNOTATIONS for keyword in schema))


def declared_types(schema: dict[str, Any]) -> frozenset[str]:
    """What `type` allows."""
    declared = schema.get("type")
    if declared is None:
        return ALL_TYPES
    names = [declared] if isinstance(declared, str) else declared
    return frozenset().union(*(NUMBERS if name == "number" else {name} for name in names))


def types_of_values(schema: dict[str, Any]) -> frozenset[str]:
    """The types among the values of `enum` and `const`; all where there is neither."""
    values = _values(schema)
    return ALL_TYPES if values is None else frozenset(_type_of(value) for value in values.values())


def types(old: dict[str, Any], new: dict[str, Any], before: frozenset[str], after: frozenset[str]) -> Iterator[Finding]:
    """`before` and `after` are the types that instances have at most, by all keywords together."""
    come, gone = after - declared_types(old), before - declared_types(new)
    if not come and not gone:
        return
    kind = "type_changed" if come and gone else "type_widened" if come else "type_narrowed"
    if come == NULL and not gone:
        kind = "nullable_added"
    elif gone == NULL and not come:
        kind = "nullable_removed"
    now = "now also" if before & after else "now"
    told = [f"{word} {_names(some)}" for word, some in ((now, come), ("no longer", gone)) if some]
    yield Finding(kind, ", ".join(told), wider=bool(come), narrower=bool(gone))


def values(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Finding]:
    """`enum` and `const`."""
    before, after = _values(old), _values(new)
    if before is None and after is None:
        return
    if before is None:
        yield Finding("enum_added", "only certain values are allowed now", narrower=True)
    elif after is None:
        yield Finding("enum_removed", "other values than those listed are allowed now", wider=True)
    else:
        come = [value for key, value in after.items() if key not in before]
        gone = [value for key, value in before.items() if key not in after]
        if come:
            yield Finding("enum_value_added", f"new: {_listed(come)}", wider=True)
        if gone:
            yield Finding("enum_value_removed", f"gone: {_listed(gone)}", narrower=True)


def numbers(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Finding]:
    for name, exclusive, up in (("minimum", "exclusiveMinimum", True), ("maximum", "exclusiveMaximum", False)):
        yield from _bound(name, _limit(old, name, exclusive, up=up), _limit(new, name, exclusive, up=up), up=up)
    before, after = old.get("multipleOf"), new.get("multipleOf")
    if before == after:
        return
    told = f"multipleOf {_shown(before)} → {_shown(after)}"
    if before is None or _divides(before, after):
        yield Finding("bounds_tightened", told, narrower=True)
    elif after is None or _divides(after, before):
        yield Finding("bounds_widened", told, wider=True)
    else:
        yield Finding("bounds_changed", told, wider=True, narrower=True)


def strings(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Finding]:
    yield from _counts(old, new, "minLength", "maxLength")
    for name in ("pattern", "format"):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        told = f"{name} {_shown(before)} → {_shown(after)}"
        if before is None:
            yield Finding(f"{name}_added", told, narrower=True)
        elif after is None:
            yield Finding(f"{name}_removed", told, wider=True)
        else:
            yield Finding(f"{name}_changed", told, wider=True, narrower=True)


def arrays(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Finding]:
    """The keywords about an array as a whole."""
    yield from _counts(old, new, "minItems", "maxItems")
    before, after = bool(old.get("uniqueItems")), bool(new.get("uniqueItems"))
    if before != after:
        told = "items must differ now" if after else "items may be the same now"
        yield Finding("bounds_tightened" if after else "bounds_widened", told, wider=before, narrower=after)


def objects(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Finding]:
    """The keywords about which properties there are."""
    yield from _counts(old, new, "minProperties", "maxProperties")
    before, after = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(after - before):
        yield Finding("required_added", f"{name!r} must be there now", narrower=True)
    for name in sorted(before - after):
        yield Finding("required_removed", f"{name!r} need not be there any more", wider=True)
    before, after = _dependencies(old), _dependencies(new)
    for name, other in sorted(after - before):
        yield Finding("required_added", f"{other!r} must be there now where {name!r} is", narrower=True)
    for name, other in sorted(before - after):
        yield Finding("required_removed", f"{other!r} need not be there any more where {name!r} is", wider=True)


def _dependencies(schema: dict[str, Any]) -> set[Any]:
    return {(name, other) for name, others in schema.get("dependentRequired", {}).items() for other in others}


def _counts(old: dict[str, Any], new: dict[str, Any], least: str, most: str) -> Iterator[Finding]:
    lower_old, lower_new = old.get(least, 0), new.get(least, 0)
    yield from _bound(least, (lower_old, 0), (lower_new, 0), up=True)
    yield from _bound(most, _pair(old.get(most)), _pair(new.get(most)), up=False)


def _pair(limit: Any) -> tuple[Any, int] | None:
    return None if limit is None else (limit, 0)


def _limit(schema: dict[str, Any], inclusive: str, exclusive: str, *, up: bool) -> tuple[Any, int] | None:
    """The limit that binds: larger is tighter for a lower one, smaller for an upper one, and exclusive for both."""
    found = [(schema[name], sign) for name, sign in ((inclusive, 0), (exclusive, 1 if up else -1)) if name in schema]
    return (max(found) if up else min(found)) if found else None


def _bound(name: str, before: tuple[Any, int] | None, after: tuple[Any, int] | None, *, up: bool) -> Iterator[Finding]:
    if before == after:
        return
    tighter = before is None or (after is not None and ((after > before) if up else (after < before)))
    told = f"{name} {_limit_shown(before)} → {_limit_shown(after)}"
    yield Finding("bounds_tightened" if tighter else "bounds_widened", told, wider=not tighter, narrower=tighter)


def _limit_shown(limit: tuple[Any, int] | None) -> str:
    return "none" if limit is None else f"{_shown(limit[0])}{' (exclusive)' if limit[1] else ''}"


def _divides(one: Any, other: Any) -> bool:
    """Whether every multiple of `other` is one of `one`, as far as whole numbers tell."""
    return isinstance(one, int) and isinstance(other, int) and other % one == 0


def _values(schema: dict[str, Any]) -> dict[Any, Any] | None:
    """The values that `enum` and `const` leave, by what makes them equal."""
    found: dict[Any, Any] | None = None
    if isinstance(listed := schema.get("enum"), list):
        found = {json_key(value): value for value in listed}
    if "const" in schema:
        const = {json_key(schema["const"]): schema["const"]}
        found = const if found is None else {key: value for key, value in const.items() if key in found}
    return found


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return INTEGER
        case float():
            return INTEGER if value.is_integer() else FRACTION
        case list():
            return "array"
        case _:
            return "object"


def _names(some: frozenset[str]) -> str:
    names = set(some)
    if some >= NUMBERS:
        names = (names - NUMBERS) | {"number"}
    return ", ".join(sorted("number that is no integer" if name == FRACTION else name for name in names))


def _listed(some: list[Any]) -> str:
    told = ", ".join(_json(value) for value in some[:5])
    return told if len(some) <= 5 else f"{told} and {len(some) - 5} more"


def _shown(value: Any) -> str:
    return "none" if value is None else _json(value)


def _json(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_LENGTH_MAX else text[:SHOWN_LENGTH_MAX] + "…"
