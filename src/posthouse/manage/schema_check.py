"""What another schema of an event type would break, and whom: in words, in receivers, and in events of late."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.evolution import Evolution, compare
from posthouse.domain.ids import EventId
from posthouse.domain.limits import (
    SAMPLE_BYTES_MAX,
    SAMPLE_ERRORS_MAX,
    SAMPLE_EVENTS_MAX,
    SAMPLE_SEARCHED_MAX,
    SUBSCRIBERS_COUNTED_MAX,
    SUBSCRIBERS_SHOWN_MAX,
)
from posthouse.domain.redaction import REDACTED
from posthouse.intake.catalogue import compile_schema, faults_of
from posthouse.ports.event_types import EventType, EventTypeStore, Subscriber

MESSAGE_LENGTH_MAX = 200
_NO_PATTERN: Final = 'is not a "regex"'
_WHY_NOT: Final = "; a pattern has no look-around and no back-references, so that it takes linear time"


class Misfit(msgspec.Struct, frozen=True):
    """A stored event that the new schema refuses, and its first fault: where in the data, and what."""

    event_id: EventId
    path: str
    detail: str


class Sample(msgspec.Struct, frozen=True):
    """How many of the newest stored events of the type would fit, and the first few that would not."""

    events: int
    fit: int
    misfits: tuple[Misfit, ...]


class SchemaCheck(msgspec.Struct, frozen=True, kw_only=True):
    """`subscribers` are the first of `subscribers_counted`, which ends at a bound."""

    entry: EventType  # as it is now
    evolution: Evolution
    subscribers: list[Subscriber]
    subscribers_counted: int
    sample: Sample


async def check_schema(store: EventTypeStore, entry: EventType, schema: dict[str, Any] | None) -> SchemaCheck:
    """Raises Invalid where it is no JSON Schema."""
    validator = None if schema is None else compiled(msgspec.json.encode(schema).decode())
    subscribers, counted = await store.subscribers(
        entry.name, limit=SUBSCRIBERS_SHOWN_MAX, counted_max=SUBSCRIBERS_COUNTED_MAX
    )
    payloads = await store.recent_payloads(
        entry.name, searched_max=SAMPLE_SEARCHED_MAX, limit=SAMPLE_EVENTS_MAX, bytes_max=SAMPLE_BYTES_MAX
    )
    known = None if entry.schema is None else msgspec.json.decode(entry.schema)
    # Off the loop: large schemas and events take their time, and others are being delivered to.
    evolution = await asyncio.to_thread(compare, known, schema)
    sample = await asyncio.to_thread(_sampled, validator, payloads, shown=not entry.redact)
    return SchemaCheck(
        entry=entry,
        evolution=evolution,
        subscribers=subscribers,
        subscribers_counted=counted,
        sample=sample,
    )


def compiled(schema: str) -> Any:
    """A validator for JSON Schema text. Raises Invalid."""
    try:
        return compile_schema(schema)
    except ValueError as error:
        told = str(error).partition("\n")[0][:300]
        if told.endswith(_NO_PATTERN):
            told += _WHY_NOT
        raise Invalid(f"this is not a JSON Schema: {told}", path="schema", code="invalid_schema") from None


def _sampled(validator: Any, payloads: list[tuple[EventId, bytes]], *, shown: bool) -> Sample:
    """`shown`: what an error says may quote the data."""
    if validator is None:
        return Sample(len(payloads), len(payloads), ())
    told: list[Misfit] = []
    fit = 0
    for event_id, payload in payloads:
        found = faults_of(validator, payload, most=1)
        if not found:
            fit += 1
        elif len(told) < SAMPLE_ERRORS_MAX:
            why = found[0].told[:MESSAGE_LENGTH_MAX] if shown else REDACTED
            told.append(Misfit(event_id, f"data{found[0].place}", why))
    return Sample(len(payloads), fit, tuple(told))
