"""The console that is committed is the one that its sources make, as far as that can be told without Node; `make check-ui`
builds it again and compares the bytes."""

from __future__ import annotations

import json
import re

from tests.tidy.tree import ROOT
from ui.sources import BUILT, HOW, UI, built_from, sources, sources_hash

from posthouse.api.static_pages import TYPES

INITIAL_SCRIPT_BYTES_MAX = 70 * 1024


def test_the_built_console_is_of_these_sources() -> None:
    assert built_from() == sources_hash(), HOW


def test_every_built_file_is_one_that_is_served() -> None:
    files = [path for path in BUILT.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= TYPES.keys() | {".sha256"}
    assert (BUILT / "licences.txt").is_file(), "what is bundled asks for its licence to go along"


def test_the_sources_that_count_are_those_that_are_kept() -> None:
    names = {path.relative_to(UI).as_posix() for path in sources()}
    assert {"index.html", "package.json", "package-lock.json", "vite.config.ts", "src/console/main.tsx"} <= names
    assert "src/api/schema.d.ts" not in names, "types are made of the routes, and are in no build"
    assert not [name for name in names if name.startswith("node_modules")]


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((UI / "package-lock.json").read_text("utf-8"))
    for name, package in lock["packages"].items():
        assert "resolved" not in package, name
        assert name == "" or "integrity" in package, name


def test_nothing_in_the_console_is_asked_of_another_host() -> None:
    """No address of a script, style, font or picture elsewhere; names of XML namespaces are no addresses."""
    for path in BUILT.rglob("*"):
        if path.suffix in (".html", ".css"):
            assert (
                re.findall(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//[^"')]+""", path.read_text("utf-8")) == []
            )


def test_the_gate_is_in_ci() -> None:
    assert "make check-ui" in (ROOT / ".ci" / "run").read_text("utf-8")
