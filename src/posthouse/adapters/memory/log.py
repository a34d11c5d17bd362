"""The log of the reference model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import md5
from typing import Final
from uuid import UUID

from posthouse.adapters.memory.database import KeyState, MemoryDatabase, Transaction, refuse_nul
from posthouse.domain.errors import KeyReused, StoreUnavailable, TooLarge
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

Audience = Mapping[int, tuple[int, tuple[AppId, ...]]]
"""By partition: the version of its configuration, and the apps there that an event is for."""


class MemoryLog:
    """`ports.log.EventLog` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def append(self, drafts: Sequence[Draft]) -> list[AppendResult]:
        async with self._database.transaction("append") as transaction:
            return await self.write(transaction, drafts)

    async def write(self, transaction: Transaction, drafts: Sequence[Draft]) -> list[AppendResult]:
        """Append in somebody's transaction, as its last act; raises before anything is changed."""
        database = self._database
        for draft in drafts:
            _check(draft, database.clock())
        # The audiences and the versions of their partitions are one snapshot.
        audiences = [self._audience(draft) for draft in drafts]
        if sum(len(apps) for audience in audiences for _, apps in audience.values()) > AUDIENCE_APPS_MAX:
            raise TooLarge(f"this is for more than {AUDIENCE_APPS_MAX} apps together; send fewer events at once")
        await transaction.lock_heads(self._partitions(drafts, audiences))
        now = database.clock()
        heads = {number: partition.head for number, partition in enumerate(database.partitions)}
        placed = [self._place(draft, audience, heads, now) for draft, audience in zip(drafts, audiences, strict=True)]
        for draft, result in zip(drafts, placed, strict=True):
            if draft.together and isinstance(result, Repeated) and result.fingerprint != draft.fingerprint:
                raise KeyReused("an idempotency key was used for another event")
        await transaction.commits()
        for draft, events in zip(drafts, placed, strict=True):
            if isinstance(events, list):
                self._store(draft, events, now)
        return [
            self._found(draft.id) if isinstance(events, list) else events
            for draft, events in zip(drafts, placed, strict=True)
        ]

    def _audience(self, draft: Draft) -> Audience:
        """By partition, its version and the apps that a platform event is for."""
        database = self._database
        if draft.app_id is not None:
            return {}
        home = self._home(draft)
        if draft.type in database.private_types:
            return {home: (database.partitions[home].config_version, ())}
        now = database.clock()
        apps: dict[int, set[AppId]] = {}
        for grant in database.grants.values():
            if grant.covers(draft.type, draft.subject, now=now):
                apps.setdefault(database.apps[grant.app_id].partition, set()).add(grant.app_id)
        found = {
            number: (database.partitions[number].config_version, tuple(sorted(apps[number]))) for number in sorted(apps)
        }
        return found or {home: (database.partitions[home].config_version, ())}

    def _home(self, draft: Draft) -> int:
        """Where a platform event is that is for nobody: the same partition for the same key."""
        text = draft.idempotency_key or str(UUID(bytes=draft.id))
        return int(md5(text.encode(), usedforsecurity=False).hexdigest()[:7], 16) % len(self._database.partitions)

    def _partitions(self, drafts: Sequence[Draft], audiences: Sequence[Audience]) -> set[int]:
        """Those whose heads an append locks: where events go, and where a key is looked up."""
        apps = [self._database.apps[d.app_id].partition for d in drafts if d.app_id in self._database.apps]
        homes = [self._home(draft) for draft in drafts if draft.app_id is None]
        return {*apps, *homes, *(number for audience in audiences for number in audience)}

    def _place(
        self, draft: Draft, audience: Audience, heads: dict[int, int], now: float
    ) -> list[Event] | Repeated | AppMissing:
        """The events that a draft becomes, none where it is in the log already; `heads` moves on."""
        database = self._database
        if draft.id in database.positions:
            return []
        places = audience
        if draft.app_id is not None:
            app = database.apps.get(draft.app_id)
            if app is None or app.deleted or draft.app_uid not in (None, app.uid):
                return AppMissing()
            places = {app.partition: (app.config_version, ())}
        if draft.idempotency_key is not None:
            used = database.keys.get((draft.app_id, draft.idempotency_key))
            if used is not None and used.created_at > now - KEY_SECONDS:
                return Repeated(used.event_id, used.fingerprint, used.created_at)
        events = []
        for number, (version, apps) in places.items():
            heads[number] += 1
            events.append(_event(draft, number, heads[number], version, apps, now))
        return events

    def _store(self, draft: Draft, events: Sequence[Event], now: float) -> None:
        database = self._database
        for event in events:
            partition = database.partitions[event.partition]
            partition.head = max(partition.head, event.seq)
            partition.events[event.seq] = event
            database.positions.setdefault(event.id, []).append((event.partition, event.seq))
        if events and draft.idempotency_key is not None:
            database.keys[draft.app_id, draft.idempotency_key] = KeyState(draft.id, draft.fingerprint, now)

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
            payload_bytes += event.size
        return events

    async def heads(self, partitions: Sequence[int]) -> Mapping[int, Head]:
        await self._database.reading("heads")
        states = {number: self._database.partitions[number] for number in partitions}
        return {number: Head(state.head, state.config_version, state.poke) for number, state in states.items()}

    async def event_at(self, partition: int, seq: int, *, since: float | None) -> EventId | None:
        await self._database.reading("event_at")
        event = self._database.partitions[partition].events.get(seq)
        return None if event is None else event.id


def _event(draft: Draft, number: int, seq: int, version: int, audience: tuple[AppId, ...], now: float) -> Event:
    return Event(
        id=draft.id,
        partition=number,
        seq=seq,
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
        only=draft.only,
        to_url=draft.to_url,
        source=draft.source,
        attributes=draft.attributes,
    )


def _check(draft: Draft, now: float) -> None:
    texts = (draft.app_uid, draft.type, draft.content_type, draft.subject, draft.key, draft.source, draft.traceparent)
    refuse_nul((*texts, *draft.channels, draft.idempotency_key))
    if abs(unix_ms_of(draft.id) / 1000 - now) > CLOCK_SKEW_SECONDS_MAX:
        raise StoreUnavailable("event ids are more than five minutes off the clock of the database")
