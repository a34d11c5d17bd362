"""Rows of the engine's tables, from the domain's words and back."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import asyncpg

from posthouse.domain.circuit import CircuitState, Health
from posthouse.domain.delivery import (
    Attempt,
    DeliveryClass,
    Effect,
    EffectKind,
    HealthTurn,
    Owed,
    OwedReason,
    Rollup,
)
from posthouse.domain.endpoint import Throttle
from posthouse.domain.event import Draft
from posthouse.domain.ids import AttemptId, EndpointId, EventId, id_beside, next_id, uuid7


def ids_beside(newest: bytes | None, *, now: float, count: int) -> list[bytes]:
    """Ids for attempts that are written beside the owner's own, in the order of a partition's attempts."""
    ids = [id_beside(newest, uuid7(int(now * 1000), secrets.randbits(74)))]
    while len(ids) < count:
        ids.append(next_id(ids[-1]))
    return ids


def turn(rows: Sequence[tuple[object, ...]], width: int) -> list[tuple[object, ...]]:
    """Rows into columns; `width` empty columns where there is no row."""
    return list(zip(*rows, strict=True)) if rows else [()] * width


def attempt_row(a: Attempt) -> tuple[object, ...]:
    """An `attempt_record` (migrations/0018_reactions.sql)."""
    timings = a.timings
    return (
        a.partition, a.id, a.app_id, a.endpoint_id, a.event_id, a.seq, a.number, a.kind, a.outcome,
        a.reason, a.sent, a.revision, a.url, a.address, a.started_at, a.status, timings.dns_us,
        timings.connect_us, timings.tls_us, timings.first_byte_us, timings.total_us,
        a.response_headers, a.response_body, a.error, a.request_id, a.reaction,
    )  # fmt: skip


def owed_row(o: Owed) -> tuple[object, ...]:
    """A `delivery_row` (migrations/0016_rows.sql)."""
    return (
        o.partition, o.endpoint_id, o.event_id, o.seq, o.kind, o.number, o.due_at, o.reason,
        o.sender, o.expires_at, o.payload_bytes, o.line, o.known,
    )  # fmt: skip


def rollup_row(r: Rollup) -> tuple[object, ...]:
    """A `rollup_record` (migrations/0025_traffic.sql)."""
    return (
        r.partition, r.minute, r.app_id, r.endpoint_id, r.delivered, r.failed, r.gave_up, r.total_us, r.latency,
    )  # fmt: skip


def effect_columns(effect: Effect) -> tuple[object, ...]:
    data = None if effect.data is None else effect.data.decode()
    return (effect.partition, effect.id, effect.endpoint_id, effect.kind.value, effect.reason, data)


def follow_up_row(effect: Effect, d: Draft) -> tuple[object, ...]:
    """A `follow_up_row` (migrations/0018_reactions.sql)."""
    return (
        effect.partition, effect.id, d.id, d.app_id, d.type, d.content_type, d.payload, d.subject, d.key, d.cause, d.depth,
        d.only, d.to_url, d.source, d.channels or None, d.attributes, d.expires_at,
    )  # fmt: skip


def effect_of(row: asyncpg.Record) -> Effect:
    return Effect(
        id=AttemptId(row["id"]),
        partition=row["partition"],
        endpoint_id=EndpointId(row["endpoint_id"]),
        kind=EffectKind(row["kind"]),
        reason=row["reason"],
        data=None if row["data"] is None else row["data"].encode(),
    )


def health_columns(turn: HealthTurn) -> tuple[object, ...]:
    health = turn.health
    return (
        turn.partition, turn.endpoint_id, health.failing_since, health.circuit.value, health.opened_at, health.probe_at,
        health.trips, health.held_until,
    )  # fmt: skip


def health_of(row: asyncpg.Record) -> Health:
    """The health that a row of `endpoint` joined with `endpoint_health` tells of."""
    return Health(
        failing_since=row["failing_since"],
        circuit=CircuitState(row["circuit"] or CircuitState.CLOSED),
        opened_at=row["opened_at"],
        probe_at=row["probe_at"],
        trips=row["trips"] or 0,
        held_until=row["held_until"],
    )


def throttle_of(row: asyncpg.Record) -> Throttle | None:
    """The throttle that such a row tells of, which may have ended."""
    per_second = row["throttle_per_second"]
    return None if per_second is None else Throttle(per_second, row["throttle_until"])


def owed_of(row: asyncpg.Record) -> Owed:
    return Owed(
        partition=row["partition"],
        endpoint_id=EndpointId(row["endpoint_id"]),
        event_id=EventId(row["event_id"]),
        seq=row["seq"],
        number=row["number"],
        due_at=row["due_at"],
        reason=OwedReason(row["reason"]),
        kind=DeliveryClass(row["kind"]),
        line=row["key_hash"],
        sender=row["sender"],
        expires_at=row["owed_expires_at"],
        payload_bytes=row["payload_bytes"],
    )
