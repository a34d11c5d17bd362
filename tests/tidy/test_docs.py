"""What the documentation must keep up with."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.generate import metric_families, pages, problem_codes, serve_flags, stale
from docs.text import LANGUAGES
from tests.tidy.tree import PACKAGE, ROOT, modules, parsed

from posthouse.adapters.system.series import CACHES, COUNTERS, GAUGES
from posthouse.config import Settings
from posthouse.domain.operations import TYPES

DOCS = ROOT / "docs"


def test_the_reference_is_what_the_code_says() -> None:
    old = [path.relative_to(ROOT).as_posix() for path, _ in stale()]
    assert old == [], "run `make reference`, and read what changed"


def test_every_setting_is_told_of_in_both_languages() -> None:
    for language in LANGUAGES:
        documented = re.findall(r"^\| `(POSTHOUSE_[A-Z0-9_]+)` .*\S \|$", pages(language)["settings.md"], re.MULTILINE)
        assert documented == [f"POSTHOUSE_{field.upper()}" for field in Settings.model_fields]
        assert not re.search(r"``|Undefined", pages(language)["settings.md"]), "a default that says nothing"


def test_flags_are_found_through_what_serve_does_with_them() -> None:
    source = (PACKAGE / "cli" / "serve.py").read_text("utf-8")
    flags = serve_flags(source)
    assert flags["allow_loopback_targets"] == "--dev"
    assert flags["allowed_networks"] == "--allow-network"
    assert flags["port"] == "--port"


def test_codes_are_found_with_their_statuses() -> None:
    codes = problem_codes()
    assert codes["app_not_found"][0] == 404
    assert codes["malformed_json"][0] == 400
    assert codes["idempotency_in_progress"][0] == 409
    assert codes["unauthorised"][0] == 401
    assert "setup" not in codes, "a server that does not start answers nobody"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_operational_event_is_told_of_with_its_fields(language: str) -> None:
    guide = (DOCS / language / "guides" / "operational-events.md").read_text("utf-8")
    everywhere = {"app", "endpoint", "at"}
    rows = {
        name: set(re.findall(r"`(\w+)`", told)) for name, told in re.findall(r"^\| `(\w+\.\w+)` (.*)$", guide, re.M)
    }
    assert rows.keys() == TYPES.keys()
    for name, payload in TYPES.items():
        assert set(payload.__struct_fields__) - everywhere <= rows[name]
        assert everywhere - {"endpoint"} <= set(payload.__struct_fields__)


def test_every_gauge_is_watched() -> None:
    """A gauge that nobody feeds is in no scrape, whatever its text promises."""
    assert _watched("watch") == set(GAUGES) | set(COUNTERS)


def test_every_cache_is_watched_and_stands_in_the_table_of_caches() -> None:
    page = (DOCS / "internals" / "architecture.md").read_text("utf-8")
    table = page[page.index("\n## Caches\n") : page.index("\n## Deviations")]
    told = [
        name for row in re.findall(r"^\| .*\| (`[^|]+) \|$", table, re.M)[1:] for name in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(told) == sorted(CACHES)
    assert _watched("watch_cache") == CACHES


def test_every_function_that_remembers_is_a_cache_that_is_told_of() -> None:
    page = (DOCS / "internals" / "architecture.md").read_text("utf-8")
    for path in modules(PACKAGE):
        remembering = [
            node.name
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.FunctionDef) and any("cache" in ast.unparse(d) for d in node.decorator_list)
        ]
        assert not remembering or f"`{path.relative_to(PACKAGE).as_posix()}`" in page, (path, remembering)


def _watched(how: str) -> set[str]:
    """The names that are watched by this method."""
    return {
        str(node.args[0].value)
        for path in modules(PACKAGE)
        for node in _calls(path)
        if node.func.attr == how and node.args and isinstance(node.args[0], ast.Constant)  # type: ignore[attr-defined]
    }


def _calls(path: Path) -> Iterator[ast.Call]:
    return (
        node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    )


# The two trees


def _pages(language: str) -> list[str]:
    tree = DOCS / language
    return sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.md"))


def test_both_languages_have_the_same_pages() -> None:
    assert _pages("en") == _pages("zh")
    assert len(_pages("en")) > 10


@pytest.mark.parametrize("page", _pages("en"))
def test_both_languages_have_the_same_headings_by_number_and_level(page: str) -> None:
    english, chinese = (_heading_levels(DOCS / language / page) for language in LANGUAGES)
    assert english or "{include}" in (DOCS / "en" / page).read_text("utf-8")
    assert english == chinese


def test_the_readmes_have_the_same_headings_by_number_and_level() -> None:
    english, chinese = (_heading_levels(ROOT / file) for file in ("README.md", "README.zh-CN.md"))
    assert english
    assert english == chinese


def _heading_levels(path: Path) -> list[int]:
    """The level of each heading, outside of fenced code; what is included counts as its name."""
    levels = []
    fence = None
    for line in path.read_text("utf-8").splitlines():
        marker = line.lstrip()[:3]
        if marker in ("```", "~~~"):
            fence = None if fence == marker else fence or marker
        elif fence is None and (heading := re.match(r"(#{1,6}) ", line)):
            levels.append(len(heading[1]))
    return levels


# What monitoring is told to watch

_SERIES = re.compile(r"\b(posthouse_[a-z0-9_]+|process_[a-z0-9_]+)\b")
_PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_max_fds"}


def _exposed() -> set[str]:
    names = set(_PROCESS)
    for family in metric_families():
        names |= {sample.name for sample in family.samples}
    return names


@pytest.mark.parametrize("file", ["grafana/posthouse.json", "prometheus/alerts.yml"])
def test_boards_and_alerts_use_series_that_exist(file: str) -> None:
    used = set(_SERIES.findall((ROOT / "deploy" / file).read_text("utf-8")))
    assert used
    assert used - _exposed() == set()
