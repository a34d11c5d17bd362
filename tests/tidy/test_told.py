"""What answers tell beside errors (remarks, alarms, why an event reaches whom, what a schema changes) has its Chinese.

Such texts are put together in many ways, so that it is their pieces that are looked for: each constant piece of prose in these
functions stands in a template of the catalogue, and each template has one of them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from tests.tidy.messages import answered_errors
from tests.tidy.tree import PACKAGE, parsed

from posthouse.api.texts.catalogue import HOLE, read_sections

SECTIONS: Final = read_sections("zh_cn")
SOURCES: Final = "adapters/sources/"
# Modules, each with its functions that tell something; without any, all of them do.
TELLING: Final[dict[str, tuple[str, ...]]] = {
    "domain/evolution.py": (),
    "domain/keywords.py": (),
    "manage/explain.py": (),
    "adapters/cel/results.py": (),
    "adapters/cel/sampling.py": (),
    "adapters/cel/evaluating.py": (),
    "adapters/cel/worker.py": ("answer",),
    "adapters/cel/expressions.py": ("_apart", "_RESTS"),
    "domain/matching.py": (),
    "ports/expressions.py": (),
    "adapters/limited/pool.py": (),
    "dispatch/filtering.py": (),
    "wire/transforming.py": (),
    "wire/url_template.py": (),
    "api/models/trigger.py": ("_failure",),
    f"{SOURCES}inbound.py": ("plan",),
    f"{SOURCES}changes/examine.py": ("remarks",),
    f"{SOURCES}changes/source.py": ("_over_the_cap", "_left_out"),
    f"{SOURCES}tables/source.py": ("_compare", "_upgrade"),
    f"{SOURCES}tables/mysql.py": ("remarks",),
    f"{SOURCES}tables/sqlite.py": ("remarks",),
    f"{SOURCES}tables/blocking/place.py": ("plan",),
    f"{SOURCES}tables/postgresql/place.py": ("_remarks",),
}
# Values that fill a hole of a text about schemas, and stay as they are.
VALUES: Final = {"number that is no integer", " (exclusive)"}
# What the runtime of expressions says, by which it is known what to tell.
RUNTIME: Final = {
    "divide by zero", "modulus by zero", "integer overflow", "unsigned integer overflow", "out of int64 range",
    "out of uint64 range", "Index error", "Key not found", "Applying SELECT", "invalid regular expression", "cannot convert",
    "conversion failed", "Iteration budget exceeded", "No value with name",
}  # fmt: skip
ERRORS: Final = answered_errors()


def pieces(module: str, functions: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Constant pieces of prose, each with its line."""
    tree = parsed(PACKAGE / module)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (not functions or node.name in functions):
            yield from _prose(node.body)
        if node in tree.body and isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield from _prose([node] if not functions or node.target.id in functions else [])


def _prose(body: list[ast.stmt]) -> Iterator[tuple[str, int]]:
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Assert():
                continue  # a docstring, and what never is
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name))) if name in ERRORS:
                continue
            case ast.Call(func=ast.Attribute(attr="execute" | "compile" | "info" | "warning" | "exception")):
                continue
            case ast.Constant(value=str(text)) if re.search(r"\w \w|; |, ", text):
                yield text, node.lineno
        pending += ast.iter_child_nodes(node)


def test_whatever_is_told_has_its_chinese() -> None:
    known = [HOLE.sub("\0", text) for section in SECTIONS.values() for text in section]
    missing = {
        f'"{text}", <- src/posthouse/{module}:{line}'
        for module, functions in TELLING.items()
        for text, line in pieces(module, functions)
        if text not in VALUES | RUNTIME and len(text) > 2 and not any(text in template for template in known)
    }
    assert not missing, (
        'add templates with these pieces to the section "told" of src/posthouse/api/texts/zh_cn.json:\n'
        + "\n".join(sorted(missing))
    )


def test_nothing_is_left_over_that_nobody_tells() -> None:
    said = {text.strip() for module, functions in TELLING.items() for text, _ in pieces(module, functions)}
    left_over = [
        text
        for text in SECTIONS["told"]
        if " " in HOLE.sub("", text).strip() and not any(piece in text for piece in said if len(piece) > 7)
    ]
    assert not left_over, "nothing tells these any more: take them out of src/posthouse/api/texts/zh_cn.json:\n" + (
        "\n".join(left_over)
    )
