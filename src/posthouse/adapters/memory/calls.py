"""The calls of handlers of the reference model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import msgspec

from posthouse.adapters.memory.database import MemoryDatabase
from posthouse.domain.calling import CalledApp, CalledEndpoint, read_call
from posthouse.domain.delivery import DeliveryClass, Effect, EffectKind, Owed, OwedReason
from posthouse.domain.event import Event
from posthouse.domain.ids import APP, ENDPOINT, EventId, format_id
from posthouse.ports.calls import CallFacts, PendingCall, Recorded


class MemoryCalls:
    """`ports.calls.CallBook` in memory. What is sent again is of no line."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def due(self, partitions: Collection[int], *, limit: int) -> list[PendingCall]:
        await self._database.reading("due_calls")
        calls = [PendingCall(call, *self._database.calls.get(call.id, (0, 0.0))) for call in self._of(partitions)]
        return sorted(calls, key=lambda call: (call.due_at, call.effect.id))[:limit]

    async def counted(self, partitions: Collection[int]) -> dict[int, int]:
        await self._database.reading("count_calls")
        return Counter(call.partition for call in self._of(partitions))

    def _of(self, partitions: Collection[int]) -> list[Effect]:
        effects = self._database.effects.values()
        return [e for e in effects if e.kind is EffectKind.CALL and e.partition in partitions]

    async def facts(self, call: Effect) -> CallFacts | None:
        await self._database.reading("call_facts")
        event = self._event(call.partition, read_call(call.data or b"{}").event_id)
        endpoint = self._database.endpoints.get(call.endpoint_id)
        if event is None or endpoint is None or endpoint.deleted or self._database.apps[endpoint.app_id].deleted:
            return None
        app = self._database.apps[endpoint.app_id]
        return CallFacts(
            event=event,
            app_id=app.id,
            app=CalledApp(id=format_id(APP, app.id), uid=app.uid),
            endpoint=CalledEndpoint(
                id=format_id(ENDPOINT, endpoint.id),
                url=endpoint.config.url,
                uid=endpoint.uid,
                description=endpoint.config.description,
                metadata=endpoint.metadata,
            ),
        )

    def _event(self, partition: int, event_id: EventId) -> Event | None:
        for place, seq in self._database.positions.get(event_id, ()):
            if place == partition:
                return self._database.partitions[partition].events.get(seq)
        return None

    async def done(
        self,
        owner: bytes,
        epoch: int,
        call: Effect,
        follow_ups: Sequence[Effect],
        *,
        resend_at: float | None,
        now: float,
    ) -> Recorded:
        database = self._database
        async with database.transaction("call_done") as transaction:
            await transaction.lock_rows([call.partition])
            await transaction.commits()
            partition = database.partitions[call.partition]
            if not partition.held_by(owner, epoch):
                return Recorded.NOT_OURS
            event = self._event(call.partition, read_call(call.data or b"{}").event_id)
            endpoint = database.endpoints.get(call.endpoint_id)
            again = resend_at is not None and event is not None and endpoint is not None
            if again and event is not None and event.seq > partition.cursor:
                return Recorded.NOT_YET
            if database.effects.pop(call.id, None) is None:
                return Recorded.GONE
            database.calls.pop(call.id, None)
            for effect in follow_ups:
                database.effects.setdefault(effect.id, effect)
            if again and event is not None and endpoint is not None and endpoint.enabled and not endpoint.deleted:
                self._owe(call, event, resend_at or now)
                database.poke(call.partition)
        return Recorded.DONE

    def _owe(self, call: Effect, event: Event, due_at: float) -> None:
        key = (call.partition, call.endpoint_id, event.id)
        there = self._database.owed.get(key)
        if there is not None:
            self._database.owed[key] = msgspec.structs.replace(there, due_at=min(there.due_at, due_at))
            return
        self._database.owed[key] = Owed(
            partition=call.partition,
            endpoint_id=call.endpoint_id,
            event_id=event.id,
            seq=event.seq,
            number=1,
            due_at=due_at,
            reason=OwedReason.RESENT,
            kind=DeliveryClass.REPLAY,
            expires_at=event.expires_at,
            payload_bytes=len(event.payload),
        )

    async def again(self, owner: bytes, epoch: int, call: Effect, *, tries: int, due_at: float) -> Recorded:
        async with self._database.transaction("call_again") as transaction:
            await transaction.lock_rows([call.partition])
            await transaction.commits()
            if not self._database.partitions[call.partition].held_by(owner, epoch):
                return Recorded.NOT_OURS
            if call.id not in self._database.effects:
                return Recorded.GONE
            self._database.calls[call.id] = (tries, due_at)
        return Recorded.DONE
