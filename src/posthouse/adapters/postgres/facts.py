"""From rows to what people look at."""

from __future__ import annotations

import math
from typing import Any, Final

import asyncpg
import msgspec

from posthouse.domain.delivery import AttemptOutcome, OwedReason
from posthouse.domain.endpoint import EndpointConfig, Ordering
from posthouse.domain.estimate import Pace
from posthouse.domain.exchange import Timings
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId
from posthouse.domain.verification import lower
from posthouse.ports.inspect import AttemptFacts, EventFacts, OwedFacts, Route, RouteState

_config: Final = msgspec.json.Decoder(EndpointConfig)


def route_of(row: asyncpg.Record) -> Route:
    if row["owed"]:
        state = RouteState.IN_PROGRESS if row["reason"] == OwedReason.IN_FLIGHT else RouteState.OWED
    elif row["outcome"] == AttemptOutcome.FAILED:
        state = RouteState.IN_PROGRESS  # between two of its homes
    else:
        state = RouteState.DELIVERED if row["outcome"] == AttemptOutcome.DELIVERED else RouteState.GAVE_UP
    return Route(
        app_id=AppId(row["app_id"]),
        endpoint_id=EndpointId(row["endpoint_id"]),
        state=state,
        attempts=row["attempts"],
        reason=row["reason"],
        due_at=finite(row["due_at"]),
    )


def event_facts(row: asyncpg.Record) -> EventFacts:
    """An event without its payload, from a row that holds the columns of the `events` query."""
    return EventFacts(
        id=EventId(row["id"]),
        app_id=row["app_id"],
        type=row["type"],
        subject=row["subject"],
        key=row["key"],
        source=row["source"],
        channels=tuple(row["channels"] or ()),
        attributes=row["attributes"],
        content_type=row["content_type"],
        payload_bytes=row["payload_bytes"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        cause=row["cause"],
        depth=row["depth"],
    )


def attempt_facts(row: asyncpg.Record) -> AttemptFacts:
    """An attempt, from a row that holds the columns of the `attempts` query."""
    return AttemptFacts(
        id=AttemptId(row["id"]),
        app_id=AppId(row["app_id"]),
        event_id=EventId(row["event_id"]),
        endpoint_id=EndpointId(row["endpoint_id"]),
        type=row["type"],
        number=row["number"],
        kind=row["kind"],
        outcome=row["outcome"],
        reason=row["reason"],
        sent=row["sent"],
        status=row["status"],
        revision=row["revision"],
        url=row["url"],
        address=row["address"],
        started_at=row["started_at"],
        timings=Timings(
            dns_us=row["dns_us"],
            connect_us=row["connect_us"],
            tls_us=row["tls_us"],
            first_byte_us=row["first_byte_us"],
            total_us=row["total_us"],
        ),
        error=row["error"],
        reaction=row["reaction"],
    )


def owed_facts(row: asyncpg.Record | dict[str, Any]) -> OwedFacts:
    return OwedFacts(**{**row, "due_at": finite(row["due_at"])})


def finite(at: float | None) -> float | None:
    """A time; None for none, and for one that never comes."""
    return at if at is not None and math.isfinite(at) else None


def pace_of(row: asyncpg.Record) -> Pace:
    config = _config.decode(row["config"])
    return Pace(
        open=row["open"],
        concurrency=1 if config.ordering is Ordering.ENDPOINT else config.concurrency,
        per_second=lower(
            None if config.rate_limit is None else config.rate_limit.per_second, row["allowed_per_second"]
        ),
        held_until=row["held_until"],
        attempts=row["attempts"],
        total_us=row["total_us"],
    )
