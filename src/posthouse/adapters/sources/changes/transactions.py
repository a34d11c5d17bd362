"""From messages of the stream to readings: whole transactions, in the order of their commits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from posthouse.adapters.sources.changes import pgoutput
from posthouse.adapters.sources.changes.chunks import MARK_PREFIX, Chunk, View
from posthouse.adapters.sources.changes.pgoutput import POSTGRES_EPOCH_SECONDS, ProtocolError
from posthouse.adapters.sources.changes.position import Position, SnapshotProgress, Timelines, format_lsn, parse_lsn
from posthouse.adapters.sources.changes.tables import Table, table_of
from posthouse.ports.sources import Observation, Reading

TRANSACTION_ROWS_MAX: Final = 10_000
"""Of a transaction that has more changes, so many at a time are handed out."""

READING_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of what was seen, in one reading; the change that goes over it is the last one."""

_EPOCH: Final = datetime.fromtimestamp(POSTGRES_EPOCH_SECONDS, UTC)


class Receipt(NamedTuple):
    """Of a reading: up to where the server may forget, and when the oldest of it was committed, in unix seconds."""

    lsn: int
    at: float | None


class Transactions:
    """Takes messages, and gives readings. `system` and `timelines` name the places of the log; of what is before `start`, and
    of the changes of its unfinished transaction that were handed out, nothing is given.

    `operations` are those wanted. Whoever feeds it puts into `primary_keys`, by the number of a relation, the columns of one
    whose rows are not identified by what the stream marks.
    """

    def __init__(
        self,
        *,
        system: str,
        timelines: Timelines,
        start: Position,
        operations: Set[str],
    ) -> None:
        self.primary_keys: dict[int, list[str]] = {}
        self.snapshot = start.snapshot
        self._system = system
        self._timelines = timelines
        self._operations = operations
        self._slot = start.slot
        self._end = parse_lsn(start.lsn)
        self._resumed = None if start.commit is None else (parse_lsn(start.commit), start.changes)

        self._tables: dict[int, Table] = {}
        self._types: dict[int, str] = {}
        self._begin: pgoutput.Begin | None = None
        self._at = 0.0
        self._tail = b""
        self._key = ""
        self._ordinal = 0  # of the next change of the transaction
        self._skipped = 0  # changes of it that were handed out before
        self._known = False  # all of it was
        self._pending: list[Observation] = []
        self._pending_bytes = 0
        self._ready: list[Observation] = []
        self._ready_bytes = 0

        self._chunk: Chunk | None = None
        self._hidden = False  # the chunk does not see this transaction
        self._marked = False  # this transaction has the chunk's mark
        self._xids: set[int] = set()  # that came by, and may not be visible yet
        self._handlers: dict[type, Callable[[Any], None]] = {
            pgoutput.Begin: self._on_begin,
            pgoutput.Commit: self._on_commit,
            pgoutput.Relation: self._on_relation,
            pgoutput.Type: self._on_type,
            pgoutput.Insert: self._on_insert,
            pgoutput.Update: self._on_update,
            pgoutput.Delete: self._on_delete,
            pgoutput.Truncate: self._on_truncate,
            pgoutput.Message: self._on_message,
            pgoutput.Origin: lambda _: None,
        }

    @property
    def end(self) -> int:
        """The end of the last transaction that came whole."""
        return self._end

    @property
    def empty(self) -> bool:
        """Whether nothing is in hand: what the server sent is all handed out."""
        return self._begin is None and not self._ready

    @property
    def oldest(self) -> float | None:
        """When the oldest was committed of what is in hand."""
        return next((o.at for found in (self._ready, self._pending) for o in found if o.at is not None), None)

    @property
    def ready(self) -> int:
        """How many can be handed out."""
        return len(self._ready)

    @property
    def full(self) -> bool:
        """Whether no more may be taken in before something is handed out."""
        return (
            len(self._pending) >= TRANSACTION_ROWS_MAX or self._ready_bytes + self._pending_bytes >= READING_BYTES_MAX
        )

    def feed(self, message: pgoutput.Received) -> None:
        """Raises ProtocolError, ValueError (a value or a row is not what its description says)."""
        self._handlers[type(message)](message)

    def take(self) -> Reading | None:
        """What is ready; where that is nothing and `full`, the beginning of a transaction. None where there is nothing."""
        if self._ready:
            observations, self._ready, self._ready_bytes = self._ready, [], 0
            position = self._position(self._end)
        elif self._pending and self.full:
            assert self._begin is not None
            observations, self._pending, self._pending_bytes = self._pending, [], 0
            position = self._position(self._end, commit=self._begin.lsn, changes=self._ordinal)
        else:
            return None
        return Reading(
            observations=tuple(observations),
            position=position.encoded(),
            receipt=Receipt(self._end, next((o.at for o in observations if o.at is not None), None)),
        )

    # A snapshot beside it

    def awaits(self, view: View) -> bool:
        """Whether something that came by is not visible in this view yet."""
        self._xids = {xid for xid in self._xids if not view.sees(xid)}
        return bool(self._xids)

    @property
    def weaving(self) -> bool:
        """Whether a chunk waits for its mark."""
        return self._chunk is not None

    def weave(self, chunk: Chunk) -> None:
        """Hand out this chunk where its mark comes by. All that came by until now is visible in it."""
        self._chunk = chunk
        self._hidden = False

    def also(self, tables: Iterable[str]) -> None:
        """Take further tables into the snapshot, or begin one with them."""
        self.snapshot = _with(self.snapshot, tables)
        if self._chunk is not None:
            self._chunk.progress = _with(self._chunk.progress, tables)

    def standing(self) -> Reading:
        """Nothing new, but for the position: how far the snapshot is."""
        return Reading(position=self._position(self._end).encoded(), receipt=Receipt(self._end, None))

    def _position(self, lsn: int, commit: int | None = None, changes: int = 0) -> Position:
        return Position(
            system=self._system,
            timeline=self._timelines.of(commit or lsn - 1) if lsn else self._timelines.current,
            lsn=format_lsn(lsn),
            commit=None if commit is None else format_lsn(commit),
            changes=changes,
            slot=self._slot,
            snapshot=self.snapshot,
        )

    # Messages

    def _on_begin(self, message: pgoutput.Begin) -> None:
        if self._begin is not None:
            raise ProtocolError("a transaction begins inside another one")
        self._begin = message
        self._ordinal = 0
        self._known = message.lsn < self._end
        self._skipped = 0
        if self._resumed is not None and self._resumed[0] == message.lsn:
            self._skipped = self._resumed[1]
        at = _EPOCH + timedelta(microseconds=message.at)
        place = format_lsn(message.lsn)
        self._at = POSTGRES_EPOCH_SECONDS + message.at / 1_000_000
        self._tail = b'"at":"%b","lsn":"%b","transaction":%d}' % (
            at.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode(),
            place.encode(),
            message.xid,
        )
        self._key = f"{self._system}.{self._timelines.of(message.lsn)}/{place}/"
        if self.snapshot is not None:
            self._xids.add(message.xid)
            self._hidden = self._chunk is not None and not self._chunk.view.sees(message.xid)

    def _on_commit(self, message: pgoutput.Commit) -> None:
        if self._begin is None:
            raise ProtocolError("a transaction ends that did not begin")
        self._begin = None
        self._resumed = None
        self._hidden = False
        self._end = max(self._end, message.end)
        if self._pending:
            self._ready += self._pending
            self._ready_bytes += self._pending_bytes
            self._pending, self._pending_bytes = [], 0
        if self._marked and self._chunk is not None:
            if not self._chunk.void:
                found = self._chunk.observations()
                self._ready += found
                self._ready_bytes += sum(len(observation.seen) for observation in found)
                self.snapshot = self._chunk.progress
            self._chunk = None
            self._marked = False

    def _on_relation(self, message: pgoutput.Relation) -> None:
        keys = self.primary_keys.get(message.number, [])
        self._tables[message.number] = table_of(message, self._types, keys)

    def _on_type(self, message: pgoutput.Type) -> None:
        if message.schema in ("", "pg_catalog"):
            self._types[message.number] = message.name
        else:
            self._types.pop(message.number, None)

    def _on_insert(self, message: pgoutput.Insert) -> None:
        table = self._table(message.relation)
        key = table.key_of(message.new)
        if self._hidden and self._chunk is not None:
            self._chunk.touched(table, key)
        if self._wanted("insert"):
            self._add(table.insert(message.new, self._tail), table.event_key(key))

    def _on_update(self, message: pgoutput.Update) -> None:
        table = self._table(message.relation)
        key = table.key_of(message.new)
        if self._hidden and self._chunk is not None:
            self._chunk.touched(table, key)
            if message.old is not None:
                self._chunk.touched(table, table.key_of(message.old))
        if self._wanted("update"):
            seen = table.update(message.old, message.full, message.new, self._tail)
            self._add(seen, table.event_key(key))

    def _on_delete(self, message: pgoutput.Delete) -> None:
        table = self._table(message.relation)
        key = table.key_of(message.old)
        if self._hidden and self._chunk is not None:
            self._chunk.touched(table, key)
        if self._wanted("delete"):
            self._add(table.delete(message.old, message.full, self._tail), table.event_key(key))

    def _on_truncate(self, message: pgoutput.Truncate) -> None:
        for number in message.relations:
            table = self._table(number)
            if self._hidden and self._chunk is not None:
                self._chunk.truncated(table)
            if self._wanted("truncate"):
                self._add(table.truncate(self._tail), None)

    def _on_message(self, message: pgoutput.Message) -> None:
        if self._chunk is not None and message.prefix == MARK_PREFIX and message.content == self._chunk.mark:
            self._marked = True

    def _table(self, number: int) -> Table:
        table = self._tables.get(number)
        if table is None:
            raise ProtocolError(f"a change of the relation {number}, which was never described")
        if self._begin is None:
            raise ProtocolError("a change outside of a transaction")
        return table

    def _wanted(self, operation: str) -> bool:
        """Count a change; whether it is to be handed out."""
        ordinal = self._ordinal
        self._ordinal += 1
        return ordinal >= self._skipped and not self._known and operation in self._operations

    def _add(self, seen: bytes, event_key: str | None) -> None:
        key = f"{self._key}{self._ordinal - 1}"
        self._pending.append(Observation(key=key, seen=seen, event_key=event_key, at=self._at))
        self._pending_bytes += len(seen)


def _with(progress: SnapshotProgress | None, tables: Iterable[str]) -> SnapshotProgress:
    if progress is None:
        return SnapshotProgress(tuple(tables))
    if progress.tables is None:
        return progress
    return SnapshotProgress(progress.tables + tuple(t for t in tables if t not in progress.tables), progress.after)
