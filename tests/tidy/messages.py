"""Every text that an error of ours may be answered with, read from the source.

What an error is made with is followed as far as the source says it: constants, f-strings (each filled-in value is a hole,
`{}`), sums, choices, local names, and parameters back to what the callers pass. What is left is a text from somewhere else.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Final, TypeGuard

from tests.tidy.tree import PACKAGE, ROOT, modules, parsed

from posthouse.api import problems
from posthouse.domain import errors

# Their texts are for logs and for who starts the server; an answer says something else, or they never become one.
UNTOLD: Final = {
    errors.PosthouseError,
    errors.StoreUnavailable,
    errors.InDoubt,
    errors.StoreRejected,
    errors.KeyReused,
    errors.NotOwner,
    errors.LogRewound,
    errors.SetupError,
    errors.Unreadable,
}
# Not the API: what is raised here is not answered over HTTP. What `returned` names is.
BOOTSTRAP: Final = PACKAGE / "bootstrap.py"
KEEPING: Final = PACKAGE / "keeping.py"
KEYRING: Final = PACKAGE / "adapters/system/keyring.py"
ELSEWHERE: Final = (PACKAGE / "cli", PACKAGE / "config.py", BOOTSTRAP)
CEL: Final = PACKAGE / "adapters" / "cel"
TABLES: Final = PACKAGE / "adapters" / "sources" / "tables"
SECRETS: Final = ROOT / "sdk" / "src" / "posthouse_sdk" / "signatures.py"
OUTBOX: Final = ROOT / "sdk" / "src" / "posthouse_sdk" / "outbox"
FILLING: Final = ROOT / "sdk" / "src" / "posthouse_sdk" / "profiles" / "filling.py"
ENCRYPTION: Final = ROOT / "sdk" / "src" / "posthouse_sdk" / "encryption"

DEPTH_MAX: Final = 4
HOLE: Final = "{}"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Text:
    """A template, where it is, and whether it is all of a message or what fills a hole of one."""

    template: str
    place: str
    whole: bool = True

    @property
    def opaque(self) -> bool:
        return re.search(r"\w", self.template.replace(HOLE, "")) is None


@dataclass
class _Module:
    path: Path
    tree: ast.Module
    values: dict[str, ast.expr] = field(default_factory=dict)
    calls: list[tuple[ast.Call, Function | None]] = field(default_factory=list)
    assigned: list[tuple[str, ast.expr, Function | None]] = field(default_factory=list)


def answered_errors() -> set[str]:
    """The names of the errors whose own text is answered. One that is made elsewhere than in the tree of all errors is caught
    where it is raised."""
    found: set[str] = set()
    pending: list[type[errors.PosthouseError]] = [errors.PosthouseError, problems.InvalidFields]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        if kind not in UNTOLD and kind.__module__ in (errors.__name__, problems.__name__):
            found.add(kind.__name__)
    return found


class Messages:
    """The texts of all modules under some folders."""

    def __init__(self, paths: list[Path]) -> None:
        self._modules = [_read(path) for path in paths]
        self._callers: dict[str, list[tuple[_Module, ast.Call, Function | None]]] = {}
        for module in self._modules:
            for call, function in module.calls:
                if (name := _called(call)) is not None:
                    self._callers.setdefault(name, []).append((module, call, function))

    def all(self, kinds: set[str]) -> Iterator[Text]:
        """What errors of these kinds are made with, and what is put into the `detail` of an answer."""
        for module in self._modules:
            for call, function in module.calls:
                if _called(call) in kinds and (message := _argument(call, 0, "message")) is not None:
                    yield from self._texts(message, module, function)
            if module.path.parent == PACKAGE / "api":
                for name, value, function in module.assigned:
                    if name == "detail":
                        yield from self._texts(value, module, function)

    def returned(self, function: str) -> Iterator[Text]:
        """What functions of this name return."""
        for module in self._modules:
            for node in ast.walk(module.tree):
                if isinstance(node, Function) and node.name == function:
                    for statement in ast.walk(node):
                        if isinstance(statement, ast.Return) and _is_text(statement.value):
                            yield from self._texts(statement.value, module, node)

    def _texts(self, message: ast.expr, module: _Module, function: Function | None) -> Iterator[Text]:
        where = f"{module.path.relative_to(ROOT)}:{function.name if function else ''}"
        parts: set[str] = set()
        for template in self._forms(message, module, function, parts, 0):
            yield Text(_one_hole(template), where)
        for part in parts:
            yield Text(_one_hole(part), where, whole=False)

    def _forms(
        self, value: ast.expr, module: _Module, function: Function | None, parts: set[str], depth: int
    ) -> list[str]:
        """The templates that an expression may become; those of its holes that are texts too go into `parts`."""
        match value:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=pieces):
                return _joined(
                    [str(piece.value)]
                    if isinstance(piece, ast.Constant)
                    else [self._hole(piece, module, function, parts, depth)]
                    for piece in pieces
                )
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _joined(self._forms(side, module, function, parts, depth) for side in (left, right))
            case ast.IfExp(body=body, orelse=orelse):
                return [form for side in (body, orelse) for form in self._forms(side, module, function, parts, depth)]
            case ast.Subscript(value=ast.Name(id=name)) if isinstance(module.values.get(name), ast.Dict):
                return [
                    form
                    for item in _dict_values(module, name)
                    for form in self._forms(item, module, None, parts, depth)
                ]
            case ast.Name(id=name) if depth < DEPTH_MAX:
                return self._named(name, module, function, parts, depth) or [HOLE]
            case _:
                return [HOLE]

    def _hole(self, piece: ast.expr, module: _Module, function: Function | None, parts: set[str], depth: int) -> str:
        assert isinstance(piece, ast.FormattedValue)
        inside: set[str] = set()
        for form in self._forms(piece.value, module, function, inside, depth + 1):
            if " " in form.strip():  # a text rather than a name, a number or a unit
                parts |= {form, *inside}
        return HOLE

    def _named(self, name: str, module: _Module, function: Function | None, parts: set[str], depth: int) -> list[str]:
        if function is not None:
            position = _parameter(function, name)
            if position is not None:
                return [
                    form
                    for where, call, caller in self._callers.get(function.name, [])
                    if where is module or not function.name.startswith("_")
                    if (given := _argument(call, position, name)) is not None
                    for form in self._forms(given, where, caller, parts, depth + 1)
                ]
            given_here = [value for target, value, inside in module.assigned if target == name and inside is function]
            if given_here:
                return [f for value in given_here for f in self._forms(value, module, function, parts, depth + 1)]
        known = module.values.get(name)
        return [known.value] if isinstance(known, ast.Constant) and isinstance(known.value, str) else []


def answers() -> set[Text]:
    """All texts that the server answers with."""
    paths = [path for path in modules(PACKAGE) if not any(path.is_relative_to(other) for other in ELSEWHERE)]
    return {
        *Messages(paths).all(answered_errors()),
        *Messages([SECRETS]).all({"SecretError"}),
        *Messages([OUTBOX / "dsn.py", OUTBOX / "mysql.py"]).all({"DsnError"}),
        *Messages([FILLING]).all({"SettingError"}),
        *Messages([*modules(ENCRYPTION), *modules(PACKAGE / "wire" / "encryption")]).all({"SettingError"}),
        *Messages([*modules(CEL)]).all({"NotOne", "Refused"}),
        *Messages([TABLES / "place.py"]).returned("_offered"),
        *Messages([CEL / "program.py"]).returned("_in_words"),
        *Messages([*modules(CEL)]).returned("why_not"),
        *Messages([PACKAGE / "domain" / "errors.py"]).returned("placed"),
        *Messages([BOOTSTRAP]).returned("_why_not_ready"),
        *Messages([KEEPING]).returned("_what_was_lost"),
        *Messages([KEEPING]).returned("_what_is_refused"),
        *Messages([KEYRING]).returned("what_is_unreadable"),
    }


def _read(path: Path) -> _Module:
    module = _Module(path, parsed(path))
    for statement in module.tree.body:
        for name, value in _assignments(statement):
            module.values[name] = value
    _walk(module.tree, None, module)
    return module


def _walk(node: ast.AST, function: Function | None, module: _Module) -> None:
    inside = node if isinstance(node, Function) else function
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            module.calls.append((child, inside))
        if isinstance(child, ast.stmt) and inside is not None:
            module.assigned += [(name, value, inside) for name, value in _assignments(child)]
        _walk(child, inside, module)


def _assignments(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    match statement:
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ):
            yield name, value
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
            for target, value in zip(targets, values, strict=False):
                if isinstance(target, ast.Name):
                    yield target.id, value


def _dict_values(module: _Module, name: str) -> list[ast.expr]:
    known = module.values[name]
    assert isinstance(known, ast.Dict)
    return known.values


def _called(call: ast.Call) -> str | None:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return None


def _parameter(function: Function, name: str) -> int | None:
    """Where a call gives this parameter, by position; -1 where only by its name."""
    positional = [argument.arg for argument in function.args.posonlyargs + function.args.args]
    if name in positional:
        return positional.index(name) - (positional[0] in ("self", "cls"))
    return -1 if any(argument.arg == name for argument in function.args.kwonlyargs) else None


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    if 0 <= position < len(call.args):
        return call.args[position]
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _is_text(value: ast.expr | None) -> TypeGuard[ast.expr]:
    return value is not None and not (isinstance(value, ast.Constant) and value.value is None)


def _one_hole(template: str) -> str:
    """What is filled in right after one another cannot be told apart again."""
    return re.sub(r"(?:\{\}){2,}", HOLE, template)


def _joined(pieces: Iterable[list[str]]) -> list[str]:
    return ["".join(choice) for choice in product(*pieces)]
