"""The log of the reference model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import md5
from typing import Final
from uuid import UUID

from posthouse.adapters.memory.database import KeyState, MemoryDatabase, refuse_nul
from posthouse.domain.errors import StoreUnavailable, TooLarge
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import AppId, EventId, unix_ms_of
from posthouse.domain.limits import (
    AUDIENCE_APPS_MAX,
    CLOCK_SKEW_SECONDS_MAX,
    TAIL_READ_BYTES_MAX,
    TAIL_READ_EVENTS_MAX,
)
from posthouse.ports.log import Announced, Appended, AppendResult, AppMissing, Head, Placed, Repeated

KEY_SECONDS: Final = 24 * 3600


class MemoryLog:
    """`ports.log.EventLog` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def append(self, drafts: Sequence[Draft]) -> list[AppendResult]:
        async with self._database.commit("append"):
            return self.write(drafts)

    def write(self, drafts: Sequence[Draft]) -> list[AppendResult]:
        """Append in somebody's commit; raises before anything is changed."""
        now = self._database.clock()
        for draft in drafts:
            _check(draft, now)
        audiences = [self._audience(draft) for draft in drafts]
        if sum(len(apps) for audience in audiences for apps in audience.values()) > AUDIENCE_APPS_MAX:
            raise TooLarge(f"this is for more than {AUDIENCE_APPS_MAX} apps together; send fewer events at once")
        return [self._append(draft, audience, now) for draft, audience in zip(drafts, audiences, strict=True)]

    def _audience(self, draft: Draft) -> dict[int, tuple[AppId, ...]]:
        """By partition, the apps that a platform event is for."""
        database = self._database
        if draft.app_id is not None or draft.type in database.private_types:
            return {}
        now = database.clock()
        apps = {g.app_id for g in database.grants.values() if g.covers(draft.type, draft.subject, now=now)}
        audience: dict[int, tuple[AppId, ...]] = {}
        for app_id in sorted(apps):
            partition = database.apps[app_id].partition
            audience[partition] = (*audience.get(partition, ()), app_id)
        return audience

    def _home(self, draft: Draft) -> int:
        """Where a platform event is that is for nobody: the same partition for the same key."""
        text = draft.idempotency_key or str(UUID(bytes=draft.id))
        return int(md5(text.encode(), usedforsecurity=False).hexdigest()[:7], 16) % len(self._database.partitions)

    def _append(self, draft: Draft, audience: Mapping[int, tuple[AppId, ...]], now: float) -> AppendResult:
        database = self._database
        if draft.id in database.positions:
            return self._found(draft.id)
        partition, version = 0, 0
        if draft.app_id is not None:
            app = database.apps.get(draft.app_id)
            if app is None or app.deleted or draft.app_uid not in (None, app.uid):
                return AppMissing()
            partition, version = app.partition, app.config_version
        if draft.idempotency_key is not None:
            key = (draft.app_id, draft.idempotency_key)
            used = database.keys.get(key)
            if used is not None and used.created_at > now - KEY_SECONDS:
                return Repeated(used.event_id, used.fingerprint, used.created_at)
            database.keys[key] = KeyState(draft.id, draft.fingerprint, now)
        if draft.app_id is not None:
            self._store(draft, partition, version, (), now)
        for number, apps in sorted((audience or {self._home(draft): ()}).items()) if draft.app_id is None else ():
            self._store(draft, number, database.partitions[number].config_version, apps, now)
        return self._found(draft.id)

    def _store(self, draft: Draft, number: int, version: int, audience: tuple[AppId, ...], now: float) -> None:
        partition = self._database.partitions[number]
        partition.head += 1
        event = Event(
            id=draft.id,
            partition=number,
            seq=partition.head,
            app_id=draft.app_id,
            type=draft.type,
            payload=draft.payload,
            content_type=draft.content_type,
            created_at=now,
            config_version=version,
            subject=draft.subject,
            key=draft.key,
            channels=draft.channels,
            expires_at=draft.expires_at,
            depth=draft.depth,
            audience=audience,
        )
        partition.events[event.seq] = event
        self._database.positions.setdefault(event.id, []).append((number, event.seq))

    def _found(self, event_id: EventId) -> Appended | Announced:
        places = self._database.positions[event_id]
        events = [self._database.partitions[partition].events[seq] for partition, seq in places]
        first = events[0]
        if first.app_id is not None:
            return Appended(first.partition, first.seq, first.config_version, first.created_at)
        placed = tuple(Placed(e.partition, e.seq, e.config_version, e.audience) for e in events)
        return Announced(first.created_at, placed)

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
