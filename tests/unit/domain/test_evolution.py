from __future__ import annotations

from typing import Any

import pytest

from posthouse.domain.evolution import BREAKS, SAFE, UNKNOWN, Verdict, compare
from posthouse.domain.limits import SCHEMA_CHANGES_MAX

ID: dict[str, Any] = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
NULLABLE = {"anyOf": [{"type": "string"}, {"type": "null"}]}


def with_property(**properties: Any) -> dict[str, Any]:
    return ID | {"properties": ID["properties"] | properties}


CASES: list[tuple[Any, Any, str, str, Verdict, Verdict]] = [
    # old, new, path, kind, consumers, publishers
    (None, ID, "", "type_narrowed", SAFE, BREAKS),
    (ID, None, "", "type_widened", BREAKS, SAFE),
    (ID, with_property(sku={"type": "string"}), "sku", "property_added", SAFE, UNKNOWN),
    (ID, with_property(sku={}), "sku", "property_added", SAFE, SAFE),
    (
        ID | {"additionalProperties": False},
        with_property(sku={}) | {"additionalProperties": False},
        "sku",
        "property_added",
        BREAKS,
        SAFE,
    ),
    (with_property(sku={"type": "string"}), ID, "sku", "property_removed", BREAKS, SAFE),
    (with_property(sku={}), ID | {"additionalProperties": False}, "sku", "property_removed", BREAKS, BREAKS),
    (ID, ID | {"required": []}, "", "required_removed", BREAKS, SAFE),
    (ID, ID | {"required": ["id", "sku"]}, "", "required_added", SAFE, BREAKS),
    ({}, {"dependentRequired": {"a": ["b"]}}, "", "required_added", SAFE, BREAKS),
    (ID, with_property(id={"type": "number"}), "id", "type_widened", BREAKS, SAFE),
    (ID, with_property(id={"type": ["integer", "null"]}), "id", "nullable_added", BREAKS, SAFE),
    (with_property(id={"type": ["integer", "null"]}), ID, "id", "nullable_removed", SAFE, BREAKS),
    (ID, with_property(id={"type": "string"}), "id", "type_changed", BREAKS, BREAKS),
    ({"enum": ["a"]}, {"enum": ["a", "b"]}, "", "enum_value_added", BREAKS, SAFE),
    ({"enum": ["a", "b"]}, {"const": "a"}, "", "enum_value_removed", SAFE, BREAKS),
    ({"enum": [1]}, {"enum": [True]}, "", "enum_value_added", BREAKS, SAFE),
    ({"type": "string"}, {"type": "string", "format": "date"}, "", "format_added", SAFE, BREAKS),
    ({"format": "date"}, {"format": "email"}, "", "format_changed", BREAKS, BREAKS),
    ({"pattern": "a"}, {}, "", "pattern_removed", BREAKS, SAFE),
    ({"minimum": 1}, {"exclusiveMinimum": 1}, "", "bounds_tightened", SAFE, BREAKS),
    ({"maximum": 5, "exclusiveMaximum": 3}, {"maximum": 5}, "", "bounds_widened", BREAKS, SAFE),
    ({"maxLength": 5}, {"maxLength": 6}, "", "bounds_widened", BREAKS, SAFE),
    ({"multipleOf": 2}, {"multipleOf": 4}, "", "bounds_tightened", SAFE, BREAKS),
    ({"multipleOf": 2}, {"multipleOf": 3}, "", "bounds_changed", BREAKS, BREAKS),
    ({"uniqueItems": True}, {}, "", "bounds_widened", BREAKS, SAFE),
    ({}, {"additionalProperties": False}, "*", "closed", SAFE, BREAKS),
    ({"additionalProperties": False}, {}, "*", "opened", BREAKS, SAFE),
    ({"items": {"type": "integer"}}, {"items": {"type": "number"}}, "[]", "type_widened", BREAKS, SAFE),
    ({"prefixItems": [{"type": "string"}]}, {"prefixItems": [{}]}, "[0]", "type_widened", BREAKS, SAFE),
    ({"contains": {"const": 1}}, {}, "", "contains_removed", BREAKS, SAFE),
    ({"patternProperties": {"^x": {"type": "string"}}}, {}, "{^x}", "pattern_removed", BREAKS, SAFE),
    ({"propertyNames": {"maxLength": 3}}, {}, "{names}", "bounds_widened", BREAKS, SAFE),
    ({"type": "string"}, NULLABLE, "", "nullable_added", BREAKS, SAFE),
    (NULLABLE, {"type": "string"}, "", "nullable_removed", SAFE, BREAKS),
    ({"oneOf": [{"type": "string"}]}, {"oneOf": [{"type": "string"}, {"type": "null"}]}, "", "nullable_added", BREAKS, UNKNOWN),
    ({"anyOf": [{"const": 1}, {"const": 2}]}, {"anyOf": [{"const": 1}]}, "", "alternatives_changed", SAFE, UNKNOWN),
    ({"allOf": [{"minimum": 1}]}, {"allOf": [{"minimum": 2}]}, "", "bounds_tightened", SAFE, BREAKS),
    ({"not": {"const": 1}}, {"not": {"const": 2}}, "", "not_changed", UNKNOWN, UNKNOWN),
    ({"if": {"const": 1}}, {"if": {"const": 2}}, "", "condition_changed", UNKNOWN, UNKNOWN),
    ({"title": "a"}, {"title": "b"}, "", "documentation_changed", SAFE, SAFE),
    ({"unevaluatedItems": False}, {"unevaluatedItems": False, "maxItems": 3}, "", "unevaluated", UNKNOWN, UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "path", "kind", "consumers", "publishers"), CASES)
def test_each_change_is_told_with_whom_it_breaks(
    old: Any, new: Any, path: str, kind: str, consumers: Verdict, publishers: Verdict
) -> None:
    found = compare(old, new)
    assert (path, kind, consumers, publishers) in [
        (change.path, change.kind, change.consumers, change.publishers) for change in found.changes
    ], found
    assert all(change.detail for change in found.changes)


@pytest.mark.parametrize(
    ("old", "new", "consumers", "publishers"),
    [
        (ID, ID, SAFE, SAFE),
        (ID, dict(reversed(ID.items())), SAFE, SAFE),
        ({"const": 1}, {"const": 1.0}, SAFE, SAFE),
        ({"type": "string"}, {"type": "string", "maximum": 3}, SAFE, SAFE),  # a string has no maximum
        ({"type": "integer"}, {"type": "number"}, BREAKS, SAFE),
        ({"minLength": 0, "required": [], "uniqueItems": False}, {}, SAFE, SAFE),
        ({"type": "string"}, {"enum": ["a", "b"]}, SAFE, BREAKS),
        ({"anyOf": [{"const": 1}, {"const": 2}]}, {"anyOf": [{"const": 2}, {"const": 1}]}, SAFE, SAFE),
        (False, {"const": 1}, BREAKS, SAFE),
        ({"const": 1}, False, SAFE, BREAKS),
    ],
)
def test_verdicts(old: Any, new: Any, consumers: Verdict, publishers: Verdict) -> None:
    found = compare(old, new)
    assert (found.consumers, found.publishers) == (consumers, publishers), found


def test_references_within_the_schema_are_followed() -> None:
    old = {"$ref": "#/$defs/order", "$defs": {"order": ID}}
    assert compare(old, ID).changes == ()
    moved = {"$ref": "#what", "$defs": {"elsewhere/~": with_property(id={"type": "number"}) | {"$anchor": "what"}}}
    (change,) = compare(old, moved).changes
    assert (change.path, change.kind) == ("id", "type_widened")
    same_words = {"properties": {"a": {"$ref": "#/$defs/a"}}}
    found = compare(
        same_words | {"$defs": {"a": {"type": "string"}}}, same_words | {"$defs": {"a": {"type": "object"}}}
    )
    assert [(change.path, change.kind) for change in found.changes] == [("a", "type_changed")]


def test_a_schema_that_contains_itself_is_compared_to_its_end() -> None:
    def tree(leaf: dict[str, Any]) -> dict[str, Any]:
        return {"properties": {"leaf": leaf, "below": {"type": "array", "items": {"$ref": "#"}}}}

    (change,) = compare(tree({"type": "integer"}), tree({"type": "number"})).changes
    assert (change.path, change.consumers, change.publishers) == ("leaf", BREAKS, SAFE)
    assert compare({"$ref": "#"}, {}).consumers is not BREAKS


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"$defs": {"a": {"$id": "https://example.com/a"}}},
        {"$defs": {"a": {"$dynamicAnchor": "node"}}},
    ],
)
def test_what_moves_references_about_is_not_judged(schema: dict[str, Any]) -> None:
    found = compare({}, schema)
    assert (found.consumers, found.publishers) == (UNKNOWN, UNKNOWN)
    assert compare(schema, dict(schema)).changes == ()


def test_as_much_is_told_as_there_is_room_for_and_all_is_judged() -> None:
    old = {f"p{number:04}": {"type": "string"} for number in range(SCHEMA_CHANGES_MAX)}
    new = {name: {"type": "string", "maxLength": 3} for name in old} | {"z": {}}
    found = compare({"properties": old | {"z": {"type": "integer"}}}, {"properties": new})
    assert len(found.changes) == SCHEMA_CHANGES_MAX
    assert found.truncated
    assert (found.consumers, found.publishers) == (BREAKS, BREAKS)


def test_a_schema_that_unfolds_without_end_is_given_up() -> None:
    def unfolding(leaf: str) -> dict[str, Any]:
        layers: dict[str, Any] = {
            f"d{n}": {"properties": {name: {"$ref": f"#/$defs/d{n + 1}"} for name in "abcd"}} for n in range(40)
        }
        return {"$ref": "#/$defs/d0", "$defs": layers | {"d40": {"type": leaf}}}

    found = compare(unfolding("string"), unfolding("integer"))
    assert found.changes[0].kind == "too_large"
    assert found.consumers is not SAFE
    assert found.publishers is not SAFE


def test_a_schema_of_many_storeys_is_given_up() -> None:
    def tower(top: str) -> dict[str, Any]:
        storeys: dict[str, Any] = {f"d{n}": {"properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(3_000)}
        return {"$ref": "#/$defs/d0", "$defs": storeys | {"d3000": {"type": top}}}

    found = compare(tower("string"), tower("integer"))
    assert [change.kind for change in found.changes] == ["too_large"]
    assert compare(tower("string"), tower("string")).changes == ()
