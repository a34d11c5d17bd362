"""The OpenAPI document: what the framework knows of its routes, and by hand what it does not: publishing, problems, keys."""

from __future__ import annotations

from typing import Any, Final

from posthouse.domain.limits import (
    ATTRIBUTES_MAX,
    BATCH_BYTES_MAX,
    BATCH_EVENTS_MAX,
    CHANNELS_MAX,
    IDEMPOTENCY_KEY_LENGTH_MAX,
    NAME_LENGTH_MAX,
    PAYLOAD_BYTES_MAX,
)

DESCRIPTION: Final = """\
Posthouse delivers events to the webhooks of an open platform's apps. Send an API key as `Authorization: Bearer <key>`.
Errors are `application/problem+json` with a stable `code`; lists are `{"data": […], "next": cursor | null}`, and `next` goes
into `?cursor=` for the page after."""

_PROBLEMS: Final = {
    400: "The request cannot be read: malformed JSON (with line and column), or a cursor that was not given out.",
    401: "There is no API key, or none that is known.",
    403: "The key belongs to an app, and this needs a key of scope admin.",
    404: "There is no such thing, or it is not yours.",
    408: "The body did not arrive in time.",
    409: "The thing is in another state than this needs.",
    413: "The body is over the limit.",
    415: "The body's content type is not one that is read here.",
    422: "A value is wrong; `path` names it.",
    500: "Something went wrong on our side.",
    503: "Busy, or the database does not answer: try again after `Retry-After`.",
}
_PROBLEM: Final = {
    "type": "object",
    "title": "Problem",
    "description": "An error, after RFC 9457.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable, for programs.", "examples": ["app_not_found"]},
        "detail": {"type": "string", "description": "For people."},
        "path": {"type": "string", "description": "What is wrong.", "examples": ["retry.schedule[2]", "?limit"]},
        "errors": {
            "type": "array",
            "description": "All that is wrong, where it is several things.",
            "items": {
                "type": "object",
                "required": ["path", "detail"],
                "properties": {"path": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
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
_PUBLISH_PROBLEMS: Final = (400, 401, 403, 404, 408, 409, 413, 415, 422, 500, 503)


def completed(schema: dict[str, Any]) -> dict[str, Any]:
    """The framework's document with what it lacks."""
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= {"Problem": _PROBLEM, "PublishEvent": _EVENT, "Accepted": _ACCEPTED}
    components["securitySchemes"] = {
        "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key: ph_…"},
    }
    components["responses"] = {_problem_name(status): _problem(status) for status in _PROBLEMS}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            _complete(path, method, operation)
    schema["paths"] |= {
        "/v1/apps/{app}/events": schema["paths"].get("/v1/apps/{app}/events", {}) | {"post": _publish()},
        "/v1/apps/{app}/events/batch": {"post": _publish_batch()},
    }
    return schema


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    answers.pop("422", None)
    if not path.startswith("/v1/"):
        if path == "/readyz":
            answers |= _refer(503)
        return
    operation["security"] = [{"apiKey": []}]
    statuses = [401, 500, 503]
    if method == "get":
        if any(parameter["in"] == "query" for parameter in operation.get("parameters", ())):
            statuses += [400, 422]
    else:
        statuses += [400, 408, 409, 413, 415, 422]
    if "{" in path:
        statuses.append(404)
    if not path.startswith(("/v1/apps/{app}/", "/v1/event-types")) or (
        path.startswith("/v1/event-types") and method != "get"
    ):
        statuses.append(403)
    if path == "/v1/keys" and method == "post":
        statuses.append(404)
    answers |= _refer(*sorted(statuses))


def _publish() -> dict[str, Any]:
    return {
        "tags": ["publish"],
        "operationId": "publish_event",
        "summary": "Publish Event",
        "description": (
            "Append an event for one app. 202 is answered once it is in the log for good; it is then delivered to every "
            f"endpoint it matches. At most {PAYLOAD_BYTES_MAX} bytes, unless the server is set otherwise. A body that is "
            "not JSON is delivered as it is; `?type=` says what it is."
        ),
        "security": [{"apiKey": []}],
        "parameters": [_APP, _RAW_TYPE, _IDEMPOTENCY_KEY],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/PublishEvent"}},
                "*/*": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": {
            "202": {
                "description": "Accepted.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}},
            },
            **_refer(*_PUBLISH_PROBLEMS),
        },
    }


def _publish_batch() -> dict[str, Any]:
    many = {
        "type": "array",
        "minItems": 1,
        "maxItems": BATCH_EVENTS_MAX,
        "items": {"$ref": "#/components/schemas/PublishEvent"},
    }
    answer = {
        "type": "object",
        "title": "AcceptedBatch",
        "required": ["data"],
        "properties": {"data": {"type": "array", "items": {"$ref": "#/components/schemas/Accepted"}}},
    }
    return {
        "tags": ["publish"],
        "operationId": "publish_batch",
        "summary": "Publish Batch",
        "description": (
            f"Append up to {BATCH_EVENTS_MAX} events for one app, all or nothing: a JSON array, or a line of JSON an "
            f"event. At most {BATCH_BYTES_MAX} bytes, unless the server is set otherwise."
        ),
        "security": [{"apiKey": []}],
        "parameters": [_APP, _IDEMPOTENCY_KEY],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": many},
                "application/x-ndjson": {
                    "schema": {"type": "string", "description": "One event, as JSON, a line."},
                },
            },
        },
        "responses": {
            "202": {"description": "All accepted.", "content": {"application/json": {"schema": answer}}},
            **_refer(*_PUBLISH_PROBLEMS),
        },
    }


def _problem_name(status: int) -> str:
    return f"Problem{status}"


def _refer(*statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/{_problem_name(status)}"} for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": _PROBLEMS[status],
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": {"schema": {"type": "string", "const": "Bearer"}}}
    if status == 503:
        answer["headers"] = {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}},
        }
    return answer
