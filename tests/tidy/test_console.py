"""The console and the portal that are committed are those that their sources make, as far as that can be told without Node;
`make check-ui` builds them again and compares the bytes."""

from __future__ import annotations

import json
import re

from tests.integration.test_api_tenancy import FORBIDDEN, FORBIDDEN_ON_ONES_OWN
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
    assert {"package.json", "package-lock.json", "vite.config.ts"} <= names
    for page, folder in (("index.html", "console"), ("portal.html", "portal")):
        assert {page, f"src/{folder}/main.tsx"} <= names
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


def scripts_of(page: str) -> dict[str, str]:
    """All that a page may ever load, as it is built: what it begins with, and what that imports, now or later."""
    found: dict[str, str] = {}
    wanted = set(re.findall(r"assets/([\w.-]+\.js)", (BUILT / page).read_text("utf-8")))
    while wanted - found.keys():
        name = min(wanted - found.keys())
        found[name] = (BUILT / "assets" / name).read_text("utf-8")
        wanted |= set(re.findall(r"""["'`](?:\./|assets/)([\w.-]+\.js)["'`]""", found[name]))
    return found


def asked_by(page: str) -> set[tuple[str, str]]:
    """The routes that a page may ask, as ("get", "/v1/apps/{app}")."""
    calls = re.compile(r"""\.(GET|POST|PUT|PATCH|DELETE)\(["'`](/v1/[^"'`]*)["'`]""")
    return {(method.lower(), path) for text in scripts_of(page).values() for method, path in calls.findall(text)}


def test_nothing_of_the_operators_is_in_the_portal() -> None:
    """Not even code that is never run: whoever reads what he was sent finds nothing of theirs."""
    operators = FORBIDDEN | FORBIDDEN_ON_ONES_OWN
    assert len(asked_by("index.html") & operators) > 20, "they are found where they are"
    asked = asked_by("portal.html")
    assert {("get", "/v1/apps/{app}/endpoints"), ("post", "/v1/apps/{app}/replays"), ("post", "/v1/session")} <= asked
    assert asked & operators == set()
    others = {path for _, path in operators} - {path for _, path in asked}
    for name, text in scripts_of("portal.html").items():
        assert not [path for path in others if re.search(rf"""["'`]{re.escape(path)}["'`?]""", text)], name
    publishing = {("post", "/v1/events"), ("post", "/v1/apps/{app}/events"), ("post", "/v1/events/batch")}
    assert asked & publishing == set()
