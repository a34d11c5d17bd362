"""What a schema says of data that do not fit: as much as is told soon, whatever the schema and the data are."""

from __future__ import annotations

from typing import Any

import pytest

from posthouse.domain.limits import SCHEMA_ERRORS_WORK_MAX
from posthouse.wire.data_schema import DataSchema
from posthouse.wire.json_schema import place_of
from posthouse.wire.schema_judge import Judge

AGAIN = {"$ref": "#/$defs/rule"}
TREE = {"type": "object", "properties": {"args": {"items": AGAIN}, "value": {"type": "number"}}}


def rule(operation: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"args": {"items": AGAIN}, "op": {"const": operation}},
        "required": ["op", "args"],
    }


def recursive(rule: dict[str, Any]) -> dict[str, Any]:
    return {**AGAIN, "$defs": {"rule": rule}}


LEAF = {"type": "object", "properties": {"value": {"type": "number"}}, "required": ["value"]}
RULES = recursive({"oneOf": [rule("and"), rule("or"), LEAF]})


def nested(levels: int, innermost: Any) -> Any:
    data = {"value": innermost}
    for _ in range(levels):
        data = {"op": "and", "args": [data]}
    return data


def places(schema: dict[str, Any], data: Any, *, most: int = 3) -> list[str]:
    judge = Judge(schema)
    assert not judge.is_valid(data)
    return [place_of(error) for error in judge.errors_of(data, most=most)]


def test_the_first_errors_are_told() -> None:
    schema = {"items": {"type": "string"}}
    assert places(schema, [1, "a", 2, 3, 4]) == ["[0]", "[2]", "[3]"]
    assert places(schema, [1, "a", 2], most=1) == ["[0]"]


def test_of_many_values_only_the_first_error_is_looked_for() -> None:
    assert places({"items": {"type": "string"}}, ["a", *[None] * SCHEMA_ERRORS_WORK_MAX]) == ["[1]"]


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_of_many_values_with_alternatives_none_is(keyword: str) -> None:
    schema = {"items": {keyword: [{"type": "string"}, {"type": "number"}]}}
    assert places(schema, [None]) == ["[0]"]
    assert places(schema, [None] * SCHEMA_ERRORS_WORK_MAX) == []


def test_a_small_alternative_in_a_large_schema_is_no_hindrance() -> None:
    schema = {
        "properties": {f"p{number}": {"type": "string"} for number in range(1_000)}
        | {"one": {"anyOf": [{"type": "string"}, {"type": "number"}]}}
    }
    assert places(schema, {f"p{number}": "a" for number in range(100)} | {"one": None}) == [".one"]


@pytest.mark.parametrize(
    "schema",
    [
        RULES,
        recursive({"anyOf": [rule("and"), rule("or"), LEAF]}),
        recursive({"allOf": [TREE, TREE]}),
        {"$dynamicAnchor": "rule", "$ref": "#/$defs/rule", "$defs": RULES["$defs"]},
        {"$ref": "rule", "$defs": {"rule": {"$id": "rule", **RULES}}},
    ],
)
def test_a_schema_that_refers_to_itself_among_alternatives_is_not_asked_of_deep_data(schema: dict[str, Any]) -> None:
    """What it has to say doubles with each level: at twenty, it would take an hour."""
    assert places(schema, {"value": "x"})
    assert places(schema, nested(60, "x")) == []
    assert Judge(schema).is_valid(nested(60, 1))


def test_a_schema_that_refers_to_itself_and_has_no_alternatives_is_asked() -> None:
    assert places(recursive(TREE), nested(50, "x")) == [".args[0]" * 50 + ".value"]


def test_references_that_double_without_a_circle_are_counted() -> None:
    schemas: dict[str, Any] = {
        f"s{number}": {"allOf": [{"properties": {"args": {"items": {"$ref": f"#/$defs/s{number + 1}"}}}}] * 2}
        for number in range(50)
    }
    schemas["s50"] = {"properties": {"value": {"type": "number"}}}
    assert places({"$ref": "#/$defs/s0", "$defs": schemas}, nested(50, "x")) == []


@pytest.mark.parametrize(
    "schema", [True, {}, {"properties": {"$ref": {"type": "string"}}}, {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {}}}]
)
def test_schemas_of_all_forms_are_counted(schema: Any) -> None:
    assert Judge(schema).is_valid({"a": 1})


@pytest.mark.parametrize(
    ("item", "told"), [({"type": "string"}, "data[0]: "), ({"anyOf": [{"type": "string"}]}, "data: it would take long")]
)
def test_what_a_transformation_made_is_judged_so_too(item: dict[str, Any], told: str) -> None:
    fault = DataSchema({"items": item}, path="schema").fault_of([None] * 50_000, 250_001)
    assert fault is not None
    assert fault.startswith(told)
