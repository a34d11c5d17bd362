"""What the documentation must keep up with."""

from __future__ import annotations

import re
from pathlib import Path

from tests.tidy.tree import ROOT

from posthouse.config import Settings

SETTINGS_DOC = ROOT / "docs" / "reference" / "settings.md"


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    documented = re.findall(r"^\| `(POSTHOUSE_[A-Z0-9_]+)`", SETTINGS_DOC.read_text("utf-8"), re.MULTILINE)
    assert sorted(documented) == sorted(f"POSTHOUSE_{field.upper()}" for field in Settings.model_fields)


def test_the_readmes_have_the_same_headings_by_number_and_level() -> None:
    english, chinese = (_heading_levels(ROOT / file) for file in ("README.md", "README.zh-CN.md"))
    assert english
    assert english == chinese


def _heading_levels(path: Path) -> list[int]:
    """The level of each heading, outside of fenced code."""
    levels = []
    fence = None
    for line in path.read_text("utf-8").splitlines():
        marker = line.lstrip()[:3]
        if marker in ("```", "~~~"):
            fence = None if fence == marker else fence or marker
        elif fence is None and (heading := re.match(r"(#{1,6}) ", line)):
            levels.append(len(heading[1]))
    return levels
