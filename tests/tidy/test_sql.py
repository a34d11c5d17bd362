"""Named queries: each is used, and each that is used exists."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

from tests.tidy.tree import PACKAGE, modules, parsed

from posthouse.adapters.postgres.queries import Queries

ADAPTER = PACKAGE / "adapters" / "postgres"
OWN = {"file", "names"}  # attributes of `Queries` that are no queries


def _bound(tree: ast.Module) -> dict[str, str]:
    """The module's variables that hold a file's queries: `SQL = Queries("store.sql")`."""
    bound = {}
    for node in tree.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=variable)],
                value=ast.Call(func=ast.Name(id="Queries"), args=[ast.Constant(value=str(file))]),
            ):
                bound[variable] = file
    return bound


def _used() -> dict[str, set[str]]:
    """The names that are used, by file; through a variable of another module, too."""
    trees = {path.stem: parsed(path) for path in modules(ADAPTER)}
    bound = {module: _bound(tree) for module, tree in trees.items()}
    used: dict[str, set[str]] = defaultdict(set)
    for module, tree in trees.items():
        mine = dict(bound[module])
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                theirs = bound.get(node.module.rpartition(".")[2], {})
                mine |= {alias.asname or alias.name: theirs[alias.name] for alias in node.names if alias.name in theirs}
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id=variable), attr=query) if variable in mine and query not in OWN:
                    used[mine[variable]].add(query)
    return used


def test_every_query_is_used_and_every_used_one_exists() -> None:
    files = {path.name for path in (ADAPTER / "sql").glob("*.sql")}
    there = {file: Queries(file).names() for file in files}
    used = _used()
    assert files
    assert used.keys() == files
    unused = {f"{file}: {query}" for file in files for query in there[file] - used[file]}
    unknown = {f"{file}: {query}" for file in files for query in used[file] - there[file]}
    assert not unused
    assert not unknown


def test_no_name_is_given_twice() -> None:
    for path in (ADAPTER / "sql").glob("*.sql"):
        names = [line for line in path.read_text("utf-8").splitlines() if line.startswith("-- name:")]
        assert len(names) == len(set(names)), path.name
        assert len(names) == len(Queries(path.name).names()), f"{path.name}: a name that is not understood"


def test_every_part_is_shared() -> None:
    for path in (ADAPTER / "sql").glob("*.sql"):
        text = path.read_text("utf-8")
        for part in re.findall(r"^-- part: (\w+)$", text, re.MULTILINE):
            assert text.count("{{%s}}" % part) > 1, f"{path.name}: {part}"  # noqa: UP031
