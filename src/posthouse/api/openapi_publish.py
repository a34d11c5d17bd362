"""The publish routes in the OpenAPI document: they are not the framework's, so that it knows nothing of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from posthouse.api.credentials import SECURITY
from posthouse.api.models.routing import ExplanationAnswer
from posthouse.domain.limits import (
    ATTRIBUTES_MAX,
    BATCH_BYTES_MAX,
    BATCH_EVENTS_MAX,
    CHANNELS_MAX,
    IDEMPOTENCY_KEY_LENGTH_MAX,
    NAME_LENGTH_MAX,
    PAYLOAD_BYTES_MAX,
)

Refer = Callable[..., dict[str, Any]]
"""Statuses -> references to the problems that are answered with them."""


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


_EVENT: Final = {
    "type": "object",
    "title": "Event",
    "description": "An event to publish.",
    "additionalProperties": False,
    "required": ["type", "data"],
    "properties": {
        "type": {"type": "string", "maxLength": NAME_LENGTH_MAX, "examples": ["order.created"]},
        "data": {"description": "Any JSON; delivered as it is, byte for byte."},
        "subject": {
            "type": ["string", "null"],
            "minLength": 1,
            "maxLength": NAME_LENGTH_MAX * 2,
            "description": "Whom the event is about.",
            "examples": ["shop:42"],
        },
        "key": {"type": ["string", "null"], "minLength": 1, "maxLength": NAME_LENGTH_MAX * 2},
        "channels": {
            "type": "array",
            "maxItems": CHANNELS_MAX,
            "items": {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH_MAX},
        },
        "expires_at": {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "Not delivered after this.",
        },
        "attributes": {
            "type": ["object", "null"],
            "maxProperties": ATTRIBUTES_MAX,
            "additionalProperties": {"type": "string"},
        },
        "idempotency_key": {
            "type": ["string", "null"],
            "minLength": 1,
            "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX,
            "description": "As the header, but for this event alone, whatever batch it comes in; it goes before the header.",
        },
    },
}
_ACCEPTED: Final = {
    "type": "object",
    "title": "Accepted",
    "description": "The event is in the log for good.",
    "required": ["id", "type", "created_at"],
    "properties": {
        "id": {"type": "string", "examples": ["evt_06b1v8k3m5x7q2n9r4t6w8y0aa"]},
        "type": {"type": "string"},
        "created_at": {"type": "string", "format": "date-time"},
        "apps": {
            "type": "integer",
            "description": "Of an event without an app, where it is new: how many apps it is for. It may be for none.",
        },
    },
}
_ACCEPTED_BATCH: Final = {
    "type": "object",
    "title": "AcceptedBatch",
    "required": ["data"],
    "properties": {"data": {"type": "array", "items": _reference("Accepted")}},
}
_CLOUD_EVENT: Final = {
    "type": "object",
    "title": "CloudEvent",
    "description": "CloudEvents 1.0 in the JSON format. Source and id are its idempotency key, unless a header gives one.",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1, "format": "uri-reference"},
        "type": {"type": "string", "maxLength": NAME_LENGTH_MAX, "description": "The name of an event type."},
        "subject": {"type": ["string", "null"]},
        "time": {"type": ["string", "null"], "format": "date-time"},
        "datacontenttype": {"type": ["string", "null"]},
        "dataschema": {"type": ["string", "null"], "format": "uri"},
        "data": {},
        "data_base64": {"type": ["string", "null"], "contentEncoding": "base64"},
    },
}
_APP: Final = {
    "name": "app",
    "in": "path",
    "required": True,
    "description": "Id or uid of the app.",
    "schema": {"type": "string"},
}
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Sent again with the same key and body within 24 hours, the event is the same and its id too.",
    "schema": {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX},
}
_RAW_TYPE: Final = {
    "name": "type",
    "in": "query",
    "required": False,
    "description": "The event type, where the body is not JSON.",
    "schema": {"type": "string", "maxLength": NAME_LENGTH_MAX},
}
_RAW_SUBJECT: Final = {
    "name": "subject",
    "in": "query",
    "required": False,
    "description": "Whom the event is about, where the body is not JSON.",
    "schema": {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH_MAX * 2},
}
_DRY_RUN: Final = {
    "name": "dry_run",
    "in": "query",
    "required": False,
    "description": "true: store nothing, and say whom the event would reach and why nobody else.",
    "schema": {"type": "boolean", "default": False},
}
_PUBLISH_PROBLEMS: Final = (400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503)


def publish_schemas() -> dict[str, Any]:
    """The schemas that the operations refer to."""
    explanation = ExplanationAnswer.model_json_schema(
        ref_template="#/components/schemas/{model}", mode="serialization", by_alias=True
    )
    parts = explanation.pop("$defs", {})
    return {
        "PublishEvent": _EVENT,
        "Accepted": _ACCEPTED,
        "AcceptedBatch": _ACCEPTED_BATCH,
        "CloudEvent": _CLOUD_EVENT,
        "ExplanationAnswer": explanation,
        **parts,
    }


def publish_operations(refer: Refer) -> dict[str, Any]:
    """The POST operations by path."""
    return {
        "/v1/events": _publish(refer, app=False),
        "/v1/events/batch": _publish_batch(refer, app=False),
        "/v1/apps/{app}/events": _publish(refer, app=True),
        "/v1/apps/{app}/events/batch": _publish_batch(refer, app=True),
    }


def _publish(refer: Refer, *, app: bool) -> dict[str, Any]:
    whom = (
        "Append an event for one app."
        if app
        else "Append an event for every app whose grants cover its type and its subject; `apps` says how many."
    )
    return {
        "tags": ["publish"],
        "operationId": "publish_event" if app else "publish_platform_event",
        "summary": "Publish Event" if app else "Publish Platform Event",
        "description": (
            f"{whom} 202 is answered once it is in the log for good; it is then delivered to every "
            f"endpoint it matches. At most {PAYLOAD_BYTES_MAX} bytes, unless the server is set otherwise. CloudEvents "
            "come structured, in a batch, or with `ce-` headers. Any other body is delivered as it is; `?type=` says what "
            "it is."
        ),
        "security": list(SECURITY),
        "parameters": [*([_APP] if app else []), _RAW_TYPE, _RAW_SUBJECT, _DRY_RUN, _IDEMPOTENCY_KEY],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _reference("PublishEvent")},
                "application/cloudevents+json": {"schema": _reference("CloudEvent")},
                "application/cloudevents-batch+json": {"schema": {"type": "array", "items": _reference("CloudEvent")}},
                "*/*": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": {
            "200": {
                "description": "With dry_run: whom it would reach.",
                "content": {"application/json": {"schema": _reference("ExplanationAnswer")}},
            },
            "202": {
                "description": "Accepted.",
                "content": {
                    "application/json": {
                        "schema": {
                            "anyOf": [
                                _reference("Accepted"),
                                _reference("AcceptedBatch"),
                            ]
                        }
                    }
                },
            },
            **refer(*_PUBLISH_PROBLEMS),
        },
    }


def _publish_batch(refer: Refer, *, app: bool) -> dict[str, Any]:
    many = {
        "type": "array",
        "minItems": 1,
        "maxItems": BATCH_EVENTS_MAX,
        "items": _reference("PublishEvent"),
    }
    return {
        "tags": ["publish"],
        "operationId": "publish_batch" if app else "publish_platform_batch",
        "summary": "Publish Batch" if app else "Publish Platform Batch",
        "description": (
            f"Append up to {BATCH_EVENTS_MAX} events{' for one app' if app else ''}, all or nothing: a JSON array, or "
            f"a line of JSON an event. At most {BATCH_BYTES_MAX} bytes, unless the server is set otherwise."
        ),
        "security": list(SECURITY),
        "parameters": [*([_APP] if app else []), _IDEMPOTENCY_KEY],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": many},
                "application/cloudevents-batch+json": {"schema": {"type": "array", "items": _reference("CloudEvent")}},
                "application/x-ndjson": {
                    "schema": {"type": "string", "description": "One event, as JSON, a line."},
                },
            },
        },
        "responses": {
            "202": {
                "description": "All accepted.",
                "content": {"application/json": {"schema": _reference("AcceptedBatch")}},
            },
            **refer(*_PUBLISH_PROBLEMS),
        },
    }
