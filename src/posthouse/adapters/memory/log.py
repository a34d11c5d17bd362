"""The log of the reference model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from posthouse.adapters.memory.database import KeyState, MemoryDatabase, refuse_nul
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import EventId, unix_ms_of
from posthouse.domain.limits import CLOCK_SKEW_SECONDS_MAX, TAIL_READ_BYTES_MAX, TAIL_READ_EVENTS_MAX
from posthouse.ports.log import Appended, AppendResult, AppMissing, Head, Repeated

KEY_SECONDS: Final = 24 * 3600


class MemoryLog:
    """`ports.log.EventLog` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def append(self, drafts: Sequence[Draft]) -> list[AppendResult]:
        async with self._database.commit("append"):
            now = self._database.clock()
            for draft in drafts:
                _check(draft, now)
            return [self._append(draft, now) for draft in drafts]

    def _append(self, draft: Draft, now: float) -> AppendResult:
        database = self._database
        if draft.id in database.positions:
            return _appended(self._event(draft.id))
        app = database.apps.get(draft.app_id)
        if app is None or app.deleted or draft.app_uid not in (None, app.uid):
            return AppMissing()
        if draft.idempotency_key is not None:
            key = (draft.app_id, draft.idempotency_key)
            used = database.keys.get(key)
            if used is not None and used.created_at > now - KEY_SECONDS:
                return Repeated(used.event_id, used.fingerprint, used.created_at)
            database.keys[key] = KeyState(draft.id, draft.fingerprint, now)
        partition = database.partitions[app.partition]
        partition.head += 1
        event = Event(
            id=draft.id,
            partition=app.partition,
            seq=partition.head,
            app_id=draft.app_id,
            type=draft.type,
            payload=draft.payload,
            content_type=draft.content_type,
            created_at=now,
            config_version=app.config_version,
            subject=draft.subject,
            key=draft.key,
            channels=draft.channels,
            expires_at=draft.expires_at,
            depth=draft.depth,
        )
        partition.events[event.seq] = event
        database.positions[event.id] = (event.partition, event.seq)
        return _appended(event)

    def _event(self, event_id: EventId) -> Event:
        partition, seq = self._database.positions[event_id]
        return self._database.partitions[partition].events[seq]

    async def read(self, partition: int, after: int, *, since: float | None) -> list[Event]:
        await self._database.reading("read")
        log = self._database.partitions[partition].events
        events: list[Event] = []
        payload_bytes = 0
        while len(events) < TAIL_READ_EVENTS_MAX and payload_bytes < TAIL_READ_BYTES_MAX:
            event = log.get(after + len(events) + 1)
            if event is None:
                break
            events.append(event)
            payload_bytes += len(event.payload)
        return events

    async def heads(self, partitions: Sequence[int]) -> Mapping[int, Head]:
        await self._database.reading("heads")
        states = {number: self._database.partitions[number] for number in partitions}
        return {number: Head(state.head, state.config_version, state.poke) for number, state in states.items()}

    async def event_at(self, partition: int, seq: int, *, since: float | None) -> EventId | None:
        await self._database.reading("event_at")
        event = self._database.partitions[partition].events.get(seq)
        return None if event is None else event.id


def _check(draft: Draft, now: float) -> None:
    texts = (draft.app_uid, draft.type, draft.content_type, draft.subject, draft.key, draft.source, draft.traceparent)
    refuse_nul((*texts, *draft.channels, draft.idempotency_key))
    if abs(unix_ms_of(draft.id) / 1000 - now) > CLOCK_SKEW_SECONDS_MAX:
        raise StoreUnavailable("event ids are more than five minutes off the clock of the database")


def _appended(event: Event) -> Appended:
    return Appended(event.partition, event.seq, event.config_version, event.created_at)
