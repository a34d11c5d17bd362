from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from posthouse.domain.event_type import covering_patterns
from posthouse.domain.json_schema import Document, moved
from posthouse.domain.routing import matches_type

TREE: dict[str, Any] = {
    "$id": "https://example.com/tree",
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "properties": {
        "$ref": {"type": "integer"},  # a property that is called so
        "left": {"$ref": "#"},
        "name": {"$ref": "#/$defs/odd~1name%25"},
        "kind": {"$ref": "#kind"},
        "fixed": {"const": {"$ref": "#/nowhere"}},
    },
    "$defs": {"odd/name%": {"type": "string"}, "kind": {"$anchor": "kind", "enum": ["a"]}},
}


def test_references_are_found_by_pointer_and_by_anchor() -> None:
    document = Document(TREE)
    assert document.self_contained
    assert document.find("#") is TREE
    assert document.find("#/$defs/odd~1name%25") == {"type": "string"}
    assert document.find("#kind") == {"$anchor": "kind", "enum": ["a"]}
    for nowhere in ("#/nowhere", "#unknown", "#/properties/fixed/const/$ref", "https://example.com/#"):
        assert document.find(nowhere) is None


def test_a_schema_means_the_same_in_another_document() -> None:
    tree = moved(TREE, "#/components/schemas/event.tree", name="tree")
    assert isinstance(tree, dict)
    assert "$id" not in tree
    whole = {"components": {"schemas": {"event.tree": tree}}}
    alone = jsonschema_rs.validator_for(TREE)
    within = jsonschema_rs.validator_for({"$ref": "#/components/schemas/event.tree"} | whole)
    for value in (
        {"left": {"left": {"name": "x", "kind": "a"}}, "$ref": 1, "fixed": {"$ref": "#/nowhere"}},
        {"left": {"left": {"name": 1}}},
        {"kind": "b"},
        {"$ref": "text"},
        {"fixed": 1},
        {"left": {"$ref": "text"}},
    ):
        assert alone.is_valid(value) == within.is_valid(value), value
    assert alone.is_valid({"left": {"kind": "a"}})
    assert not alone.is_valid({"left": {"kind": "b"}})


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ({"$dynamicRef": "#node", "$dynamicAnchor": "node"}, "urn:posthouse:event-type:a"),
        ({"$id": "https://example.com/a", "$ref": "https://example.com/a#/$defs/b", "$defs": {"b": {}}}, "https://example.com/a"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{}]}, "urn:posthouse:event-type:a"),
    ],
)  # fmt: skip
def test_one_whose_references_cannot_be_rewritten_stays_a_resource_of_its_own(
    schema: dict[str, Any], name: str
) -> None:
    kept = moved(schema, "#/somewhere", name="a")
    assert isinstance(kept, dict)
    assert kept == {"$id": name} | schema


@pytest.mark.parametrize("name", ["order", "order.created", "order-x.item.added", "a.b.c.d.e.f.g.h.i.j.k"])
def test_the_patterns_that_cover_a_type_are_those_that_match_it(name: str) -> None:
    covering = covering_patterns(name)
    assert len(set(covering)) == len(covering) == name.count(".") + 2
    assert all(matches_type([pattern], name) for pattern in covering)
    assert not matches_type([name + ".*", "other.*", name[:-1]], name)
