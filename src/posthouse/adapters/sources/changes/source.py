"""A source at work: a stream, an ordinary connection beside it, and readings made of both."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

import msgspec
import structlog

from posthouse.adapters.sources.changes.catalog import Catalog, Slot
from posthouse.adapters.sources.changes.names import Names, names_of
from posthouse.adapters.sources.changes.pgoutput import ProtocolError, Relation
from posthouse.adapters.sources.changes.place import at
from posthouse.adapters.sources.changes.position import (
    Position,
    SnapshotProgress,
    decoded,
    format_lsn,
    parse_lsn,
)
from posthouse.adapters.sources.changes.refusals import lost
from posthouse.adapters.sources.changes.settings import TableName, read
from posthouse.adapters.sources.changes.snapshot import Snapshots
from posthouse.adapters.sources.changes.stream import Stream, System
from posthouse.adapters.sources.changes.transactions import Receipt, Transactions
from posthouse.domain.errors import Invalid, SourceRefused, SourceUnavailable
from posthouse.ports.sources import Lag, Reading, Spec

log = structlog.get_logger()

SLOT_WAIT_SECONDS: Final = 5.0
"""For whoever read the slot before to be gone: a process that was killed is, as soon as the server notices."""

_SLOT_LOOK_SECONDS: Final = 0.05
_VISIBLE_LOOK_SECONDS: Final = 0.02
_ENDS_MAX: Final = 1_000
_SLICE_MESSAGES: Final = 100
"""So many are taken in one turn of the event loop: about a millisecond."""


class ChangesSource:
    """`Source`. Reading ahead is allowed: several readings, acknowledged in their order."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._settings = read(spec.settings)
        self._names: Names = names_of(spec, self._settings)
        self._where = self._settings.where
        self._stream: Stream | None = None
        self._catalog: Catalog | None = None
        self._transactions: Transactions | None = None
        self._snapshots: Snapshots | None = None
        self._handed: deque[Receipt] = deque()
        self._position: str | None = None  # of the last reading
        # For the lag: ends of the log that were seen and not reached, and when; until when all is received; the last commit.
        self._ends: deque[tuple[int, float]] = deque(maxlen=_ENDS_MAX)
        self._reached_at: float | None = None
        self._committed_at: float | None = None
        # Tables that have to be taken into our publication, and whether it is on record that their rows are to be read.
        self._unpublished: list[TableName] = []
        self._recorded = False

    async def open(self, position: str | None) -> None:
        try:
            await self._open(position)
        except BaseException:
            await self.close()
            raise

    async def _open(self, position: str | None, *, flushed: int | None = None) -> None:
        """`flushed` is what was acknowledged, where that is not all before the position."""
        self._position = position
        names = self._names
        self._catalog = catalog = await Catalog.open(names.dsn, self._where)
        slot = await self._free_slot(catalog)
        self._snapshots = Snapshots(catalog, self._settings)
        await self._snapshots.prepare()
        self._stream = stream = await Stream.open(names.dsn, self._where)
        system = await stream.identify()
        known = None if position is None else decoded(position)
        start = self._start(known, system, slot, await names.mark(catalog))
        self._transactions = Transactions(
            system=system.identifier,
            timelines=system.timelines,
            start=start,
            operations=frozenset(self._settings.on),
        )
        lsn = parse_lsn(start.lsn)
        await stream.start(names.slot, names.publication, lsn, flushed=lsn if flushed is None else flushed)
        await self._left_out(self._transactions, catalog)

    async def _free_slot(self, catalog: Catalog) -> Slot:
        """Our slot, once nobody reads it. Raises SourceRefused where it is not there, was lost, or another one reads it."""
        until = time.monotonic() + SLOT_WAIT_SECONDS
        while True:
            slot = await catalog.slot(self._names.slot)
            if not slot.exists:
                raise self._missing()
            if slot.lost:
                raise lost(
                    f"{self._where}: the slot {self._names.slot} kept more log than it may (max_slot_wal_keep_size)"
                )
            if slot.active_pid is None:
                return slot
            if time.monotonic() >= until:
                raise self._taken(slot)
            await asyncio.sleep(_SLOT_LOOK_SECONDS)

    def _missing(self) -> SourceRefused:
        if self._settings.slot is not None:
            return SourceRefused(
                f"{self._where}: the slot {self._names.slot} is not there. Make it with "
                "pg_create_logical_replication_slot and the "
                "plug-in pgoutput; what changed before is not seen",
                code="slot_missing",
            )
        return SourceRefused(
            f"{self._where}: the slot {self._names.slot} is not there any more: changes are lost. Rewind the "
            "trigger: the slot is "
            "made anew, and all rows of the tables are published as op snapshot",
            code="slot_missing",
        )

    def _taken(self, slot: Slot) -> SourceRefused | SourceUnavailable:
        name, application, address = self._names.slot, slot.application or "-", slot.address or "local"
        if slot.application == self._names.application:
            return SourceUnavailable(
                f"{self._where}: process {slot.active_pid} ({application}, {address}) still reads the slot {name} "
                "for this trigger. It "
                "ends with its connection, at the latest after wal_sender_timeout; at once with "
                f"SELECT pg_terminate_backend({slot.active_pid})"
            )
        return SourceRefused(
            f"{self._where}: process {slot.active_pid} ({application}, {address}) reads the slot {name}. Give this "
            "trigger a slot of "
            f"its own, or end that: SELECT pg_terminate_backend({slot.active_pid})",
            code="slot_taken",
        )

    def _start(self, position: Position | None, system: System, slot: Slot, mark: str | None) -> Position:
        """Where to go on."""
        here = Position(
            system=system.identifier, timeline=system.timelines.current, lsn=slot.flushed or "0/0", slot=mark
        )
        every = SnapshotProgress(tuple(name.reference for name in self._settings.table_names))
        if position is None:
            return msgspec.structs.replace(here, snapshot=every if self._settings.snapshot else None)
        if position.snapshot is not None and position.snapshot.tables is None:
            position = msgspec.structs.replace(position, snapshot=every)
        if position.system != system.identifier:
            log.warning("changes.another_system", where=self._where, was=position.system, now=system.identifier)
            return msgspec.structs.replace(here, snapshot=position.snapshot)
        if position.slot is not None and mark is not None and position.slot != mark:
            raise lost(f"{self._where}: the slot {self._names.slot} was dropped and made again")
        lsn = parse_lsn(position.lsn)
        read_up_to = max(lsn, parse_lsn(position.commit or position.lsn))
        common = system.timelines.common(position.timeline, read_up_to)
        if position.timeline == system.timelines.current and read_up_to > system.end:
            raise SourceRefused(
                f"{self._where}: its log ends at {format_lsn(system.end)}, and {format_lsn(read_up_to)} was read "
                "before: an "
                "earlier "
                "state was restored. Rewind the trigger: all rows of the tables are published as op snapshot",
                code="source_rewound",
            )
        if common < read_up_to:
            log.warning("changes.another_timeline", where=self._where, read=read_up_to, common=format_lsn(common))
            return msgspec.structs.replace(here, lsn=format_lsn(min(lsn, common)), snapshot=position.snapshot)
        return msgspec.structs.replace(position, slot=mark or position.slot)

    async def read(self, *, limit: int, wait_seconds: float) -> Reading:
        await self._take_up_again()
        stream, transactions, _ = self._opened()
        until = time.monotonic() + wait_seconds
        while True:
            await self._take_in(stream, transactions, limit)
            reading = transactions.take() or await self._look(transactions, limit)
            if reading is not None:
                self._handed.append(reading.receipt)
                self._position = reading.position
                return reading
            self._forget_what_is_not_ours()
            left = until - time.monotonic()
            if left <= 0:
                return Reading()
            looking = transactions.snapshot is not None and not transactions.weaving
            await stream.wait(min(left, _VISIBLE_LOOK_SECONDS) if looking else left)

    async def _take_up_again(self) -> None:
        """Where nobody read for long the stream was given back: go on behind the last reading."""
        if self._stream is None or not self._stream.closed:
            return
        flushed, handed = self._stream.flushed, self._handed
        await self.close()
        await self._open(self._position, flushed=flushed)
        self._handed = handed

    async def _take_in(self, stream: Stream, transactions: Transactions, limit: int) -> None:
        """Whatever is here, until there is enough."""
        taken = 0
        while transactions.ready < limit and not transactions.full:
            message = stream.take()
            if message is None:
                return
            if isinstance(message, Relation):
                await self._learn_keys(message)
            try:
                transactions.feed(message)
            except (ProtocolError, ValueError, IndexError) as error:
                raise SourceUnavailable(f"{self._where}: what it sends cannot be read: {error}") from error
            taken += 1
            if taken % _SLICE_MESSAGES == 0:
                await asyncio.sleep(0)

    async def _learn_keys(self, relation: Relation) -> None:
        """The primary key of a table whose description does not say what identifies a row."""
        if relation.identity in "fn":
            _, transactions, catalog = self._opened()
            keys = await catalog.keys(relation.number)
            transactions.primary_keys[relation.number] = [] if keys is None else keys.primary

    async def _look(self, transactions: Transactions, limit: int) -> Reading | None:
        """Read a chunk of the snapshot that is under way, to be woven into the stream: None. Where a part of it had no rows, a
        reading that says so."""
        if transactions.snapshot is None or transactions.weaving or not transactions.empty or self._snapshots is None:
            return None
        if self._unpublished:
            return await self._publish(transactions)
        if transactions.awaits(await self._snapshots.view()):
            # Something that came by is committed, and not visible yet: soon it is, unless a standby does not confirm it.
            return None
        look = await self._snapshots.look(transactions.snapshot, limit)
        if look.view is None:
            transactions.snapshot = look.progress
            return transactions.standing()
        mark = self._snapshots.mark()
        transactions.weave(look.chunk(mark))
        await self._snapshots.write(mark)
        return None

    def _forget_what_is_not_ours(self) -> None:
        """Where nothing is in hand, the server need not keep what others write into its log."""
        stream, transactions, _ = self._opened()
        if transactions.empty and not self._handed:
            stream.forget(max(stream.received, transactions.end))

    async def acknowledge(self, reading: Reading) -> None:
        receipt = reading.receipt
        if not isinstance(receipt, Receipt):
            return
        while self._handed:
            found = self._handed.popleft()
            self._committed_at = found.at or self._committed_at
            if found is receipt:
                break
        stream, _, _ = self._opened()
        if receipt.lsn > stream.flushed:
            stream.flushed = receipt.lsn
            stream.tell()

    async def lag(self) -> Lag:
        _, transactions, catalog = self._opened()
        slot = await catalog.slot(self._names.slot)
        if slot.lost:
            raise lost(f"{self._where}: the slot {self._names.slot} kept more log than it may (max_slot_wal_keep_size)")
        alarm = await self._over_the_cap(slot) or await self._left_out(transactions, catalog)
        return Lag(seconds=self._behind(slot), retained_bytes=slot.retained_bytes, alarm=alarm)

    def reached(self, lsn: str) -> bool:
        """Whether everything before this place in the log was received, and handed out as far as it is for us."""
        stream, transactions, _ = self._opened()
        return transactions.empty and max(stream.received, transactions.end) >= parse_lsn(lsn)

    def _behind(self, slot: Slot) -> float | None:
        """The age of the oldest that is not acknowledged, as near as one can know: of what was not received only the database
        knows when it was committed, so that it counts as if right after what was."""
        stream, transactions, _ = self._opened()
        oldest = next((receipt.at for receipt in self._handed if receipt.at is not None), transactions.oldest)
        if oldest is None:
            reached, end = max(stream.received, transactions.end), parse_lsn(slot.end)
            self._ends.append((end, slot.now))
            while self._ends and self._ends[0][0] <= reached:
                self._reached_at = self._ends.popleft()[1]
            if reached >= end:
                return 0.0
            known = [at for at in (self._reached_at, self._committed_at) if at is not None]
            oldest = max(known) if known else None
        return None if oldest is None else max(0.0, slot.now - oldest)

    async def _over_the_cap(self, slot: Slot) -> str | None:
        """What to say of the log that the database keeps for us. Raises SourceRefused where the slot was dropped for it."""
        kept, cap = slot.retained_bytes or 0, self._settings.retained_bytes_max
        if kept <= cap:
            if slot.wal_status == "unreserved":
                return (
                    f"{self._where}: the slot {self._names.slot} keeps as much log as it may "
                    "(max_slot_wal_keep_size), and is lost "
                    "soon. Find out why this trigger is behind, or raise that"
                )
            return None
        name = self._names.slot
        if self._settings.on_cap == "drop":
            await self.close()
            async with at(self._spec) as place:
                await place.remove_slot()
            raise lost(
                f"{self._where}: the slot {name} kept more log than it may (retained_bytes_max), and was dropped"
            )
        return (
            f"{self._where}: the database keeps {kept} bytes of log for the slot {name}; retained_bytes_max is "
            f"{cap}. Find out why "
            "this trigger is behind, or whether a transaction is open for long; removing the trigger frees the disk"
        )

    async def _left_out(self, transactions: Transactions, catalog: Catalog) -> str | None:
        """Tables that were dropped and made again are not in our publication any more: take them in again, with the rows that
        they have by now. What to say where that cannot be done."""
        if not self._names.owns_publication:
            return None
        published = await catalog.published(self._names.publication)
        missing = [name for name in self._settings.table_names if name not in published]
        gone = [name.reference for name in missing if await catalog.keys(name) is None]
        if gone:
            return f"{self._where}: there is no table {', '.join(gone)} (any more). Make it again, or take it out of tables"
        if missing:
            try:
                async with at(self._spec) as place:
                    await place.check(missing)
            except (Invalid, SourceRefused) as error:
                return str(error)
            self._unpublished = missing
            transactions.also(name.reference for name in missing)
        return None

    async def _publish(self, transactions: Transactions) -> Reading | None:
        """First put on record that the rows of these tables are to be read, then publish their changes."""
        if not self._recorded:
            self._recorded = True
            return transactions.standing()
        async with at(self._spec) as place:
            await place.publish(self._unpublished)
        self._recorded, self._unpublished = False, []
        return None

    def _opened(self) -> tuple[Stream, Transactions, Catalog]:
        if self._stream is None or self._transactions is None or self._catalog is None:
            raise SourceUnavailable(f"{self._where}: not connected")
        return self._stream, self._transactions, self._catalog

    async def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._catalog is not None:
            self._catalog.close()
        self._stream = self._catalog = None
