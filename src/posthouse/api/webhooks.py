"""Event types as the requests that receivers get: what OpenAPI's `webhooks` and the AsyncAPI document have in common.

A receiver gets the standard envelope, `{"type", "timestamp", "data"}`, with the event's data as the type's schema has it. Each
type gives two schemas: `event.<name>` of its data, `webhook.<name>` of the whole body.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from posthouse.api.texts.accepted import Language
from posthouse.api.texts.descriptions import all_described, described
from posthouse.domain.json_schema import moved
from posthouse.domain.limits import DOCUMENT_BYTES_MAX, DOCUMENT_TYPES_MAX
from posthouse.ports.event_types import EventType

SCHEMAS: Final = "#/components/schemas/"
EXAMPLE_TIME: Final = "2026-01-02T03:04:05.678Z"
HEADERS: Final[dict[str, dict[str, Any]]] = {
    "webhook-id": {
        "type": "string",
        "description": "The event's id: the same each time the event is sent, so that a repeat can be told.",
        "examples": ["evt_06b1v8k3m5x7q2n9r4t6w8y0aa"],
    },
    "webhook-timestamp": {
        "type": "string",
        "pattern": "^[0-9]+$",
        "description": "When this request was sent, in unix seconds. Refuse one that is minutes old.",
        "examples": ["1767323045"],
    },
    "webhook-signature": {
        "type": "string",
        "description": "Standard Webhooks: signatures over id, timestamp and body, with spaces between; one must verify.",
        "examples": ["v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="],
    },
}
REPLAY: Final[dict[str, Any]] = {
    "type": "string",
    "const": "true",
    "description": "Somebody asked for the event to be sent again. Not signed.",
}
ACCEPTED: Final = "When the event was accepted."
RESPONSES: Final[dict[str, dict[str, Any]]] = {
    "2XX": {"description": "Confirmed. No body is needed."},
    "410": {"description": "Not wanted any more: the endpoint is disabled."},
    "default": {"description": "Not confirmed: it is sent again later; not before `Retry-After`, where there is one."},
}
CUT: Final = (
    f"There are more event types than this document holds: {DOCUMENT_TYPES_MAX} by name, or {DOCUMENT_BYTES_MAX} bytes of "
    "their schemas and examples. GET /v1/event-types lists them all."
)


def data_name(event_type: str) -> str:
    """The component with the schema of a type's data."""
    return f"event.{event_type}"


def body_name(event_type: str) -> str:
    """The component with the schema of the whole body."""
    return f"webhook.{event_type}"


def schemas(types: Iterable[EventType], language: Language) -> dict[str, Any]:
    """The components of these types."""
    found: dict[str, Any] = {}
    timestamp = {"type": "string", "format": "date-time", "description": described(ACCEPTED, language)}
    for entry in types:
        name = data_name(entry.name)
        schema = {} if entry.schema is None else msgspec.json.decode(entry.schema)
        found[name] = moved(schema, SCHEMAS + name, name=entry.name)
        found[body_name(entry.name)] = {
            "type": "object",
            "title": entry.name,
            "required": ["type", "timestamp", "data"],
            "properties": {
                "type": {"const": entry.name},
                "timestamp": timestamp,
                "data": {"$ref": SCHEMAS + name},
            },
        }
    return found


def example_bodies(entry: EventType) -> list[dict[str, Any]]:
    """The type's examples, as bodies."""
    return [{"type": entry.name, "timestamp": EXAMPLE_TIME, "data": example} for example in entry.examples]


def told_of(entry: EventType, language: Language) -> str:
    """What is said of a type: what its description says, in whatever language that is."""
    return entry.description or described(f"An event of the type {entry.name}.", language)


def with_webhooks(
    document: dict[str, Any], types: Sequence[EventType], language: Language, *, cut: bool
) -> dict[str, Any]:
    """The OpenAPI document with a webhook for each type; the document itself, which is in this language, stays as it is."""
    components = document["components"]
    whole = document | {
        "components": components | {"schemas": components["schemas"] | schemas(types, language)},
        "webhooks": {entry.name: {"post": _operation(entry, language)} for entry in types},
    }
    if cut:
        info = document["info"]
        told = f"{info['description']}\n\n{described(CUT, language)}"
        whole["info"] = info | {"description": told, "x-webhooks-truncated": True}
    return whole


def _operation(entry: EventType, language: Language) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": SCHEMAS + body_name(entry.name)}}
    bodies = example_bodies(entry)
    if bodies:
        content["examples"] = {str(number): {"value": body} for number, body in enumerate(bodies, 1)}
    return {
        "tags": ["webhooks"],
        "operationId": f"webhook.{entry.name}",
        "summary": entry.name,
        "description": told_of(entry, language),
        "x-event-type-version": entry.version,
        "security": [],
        "parameters": [
            *(
                {"name": name, "in": "header", "required": True} | _parameter(schema, language)
                for name, schema in HEADERS.items()
            ),
            {"name": "webhook-replay", "in": "header", "required": False} | _parameter(REPLAY, language),
        ],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": all_described(RESPONSES, language),
    }


def _parameter(schema: dict[str, Any], language: Language) -> dict[str, Any]:
    return {
        "description": described(schema["description"], language),
        "schema": {name: value for name, value in schema.items() if name != "description"},
    }
