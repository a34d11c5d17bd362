"""The project's files, as the checks of this folder see them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "src" / "posthouse"
# What tools make; it is not ours to keep tidy.
MADE: Final = frozenset({"node_modules", "dist", "build", "_build", "__pycache__"})


def modules(*folders: Path) -> Iterator[Path]:
    """Every Python module under these folders."""
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file of the project, without hidden folders and what tools make."""
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT).parts
        if not path.is_file() or any(part.startswith(".") or part in MADE for part in inside[:-1]):
            continue
        try:
            yield path, path.read_text("utf-8")
        except UnicodeDecodeError:
            continue


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=str(path))


def name(path: Path) -> str:
    """A path as a person would say it: from the project's root."""
    return path.relative_to(ROOT).as_posix()
