"""The OpenAPI document: what the framework knows of its routes, and by hand what it does not: publishing, problems, keys."""

from __future__ import annotations

from typing import Any, Final

from posthouse.api.openapi_publish import publish_operations, publish_schemas

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


def completed(schema: dict[str, Any]) -> dict[str, Any]:
    """The framework's document with what it lacks."""
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= {"Problem": _PROBLEM} | publish_schemas()
    components["securitySchemes"] = {
        "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key: ph_…"},
    }
    components["responses"] = {_problem_name(status): _problem(status) for status in _PROBLEMS}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            _complete(path, method, operation)
    for path, operation in publish_operations(_refer).items():
        schema["paths"][path] = schema["paths"].get(path, {}) | {"post": operation}
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
        path.startswith(("/v1/event-types", "/v1/apps/{app}/grants")) and method != "get"
    ):
        statuses.append(403)
    if path == "/v1/keys" and method == "post":
        statuses.append(404)
    answers |= _refer(*sorted(statuses))


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
