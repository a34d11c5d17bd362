"""The AsyncAPI 3.0 document of the catalogue: what Posthouse sends, as the application that it describes.

https://www.asyncapi.com/docs/reference/specification/v3.0.0. Schemas are JSON Schema 2020-12 as they are in the catalogue:
AsyncAPI's own dialect is a superset of draft 07 that leaves room for what it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from posthouse.api.models.common import time_of
from posthouse.api.texts.accepted import Language
from posthouse.api.texts.descriptions import all_described, described
from posthouse.api.webhooks import CUT, HEADERS, REPLAY, SCHEMAS, body_name, example_bodies, schemas, told_of
from posthouse.ports.event_types import EventType

VERSION: Final = "3.0.0"
DESCRIPTION: Final = """\
What Posthouse sends to the endpoints that an app registers, each event type a channel. The address of a channel is the URL of
the endpoint: each app has its own. Requests are signed after Standard Webhooks (https://www.standardwebhooks.com); an event is
delivered at least once, and its `webhook-id` stays the same. Answer 2xx to confirm it.

Schemas are JSON Schema, draft 2020-12."""
_TRAIT: Final = "#/components/messageTraits/webhook"
_BINDINGS: Final = {"http": {"method": "POST", "bindingVersion": "0.3.0"}}


def asyncapi_document(types: Sequence[EventType], language: Language, *, cut: bool) -> dict[str, Any]:
    """The document of these types; `cut` where there are more. Its version is the time of the latest change among them."""
    about = described(DESCRIPTION, language)
    info: dict[str, Any] = {
        "title": "Posthouse webhooks",
        "version": time_of(max((entry.updated_at for entry in types), default=0.0)),
        "description": f"{about}\n\n{described(CUT, language)}" if cut else about,
    }
    if cut:
        info["x-truncated"] = True
    return {
        "asyncapi": VERSION,
        "info": info,
        "defaultContentType": "application/json",
        "channels": {entry.name: _channel(entry, language) for entry in types},
        "operations": {f"send.{entry.name}": _operation(entry) for entry in types},
        "components": {
            "schemas": schemas(types, language),
            "messages": {entry.name: _message(entry, language) for entry in types},
            "messageTraits": {
                "webhook": {
                    "contentType": "application/json",
                    "headers": {
                        "type": "object",
                        "required": list(HEADERS),
                        "properties": all_described(HEADERS | {"webhook-replay": REPLAY}, language),
                    },
                },
            },
        },
    }


def _channel(entry: EventType, language: Language) -> dict[str, Any]:
    return {
        "address": None,
        "title": entry.name,
        "description": told_of(entry, language),
        "messages": {entry.name: {"$ref": f"#/components/messages/{entry.name}"}},
    }


def _operation(entry: EventType) -> dict[str, Any]:
    return {
        "action": "send",
        "title": entry.name,
        "channel": {"$ref": f"#/channels/{entry.name}"},
        "messages": [{"$ref": f"#/channels/{entry.name}/messages/{entry.name}"}],
        "bindings": _BINDINGS,
    }


def _message(entry: EventType, language: Language) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": entry.name,
        "title": entry.name,
        "description": told_of(entry, language),
        "traits": [{"$ref": _TRAIT}],
        "contentType": "application/json",
        "payload": {"$ref": SCHEMAS + body_name(entry.name)},
        "x-event-type-version": entry.version,
        "x-visibility": entry.visibility.value,
    }
    if bodies := example_bodies(entry):
        message["examples"] = [{"name": f"example{number}", "payload": body} for number, body in enumerate(bodies, 1)]
    return message
