"""Rules about code that no linter knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tidy.tree import PACKAGE, ROOT, modules, name, parsed, texts

LINES_MAX = 400
LONG: dict[str, str] = {
    "src/posthouse/dispatch/engine.py": "it wires everything between the log and the transport, and does little else",
    "src/posthouse/domain/limits.py": "a list: every bound, by its section",
    "src/posthouse/domain/operations.py": "a list: each thing that operators are told, with what is said of it",
    "src/posthouse/lane/lanes.py": "one decision, what starts and what leaves memory, which reads as a whole",
}
"""Modules that may be longer, each with the reason."""

CLI = PACKAGE / "cli"
MACHINE_PATHS = tuple(f"/{folder}/" for folder in ("work", "root"))


def test_modules_are_short() -> None:
    lengths = {
        name(path): len(path.read_text("utf-8").splitlines()) for path in modules(ROOT / "src", ROOT / "sdk" / "src")
    }
    assert {path: lines for path, lines in lengths.items() if lines > LINES_MAX and path not in LONG} == {}
    assert {path for path in LONG if lengths.get(path, 0) <= LINES_MAX} == set(), "no longer long: take it off the list"


def test_only_the_settings_and_the_cli_read_the_environment() -> None:
    readers = [path for path in modules(PACKAGE) if any(_reads_environment(node) for node in ast.walk(parsed(path)))]
    assert [name(p) for p in readers if p != PACKAGE / "config.py" and CLI not in p.parents] == []


def _reads_environment(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb" | "getenv"):
            return True
        case ast.ImportFrom(module="os", names=names):
            return any(alias.name in ("environ", "environb", "getenv") for alias in names)
        case _:
            return False


def test_only_the_cli_prints() -> None:
    found = [
        f"{name(path)}:{node.lineno}"
        for path in modules(PACKAGE, ROOT / "sdk" / "src")
        if CLI not in path.parents
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    assert list(_lines_with_machine_paths()) == []


def _lines_with_machine_paths() -> Iterator[str]:
    for path, text in texts():
        for number, line in enumerate(text.splitlines(), 1):
            if any(known in line for known in MACHINE_PATHS):
                yield f"{name(path)}:{number}: {line.strip()[:100]}"


@pytest.mark.parametrize(
    ("code", "reads"),
    [
        ("import os\nos.environ['A']", True),
        ("import os\nos.getenv('A')", True),
        ("from os import environ as e", True),
        ("import os\nos.getpid()", False),
    ],
)
def test_reading_the_environment_is_noticed(code: str, reads: bool) -> None:
    assert any(_reads_environment(node) for node in ast.walk(ast.parse(code))) is reads


def test_the_checks_see_the_project() -> None:
    """A check that looks at nothing passes: these do look at something."""
    seen = {path for path, _ in texts()}
    assert {ROOT / "pyproject.toml", ROOT / "README.md", PACKAGE / "config.py", Path(__file__)} <= seen
    assert len(list(modules(PACKAGE))) > 50
