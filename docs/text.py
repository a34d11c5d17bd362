"""Words of a language for the generated pages, and Markdown tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

LANGUAGES: Final = ("en", "zh")


class MissingText(Exception):
    """A text that one language lacks; says which file to add it to."""


class Texts:
    """The texts of one language, as `docs/texts/<language>.yaml` holds them."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    def __getitem__(self, name: str) -> Any:
        return self._content[name]

    def meaning(self, kind: str, name: str, from_code: str | None, *, optional: bool = False) -> str:
        """What this language says of a thing: its own text, else (in English) what the code says."""
        known: Mapping[str, str] = self._content[kind].get("texts", {})
        text = known.get(name) or (from_code if self._content["language"] == "en" else None)
        if text is None:
            if optional:
                return ""
            raise MissingText(f"docs/texts/{self._content['language']}.yaml: {kind}.texts lacks {name}: {from_code}")
        return text

    def page(self, kind: str, *parts: str) -> str:
        """A page with its title and introduction."""
        words = self._content[kind]
        return "\n\n".join([f"# {words['title']}", words["intro"].strip(), *parts])


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(_cell(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()
