"""What people look at, on PostgreSQL, and sending a delivery again or not at all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import asyncpg
import msgspec

from posthouse.adapters.postgres.changes import write_audit
from posthouse.adapters.postgres.database import Connection, Database
from posthouse.adapters.postgres.facts import attempt_facts, event_facts, finite, owed_facts, pace_of, route_of
from posthouse.adapters.postgres.log import event_of
from posthouse.adapters.postgres.pinned import pinned_by, schemas_of
from posthouse.adapters.postgres.queries import Queries
from posthouse.adapters.postgres.searching import search
from posthouse.domain.delivery import AttemptOutcome, DeliveryClass, OwedReason
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.errors import Conflict, NotFound
from posthouse.domain.estimate import Pace
from posthouse.domain.event import Event
from posthouse.domain.ids import ID_BYTES, AppId, AttemptId, EndpointId, EventId, id_beside, lower_bound, unix_ms_of
from posthouse.domain.limits import CLOCK_SKEW_SECONDS_MAX
from posthouse.domain.order import UNORDERED, line_of
from posthouse.ports.directory import Audit
from posthouse.ports.inspect import (
    AttemptFacts,
    AttemptRecord,
    EndpointStats,
    EventFacts,
    Found,
    OwedFacts,
    OwedReasons,
    ReasonCount,
    Routes,
    Span,
    Where,
)

SQL = Queries("inspect.sql")

_config: Final = msgspec.json.Decoder(EndpointConfig)


class PostgresInspector:
    """`ports.inspect.Inspector` on PostgreSQL; the database's `statement_seconds` bounds every read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(
        self,
        where: Where | None,
        span: Span,
        *,
        type: str | None,
        subject: str | None,
        key: str | None = None,
        cause: EventId | None = None,
    ) -> Found[EventFacts]:
        # A statement each, so that each is planned with its index.
        if key is not None:
            rows = await self._database.read(
                SQL.events_by_key, key, span.before, span.since, type, subject, *_of(where), cause, span.limit
            )
        elif cause is not None:
            rows = await self._database.read(
                SQL.events_by_cause, cause, span.before, span.since, type, subject, *_of(where), span.limit
            )
        elif where is None and type is None and subject is None:
            rows = await self._database.read(SQL.all_events, span.before, span.since, None, None, span.limit)
        else:
            of = () if where is None else (where.app_id, where.partition)

            def arguments(before: bytes, since: bytes, limit: int) -> tuple[object, ...]:
                return *of, before, since, type, subject, limit

            query = SQL.all_events if where is None else SQL.events
            return await search(self._database, query, arguments, span, event_facts)
        return Found([event_facts(row) for row in rows])

    async def event(self, where: Where | None, event_id: EventId) -> tuple[EventFacts, Event] | None:
        row = await self._database.fetchrow(SQL.event, event_id, *_of(where))
        return None if row is None else (event_facts(row), event_of(row))

    async def event_routes(self, where: Where | None, event_id: EventId, *, limit: int) -> Routes:
        # First: what the cursor had passed then has a row or an attempt in what is seen later.
        pending = await self._database.fetchval(SQL.event_pending, event_id, _of(where)[0])
        rows = await self._database.read(SQL.event_routes, event_id, *_of(where), _earliest_attempt(event_id), limit)
        return Routes(taken=tuple(route_of(row) for row in rows), pending=pending)

    async def event_attempts(self, where: Where | None, event_id: EventId, span: Span) -> list[AttemptFacts]:
        since = max(span.since, _earliest_attempt(event_id))
        rows = await self._database.read(SQL.event_attempts, event_id, *_of(where), span.before, since, span.limit)
        return [attempt_facts(row) for row in rows]

    async def attempts(
        self,
        where: Where | None,
        span: Span,
        *,
        endpoint_id: EndpointId | None,
        outcome: AttemptOutcome | None,
        type: str | None,
    ) -> Found[AttemptFacts]:
        ended = None if outcome is None else outcome.value
        ill = outcome is not None and outcome is not AttemptOutcome.DELIVERED

        def arguments(before: bytes, since: bytes, limit: int) -> tuple[object, ...]:
            if where is None:
                return before, since, ended, type, limit
            return where.app_id, where.partition, before, since, endpoint_id, ended, type, limit

        of_all = SQL.all_ill_attempts if ill else SQL.all_attempts
        query = of_all if where is None else SQL.attempts
        if type is None and (ill or outcome is None):
            rows = await self._database.read(query, *arguments(span.before, span.since, span.limit))
            return Found([attempt_facts(row) for row in rows])
        return await search(self._database, query, arguments, span, attempt_facts)

    async def attempt(self, where: Where | None, attempt_id: AttemptId) -> AttemptRecord | None:
        row = await self._database.fetchrow(SQL.attempt, attempt_id, *_of(where))
        if row is None:
            return None
        facts = attempt_facts(row)
        found = await self.event(where, facts.event_id)
        config = None if row["config"] is None else _config.decode(row["config"])
        pins = {} if config is None else config.payload_versions
        schemas = await schemas_of(self._database, pins.items())
        return AttemptRecord(
            facts=facts,
            response_headers=row["response_headers"],
            response_body=row["response_body"],
            event=None if found is None else found[1],
            config=config,
            pinned_schemas={} if config is None else pinned_by(config, schemas),
        )

    async def owed(
        self,
        where: Where | None,
        *,
        before: tuple[bytes, bytes],
        limit: int,
        endpoint_id: EndpointId | None,
        reason: OwedReason | None = None,
        newest: bool = True,
    ) -> Found[OwedFacts]:
        waits = None if reason is None else reason.value

        def arguments(position: bytes, since: bytes, rows_max: int) -> tuple[object, ...]:
            place = (position[:ID_BYTES], position[ID_BYTES:])
            if where is None:
                return *place, rows_max, waits, since
            return where.app_id, where.partition, *place, endpoint_id, rows_max, waits, since

        query = SQL.all_owed if where is None else SQL.owed
        span = Span(before=before[0] + before[1], since=bytes(ID_BYTES), limit=limit, newest=newest)
        if reason is None or reason is OwedReason.BLOCKED:
            rows = await self._database.read(query, *arguments(span.before, span.since, limit))
            return Found([owed_facts(row) for row in rows])
        return await search(self._database, query, arguments, span, owed_facts)

    async def owed_reasons(
        self, where: Where | None, *, endpoint_id: EndpointId | None, counted_max: int
    ) -> OwedReasons:
        if where is None:
            rows = await self._database.read(SQL.all_owed_reasons, counted_max + 1)
        else:
            rows = await self._database.read(
                SQL.owed_reasons, where.app_id, where.partition, endpoint_id, counted_max + 1
            )
        return OwedReasons(
            reasons=tuple([ReasonCount(**row) for row in rows]),
            truncated=sum(row["owed"] for row in rows) > counted_max,
        )

    async def paces(
        self, endpoint_ids: Collection[EndpointId], *, since: float, minutes_max: int
    ) -> dict[EndpointId, Pace]:
        rows = await self._database.read(SQL.paces, list(endpoint_ids), since, minutes_max)
        return {EndpointId(row["id"]): pace_of(row) for row in rows}

    async def positions(self, rows: Sequence[OwedFacts], *, counted_max: int) -> list[int | None]:
        endpoints = [row.endpoint_id for row in rows]
        each = counted_max // max(len(set(endpoints)), 1)
        positions: list[int | None] = [None] * len(rows)
        for found in await self._database.read(SQL.positions, endpoints, [row.event_id for row in rows], each):
            positions[found["ord"] - 1] = found["position"]
        return positions

    async def stats(
        self, where: Where, endpoint_id: EndpointId, *, since: float, until: float, owed_max: int
    ) -> EndpointStats:
        (counts,) = await self._database.read(SQL.stats, where.partition, endpoint_id, since, until)
        (owed,) = await self._database.read(SQL.owed_count, where.partition, endpoint_id, owed_max)
        return EndpointStats(**counts, owed=owed["owed"], next_due_at=finite(owed["next_due_at"]))

    async def resend(
        self, where: Where, endpoint_id: EndpointId, event_id: EventId, *, now: float, audit: Audit
    ) -> OwedFacts:
        async with self._database.transaction() as connection:
            await connection.fetch(SQL.lock_partition, where.partition)
            facts = await connection.fetchrow(SQL.resend_facts, where.partition, event_id, endpoint_id, where.app_id)
            if facts is None or facts["seq"] is None:
                raise NotFound("there is no such event", code="event_not_found")
            if facts["enabled"] is None:
                raise NotFound("there is no such endpoint", code="endpoint_not_found")
            if not facts["dispatched"]:
                raise Conflict(
                    "this event is being delivered for the first time; try again shortly", code="in_progress"
                )
            if not facts["enabled"]:
                raise Conflict("the endpoint is disabled; enable it, then send again", code="endpoint_disabled")
            await owe_again(connection, where, endpoint_id, event_id, facts, due_at=now, now=now)
            row = await connection.fetchrow(SQL.owed_row, where.partition, endpoint_id, event_id, where.app_id)
            await connection.execute(SQL.poke, where.partition)
            await write_audit(connection, audit)
        assert row is not None, "it was written just now"
        return owed_facts({**row, "type": facts["type"]})

    async def cancel(
        self,
        where: Where,
        endpoint_id: EndpointId,
        event_id: EventId,
        *,
        attempt_id: AttemptId,
        now: float,
        audit: Audit,
    ) -> OwedFacts:
        key = (where.partition, endpoint_id, event_id)
        async with self._database.transaction() as connection:
            await connection.fetch(SQL.lock_partition, where.partition)
            facts = await connection.fetchrow(SQL.cancel_facts, *key, where.app_id)
            if facts is None or not facts["event"]:
                raise NotFound("there is no such event", code="event_not_found")
            if not facts["endpoint"]:
                raise NotFound("there is no such endpoint", code="endpoint_not_found")
            if not facts["dispatched"]:
                raise Conflict(
                    "this event is being delivered for the first time; try again shortly", code="in_progress"
                )
            if facts["reason"] is None:
                raise Conflict("this event is not owed to this endpoint, or no more", code="not_owed")
            if facts["reason"] == OwedReason.IN_FLIGHT:
                raise Conflict("the request is on its way to the target at this moment", code="in_flight")
            newest = await connection.fetchval(SQL.newest_attempt, where.partition)
            row = await connection.fetchrow(SQL.cancel, *key, id_beside(newest, attempt_id), where.app_id, now)
            assert row is not None, "a row that is there, under the partition's lock"
            if row["line"] != UNORDERED:
                await connection.execute(SQL.order_line, now, where.partition, endpoint_id, row["line"])
            await connection.execute(SQL.poke, where.partition)
            await write_audit(connection, audit)
        return owed_facts({**{name: value for name, value in row.items() if name != "line"}, "type": facts["type"]})


async def resend_facts(
    connection: Connection, where: Where, endpoint_id: EndpointId, event_id: EventId
) -> asyncpg.Record | None:
    """Of an event that is to be sent again, under the lock of its partition's row. None where it, or its endpoint, is gone."""
    facts = await connection.fetchrow(SQL.resend_facts, where.partition, event_id, endpoint_id, where.app_id)
    return None if facts is None or facts["seq"] is None or facts["enabled"] is None else facts


async def owe_again(
    connection: Connection,
    where: Where,
    endpoint_id: EndpointId,
    event_id: EventId,
    facts: asyncpg.Record,
    *,
    due_at: float,
    now: float,
) -> None:
    """Owe an event to an endpoint once more, with `resend_facts` of it, under the lock of its partition's row."""
    line = await connection.fetchval(
        SQL.resend,
        where.partition,
        endpoint_id,
        event_id,
        facts["seq"],
        due_at,
        facts["expires_at"],
        facts["payload_bytes"],
        line_of(_config.decode(facts["config"]).ordering, facts["key"], DeliveryClass.REPLAY),
    )
    if line != UNORDERED:
        await connection.execute(SQL.order_line, now, where.partition, endpoint_id, line)


def _of(where: Where | None) -> tuple[int | None, AppId | None]:
    return (None, None) if where is None else (where.partition, where.app_id)


def _earliest_attempt(event_id: EventId) -> bytes:
    """Nobody tried before the event was there: older days need not be searched."""
    return lower_bound(unix_ms_of(event_id) - 2 * CLOCK_SKEW_SECONDS_MAX * 1000)
