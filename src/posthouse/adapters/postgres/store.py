"""The engine's store on PostgreSQL."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

import asyncpg
import msgspec

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.effects import PostgresEffects
from posthouse.adapters.postgres.history import History
from posthouse.adapters.postgres.log import event_of
from posthouse.adapters.postgres.pinned import Pin, pinned_by, schemas_of
from posthouse.adapters.postgres.queries import Queries
from posthouse.adapters.postgres.rows import (
    attempt_row,
    effect_columns,
    health_columns,
    health_of,
    ids_beside,
    owed_of,
    owed_row,
    rollup_row,
    throttle_of,
    turn,
)
from posthouse.adapters.postgres.sealed import keys_of, secrets_of
from posthouse.domain.delivery import (
    Cursor,
    DeliveryKey,
    JournalBatch,
    Line,
    RowKey,
)
from posthouse.domain.endpoint import AppConfig, Endpoint, EndpointConfig
from posthouse.domain.grant import Shrinkage
from posthouse.domain.ids import (
    ID_BYTES,
    AppId,
    AttemptId,
    EndpointId,
    EventId,
    id_beside,
    lower_bound,
)
from posthouse.domain.limits import CLOCK_SKEW_SECONDS_MAX, OUTSIDE_ROWS_MAX
from posthouse.ports.sealing import OpenSecret
from posthouse.ports.store import Claim, Journalled, LateResult, Page, Want

SQL = Queries("store.sql")

_CONFIG = msgspec.json.Decoder(EndpointConfig)


class PostgresStore(PostgresEffects):
    """`ports.store.Store` on PostgreSQL: `journalling` is written by one task at a time, `reading` by all, and `polling` (by
    default the same) is for what is asked over and over. Results are written to the `history` by which they were made, and to
    no other."""

    def __init__(
        self,
        journalling: Database,
        reading: Database,
        open_secret: OpenSecret,
        *,
        polling: Database | None = None,
        history: History | None = None,
    ) -> None:
        super().__init__(reading)
        self._journalling = journalling
        self._polling = polling or reading
        self._open_secret = open_secret
        self._history = history

    # Ownership

    async def partitions(self) -> int:
        return int(await self._reading.fetchval(SQL.partitions))

    async def claim(
        self, owner: bytes, *, limit: int, lease_seconds: float, exclusive: bool, dead: Collection[bytes] = ()
    ) -> list[Claim]:
        rows = await self._reading.fetch(SQL.claim, owner, limit, lease_seconds, list(dead), exclusive, writing=True)
        return [
            Claim(
                r["id"],
                r["epoch"],
                Cursor(r["id"], r["cursor"], r["cursor_at"]),
                r["previous"],
                r["on_record_seconds"] if r["previous"] is None else 0.0,
            )
            for r in rows
        ]

    async def renew(self, owner: bytes, epochs: Mapping[int, int], *, lease_seconds: float) -> set[int]:
        rows = await self._reading.fetch(
            SQL.renew, owner, list(epochs), list(epochs.values()), lease_seconds, writing=True
        )
        return {row[0] for row in rows}

    async def release(
        self, owner: bytes, epochs: Mapping[int, int], *, on_record: Mapping[int, float] | None = None
    ) -> None:
        seconds = [(on_record or {}).get(partition, math.inf) for partition in epochs]
        await self._reading.execute(SQL.release, owner, list(epochs), list(epochs.values()), seconds)

    async def attend(self, owner: bytes, *, seconds: float) -> None:
        await self._reading.execute(SQL.attend, owner, seconds)

    async def processes(self) -> dict[bytes, bool]:
        # One that owns something and takes part is told of twice, the second time as taking part.
        return {row["id"]: row["attends"] for row in await self._polling.fetch(SQL.processes)}

    # The journal

    async def journal(self, batch: JournalBatch, *, now: float, lease_seconds: float) -> Journalled:
        row = await self._journalling.fetchrow(
            SQL.journal,
            batch.owner,
            lease_seconds,
            batch.number,
            now,
            list(batch.epochs),
            list(batch.epochs.values()),
            [attempt_row(attempt) for attempt in batch.attempts],
            [owed_row(owed) for owed in batch.owed],
            *turn(batch.settled, 3),
            *turn([(c.partition, c.seq, c.at) for c in batch.cursors], 3),
            *turn([effect_columns(effect) for effect in batch.effects], 6),
            *turn([health_columns(turn) for turn in batch.health], 8),
            *turn(batch.lines, 3),
            [rollup_row(rollup) for rollup in batch.rollups],
            None if self._history is None else self._history.fence,
            writing=True,
        )
        assert row is not None, "the function answers one row"
        lines: dict[Line, float | None] = {}
        if batch.lines and row["lines_line"]:
            dues = dict(zip(zip(row["lines_endpoint"], row["lines_line"], strict=True), row["lines_due"], strict=True))
            lines = {line: dues[line[1:]] for line in batch.lines if line[1:] in dues}
        return Journalled(set(row["held"]), lines)

    async def settle_late(self, results: Sequence[LateResult], *, sender: bytes, now: float) -> bool:
        partition = results[0][0].partition
        lines: set[tuple[EndpointId, int]] = set()
        applied = False
        async with self._journalling.transaction() as connection:
            await connection.fetch(SQL.lock_partition, partition)
            for attempt, owed, effects in results:
                key = (partition, attempt.endpoint_id, attempt.event_id, attempt.number, sender)
                if owed is None:
                    rows = await connection.fetch(SQL.late_delete, *key)
                else:
                    rows = await connection.fetch(SQL.late_update, *key, owed.number, owed.due_at, owed.reason.value)
                if not rows:
                    continue
                applied = True
                newest = await connection.fetchval(SQL.newest_attempt, [partition])
                stored = msgspec.structs.replace(attempt, id=AttemptId(id_beside(newest, attempt.id)))
                await connection.execute(SQL.late_attempt, *attempt_row(stored))
                if effects:
                    columns = turn([effect_columns(effect) for effect in effects], 6)
                    await connection.execute(SQL.late_effects, *columns)
                if line := rows[0]["key_hash"]:
                    lines.add((attempt.endpoint_id, line))
            for endpoint_id, line in lines:
                await connection.execute(SQL.order_line, now, partition, endpoint_id, line)
            if applied:
                await connection.execute(SQL.poke, partition)
        return applied

    # Recovery and the backlog

    async def newest_attempt(self, partitions: Collection[int]) -> AttemptId | None:
        raw = await self._reading.fetchval(SQL.newest_attempt, list(partitions))
        return None if raw is None else AttemptId(raw)

    async def recorded(self, partition: int, *, after: Cursor, until: int) -> set[DeliveryKey]:
        since = lower_bound(int((after.at - CLOCK_SKEW_SECONDS_MAX) * 1000))
        rows = await self._reading.fetch(SQL.recorded, partition, after.seq, until, since)
        return {(EndpointId(endpoint), EventId(event)) for endpoint, event in rows}

    async def recover_in_flight(self, owner: bytes, epochs: Mapping[int, int], *, previous: bytes, now: float) -> None:
        await self._reading.execute(SQL.recover_in_flight, owner, list(epochs), list(epochs.values()), previous, now)

    async def owed_endpoints(self, partitions: Collection[int]) -> list[tuple[int, EndpointId, float]]:
        rows = await self._reading.fetch(SQL.owed_endpoints, list(partitions))
        return [(partition, EndpointId(endpoint), due_at) for partition, endpoint, due_at in rows]

    async def page(self, wants: Sequence[Want], *, now: float, bytes_max: int) -> list[Page]:
        partitions = [w.partition for w in wants]
        endpoints = [w.endpoint_id for w in wants]
        untils = [math.inf if w.every else now for w in wants]
        held = [(ord_, event) for ord_, want in enumerate(wants, 1) for event in want.held]
        rows = await self._polling.fetch(
            SQL.page,
            partitions,
            endpoints,
            [w.limit for w in wants],
            untils,
            bytes_max,
            [ord_ for ord_, _ in held],
            [event for _, event in held],
        )
        later = {
            row["ord"]: row["due_at"] for row in await self._polling.fetch(SQL.next_due, partitions, endpoints, untils)
        }
        found: dict[int, list[asyncpg.Record]] = {}
        for row in rows:
            found.setdefault(row["ord"], []).append(row)
        # Where the payloads reached the bound, any want may have been cut short.
        cut = sum(row["payload_bytes"] for row in rows) >= bytes_max
        pages = []
        for ord_, want in enumerate(wants, 1):
            mine = found.get(ord_, [])
            more = cut or len(mine) >= want.limit
            pages.append(
                Page(
                    tuple((owed_of(row), event_of(row) if row["id"] is not None else None) for row in mine),
                    now if more else later.get(ord_),
                )
            )
        return pages

    # Configuration

    async def apps(self, app_ids: Collection[AppId]) -> list[AppConfig]:
        rows = await self._polling.fetch(SQL.apps, list(app_ids))
        configs = [(row, None if row["id"] is None else _CONFIG.decode(row["config"])) for row in rows]
        pins = {pin for _, config in configs if config is not None for pin in config.payload_versions.items()}
        schemas = await schemas_of(self._reading, pins)
        return [self._app(list(group), schemas) for _, group in groupby(configs, key=lambda each: each[0]["app_id"])]

    def _app(
        self, configs: Sequence[tuple[asyncpg.Record, EndpointConfig | None]], schemas: Mapping[Pin, str]
    ) -> AppConfig:
        rows = [row for row, _ in configs]
        first = rows[0]
        expiries = [
            at
            for row in rows
            for at in (*(row["secret_expiries"] or ()), *(row["key_expiries"] or ()))
            if at is not None
        ]
        shrinkage = Shrinkage(first["shrunk_version"], first["expired_at"], first["grants_expire_at"])
        if shrinkage.expires_at is not None:
            expiries.append(shrinkage.expires_at)
        return AppConfig(
            app_id=AppId(first["app_id"]),
            partition=first["partition"],
            version=first["config_version"],
            endpoints=tuple(
                self._endpoint(row, config, schemas, shrinkage) for row, config in configs if config is not None
            ),
            grants=shrinkage,
            refresh_at=min(expiries, default=None),
        )

    def _endpoint(
        self, row: asyncpg.Record, config: EndpointConfig, schemas: Mapping[Pin, str], grants: Shrinkage
    ) -> Endpoint:
        return config.endpoint(
            id=EndpointId(row["id"]),
            app_id=AppId(row["app_id"]),
            partition=row["partition"],
            revision=row["revision"],
            enabled=row["enabled"],
            paused=row["paused"],
            secrets=secrets_of(row, self._open_secret),
            keys=keys_of(row, self._open_secret),
            pinned_schemas=pinned_by(config, schemas),
            health=health_of(row),
            throttle=throttle_of(row),
            verified=config.handshake is None or row["sendable"] is True,
            allowed_per_second=row["allowed_per_second"],
            grants=grants,
        )

    async def changed_apps(self, partition: int, *, since_version: int) -> tuple[int, list[AppId]]:
        row = await self._reading.fetchrow(SQL.changed_apps, partition, since_version)
        assert row is not None, "a partition of this installation"
        return row["version"], row["apps"] or []

    async def covered(self, app_id: AppId, event_type: str, subject: str | None) -> bool:
        return bool(await self._reading.fetchval(SQL.covered, app_id, event_type, subject))

    async def hasten_revoked(
        self, owner: bytes, epoch: int, partition: int, app_id: AppId, endpoint_id: EndpointId, *, now: float
    ) -> None:
        after: bytes | None = bytes(ID_BYTES)
        while after is not None:
            after = await self._reading.fetchval(
                SQL.hasten_revoked,
                owner,
                partition,
                epoch,
                app_id,
                endpoint_id,
                after,
                now,
                OUTSIDE_ROWS_MAX,
                writing=True,
            )

    async def count_owed(self, partitions: Collection[int]) -> dict[EndpointId, int]:
        rows = await self._reading.fetch(SQL.count_owed, list(partitions))
        return {EndpointId(row["endpoint_id"]): row["rows"] for row in rows}

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
        async with self._reading.transaction() as connection:
            if not await connection.fetch(SQL.lock_owned, partition, epoch, owner):
                return 0
            newest = await connection.fetchval(SQL.newest_attempt, [partition])
            ids = ids_beside(newest, now=now, count=min(count, OUTSIDE_ROWS_MAX))
            gone = await connection.fetch(SQL.expire_oldest, now, partition, endpoint_id, list(held), ids, error)
        return len(gone)

    async def last_sent(self, partition: int, endpoint_id: EndpointId) -> float | None:
        row = await self._reading.fetchrow(SQL.last_sent, partition, endpoint_id)
        assert row is not None, "it asks for two values"
        if row["running"]:
            return math.inf
        last: float | None = row["last"]
        return last

    async def in_flight(self, sender: bytes, rows: Collection[RowKey]) -> set[RowKey]:
        asked = list(rows)
        columns = ([p for p, _, _ in asked], [endpoint for _, endpoint, _ in asked], [event for _, _, event in asked])
        found = await self._reading.fetch(SQL.in_flight, *columns, sender)
        return {(partition, EndpointId(endpoint), EventId(event)) for partition, endpoint, event in found}

    async def owed_lines(self, partition: int, endpoint_id: EndpointId, *, limit: int) -> list[int]:
        return [row[0] for row in await self._reading.fetch(SQL.owed_lines, partition, endpoint_id, limit)]

    async def endpoint_apps(self, endpoint_ids: Collection[EndpointId]) -> dict[EndpointId, AppId]:
        rows = await self._reading.fetch(SQL.endpoint_apps, list(endpoint_ids))
        return {EndpointId(endpoint): AppId(app) for endpoint, app in rows}
