"""Texts with `{names}` in them, as the sender writes them, read back from what came. `{{` and `}}` are braces."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from posthouse_sdk.encryption.errors import SettingError

TEXT_LENGTH_MAX: Final = 4_096
MATCHED_LENGTH_MAX: Final = 16 * 1024

_PIECE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_ANY: Final = ".*?"
_FORMS: Final = {
    "timestamp": "[0-9]{1,12}",
    "timestamp_ms": "[0-9]{1,15}",
    "event.timestamp": "[0-9]{1,12}",
    "event.timestamp_ms": "[0-9]{1,15}",
    "token": r"[A-Za-z0-9_\-.]+",
}


class Text:
    """A template. `forms` are regular expressions of what a name may stand for, where it is not just anything.

    Raises: SettingError for a brace that stands alone.
    """

    __slots__ = ("_pattern", "_pieces", "names", "text")

    def __init__(self, text: str, path: str, forms: Mapping[str, str] | None = None) -> None:
        if not isinstance(text, str) or len(text) > TEXT_LENGTH_MAX:
            raise SettingError(f"this is a text of at most {TEXT_LENGTH_MAX} characters", path)
        self.text: Final = text
        pieces: list[tuple[bool, str]] = []  # (whether it is a name, name or literal)
        end = 0
        for found in _PIECE.finditer(text):
            pieces.append((False, text[end : found.start()]))
            end = found.end()
            if found[0] in ("{{", "}}"):
                pieces.append((False, found[0][0]))
            elif not found[1]:
                raise SettingError("a brace stands alone: one that is meant as a brace is written twice", path)
            else:
                pieces.append((True, found[1]))
        pieces.append((False, text[end:]))
        self._pieces: Final = tuple(piece for piece in pieces if piece[1])
        self.names: Final = tuple(dict.fromkeys(piece for named, piece in self._pieces if named))
        self._pattern: Final = re.compile(self.pattern(forms or {}, groups=True), re.DOTALL)

    def pattern(self, forms: Mapping[str, str], *, groups: bool) -> str:
        """A regular expression of what the template makes; with `groups`, one of each name, in the order of `names`.

        A name that may stand for anything ends where what follows it first stands, but for the last of them: how they share a
        text is never tried out, for it is strangers who send it.
        """
        forms = {**_FORMS, **forms}
        segments = [""]  # each but the first begins with a name that may stand for anything
        seen: set[str] = set()
        for named, piece in self._pieces:
            if named and piece not in forms and piece not in seen:
                segments.append("")
            segments[-1] += self._group(piece, forms, seen, groups=groups) if named else re.escape(piece)
        first, *free = segments
        return first + "".join([f"(?>{segment})" for segment in free[:-1]]) + "".join(free[-1:])

    def _group(self, name: str, forms: Mapping[str, str], seen: set[str], *, groups: bool) -> str:
        form = forms.get(name, _ANY)
        if not groups:
            return f"(?:{form})"
        index = self.names.index(name)
        if name in seen:
            return f"(?P=g{index})"
        seen.add(name)
        return f"(?P<g{index}>{form})"

    def match(self, text: str) -> dict[str, str] | None:
        """What its names stand for in this text; None where the template does not make it."""
        if len(text) > MATCHED_LENGTH_MAX:
            return None
        found = self._pattern.fullmatch(text)
        return None if found is None else {name: found[f"g{index}"] for index, name in enumerate(self.names)}

    def fill(self, value: Callable[[str], str]) -> str:
        """The text with every name replaced."""
        return "".join([value(piece) if named else piece for named, piece in self._pieces])

    def signed(self, value: Callable[[str], str | bytes], charset: str) -> bytes:
        """The same as the bytes that are signed; what is bytes stays as it is. Raises: UnicodeEncodeError."""
        made = b""
        for named, piece in self._pieces:
            told = value(piece) if named else piece
            made += told if isinstance(told, bytes) else told.encode(charset)
        return made
