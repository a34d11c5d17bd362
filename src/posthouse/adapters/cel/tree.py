"""The tree of an expression, read from what the compiler writes: `cel.expr.CheckedExpr` (cel-spec, proto/cel/expr/checked.proto
and syntax.proto), in a `google.protobuf.Any`.

A reader of our own for as much of the protobuf wire format as this takes (protobuf.dev, "Encoding"): it needs no library, and
is bounded in depth and in the number of nodes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from posthouse.domain.limits import EXPRESSION_DEPTH_MAX, EXPRESSION_NODES_MAX


class Const(msgspec.Struct, frozen=True):
    id: int
    value: bool | int | float | str | bytes | None


class Ident(msgspec.Struct, frozen=True):
    id: int
    name: str


class Select(msgspec.Struct, frozen=True):
    """`operand.field`, or `has(operand.field)` where it is a `test`."""

    id: int
    operand: Node
    field: str
    test: bool


class Call(msgspec.Struct, frozen=True):
    """A function or an operator (`_+_`, `_?_:_`, `_[_]`, `@in`); `target` is what stands before the dot."""

    id: int
    function: str
    target: Node | None
    args: tuple[Node, ...]


class ListOf(msgspec.Struct, frozen=True):
    id: int
    items: tuple[Node, ...]


class MapOf(msgspec.Struct, frozen=True):
    """A map; or, where it has a name, a message, whose keys are the names of its fields."""

    id: int
    entries: tuple[tuple[Node, Node], ...]
    message: str = ""


class Loop(msgspec.Struct, frozen=True):
    """What a macro such as `exists` or `map` becomes: `each` of `range`, and `so_far`, which is `step` of both each time."""

    id: int
    each: str
    range: Node
    so_far: str
    start: Node
    condition: Node
    step: Node
    result: Node


Node = Const | Ident | Select | Call | ListOf | MapOf | Loop


class Tree(msgspec.Struct, frozen=True):
    root: Node
    overloads: dict[int, tuple[str, ...]]
    """Which functions of all of a name a call may come to, by its id."""
    offsets: dict[int, int]
    """Where in the text a node stands, by its id: in characters."""


class TooDeep(Exception):
    """Nested deeper, or larger, than is read."""


_INT64: Final = 1 << 63


def read_tree(serialized: bytes) -> Tree:
    """The tree of a compiled expression. Raises TooDeep, or ValueError where it is something else."""
    checked = b""
    for number, value in _fields(serialized):  # of Any
        if number == 2:
            checked = _bytes(value)
    overloads: dict[int, tuple[str, ...]] = {}
    offsets: dict[int, int] = {}
    root = b""
    for number, value in _fields(checked):
        if number == 2:  # reference_map
            entry = dict(_fields(_bytes(value)))
            names = tuple(_text(each) for of, each in _fields(_bytes(entry.get(2, b""))) if of == 3)
            overloads[_int(entry.get(1, 0))] = names
        elif number == 4:
            root = _bytes(value)
        elif number == 5:  # source_info
            for of, each in _fields(_bytes(value)):
                if of == 4:
                    position = dict(_fields(_bytes(each)))
                    offsets[_int(position.get(1, 0))] = _int(position.get(2, 0))
    return Tree(_Reader().node(root, 0), overloads, offsets)


class _Reader:
    def __init__(self) -> None:
        self._nodes = 0

    def node(self, data: bytes, depth: int) -> Node:
        self._nodes += 1
        if depth > EXPRESSION_DEPTH_MAX or self._nodes > EXPRESSION_NODES_MAX:
            raise TooDeep
        identity, kind, body = 0, 0, b""
        for number, value in _fields(data):
            if number == 2:
                identity = _int(value)
            else:
                kind, body = number, _bytes(value)
        parts = list(_fields(body))
        match kind:
            case 3:
                return Const(identity, _constant(parts))
            case 4:
                return Ident(identity, _text(_first(parts, 1)))
            case 5:
                operand = self.node(_bytes(_first(parts, 1)), depth + 1)
                return Select(identity, operand, _text(_first(parts, 2)), bool(_first(parts, 3, 0)))
            case 6:
                target = _first(parts, 1, b"")
                return Call(
                    identity,
                    _text(_first(parts, 2)),
                    self.node(_bytes(target), depth + 1) if target else None,
                    tuple([self.node(_bytes(value), depth + 1) for number, value in parts if number == 3]),
                )
            case 7:
                return ListOf(identity, tuple([self.node(_bytes(v), depth + 1) for number, v in parts if number == 1]))
            case 8:
                entries = [list(_fields(_bytes(value))) for number, value in parts if number == 2]
                made = tuple([self._entry(entry, depth + 1) for entry in entries])
                return MapOf(identity, made, _text(_first(parts, 1)))
            case 9:
                each, range_, so_far, start, condition, step, result = (_first(parts, n) for n in range(1, 8))
                return Loop(
                    identity,
                    _text(each),
                    self.node(_bytes(range_), depth + 1),
                    _text(so_far),
                    *[self.node(_bytes(part), depth + 1) for part in (start, condition, step, result)],
                )
            case _:
                raise ValueError(f"an expression of the unknown kind {kind}")

    def _entry(self, entry: list[tuple[int, int | bytes]], depth: int) -> tuple[Node, Node]:
        name = _first(entry, 2, b"")
        key: Node = Const(0, _text(name)) if name else self.node(_bytes(_first(entry, 3)), depth)
        return key, self.node(_bytes(_first(entry, 4)), depth)


def walk(node: Node) -> Iterator[Node]:
    """It and all below it."""
    yield node
    match node:
        case Select(_, operand, _, _):
            yield from walk(operand)
        case Call(_, _, target, args):
            if target is not None:
                yield from walk(target)
            for arg in args:
                yield from walk(arg)
        case ListOf(_, items):
            for item in items:
                yield from walk(item)
        case MapOf(_, entries, _):
            for key, value in entries:
                yield from walk(key)
                yield from walk(value)
        case Loop():
            for part in (node.range, node.start, node.condition, node.step, node.result):
                yield from walk(part)
        case _:
            pass


def _constant(parts: list[tuple[int, int | bytes]]) -> bool | int | float | str | bytes | None:
    if not parts:
        return None
    number, value = parts[0]
    match number:
        case 2:
            return bool(value)
        case 3:
            whole = _int(value)
            return whole - 2 * _INT64 if whole >= _INT64 else whole
        case 4:
            return _int(value)
        case 5:
            return float(struct.unpack("<d", _bytes(value))[0])
        case 6:
            return _text(value)
        case 7:
            return _bytes(value)
        case _:
            return None


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message, each as its number, and its value as it stands there."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                value, at = _varint(data, at)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(data, at)
            case 5:
                size = 4
            case kind:
                raise ValueError(f"a field of the unknown wire type {kind}")
        if at + size > len(data):
            raise ValueError("a field that ends too early")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number that does not end")


def _first(parts: list[tuple[int, int | bytes]], wanted: int, otherwise: int | bytes = b"") -> int | bytes:
    return next((value for number, value in parts if number == wanted), otherwise)


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where there are bytes")
    return value


def _int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("bytes where there is a number")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()
