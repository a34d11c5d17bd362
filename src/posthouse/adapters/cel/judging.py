"""Whether an expression may be, what it looks at, and what it may cost: read from its tree. Pure.

The language alone does not bound what an expression takes: `v + v` in a chain doubles a text at each step, a loop within a
loop squares a list, and `s.contains(t)` is their product. So loops (the macros `all`, `exists`, `exists_one`, `filter` and
`map`) do not stand within each other, and build nothing but what they are for; and of functions only those count as light whose
cost is at most their input's size, and whose output is no larger. What is not light is evaluated in a limited process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from posthouse.adapters.cel.names import TIME, variables_of
from posthouse.adapters.cel.regex import why_not
from posthouse.adapters.cel.tree import Call, Const, Ident, ListOf, Loop, MapOf, Node, Select, Tree, walk
from posthouse.domain.expression import Use
from posthouse.domain.limits import EXPRESSION_LOOPS_MAX

LITERAL_LENGTH_LIGHT: Final = 64  # of a text that is looked for in another
JOINS_LIGHT: Final = 8  # of texts and lists: each copies what it joins


class Refused(Exception):
    """It may not be: `offset` is where in the text, in characters; None where nothing says."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset


class Looks(msgspec.Struct, frozen=True):
    """What an expression looks at, and what that costs.

    `event` and `response` are the fields of these that it names; `data` the fields at the top of `event.data`, None where that
    is all of it. `literals` are the names in it. What it costs where it is `light`: `by_size` times what it looks at, in bytes
    (about a nanosecond each); `by_nodes` times the number of values in it (about 100); and `by_square` times the square of that
    (about 20): the runtime makes a list anew for each value that `map` or `filter` adds to it.
    """

    event: frozenset[str]
    data: frozenset[str] | None
    app: bool
    endpoint: bool
    response: frozenset[str]
    attempt: bool
    literals: frozenset[str]
    light: bool
    by_size: int
    by_nodes: int
    by_square: int


# Each takes no longer than its input is large, and gives nothing larger.
_LIGHT_OPERATORS: Final = frozenset(
    {"_&&_", "_||_", "!_", "_?_:_", "_[_]", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in", "_in_", "in"}
    | {"-_", "_-_", "_*_", "_/_", "_%_", "_+_", "@not_strictly_false"}
)
_LIGHT_FUNCTIONS: Final = frozenset(
    {"size", "startsWith", "endsWith", "lowerAscii", "upperAscii", "trim", "charAt", "substring"}
    | {"int", "uint", "double", "bool", "string", "dyn", "type", "timestamp", "duration"}
    | {"getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"}
    | {"getHours", "getMinutes", "getSeconds", "getMilliseconds"}
)
_LIGHT_WITH_LITERALS: Final = frozenset({"contains", "indexOf", "lastIndexOf", "matches"})
_COMPARED: Final = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})
_JOINING: Final = frozenset({"join", "format"})
_NUMERIC: Final = frozenset(
    {"add_int64", "add_uint64", "add_double", "add_timestamp_duration", "add_duration_timestamp"}
    | {"add_duration_duration"}
)


def judge(tree: Tree, use: Use) -> Looks:
    """Raises Refused."""
    return _Judge(tree, use).judged()


class _Judge:
    def __init__(self, tree: Tree, use: Use) -> None:
        self._tree = tree
        self._variables = variables_of(use)
        self._named: dict[str, set[str]] = {name: set() for name in self._variables}
        self._data: set[str] = set()
        self._whole = False
        self._used: set[str] = set()
        self._literals: set[str] = set()
        self._loops = 0
        self._light = True
        self._by_size = self._by_nodes = self._by_square = self._joins = 0

    def judged(self) -> Looks:
        self._see(self._tree.root, frozenset())
        return Looks(
            event=frozenset(self._named["event"]),
            data=None if self._whole else frozenset(self._data),
            app="app" in self._used,
            endpoint="endpoint" in self._used,
            response=frozenset(self._named.get("response", ())),
            attempt="attempt" in self._used,
            literals=frozenset(self._literals),
            light=self._light and self._joins <= JOINS_LIGHT,
            by_size=self._by_size + self._joins * JOINS_LIGHT,
            by_nodes=self._by_nodes,
            by_square=self._by_square,
        )

    def _refuse(self, node: Node, message: str) -> Refused:
        return Refused(message, self._tree.offsets.get(node.id))

    def _see(self, node: Node, within: frozenset[str]) -> None:
        """Look at a node and all below it; `within` are the names that loops around it give."""
        match node:
            case Const(_, value):
                if isinstance(value, str):
                    self._literals.add(value)
            case Ident(_, name):
                self._see_variable(node, name, (), within)
            case Select() | Call(_, "_[_]", None, (_, Const(_, str()))):
                self._see_path(node, within)
            case Call():
                self._see_call(node, within)
            case ListOf(_, items):
                for item in items:
                    self._see(item, within)
            case MapOf(_, entries, message):
                if message:
                    raise self._refuse(node, f'no message is made in an expression, and "{message}" is one')
                for key, held in entries:
                    self._see(key, within)
                    self._see(held, within)
            case Loop():
                self._see_loop(node, within)

    # What it looks at

    def _see_path(self, node: Node, within: frozenset[str]) -> None:
        """`event.data.items`, or the same with fields in brackets; or something else whose field is asked for."""
        fields: list[str] = []
        base = node
        while True:
            match base:
                case Select(_, operand, field, _):
                    fields.append(field)
                    base = operand
                case Call(_, "_[_]", None, (operand, Const(_, str() as field))):
                    fields.append(field)
                    base = operand
                case _:
                    break
        fields.reverse()
        self._literals.update(fields)
        if isinstance(base, Ident):
            self._see_variable(base, base.name, tuple(fields), within)
        else:
            self._see(base, within)

    def _see_variable(self, node: Node, name: str, fields: tuple[str, ...], within: frozenset[str]) -> None:
        if name == TIME:
            self._named["event"].add("time")
            return
        if name in within or name not in self._variables:  # of a loop; or a type, such as `int`
            return
        self._used.add(name)
        known = self._variables[name]
        if not fields:
            self._named[name].update(known)
            self._whole |= name == "event"
            return
        if fields[0] not in known:
            raise self._refuse(node, f'"{name}" has no field "{fields[0]}"; it has {", ".join(known)}')
        self._named[name].add(fields[0])
        if name == "event" and fields[0] == "data":
            if len(fields) == 1:
                self._whole = True
            else:
                self._data.add(fields[1])

    # Calls

    def _see_call(self, node: Call, within: frozenset[str]) -> None:
        function, args = node.function, node.args
        if node.target is not None:
            self._see(node.target, within)
        for arg in args:
            self._see(arg, within)
        literals = all(isinstance(arg, Const) for arg in args)
        if function == "_+_":
            self._joins += not self._numeric(node)
        elif function == "matches":
            self._see_regex(node)
        elif function in _COMPARED:
            self._by_size += not any(isinstance(arg, Const) for arg in args)
        elif function == "replace":
            self._see_replace(args)
        elif function in _LIGHT_WITH_LITERALS:
            looked_for = args[0].value if args and isinstance(args[0], Const) else None
            if isinstance(looked_for, str) and literals and len(looked_for) <= LITERAL_LENGTH_LIGHT:
                self._by_size += 1 + len(looked_for)
            else:
                self._light = False
        elif function in _LIGHT_FUNCTIONS or function.startswith("math."):
            self._by_size += 1
        elif function in _LIGHT_OPERATORS:
            self._by_size += function.strip("_@") == "in"
        else:
            self._light = False

    def _see_regex(self, node: Call) -> None:
        """`text.matches(pattern)`, or `matches(text, pattern)`."""
        match node.args:
            case (*_, Const(_, str() as pattern)):
                reason = why_not(pattern)
                if reason is not None:
                    raise self._refuse(node.args[-1], reason)
                self._by_size += 16
            case _:
                self._light = False

    def _see_replace(self, args: tuple[Node, ...]) -> None:
        match args:
            case (Const(_, str() as old), Const(_, str() as new)) if old and len(new.encode()) <= len(old.encode()):
                self._by_size += 1 + len(old)
            case _:
                self._light = False

    def _numeric(self, node: Call) -> bool:
        overloads = self._tree.overloads.get(node.id, ())
        return bool(overloads) and all(overload in _NUMERIC for overload in overloads)

    # Loops

    def _see_loop(self, loop: Loop, within: frozenset[str]) -> None:
        self._loops += 1
        if self._loops > EXPRESSION_LOOPS_MAX:
            raise self._refuse(
                loop, f"an expression has at most {EXPRESSION_LOOPS_MAX} of the macros all, exists, map, …"
            )
        if loop.each in self._variables:
            raise self._refuse(loop, f'"{loop.each}" is what stands for one of a list here; give it another name')
        self._see(loop.range, within)
        inside = within | {loop.each, loop.so_far}
        self._by_square += isinstance(loop.start, ListOf)
        for part in _written(loop):
            for node in walk(part):
                self._check_inside(node)
            self._see(part, inside)
            self._see_cost(part, loop.each)
        if self._by_nodes == 0:
            self._by_nodes = 1

    def _check_inside(self, node: Node) -> None:
        match node:
            case Loop():
                raise self._refuse(node, "a macro such as exists or map does not stand inside another one")
            case MapOf():
                raise self._refuse(node, "no map is built inside a macro such as exists or map")
            case ListOf(_, items) if not all(isinstance(item, Const) for item in items):
                raise self._refuse(node, "no list but of constants is built inside a macro such as exists or map")
            case Call(_, "_+_", _, _) if not self._numeric(node):
                raise self._refuse(
                    node,
                    "nothing is joined inside a macro such as exists or map; to add numbers there, say which they are: "
                    "int(x.a) + int(x.b)",
                )
            case Call(_, function, _, _) if function in _JOINING:
                raise self._refuse(node, f"{function} does not stand inside a macro such as exists or map")
            case _:
                pass

    def _see_cost(self, part: Node, each: str) -> None:
        """What a loop does each time is cheap where it only ever looks at what it has of the list, and at constants."""
        for node in walk(part):
            self._by_nodes += 1
            match node:
                case Call(_, "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_", None, args):
                    if not any(isinstance(arg, Const) or _of_each(arg, each) for arg in args):
                        self._light = False
                case Call(_, "@in" | "_in_" | "in", None, (_, ListOf())):
                    self._by_nodes += len(node.args[1].items) if isinstance(node.args[1], ListOf) else 0
                case Call(
                    _, "_&&_" | "_||_" | "!_" | "_?_:_" | "_[_]" | "-_" | "_+_" | "_-_" | "_*_" | "_/_" | "_%_", _, _
                ):
                    pass
                case Call(_, function, target, args) if function in _LIGHT_FUNCTIONS | {
                    "contains",
                    "indexOf",
                    "matches",
                }:
                    looked_at = [target] if target is not None else list(args[:1])
                    if not all(_of_each(arg, each) for arg in looked_at):
                        self._light = False
                case Call():
                    self._light = False
                case _:
                    pass


def _of_each(node: Node, each: str) -> bool:
    """Whether it is what a loop has of its list, or part of that."""
    while True:
        match node:
            case Ident(_, name):
                return name == each
            case Select(_, operand, _, _) | Call(_, "_[_]", None, (operand, Const())):
                node = operand
            case _:
                return False


def _written(loop: Loop) -> Iterator[Node]:
    """What was written between the brackets of a macro, without what the macro itself adds to it."""
    yield from _written_in_step(loop.step, loop.so_far)


def _written_in_step(step: Node, so_far: str) -> Iterator[Node]:
    match step:
        case Call(_, "_?_:_", None, (condition, grown, Ident(_, name))) if name == so_far:
            yield condition
            yield from _written_in_step(grown, so_far)
        case Call(_, "_+_", None, (Ident(_, name), ListOf(_, (added,)))) if name == so_far:
            yield added
        case Call(_, "_+_", None, (Ident(_, name), Const(_, 1))) if name == so_far:
            pass
        case Call(_, "_&&_" | "_||_", None, (Ident(_, name), condition)) if name == so_far:
            yield condition
        case _:
            yield step
