"""`/in/{source}` in the OpenAPI document: it is not the framework's, so that it knows nothing of it."""

from __future__ import annotations

from typing import Any, Final

from posthouse.api.openapi_publish import Refer
from posthouse.domain.inbound import PATH

INBOUND_PATH: Final = PATH + "{source}"

_SOURCE: Final = {
    "name": "source",
    "in": "path",
    "required": True,
    "description": "Uid or id of a trigger of kind `inbound`.",
    "schema": {"type": "string"},
}
_ANY: Final = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_TAKEN: Final = {
    "description": (
        "It is in the log for good, or set aside for somebody to look; or it was a handshake. With what the sender takes for a "
        "confirmation, or what the trigger says."
    ),
}


def inbound_operations(refer: Refer) -> dict[str, Any]:
    """The operations of the path, by method: the two that most sources use."""
    return {INBOUND_PATH: {method.lower(): _receive(refer, method) for method in ("GET", "POST")}}


def _receive(refer: Refer, method: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "tags": ["inbound"],
        "operationId": f"receive_{method.lower()}",
        "summary": "Receive",
        "description": (
            "Take another system's webhook. It is verified as the trigger's profile says, and takes no API key; handshakes are "
            "answered. Which methods a source answers, its trigger says; they may be others than these."
        ),
        "parameters": [_SOURCE],
        "responses": {
            "2XX": _TAKEN,
            "422": {
                "description": "It was verified and is no event, and is kept: where the trigger says that this is the answer.",
            },
            "401": {
                "description": "Nobody vouches for it: its signature is missing, wrong or too old.",
                "headers": {"WWW-Authenticate": {"schema": {"type": "string", "const": "Signature"}}},
                "content": _PROBLEM,
            },
            "405": {
                "description": "The source is not answered with this method.",
                "headers": {"Allow": {"schema": {"type": "string"}}},
                "content": _PROBLEM,
            },
            "431": {"description": "Its headers are too many, or too large.", "content": _PROBLEM},
            **refer(400, 404, 408, 413, 415, 429, 500, 503),
        },
    }
    if method != "GET":
        told["requestBody"] = {"required": False, "content": _ANY}
    return told
