"""The OpenAPI document: what the framework knows of its routes, and by hand what it does not: publishing, problems, keys."""

from __future__ import annotations

from typing import Any, Final

from posthouse.api.credentials import COOKIE_PREFIX, PAGE_HEADERS, SECURITY
from posthouse.api.gate import SIGN_IN, WITHOUT_KEY
from posthouse.api.openapi_inbound import inbound_operations
from posthouse.api.openapi_named import named
from posthouse.api.openapi_publish import publish_operations, publish_schemas
from posthouse.domain.handshake import CONFIRM_PATH

DESCRIPTION: Final = """\
Posthouse delivers events to the webhooks of an open platform's apps. Send an API key as `Authorization: Bearer <key>`.
Errors are `application/problem+json` with a stable `code`, and with `Accept-Language: zh-CN` their texts are Chinese. Lists
are `{"data": […], "next": cursor | null}`, and `next` goes into `?cursor=` for the page after."""

_PROBLEMS: Final = {
    400: "The request cannot be read: malformed JSON (with line and column), or a cursor that was not given out.",
    401: "There is no API key, or none that is known.",
    403: "The key may not do this: it belongs to an app, or may only publish; or the app is over one of its quotas.",
    404: "There is no such thing, or it is not yours.",
    408: "The body did not arrive in time.",
    409: "The thing is in another state than this needs.",
    412: "`If-Match` or `If-None-Match` does not hold: somebody changed it since, or it is there already.",
    413: "The body is over the limit.",
    415: "The body's content type is not one that is read here.",
    422: "A value is wrong; `path` names it.",
    429: "The app, or a source, is over its rate: try again after `Retry-After`.",
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
_ETAG: Final = {
    "ETag": {
        "description": "Another one whenever the thing is; send it as If-Match with a change.",
        "schema": {"type": "string"},
    },
}
_TAGGED: Final = frozenset(
    {
        "create_app",
        "create_endpoint",
        "pause_endpoint",
        "resume_endpoint",
        "create_event_type",
        "create_schedule",
        "pause_schedule",
        "resume_schedule",
    }
)


def completed(schema: dict[str, Any]) -> dict[str, Any]:
    """The framework's document with what it lacks."""
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= {"Problem": _PROBLEM} | publish_schemas()
    components["securitySchemes"] = {
        "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key: ph_…"},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE_PREFIX,
            "description": "Of the console or the portal, once somebody has signed in. Its name ends differently in each "
            "installation and for each page, and begins with `__Host-` or `__Secure-` on HTTPS.",
        },
        **{
            str(page): {
                "type": "apiKey",
                "in": "header",
                "name": header,
                "description": "`1`: without it the cookie counts for nothing, since no other site can make a browser send it.",
            }
            for page, header in PAGE_HEADERS.items()
        },
    }
    components["responses"] = {_problem_name(status): _problem(status) for status in _PROBLEMS}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            _complete(path, method, operation)
    for path, operation in publish_operations(_refer).items():
        schema["paths"][path] = schema["paths"].get(path, {}) | {"post": operation}
    schema["paths"] |= inbound_operations(_refer)
    named(schema)
    operations = (operation for path in schema["paths"].values() for operation in path.values())
    tags = dict.fromkeys(tag for operation in operations for tag in operation.get("tags", ()))
    schema["tags"] = [{"name": tag} for tag in tags]
    return schema


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    answers.pop("422", None)
    if not path.startswith("/v1/"):
        if path == "/readyz":
            answers |= _refer(503)
        return
    if path.startswith(CONFIRM_PATH):
        operation["security"] = []
        answers |= _refer(404, 500, 503)
        return
    operation["security"] = [*SECURITY, *([{}] if path in WITHOUT_KEY else [])]
    if (method.upper(), path) == SIGN_IN:
        operation["security"] = [{page: []} for page in PAGE_HEADERS]
    statuses = [401, 403, 500, 503]
    if method == "get":
        if any(parameter["in"] == "query" for parameter in operation.get("parameters", ())):
            statuses += [400, 422]
    else:
        statuses += [400, 408, 409, 413, 415, 422]
    if "{" in path or any(parameter["name"] == "app" for parameter in operation.get("parameters", ())):
        statuses.append(404)
    if (path, method) in (
        ("/v1/keys", "post"),
        ("/v1/endpoints", "get"),
        ("/v1/stream", "get"),
        ("/v1/session", "get"),
        ("/v1/session", "delete"),
        ("/v1/schedules", "post"),
        ("/v1/triggers", "post"),
        ("/v1/triggers/plan", "post"),
    ):
        statuses.append(404)  # the app
    if path == "/v1/schedules/{schedule}/run" or path.endswith("/verify"):
        statuses.append(429)
    _complete_conditions(method, operation, statuses)
    answers |= _refer(*sorted(statuses))


def _complete_conditions(method: str, operation: dict[str, Any], statuses: list[int]) -> None:
    """What is said of a route that honours If-Match and If-None-Match, or answers with an ETag at least."""
    answers = operation["responses"]
    conditional = any(parameter["name"] == "If-Match" for parameter in operation.get("parameters", ()))
    if conditional:
        statuses += {400, 412} - set(statuses)
        if method == "get":
            answers["304"] = {"description": "It is still as the client has it.", "headers": _ETAG}
    if conditional or operation["operationId"] in _TAGGED:
        for status in {"200", "201"} & set(answers):
            answers[status]["headers"] = _ETAG


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
    if status in (429, 503):
        answer["headers"] = {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}},
        }
    return answer
