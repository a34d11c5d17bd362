"""The store of the reference model."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest

import msgspec

from posthouse.adapters.memory.database import EndpointState, refuse_nul
from posthouse.adapters.memory.effects import MemoryEffects
from posthouse.adapters.memory.owed import MemoryOwed
from posthouse.domain.circuit import HEALTHY
from posthouse.domain.delivery import (
    Attempt,
    Cursor,
    DeliveryKey,
    JournalBatch,
    Line,
    Owed,
    OwedReason,
    Rollup,
)
from posthouse.domain.endpoint import AppConfig, Endpoint
from posthouse.domain.errors import StoreRejected
from posthouse.domain.event import Event
from posthouse.domain.grant import Shrinkage
from posthouse.domain.ids import AppId, AttemptId, EndpointId, id_beside
from posthouse.domain.latency import added
from posthouse.domain.named_keys import texts_of
from posthouse.ports.store import Claim, Journalled, LateResult, Page, Want


class MemoryStore(MemoryOwed, MemoryEffects):
    """`ports.store.Store` in memory."""

    def _held(self, owner: bytes, epochs: Mapping[int, int]) -> set[int]:
        return {number for number, epoch in epochs.items() if self._partition(number).held_by(owner, epoch)}

    # Ownership

    async def partitions(self) -> int:
        await self._database.reading("partitions")
        return len(self._database.partitions)

    async def claim(
        self, owner: bytes, *, limit: int, lease_seconds: float, exclusive: bool, dead: Collection[bytes] = ()
    ) -> list[Claim]:
        claims: list[Claim] = []
        async with self._database.transaction("claim") as transaction:
            now = self._database.clock()
            free = [
                number
                for number, partition in enumerate(self._database.partitions)
                if exclusive
                or partition.owner is None
                or partition.lease_until < now
                or (partition.owner in dead and not self._database.lives(partition.owner))
            ]
            free = [number for number in free if not self._database.row_is_locked(number)][:limit]
            await transaction.lock_rows(free)
            await transaction.commits()
            for number in free:
                partition = self._partition(number)
                previous, partition.owner = partition.owner, owner
                on_record_seconds = now - partition.lease_until if previous is None else 0.0
                partition.epoch += 1
                partition.lease_until = now + lease_seconds
                cursor = Cursor(number, partition.cursor, partition.cursor_at)
                claims.append(Claim(number, partition.epoch, cursor, previous, on_record_seconds))
        return claims

    async def renew(self, owner: bytes, epochs: Mapping[int, int], *, lease_seconds: float) -> set[int]:
        async with self._database.transaction("renew") as transaction:
            await transaction.lock_rows(epochs)
            held = self._held(owner, epochs)
            lease_until = self._database.clock() + lease_seconds
            await transaction.commits()
            self._extend(held, lease_until)
        return held

    def _extend(self, held: Collection[int], lease_until: float) -> None:
        for number in held:
            self._partition(number).lease_until = lease_until

    async def release(
        self, owner: bytes, epochs: Mapping[int, int], *, on_record: Mapping[int, float] | None = None
    ) -> None:
        async with self._database.transaction("release") as transaction:
            await transaction.lock_rows(epochs)
            held = self._held(owner, epochs)
            await transaction.commits()
            for number in held:
                self._partition(number).owner = None
                self._partition(number).lease_until = self._database.clock() - (on_record or {}).get(number, math.inf)

    async def attend(self, owner: bytes, *, seconds: float) -> None:
        async with self._database.transaction("attend") as transaction:
            await transaction.commits()
            if seconds > 0:
                self._database.processes[owner] = self._database.clock() + seconds
            else:
                self._database.processes.pop(owner, None)

    async def processes(self) -> dict[bytes, bool]:
        await self._database.reading("processes")
        now = self._database.clock()
        found = {partition.owner: False for partition in self._database.partitions if partition.owner is not None}
        return found | {owner: True for owner, until in self._database.processes.items() if until > now}

    # The journal

    async def journal(self, batch: JournalBatch, *, now: float, lease_seconds: float) -> Journalled:
        keys = [(o.partition, *o.key) for o in batch.owed] + list(batch.settled)
        assert len(keys) == len(set(keys)), "changes to one key are folded before they are written"
        async with self._database.transaction("journal") as transaction:
            _check(batch)
            await transaction.lock_rows(batch.epochs)
            held = self._held(batch.owner, batch.epochs)
            # Whether it was written before, for whatever partitions: for all of those that are held now.
            written = batch.number > 0 and any(
                self._partition(p).batch >= (batch.epochs[p], batch.number) for p in held
            )
            lease_until = self._database.clock() + lease_seconds
            await transaction.commits()
            if not written:
                if any(a.id in self._database.attempts for a in batch.attempts if a.partition in held):
                    raise StoreRejected("an attempt is on record already")
                self._write(batch, held)
                if batch.number:
                    for partition in held:
                        self._partition(partition).batch = (batch.epochs[partition], batch.number)
            lines = self.order([line for line in batch.lines if line[0] in held], now)
            self._extend(held, lease_until)
        return Journalled(held, lines)

    def _write(self, batch: JournalBatch, held: set[int]) -> None:
        database = self._database
        for attempt in batch.attempts:
            if attempt.partition in held:
                database.attempts[attempt.id] = attempt
        for key in batch.settled:
            if key[0] in held:
                database.owed.pop(key, None)
        for owed in batch.owed:
            key = (owed.partition, owed.endpoint_id, owed.event_id)
            if owed.partition in held and (key in database.owed or not owed.known):
                database.owed[key] = msgspec.structs.replace(owed, known=False)
        for effect in batch.effects:
            if effect.partition in held:
                database.effects.setdefault(effect.id, effect)
        for turn in batch.health:
            if turn.partition in held:
                # It fails since the first time it did, until it is confirmed again.
                since, known = turn.health.failing_since, database.health.get(turn.endpoint_id, HEALTHY).failing_since
                if since is not None and known is not None:
                    since = min(since, known)
                database.health[turn.endpoint_id] = msgspec.structs.replace(turn.health, failing_since=since)
        for rollup in batch.rollups:
            if rollup.partition in held:
                self._count(rollup)
        for cursor in batch.cursors:
            if cursor.partition in held:
                partition = self._partition(cursor.partition)
                partition.cursor = max(partition.cursor, cursor.seq)
                partition.cursor_at = max(partition.cursor_at, cursor.at)

    def _count(self, rollup: Rollup) -> None:
        key = (rollup.partition, rollup.endpoint_id, rollup.minute)
        before = self._database.rollups.get(key)
        if before is not None:
            rollup = msgspec.structs.replace(
                rollup,
                delivered=before.delivered + rollup.delivered,
                failed=before.failed + rollup.failed,
                gave_up=before.gave_up + rollup.gave_up,
                total_us=before.total_us + rollup.total_us,
                latency=added(before.latency, rollup.latency),
            )
        self._database.rollups[key] = rollup

    async def settle_late(self, results: Sequence[LateResult], *, sender: bytes, now: float) -> bool:
        database = self._database
        lines: set[Line] = set()
        async with database.transaction("settle_late") as transaction:
            for attempt, _, effects in results:
                refuse_nul(_texts(attempt))
                refuse_nul(effect.reason for effect in effects)
            await transaction.lock_rows([attempt.partition for attempt, _, _ in results])
            marked = [result for result in results if self._is_marked(result[0], sender)]
            await transaction.commits()
            for attempt, owed, effects in marked:
                key = (attempt.partition, attempt.endpoint_id, attempt.event_id)
                row = database.owed.pop(key)
                if owed is not None:
                    database.owed[key] = owed
                mine = [a.id for a in database.attempts.values() if a.partition == attempt.partition]
                stored = msgspec.structs.replace(attempt, id=AttemptId(id_beside(max(mine, default=None), attempt.id)))
                database.attempts[stored.id] = stored
                for effect in effects:
                    database.effects.setdefault(effect.id, effect)
                if row.line:
                    lines.add((row.partition, row.endpoint_id, row.line))
            self.order(lines, now)
            if marked:
                database.poke(results[0][0].partition)
        return bool(marked)

    def _is_marked(self, attempt: Attempt, sender: bytes) -> bool:
        """Whether its row still says that the sender's request for this attempt is in flight."""
        row = self._database.owed.get((attempt.partition, attempt.endpoint_id, attempt.event_id))
        return row is not None and (row.reason, row.sender, row.number) == (
            OwedReason.IN_FLIGHT,
            sender,
            attempt.number,
        )

    # Recovery and the backlog

    async def newest_attempt(self, partitions: Collection[int]) -> AttemptId | None:
        await self._database.reading("newest_attempt")
        return max((a.id for a in self._database.attempts.values() if a.partition in partitions), default=None)

    async def recorded(self, partition: int, *, after: Cursor, until: int) -> set[DeliveryKey]:
        await self._database.reading("recorded")
        terminal = [attempt for attempt in self._database.attempts.values() if attempt.outcome.terminal]
        homes: list[Owed | Attempt] = [*self._database.owed.values(), *terminal]
        return {home.key for home in homes if home.partition == partition and after.seq < home.seq <= until}

    async def recover_in_flight(self, owner: bytes, epochs: Mapping[int, int], *, previous: bytes, now: float) -> None:
        async with self._database.transaction("recover_in_flight") as transaction:
            await transaction.lock_rows(epochs)
            held = self._held(owner, epochs)
            await transaction.commits()
            for key, row in self._database.owed.items():
                running = row.reason is OwedReason.IN_FLIGHT and row.sender == previous
                if row.partition in held and running and not row.line:
                    self._database.owed[key] = msgspec.structs.replace(
                        row, due_at=now, reason=OwedReason.RECOVERED, sender=None
                    )

    async def owed_endpoints(self, partitions: Collection[int]) -> list[tuple[int, EndpointId, float]]:
        await self._database.reading("owed_endpoints")
        earliest: dict[tuple[int, EndpointId], float] = {}
        for row in self._database.owed.values():
            if row.partition in partitions:
                line = (row.partition, row.endpoint_id)
                earliest[line] = min(row.due_at, earliest.get(line, row.due_at))
        return [(partition, endpoint_id, due_at) for (partition, endpoint_id), due_at in earliest.items()]

    async def page(self, wants: Sequence[Want], *, now: float, bytes_max: int) -> list[Page]:
        await self._database.reading("page")
        found: list[tuple[list[Owed], list[Owed]]] = []  # of each want: all rows, and those that it would get
        for want in wants:
            rows = [
                row
                for row in self._database.owed.values()
                if (row.partition, row.endpoint_id) == (want.partition, want.endpoint_id)
                and row.event_id not in want.held
            ]
            rows.sort(key=lambda row: row.due_at)
            until = math.inf if want.every else now
            due = [row for row in rows if row.due_at <= until][: want.limit]
            found.append((rows, due if want.every else self._runs(due, want.limit)))
        taken: list[list[tuple[Owed, Event | None]]] = [[] for _ in wants]
        for turn in zip_longest(*(due for _, due in found)):
            for mine, row in zip(taken, turn, strict=True):
                if row is not None and bytes_max > 0:
                    event = self._event_of(row)
                    mine.append((row, None if event is None else msgspec.structs.replace(event, audience=())))
                    bytes_max -= row.payload_bytes
        pages = []
        for (rows, _), mine in zip(found, taken, strict=True):
            ids = {row.event_id for row, _ in mine}
            rest = [row.due_at for row in rows if row.event_id not in ids]
            pages.append(Page(tuple(mine), min(rest, default=None)))
        return pages

    def _runs(self, due: Sequence[Owed], limit: int) -> list[Owed]:
        """Due rows; of a line whose row is due all of it, from its first row on."""
        found: list[tuple[int, Owed]] = []
        for row in due:
            run = self.line((row.partition, row.endpoint_id, row.line)) if row.line else [row]
            found += list(enumerate(run))[: limit // len(due)]
        return [row for _, row in sorted(found, key=lambda entry: entry[0])]

    # Configuration

    async def apps(self, app_ids: Collection[AppId]) -> list[AppConfig]:
        await self._database.reading("apps")
        return [self._app(app_id) for app_id in sorted(set(app_ids)) if self._exists(app_id)]

    def _exists(self, app_id: AppId) -> bool:
        app = self._database.apps.get(app_id)
        return app is not None and not app.deleted

    def _app(self, app_id: AppId) -> AppConfig:
        app = self._database.apps[app_id]
        now = self._database.clock()
        states = [e for e in self._database.endpoints.values() if e.app_id == app_id and not e.deleted]
        expiries = [s.expires_at for state in states for s in state.secrets if s.expires_at is not None]
        expiries += [k.expires_at for state in states for k in state.keys if k.expires_at is not None]
        ends = [g.expires_at for g in self._database.grants.values() if g.app_id == app_id and g.expires_at is not None]
        grants = Shrinkage(
            app.shrunk_version,
            expired_at=max((at for at in ends if at <= now), default=None),
            expires_at=min((at for at in ends if at > now), default=None),
        )
        return AppConfig(
            app_id=app_id,
            partition=app.partition,
            version=app.config_version,
            endpoints=tuple(self._endpoint(state, now, grants) for state in sorted(states, key=lambda state: state.id)),
            grants=grants,
            refresh_at=min((at for at in (*expiries, *ends) if at > now), default=None),
        )

    def _endpoint(self, state: EndpointState, now: float, grants: Shrinkage) -> Endpoint:
        valid = [s.secret for s in reversed(state.secrets) if s.expires_at is None or s.expires_at > now]
        verifying = self._database.verifications.get(state.id)
        verification = None if verifying is None else verifying.verification
        return state.config.endpoint(
            id=state.id,
            app_id=state.app_id,
            partition=self._database.apps[state.app_id].partition,
            revision=state.revision,
            enabled=state.enabled,
            paused=state.paused,
            secrets=tuple(valid),
            keys=texts_of(state.keys, now=now),
            pinned_schemas={
                pin[0]: schema
                for pin in state.config.payload_versions.items()
                if (schema := self._database.schemas.get(pin)) is not None
            },
            health=self._database.health.get(state.id, HEALTHY),
            throttle=self._database.throttles.get(state.id),
            verified=state.config.handshake is None or (verification is not None and verification.sendable),
            allowed_per_second=None if verification is None else verification.allowed_per_second,
            grants=grants,
        )

    async def changed_apps(self, partition: int, *, since_version: int) -> tuple[int, list[AppId]]:
        await self._database.reading("changed_apps")
        apps = self._database.apps.values()
        changed = [app.id for app in apps if app.partition == partition and app.config_version > since_version]
        return self._partition(partition).config_version, changed

    async def covered(self, app_id: AppId, event_type: str, subject: str | None) -> bool:
        await self._database.reading("covered")
        return self._database.covered(app_id, event_type, subject)

    async def endpoint_apps(self, endpoint_ids: Collection[EndpointId]) -> dict[EndpointId, AppId]:
        await self._database.reading("endpoint_apps")
        found = [e for e in map(self._database.endpoints.get, endpoint_ids) if e is not None]
        return {endpoint.id: endpoint.app_id for endpoint in found if not endpoint.deleted}


def _check(batch: JournalBatch) -> None:
    for attempt in batch.attempts:
        refuse_nul(_texts(attempt))
    refuse_nul(effect.reason for effect in batch.effects)


def _texts(attempt: Attempt) -> tuple[str | None, ...]:
    return (attempt.reason, attempt.url, attempt.address, attempt.error)
