"""Places in PostgreSQL's log, and the position: how far everything is in ours.

PostgreSQL numbers its log by bytes (LSN). A database that was restored to a time, or a standby that was promoted, begins a new
*timeline*: it has the log of the one before up to the switch, and its own from there, with the same numbers. So only timeline
and number together, and the system's identifier, name a place for good.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Final

import msgspec

from posthouse.domain.errors import SourceRefused

POSITION_LENGTH_MAX: Final = 4_000

_LSN: Final = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})\Z")
_HISTORY_LINE: Final = re.compile(r"\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)")


def format_lsn(lsn: int) -> str:
    """`0/16B3748`, as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """Raises ValueError."""
    found = _LSN.match(text)
    if found is None:
        raise ValueError("not a place in the log")
    return int(found[1], 16) << 32 | int(found[2], 16)


class Timelines:
    """The timelines of a server: the one that it is on, and those before, each up to its switch."""

    def __init__(self, current: int, history: str = "") -> None:
        """`history` is the text of the history file of `current`. The first timeline has none."""
        self.current = current
        found = (_HISTORY_LINE.match(line) for line in history.splitlines())
        before = [(int(line[1]), parse_lsn(line[2])) for line in found if line is not None]
        self._numbers = [number for number, _ in before]
        self._ends = [end for _, end in before]

    def of(self, lsn: int) -> int:
        """The timeline on which a commit was written whose record begins there."""
        place = bisect_left(self._ends, lsn + 1)
        return self._numbers[place] if place < len(self._numbers) else self.current

    def common(self, timeline: int, lsn: int) -> int:
        """How far what was read up to a place on another timeline is also what this server has; 0 where nobody can say."""
        if timeline == self.current:
            return lsn
        if timeline in self._numbers:
            return min(lsn, self._ends[self._numbers.index(timeline)])
        return 0


class SnapshotProgress(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows that were there before and are still to be read: of these tables, as the settings name them (None: of all), and of
    the first of them only after the key `after`."""

    tables: tuple[str, ...] | None = None
    after: tuple[str, ...] | None = None


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything up to `lsn` is behind us; of the transaction whose commit begins at `commit`, which is larger than one
    reading, also its first `changes`. `slot` is where the slot was made that this is about: a slot in its place lacks what
    came between. `snapshot` is how far that is, None where none is under way."""

    system: str
    timeline: int
    lsn: str
    commit: str | None = None
    changes: int = 0
    slot: str | None = None
    snapshot: SnapshotProgress | None = None

    def encoded(self) -> str:
        """At most POSITION_LENGTH_MAX characters. What of a snapshot's progress is too long for that is left out: should it be
        interrupted right there, it repeats something."""
        made = msgspec.json.encode(self).decode()
        if len(made) > POSITION_LENGTH_MAX and self.snapshot is not None:
            less = msgspec.structs.replace(self, snapshot=SnapshotProgress(self.snapshot.tables))
            made = msgspec.json.encode(less).decode()
            if len(made) > POSITION_LENGTH_MAX:
                made = msgspec.json.encode(msgspec.structs.replace(self, snapshot=SnapshotProgress())).decode()
        return made


def decoded(position: str) -> Position:
    """Raises SourceRefused."""
    try:
        found = msgspec.json.decode(position, type=Position)
        parse_lsn(found.lsn)
        parse_lsn(found.commit or found.lsn)
    except ValueError as error:
        raise SourceRefused(
            "the position on record is not one of change capture. Rewind the trigger: it then begins anew",
            code="position",
        ) from error
    return found
