"""What a target that pinned a version of an event type gets of payloads of a later one."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.domain.evolution import SAFE, compare
from posthouse.intake.catalogue import compile_schema
from posthouse.wire.message import Unsendable
from posthouse.wire.payload_version import PinnedVersion

PAYLOAD = (
    b'{ "id": 1.50, "new": 1, "shop": {"name": "x", "new": {}}, "items": [{"sku": "1", "new": 2}, {"new": 1e400}] }'
)
SHOP = {"type": "object", "properties": {"name": {"type": "string"}}}
NEW: dict[str, Any] = {"properties": {"new": {}}}
ITEMS = {"type": "array", "items": {"properties": {"sku": {}}}}


def kept(schema: Any, payload: bytes = PAYLOAD) -> str:
    return PinnedVersion(schema).payload(payload).decode()


@pytest.mark.parametrize(
    ("schema", "left"),
    [
        (None, PAYLOAD.decode()),
        (True, PAYLOAD.decode()),
        ({"type": "object"}, PAYLOAD.decode()),
        ({"properties": {"id": {}}}, '{"id":1.50}'),
        ({"properties": {"id": {}, "gone": {}}}, '{"id":1.50}'),
        ({"properties": {"shop": {}}}, '{"shop":{"name":"x","new":{}}}'),
        ({"properties": {"shop": SHOP}}, '{"shop":{"name":"x"}}'),
        ({"properties": {"items": ITEMS}}, '{"items":[{"sku":"1"},{}]}'),
        ({"properties": {"items": {"prefixItems": [{"properties": {"a": {}}}]}}}, '{"items":[{},{"new":1e400}]}'),
        ({"properties": {"items": {"prefixItems": [True], "items": SHOP}}}, '{"items":[{"sku":"1","new":2},{}]}'),
        ({"properties": {"id": {}}, "additionalProperties": False}, '{"id":1.50}'),
        ({"properties": {"shop": SHOP}, "additionalProperties": True}, None),
        ({"properties": {"shop": SHOP}, "patternProperties": {"^n": {}}}, None),
        ({"allOf": [{"properties": {"id": {}}}, {"properties": {"new": {}}}]}, '{"id":1.50,"new":1}'),
        ({"anyOf": [{"properties": {"shop": SHOP}}, {"properties": {"shop": NEW}}]}, '{"shop":{"name":"x","new":{}}}'),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"id": {}}}}}, '{"id":1.50}'),
        ({"if": {"properties": {"new": {}}}, "then": {"properties": {"id": {}}}}, '{"id":1.50}'),
        ({"$ref": "https://example.com/schema", "properties": {"id": {}}}, PAYLOAD.decode()),
        ({"$ref": "#", "properties": {"new": {}}}, '{"new":1}'),
    ],
)
def test_what_is_left(schema: Any, left: str | None) -> None:
    expected = '{"id":1.50,"new":1,"shop":{"name":"x"},"items":[{"sku":"1","new":2},{"new":1e400}]}'
    assert kept(schema) == (expected if left is None else left)


def test_a_tree() -> None:
    schema = {"properties": {"name": {}, "below": {"items": {"$ref": "#"}}}}
    assert kept(schema, b'{"name":"a","x":1,"below":[{"name":"b","x":2,"below":[{"x":3}]}]}') == (
        '{"name":"a","below":[{"name":"b","below":[{}]}]}'
    )


@pytest.mark.parametrize("payload", [b"[1]", b"1", b'"x"', b"null", b"{}", b'{ "id" : 1.0 }'])
def test_where_nothing_is_left_out_it_stays_byte_for_byte(payload: bytes) -> None:
    assert PinnedVersion({"properties": {"id": {}}}).payload(payload) == payload


def test_what_is_no_json() -> None:
    with pytest.raises(Unsendable, match="is none"):
        kept({"properties": {"id": {}}}, b"\xff")


scalars = st.sampled_from(({"type": "integer"}, {"type": "string"}, {}))
names = st.sampled_from("abc")


@given(st.dictionaries(names, scalars, min_size=1), st.dictionaries(st.sampled_from("xyz"), scalars), st.data())
@settings(max_examples=60, deadline=None)
def test_a_safe_addition_is_not_noticed(old: dict[str, Any], added: dict[str, Any], data: st.DataObject) -> None:
    before, after = {"type": "object", "properties": old}, {"type": "object", "properties": old | added}
    assert compare(before, after).consumers is SAFE
    value = {
        name: 7 if schema.get("type") == "integer" else "x"
        for name, schema in (old | added).items()
        if data.draw(st.booleans())
    }
    told = json.loads(kept(before, json.dumps(value).encode()))
    assert told == {name: each for name, each in value.items() if name in old}
    compile_schema(json.dumps(before))
