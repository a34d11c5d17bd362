"""What is owed in the reference model: its lines in order, counted, capped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection

import msgspec

from posthouse.adapters.memory.database import MemoryDatabase, PartitionState
from posthouse.domain.delivery import Line, Owed, OwedReason, RowKey
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId, EndpointId, EventId


class MemoryOwed:
    """The part of `ports.store.Store` that is about rows, beside paging them."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    def _partition(self, number: int) -> PartitionState:
        return self._database.partitions[number]

    def _event_of(self, row: Owed) -> Event | None:
        return self._partition(row.partition).events.get(row.seq)

    def line(self, line: Line) -> list[Owed]:
        """The rows of a line, in order."""
        rows = [row for row in self._database.owed.values() if (row.partition, row.endpoint_id, row.line) == line]
        return sorted(rows, key=lambda row: row.seq)

    def order(self, lines: Collection[Line], now: float) -> dict[Line, float | None]:
        """Put lines in order: one row of each is due, the others wait. It is the one of a request that is under way until
        some time after now, else the first.
        """
        states: dict[Line, float | None] = {}
        for line in lines:
            rows = self.line(line)
            under_way = [row for row in rows if row.reason is OwedReason.IN_FLIGHT and now < row.due_at < math.inf]
            head = next(iter(under_way or rows), None)
            states[line] = None
            for row in rows:
                due_at = row.due_at
                if row is not head:
                    due_at = math.inf
                elif due_at == math.inf and row.reason is not OwedReason.BLOCKED:
                    due_at = now
                if row is head:
                    states[line] = due_at
                self._database.owed[row.partition, row.endpoint_id, row.event_id] = msgspec.structs.replace(
                    row, due_at=due_at
                )
        return states

    async def hasten_revoked(
        self, owner: bytes, epoch: int, partition: int, app_id: AppId, endpoint_id: EndpointId, *, now: float
    ) -> None:
        async with self._database.transaction("hasten_revoked") as transaction:
            await transaction.lock_rows([partition])
            if not self._partition(partition).held_by(owner, epoch):
                return
            await transaction.commits()
            for key, row in self._database.owed.items():
                event = self._event_of(row)
                if (
                    key[:2] == (partition, endpoint_id)
                    and row.reason is not OwedReason.IN_FLIGHT
                    and row.due_at > now
                    and not (row.line and row.due_at == math.inf)
                    and event is not None
                    and event.app_id is None
                    and not self._database.covered(app_id, event.type, event.subject)
                ):
                    self._database.owed[key] = msgspec.structs.replace(row, due_at=now)

    async def count_owed(self, partitions: Collection[int]) -> dict[EndpointId, int]:
        await self._database.reading("count_owed")
        return dict(Counter(row.endpoint_id for row in self._database.owed.values() if row.partition in partitions))

    async def expire_oldest(
        self,
        owner: bytes,
        epoch: int,
        partition: int,
        endpoint_id: EndpointId,
        *,
        count: int,
        held: Collection[EventId],
        now: float,
        error: str,
    ) -> int:
        database = self._database
        async with database.transaction("expire_oldest") as transaction:
            await transaction.lock_rows([partition])
            if not self._partition(partition).held_by(owner, epoch):
                return 0
            await transaction.commits()
            rows = [
                row
                for row in database.owed.values()
                if (row.partition, row.endpoint_id) == (partition, endpoint_id)
                and row.reason is not OwedReason.IN_FLIGHT
                and row.event_id not in held
                and row.seq <= self._partition(partition).cursor
            ]
            gone = sorted(rows, key=lambda row: row.event_id)[:count]
            for row in gone:
                database.give_up(row, now=now, reason="expired", error=error)
            self.order({(partition, endpoint_id, row.line) for row in gone if row.line}, now)
            if gone:
                database.poke(partition)
        return len(gone)

    async def last_sent(self, partition: int, endpoint_id: EndpointId) -> float | None:
        await self._database.reading("last_sent")
        rows = self._database.owed.values()
        if any(
            (r.endpoint_id, r.reason) == (endpoint_id, OwedReason.IN_FLIGHT) for r in rows if r.partition == partition
        ):
            return math.inf
        made = [a for a in self._database.attempts.values() if (a.partition, a.endpoint_id) == (partition, endpoint_id)]
        return max([attempt.started_at for attempt in made], default=None)

    async def in_flight(self, sender: bytes, rows: Collection[RowKey]) -> set[RowKey]:
        await self._database.reading("in_flight")
        there = {key: self._database.owed[key] for key in rows if key in self._database.owed}
        return {key for key, row in there.items() if (row.reason, row.sender) == (OwedReason.IN_FLIGHT, sender)}

    async def owed_lines(self, partition: int, endpoint_id: EndpointId, *, limit: int) -> list[int]:
        await self._database.reading("owed_lines")
        rows = self._database.owed.values()
        lines = {row.line for row in rows if (row.partition, row.endpoint_id) == (partition, endpoint_id) and row.line}
        return sorted(lines)[:limit]
