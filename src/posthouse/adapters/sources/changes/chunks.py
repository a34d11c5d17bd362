"""Chunks of a snapshot, and how they are woven into the stream of changes.

The rows that were there before are read in chunks, by key, each in a transaction of a moment, while the stream goes on (DBLog,
Andreakis and Papapanagiotou 2020). After a chunk a mark is written into the log, and where that comes by in the stream, the
chunk is published: without the rows that were touched before by a transaction which the chunk does not see, since of
those the stream has told more than the chunk. So at that place each of its rows is as the changes before have left it.

What a chunk sees is what PostgreSQL says (`pg_current_snapshot`), not what stands before it in the log: a commit is in the
log before it is visible, and long before where a synchronous standby has to confirm it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from posthouse.adapters.sources.changes.pgoutput import Row
from posthouse.adapters.sources.changes.position import SnapshotProgress
from posthouse.adapters.sources.changes.tables import Key, Table
from posthouse.ports.sources import Observation

MARK_PREFIX: Final = "posthouse"

_XID_MODULUS: Final = 1 << 32


class View:
    """What one look at the database sees: `xmin:xmax:xid,xid,…`, as `pg_current_snapshot` writes it."""

    def __init__(self, text: str) -> None:
        """Raises ValueError."""
        lowest, next_, running = text.split(":")
        self._lowest = int(lowest)
        self._next = int(next_)
        self._running = frozenset(int(xid) for xid in running.split(",") if xid)

    def sees(self, xid: int) -> bool:
        """Whether it sees what a committed transaction did; `xid` is its number as the stream has it, of 32 bits."""
        # Of all the numbers that end in these 32 bits, the one that is nearest to those of now.
        epoch, low = divmod(self._next, _XID_MODULUS)
        full = epoch * _XID_MODULUS + xid
        if xid - low > _XID_MODULUS // 2:
            full -= _XID_MODULUS
        elif low - xid > _XID_MODULUS // 2:
            full += _XID_MODULUS
        return full < self._lowest or (full < self._next and full not in self._running)


class Chunk:
    """Rows of one table, by their keys. `mark` is what was written into the log after they were read; `progress` is how far
    the snapshot is once they are published, None where that was the last of it. A `void` one is to be read again."""

    def __init__(
        self, table: Table, rows: Iterable[Row], *, view: View, mark: bytes, progress: SnapshotProgress | None
    ) -> None:
        self.table = table
        self.view = view
        self.mark = mark
        self.progress = progress
        self.void = False
        self._rows: dict[Key, Row] = {table.key_of(row): row for row in rows}

    def touched(self, table: Table, key: Key) -> None:
        """A transaction that is not visible in it changed a row, or made or removed one, with this key."""
        if table.reference == self.table.reference:
            self._rows.pop(key, None)
            if table.key_names != self.table.key_names:
                self.void = True  # which row it was, nobody can say

    def truncated(self, table: Table) -> None:
        if table.reference == self.table.reference:
            self._rows.clear()

    def observations(self) -> list[Observation]:
        """What is left of it. A row that is seen again as it was has its key again."""
        made = []
        for key, row in self._rows.items():
            seen = self.table.snapshot(row)
            digest = hashlib.blake2b(seen, digest_size=16).hexdigest()
            made.append(Observation(key=f"snapshot/{digest}", seen=seen, event_key=self.table.event_key(key)))
        return made
