"""The reader of trees, against what the compiler really writes, and against nonsense."""

from __future__ import annotations

import random
from typing import Any

import pytest

from posthouse.adapters.cel.program import compile_expression
from posthouse.adapters.cel.tree import Call, Const, Ident, ListOf, Loop, MapOf, Select, TooDeep, read_tree, walk
from posthouse.domain.expression import Use


def serialized(text: str) -> bytes:
    made: bytes = compile_expression(text, Use.VALUE).run.serialize()
    return made


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'é😀'", "é😀"),
        ("b'\\xff'", b"\xff"),
        ("-5", -5),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551615u", 2**64 - 1),
        ("2.5", 2.5),
        ("true", True),
        ("false", False),
        ("null", None),
    ],
)
def test_constants(text: str, value: Any) -> None:
    root = read_tree(serialized(text)).root
    assert isinstance(root, Const)
    assert (root.value, type(root.value)) == (value, type(value))


def test_every_kind_of_node_and_where_it_stands() -> None:
    text = "{'a': [event.data.x, 1 + 2], 'b': has(event.data.y), 'c': event.data.l.filter(i, i.size() > 1)}"
    tree = read_tree(serialized(text))
    kinds = {type(node) for node in walk(tree.root)}
    assert kinds == {Const, Ident, Select, Call, ListOf, MapOf, Loop}
    (plus,) = [node for node in walk(tree.root) if isinstance(node, Call) and tree.overloads[node.id] == ("add_int64",)]
    assert text[tree.offsets[plus.id]] == "+"
    (test,) = [node for node in walk(tree.root) if isinstance(node, Select) and node.test]
    assert test.field == "y"
    (loop,) = [node for node in walk(tree.root) if isinstance(node, Loop)]
    assert loop.each == "i"
    assert isinstance(loop.range, Select)
    assert isinstance(loop.range.operand, Select)
    assert (loop.range.field, loop.range.operand.field) == ("l", "data")


def test_depth_and_number_of_nodes_are_bounded() -> None:
    with pytest.raises(TooDeep):
        read_tree(nested(300))


def nested(depth: int) -> bytes:
    """What the parser would not let through: `has(has(…))` of so many levels."""
    node = field(4, field(1, b"x"))
    for _ in range(depth):
        node = field(5, field(1, node) + field(2, b"f"))
    return field(2, field(4, node))


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_nonsense_is_an_error_and_nothing_worse() -> None:
    whole = serialized("event.data.l.map(x, x.a + 1) == [1, 2.5, 'x'] && has(event.data.y)")
    rng = random.Random(8)
    refused = 0
    for _ in range(2_000):
        changed = bytearray(whole[: rng.randrange(1, len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            read_tree(bytes(changed))
        except (ValueError, TooDeep):
            refused += 1
    assert refused > 500
