"""An adapter of the log and the store, with what a test needs beside the ports: to configure apps, and to look inside.

A `World` is the same to a test whatever is behind it: the reference model in memory, or PostgreSQL.
"""

from __future__ import annotations

import time
from typing import Any, Final, Protocol

import asyncpg
import msgspec
from tests.installed import Installed

from posthouse.adapters.memory import MemoryDatabase, MemoryLog, MemoryStore
from posthouse.adapters.memory.calls import MemoryCalls
from posthouse.adapters.postgres.calls import PostgresCalls
from posthouse.adapters.postgres.days import ensure_days
from posthouse.adapters.postgres.grants import PostgresGrants
from posthouse.domain.delivery import Attempt, AttemptOutcome, DeliveryClass, Rollup
from posthouse.domain.endpoint import EndpointConfig, Secret
from posthouse.domain.exchange import Timings
from posthouse.domain.grant import Grant
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId
from posthouse.domain.limits import PARTITIONS
from posthouse.ports.calls import CallBook
from posthouse.ports.directory import Audit
from posthouse.ports.log import EventLog
from posthouse.ports.store import Store


class World(Protocol):
    """The ports under test, and the world around them."""

    @property
    def log(self) -> EventLog: ...

    @property
    def store(self) -> Store: ...

    @property
    def calls(self) -> CallBook: ...

    async def put_app(self, app_id: AppId, *, partition: int, uid: str | None = None) -> None: ...

    async def delete_app(self, app_id: AppId) -> None: ...

    async def put_endpoint(
        self,
        endpoint_id: EndpointId,
        app_id: AppId,
        config: EndpointConfig,
        *,
        enabled: bool = True,
        paused: bool = False,
    ) -> None: ...

    async def delete_endpoint(self, endpoint_id: EndpointId) -> None: ...

    async def put_secret(self, endpoint_id: EndpointId, key: bytes, *, expires_at: float | None = None) -> None: ...

    async def put_key(
        self, endpoint_id: EndpointId, name: str, text: str, *, expires_at: float | None = None
    ) -> None: ...

    async def put_version(self, event_type: str, version: int, schema: str | None) -> None:
        """Keep a version of an event type, which is made where it is not there."""
        ...

    async def forget_version(self, event_type: str, version: int) -> None: ...

    async def put_grant(self, grant: Grant) -> None: ...

    async def remove_grant(self, grant: Grant) -> None: ...

    async def make_private(self, event_type: str) -> None:
        """Make an event type that is never for an audience."""
        ...

    async def disabled_reason(self, endpoint_id: EndpointId) -> str | None: ...

    async def metadata(self, endpoint_id: EndpointId) -> dict[str, Any]: ...

    async def poke(self, partition: int) -> None: ...

    async def age_keys(self, seconds: float) -> None:
        """Let every idempotency key have been used so much earlier."""
        ...

    async def retire_events(self) -> None:
        """Drop every event from the log, as retention does with those of a day."""
        ...

    async def attempts(self) -> list[Attempt]:
        """All that is on record, by id."""
        ...

    async def rollups(self) -> list[Rollup]:
        """All counters, by endpoint and minute."""
        ...


class MemoryWorld:
    """The reference model."""

    def __init__(self, *, partitions: int = PARTITIONS) -> None:
        self.database = MemoryDatabase(clock=time.time, partitions=partitions)
        self.log = MemoryLog(self.database)
        self.store = MemoryStore(self.database)
        self.calls = MemoryCalls(self.database)

    async def put_app(self, app_id: AppId, *, partition: int, uid: str | None = None) -> None:
        self.database.put_app(app_id, partition=partition, uid=uid)

    async def delete_app(self, app_id: AppId) -> None:
        self.database.delete_app(app_id)

    async def put_endpoint(
        self,
        endpoint_id: EndpointId,
        app_id: AppId,
        config: EndpointConfig,
        *,
        enabled: bool = True,
        paused: bool = False,
    ) -> None:
        self.database.put_endpoint(endpoint_id, app_id, config, enabled=enabled, paused=paused)

    async def delete_endpoint(self, endpoint_id: EndpointId) -> None:
        self.database.delete_endpoint(endpoint_id)

    async def put_secret(self, endpoint_id: EndpointId, key: bytes, *, expires_at: float | None = None) -> None:
        self.database.put_secret(endpoint_id, Secret("v1", key), expires_at=expires_at)

    async def put_key(self, endpoint_id: EndpointId, name: str, text: str, *, expires_at: float | None = None) -> None:
        self.database.put_key(endpoint_id, name, text, expires_at=expires_at)

    async def put_version(self, event_type: str, version: int, schema: str | None) -> None:
        self.database.put_version(event_type, version, schema)

    async def forget_version(self, event_type: str, version: int) -> None:
        self.database.forget_version(event_type, version)

    async def put_grant(self, grant: Grant) -> None:
        self.database.put_grant(grant)

    async def remove_grant(self, grant: Grant) -> None:
        self.database.remove_grant(grant.id)

    async def make_private(self, event_type: str) -> None:
        self.database.private_types.add(event_type)

    async def disabled_reason(self, endpoint_id: EndpointId) -> str | None:
        return self.database.endpoints[endpoint_id].disabled_reason

    async def metadata(self, endpoint_id: EndpointId) -> dict[str, Any]:
        return self.database.endpoints[endpoint_id].metadata

    async def poke(self, partition: int) -> None:
        self.database.poke(partition)

    async def age_keys(self, seconds: float) -> None:
        for key in self.database.keys.values():
            key.created_at -= seconds

    async def retire_events(self) -> None:
        self.database.retire(before=float("inf"))

    async def attempts(self) -> list[Attempt]:
        return sorted(self.database.attempts.values(), key=lambda attempt: attempt.id)

    async def rollups(self) -> list[Rollup]:
        return sorted(self.database.rollups.values(), key=lambda rollup: (rollup.endpoint_id, rollup.minute))


AUDIT: Final = Audit("test", "test", "test")

# What the tests leave behind, in an order that foreign keys allow.
_TABLES: Final = (
    "event",
    "event_key",
    "attempt",
    "delivery",
    "effect",
    "endpoint_health",
    "rollup_minute",
    "traffic",
    "traffic_latency",
    "job",
    "process",
    "server",
    "secret",
    "endpoint_key",
    "endpoint_verification",
    "endpoint_revision",
    "endpoint",
    "app_grant",
    "schedule",
    "api_key",
    "data_key",
    "app",
    "event_type_version",
    "event_type",
)


class PostgresWorld:
    """PostgreSQL, and statements beside the adapters."""

    def __init__(self, postgres: Installed) -> None:
        self.database = postgres.reading
        self.log = postgres.log
        self.store = postgres.store
        self.calls = PostgresCalls(postgres.reading)
        self.grants = PostgresGrants(postgres.reading)

    async def clear(self) -> None:
        """Make the database as if it had just been installed."""
        async with self.database.transaction() as connection:
            for table in _TABLES:
                await connection.execute(f"DELETE FROM {table}")
            await connection.execute("SELECT install(1)")  # brings back what every installation has
            await connection.execute("UPDATE log_head SET seq = 0")
            await connection.execute("UPDATE config_head SET version = 1")
            await connection.execute(
                "UPDATE partition SET owner = NULL, epoch = 0, lease_until = '-infinity', cursor = 0, poke = 0, batch = 0, "
                "batch_epoch = 0, cursor_at = clock_timestamp()"
            )

    async def put_app(self, app_id: AppId, *, partition: int, uid: str | None = None) -> None:
        await self.database.execute(
            "INSERT INTO app (id, uid, partition, config_version) VALUES ($1, $2, $3, 0) "
            "ON CONFLICT (id) DO UPDATE SET uid = EXCLUDED.uid",
            app_id,
            uid,
            partition,
        )
        await self._bump(app_id)

    async def delete_app(self, app_id: AppId) -> None:
        await self.database.execute("UPDATE app SET deleted_at = clock_timestamp() WHERE id = $1", app_id)
        await self.database.execute("DELETE FROM app_grant WHERE app_id = $1", app_id)
        await self._bump(app_id)

    async def put_endpoint(
        self,
        endpoint_id: EndpointId,
        app_id: AppId,
        config: EndpointConfig,
        *,
        enabled: bool = True,
        paused: bool = False,
    ) -> None:
        await self.database.execute(
            "INSERT INTO endpoint AS e (id, app_id, config, enabled, paused) VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT (id) DO UPDATE SET config = EXCLUDED.config, enabled = EXCLUDED.enabled, "
            "paused = EXCLUDED.paused, revision = e.revision + (e.config::text <> EXCLUDED.config::text)::int",
            endpoint_id,
            app_id,
            msgspec.json.encode(config).decode(),
            enabled,
            paused,
        )
        await self._bump(app_id)

    async def delete_endpoint(self, endpoint_id: EndpointId) -> None:
        await self.database.execute("UPDATE endpoint SET deleted_at = clock_timestamp() WHERE id = $1", endpoint_id)
        await self._bump_of(endpoint_id)

    async def put_secret(self, endpoint_id: EndpointId, key: bytes, *, expires_at: float | None = None) -> None:
        await self.database.execute(
            "INSERT INTO secret (owner_id, kind, version, ciphertext, expires_at) SELECT $1, 'v1', "
            "(SELECT count(*) + 1 FROM secret WHERE owner_id = $1), $2, to_timestamp($3)",
            endpoint_id,
            key,
            expires_at,
        )
        await self._bump_of(endpoint_id)

    async def put_key(self, endpoint_id: EndpointId, name: str, text: str, *, expires_at: float | None = None) -> None:
        await self.database.execute(
            "INSERT INTO endpoint_key (endpoint_id, name, version, ciphertext, expires_at) SELECT $1, $2, "
            "(SELECT count(*) + 1 FROM endpoint_key WHERE endpoint_id = $1), $3, to_timestamp($4)",
            endpoint_id,
            name,
            text.encode(),
            expires_at,
        )
        await self._bump_of(endpoint_id)

    async def put_version(self, event_type: str, version: int, schema: str | None) -> None:
        await self.database.execute("INSERT INTO event_type (name) VALUES ($1) ON CONFLICT DO NOTHING", event_type)
        await self.database.execute(
            "INSERT INTO event_type_version (name, version, schema) VALUES ($1, $2, $3)", event_type, version, schema
        )

    async def forget_version(self, event_type: str, version: int) -> None:
        await self.database.execute(
            "DELETE FROM event_type_version WHERE name = $1 AND version = $2", event_type, version
        )

    async def put_grant(self, grant: Grant) -> None:
        assert await self.grants.create(grant, AUDIT) is not None

    async def remove_grant(self, grant: Grant) -> None:
        assert await self.grants.delete(grant.app_id, grant.id, AUDIT)

    async def make_private(self, event_type: str) -> None:
        await self.database.execute("INSERT INTO event_type (name, visibility) VALUES ($1, 'private')", event_type)

    async def _bump(self, app_id: AppId) -> None:
        await self.database.execute("SELECT bump_config($1)", app_id)

    async def _bump_of(self, endpoint_id: EndpointId) -> None:
        await self.database.execute("SELECT bump_config(app_id) FROM endpoint WHERE id = $1", endpoint_id)

    async def disabled_reason(self, endpoint_id: EndpointId) -> str | None:
        reason = await self.database.fetchval("SELECT disabled_reason FROM endpoint WHERE id = $1", endpoint_id)
        return None if reason is None else str(reason)

    async def metadata(self, endpoint_id: EndpointId) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(
            await self.database.fetchval("SELECT metadata FROM endpoint WHERE id = $1", endpoint_id)
        )
        return found

    async def poke(self, partition: int) -> None:
        await self.database.execute("UPDATE partition SET poke = poke + 1 WHERE id = $1", partition)

    async def age_keys(self, seconds: float) -> None:
        await ensure_days(self.database, now=time.time() - 86_400, ahead=0)
        await self.database.execute("UPDATE event_key SET created_at = created_at - make_interval(secs => $1)", seconds)

    async def retire_events(self) -> None:
        await self.database.execute("DELETE FROM event")

    async def attempts(self) -> list[Attempt]:
        rows = await self.database.fetch(
            "SELECT *, extract(epoch FROM started_at)::float8 AS started FROM attempt ORDER BY id"
        )
        return [_attempt(row) for row in rows]

    async def rollups(self) -> list[Rollup]:
        rows = await self.database.fetch(
            "SELECT *, extract(epoch FROM minute)::bigint / 60 AS unix_minute FROM rollup_minute "
            "ORDER BY endpoint_id, minute"
        )
        return [
            Rollup(
                partition=row["partition"],
                minute=row["unix_minute"],
                app_id=AppId(row["app_id"]),
                endpoint_id=EndpointId(row["endpoint_id"]),
                delivered=row["delivered"],
                failed=row["failed"],
                gave_up=row["gave_up"],
                total_us=row["total_us"],
                latency=tuple(row["latency"] or ()),
            )
            for row in rows
        ]


def _attempt(row: asyncpg.Record) -> Attempt:
    return Attempt(
        id=AttemptId(row["id"]),
        partition=row["partition"],
        app_id=AppId(row["app_id"]),
        endpoint_id=EndpointId(row["endpoint_id"]),
        event_id=EventId(row["event_id"]),
        seq=row["seq"],
        number=row["number"],
        kind=DeliveryClass(row["kind"]),
        outcome=AttemptOutcome(row["outcome"]),
        reason=row["reason"],
        revision=row["revision"],
        url=row["url"],
        started_at=row["started"],
        sent=row["sent"],
        status=row["status"],
        address=row["address"],
        timings=Timings(row["dns_us"], row["connect_us"], row["tls_us"], row["first_byte_us"], row["total_us"]),
        response_headers=row["response_headers"],
        response_body=row["response_body"],
        error=row["error"],
        request_id=row["request_id"],
        reaction=row["reaction"],
    )
