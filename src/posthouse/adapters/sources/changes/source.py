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
from posthouse.adapters.sources.changes.position import (
    Position,
    SnapshotProgress,
    decoded,
    format_lsn,
    parse_lsn,
)
from posthouse.adapters.sources.changes.refusals import lost
from posthouse.adapters.sources.changes.settings import read
from posthouse.adapters.sources.changes.stream import Stream, System
from posthouse.adapters.sources.changes.transactions import Receipt, Transactions
from posthouse.domain.errors import SourceRefused, SourceUnavailable
from posthouse.ports.sources import Lag, Reading, Spec

log = structlog.get_logger()

SLOT_WAIT_SECONDS: Final = 5.0
"""For whoever read the slot before to be gone: a process that was killed is, as soon as the server notices."""

_SLOT_LOOK_SECONDS: Final = 0.05
_SLICE_MESSAGES: Final = 100
"""So many are taken in one turn of the event loop: about a millisecond."""


class ChangesSource:
    """`Source`. Reading ahead is allowed: several readings, acknowledged in their order."""

    def __init__(self, spec: Spec) -> None:
        self._settings = read(spec.settings)
        self._names: Names = names_of(spec, self._settings)
        self._where = self._settings.where
        self._stream: Stream | None = None
        self._catalog: Catalog | None = None
        self._transactions: Transactions | None = None
        self._handed: deque[Receipt] = deque()

    async def open(self, position: str | None) -> None:
        try:
            await self._open(None if position is None else decoded(position))
        except BaseException:
            await self.close()
            raise

    async def _open(self, position: Position | None) -> None:
        names = self._names
        self._catalog = catalog = await Catalog.open(names.dsn, self._where)
        self._stream = stream = await Stream.open(names.dsn, self._where)
        system = await stream.identify()
        slot = await self._free_slot(catalog)
        start = self._start(position, system, slot, await names.mark(catalog))
        self._transactions = Transactions(
            system=system.identifier,
            timelines=system.timelines,
            start=start,
            operations=frozenset(self._settings.on),
            primary_keys=await catalog.primary_keys(self._settings.table_names),
        )
        await stream.start(names.slot, names.publication, parse_lsn(start.lsn))

    async def _free_slot(self, catalog: Catalog) -> Slot:
        """Our slot, once nobody reads it. Raises SourceRefused where it is not there, was lost, or another one reads it."""
        until = time.monotonic() + SLOT_WAIT_SECONDS
        while True:
            slot = await catalog.slot(self._names.slot)
            if not slot.exists:
                raise SourceRefused(
                    f"{self._where}: the slot {self._names.slot} is not there. "
                    + (
                        "Make it: SELECT pg_create_logical_replication_slot("
                        f"'{self._names.slot}', 'pgoutput'); what changed before that is not seen"
                        if self._settings.slot is not None
                        else "What changed since it was dropped is lost. Rewind the trigger: it is made anew, and all "
                        "rows of the tables are published as op snapshot"
                    ),
                    code="slot_missing",
                )
            if slot.lost:
                raise lost(self._names.slot, f"{self._where}: the slot {self._names.slot} kept more log than it may")
            if slot.active_pid is None:
                return slot
            if time.monotonic() >= until:
                raise self._taken(slot)
            await asyncio.sleep(_SLOT_LOOK_SECONDS)

    def _taken(self, slot: Slot) -> Exception:
        who = f"process {slot.active_pid} of the database ({slot.application or 'unnamed'}, {slot.address or 'local'})"
        if slot.application == self._names.application:
            return SourceUnavailable(
                f"{self._where}: {who} still reads the slot {self._names.slot} for this trigger. It ends with its "
                "connection, "
                f"at the latest after wal_sender_timeout; at once: SELECT pg_terminate_backend({slot.active_pid})"
            )
        return SourceRefused(
            f"{self._where}: {who} reads the slot {self._names.slot}. Give this trigger a slot of its own, or end "
            "that: "
            f"SELECT pg_terminate_backend({slot.active_pid})",
            code="slot_taken",
        )

    def _start(self, position: Position | None, system: System, slot: Slot, mark: str | None) -> Position:
        """Where to go on."""
        here = Position(
            system=system.identifier, timeline=system.timelines.current, lsn=slot.flushed or "0/0", slot=mark
        )
        if position is None:
            return msgspec.structs.replace(here, snapshot=SnapshotProgress() if self._settings.snapshot else None)
        if position.system != system.identifier:
            log.warning("changes.another_system", where=self._where, was=position.system, now=system.identifier)
            return msgspec.structs.replace(here, snapshot=position.snapshot)
        if position.slot is not None and mark is not None and position.slot != mark:
            raise lost(self._names.slot, f"{self._where}: the slot {self._names.slot} was dropped and made again")
        lsn = parse_lsn(position.lsn)
        common = system.timelines.common(position.timeline, lsn)
        if position.timeline == system.timelines.current and lsn > system.end:
            raise SourceRefused(
                f"{self._where}: its log ends at {format_lsn(system.end)}, and {position.lsn} was read before: an "
                "earlier "
                "state was restored. Rewind the trigger: all rows of the tables are published as op snapshot",
                code="source_rewound",
            )
        if common < lsn:
            log.warning("changes.another_timeline", where=self._where, read=position.lsn, common=format_lsn(common))
            return msgspec.structs.replace(here, lsn=format_lsn(common), snapshot=position.snapshot)
        return msgspec.structs.replace(position, slot=mark or position.slot)

    async def read(self, *, limit: int, wait_seconds: float) -> Reading:
        stream, transactions, _ = self._opened()
        until = time.monotonic() + wait_seconds
        while True:
            await self._take_in(stream, transactions, limit)
            reading = transactions.take()
            if reading is not None:
                self._handed.append(reading.receipt)
                return reading
            self._forget_what_is_not_ours()
            left = until - time.monotonic()
            if left <= 0:
                return Reading()
            await stream.wait(left)

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
            transactions.primary_keys = await catalog.primary_keys(self._settings.table_names)

    def _forget_what_is_not_ours(self) -> None:
        """Where nothing is in hand, the server need not keep what others write into its log."""
        stream, transactions, _ = self._opened()
        if transactions.empty and not self._handed:
            reached = max(stream.received, transactions.end)
            if reached > stream.flushed:
                stream.flushed = reached

    async def acknowledge(self, reading: Reading) -> None:
        receipt = reading.receipt
        if not isinstance(receipt, Receipt):
            return
        while self._handed:
            found = self._handed.popleft()
            if found is receipt:
                break
        stream, _, _ = self._opened()
        if receipt.lsn > stream.flushed:
            stream.flushed = receipt.lsn
            stream.tell()

    async def lag(self) -> Lag:
        _, _, catalog = self._opened()
        slot = await catalog.slot(self._names.slot)
        oldest = next((receipt.at for receipt in self._handed if receipt.at is not None), None)
        return Lag(
            seconds=0.0 if oldest is None else max(0.0, slot.now - oldest),
            retained_bytes=slot.retained_bytes,
        )

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
