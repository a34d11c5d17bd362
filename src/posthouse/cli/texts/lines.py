"""Chinese text broken into lines: rich breaks at spaces only, of which Chinese has none."""

from __future__ import annotations

import re
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

_OPENING: Final = "（《「【“‘"
_CLOSING: Final = "，。；：、！？）》」】”’…"
_CHINESE: Final = "\u3400-\u9fff"
# What stays together: a Chinese character, a word of another script or a label, with the punctuation that may not be parted
# from it.
_PIECE: Final = re.compile(
    rf"[{_OPENING}]*(?:\[\S*?\]|[{_CHINESE}]|[^\s{_CHINESE}{_OPENING}{_CLOSING}]+)[{_CLOSING}]*\s*"
    rf"|[{_OPENING}{_CLOSING}]+\s*|\s+"
)


class Lines:
    """A text whose lines may end behind any Chinese character, except where punctuation would begin or end one amiss."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for paragraph in self._text.split("\n", allow_blank=True):
            for line in paragraph.divide(breaks(paragraph.plain, options.max_width)):
                line.rstrip()
                yield line

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        lines = self._text.plain.split("\n")
        pieces = (cell_len(piece.rstrip()) for line in lines for piece in _PIECE.findall(line))
        return Measurement(max(pieces, default=0), max(map(cell_len, lines)))


def breaks(text: str, width: int) -> list[int]:
    """Where lines of at most so many cells begin behind the first one. What has no place to be broken may be longer."""
    found = []
    used = 0
    for piece in _PIECE.finditer(text):
        if used and used + cell_len(piece[0].rstrip()) > width:
            found.append(piece.start())
            used = 0
        used += cell_len(piece[0])
    return found
