"""How Sphinx builds the documentation: `make docs`. Each language is a tree of its own with the same pages."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import posthouse

# Set by `make docs`; which tree is built.
LANGUAGE: Final = os.environ.get("DOCS_LANGUAGE", "en")
HERE: Final = Path(__file__).parent

project = "Posthouse" if LANGUAGE == "en" else "Posthouse 驿站"
author = "Posthouse"
version = release = posthouse.__version__
language = {"en": "en", "zh": "zh_CN"}[LANGUAGE]

extensions = ["myst_parser", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "fieldlist"]
myst_heading_anchors = 4
# Paths of the API are headings: `{app}` in them is no markup.
smartquotes = False
# JSON that is shown with gaps (…) is highlighted as well as it can be.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = project
html_show_sourcelink = False
html_show_copyright = False
html_copy_source = False
html_static_path = [str(HERE / "static")]
html_css_files = ["posthouse.css"]
templates_path = [str(HERE / "templates")]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/language.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_context: dict[str, Any] = {
    "other_language": {"en": "zh", "zh": "en"}[LANGUAGE],
    "other_language_name": {"en": "简体中文", "zh": "English"}[LANGUAGE],
}
_FONTS: Final = (
    "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'PingFang SC', 'Hiragino Sans GB', 'Noto Sans CJK SC', "
    "'Source Han Sans SC', 'Microsoft YaHei', sans-serif"
)
_MONOSPACE: Final = "ui-monospace, 'SF Mono', Menlo, Consolas, 'Liberation Mono', 'Noto Sans Mono CJK SC', monospace"
html_theme_options = {
    "light_css_variables": {"font-stack": _FONTS, "font-stack--monospace": _MONOSPACE},
    "navigation_with_keys": True,
}

# What a reader copies is the command, not the prompt or the output.
copybutton_exclude = ".linenos, .gp, .go"

_FENCE: Final = re.compile(r"^(```.*?^```)", re.DOTALL | re.MULTILINE)
_WRAPPED: Final = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u3000-\u9fff\uff00-\uffef])")


def _join_chinese_lines(_app: object, _page: str, source: list[str]) -> None:
    """A line end inside a Chinese paragraph is no space."""
    parts = _FENCE.split(source[0])
    source[0] = "".join(part if part.startswith("```") else _WRAPPED.sub("", part) for part in parts)


def setup(app: Any) -> None:
    """What Sphinx calls: one hook for the Chinese tree."""
    if LANGUAGE == "zh":
        app.connect("source-read", _join_chinese_lines)
