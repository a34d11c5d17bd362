"""A request's body as events: the standard envelope, CloudEvents, and bodies that are neither. Pure.

Sources: Standard Webhooks 1.0.0, section "Payload structure"; CloudEvents 1.0.2, JSON event format and JSON batch format.

The content type decides how a body is read, never its shape: an event whose payload is a text of somebody's choice must not
pass for an event of another type.
"""

from __future__ import annotations

import json
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from posthouse_sdk.errors import BodyNotJsonError, MalformedBodyError

if TYPE_CHECKING:
    from posthouse_sdk.webhook import Headers

T = TypeVar("T")

REPLAY_HEADER: Final = "webhook-replay"
CLOUDEVENT: Final = "application/cloudevents+json"
CLOUDEVENT_BATCH: Final = "application/cloudevents-batch+json"
JSON: Final = "application/json"
EVENTS_MAX: Final = 10_000

_OF_THE_ENVELOPE: Final = frozenset({"id", "type", "timestamp", "subject", "key", "source", "content_type"})
_OF_A_CLOUDEVENT: Final = frozenset(
    {"specversion", "id", "source", "type", "time", "subject", "partitionkey", "datacontenttype", "data", "data_base64"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent(Generic[T]):
    """An event as it was received. What the format does not carry is None.

    `id` is the event's (`evt_…`), the same in every attempt; `message_id` is the request's `webhook-id`: the event's own id
    too, but for batches. `type` is None for a body that names none. `timestamp` is when the event happened, `signed_at` when
    this request was signed. `data` is the payload: decoded JSON, or bytes where it is another content. `attributes` are the
    other members of the envelope, or the extensions of a CloudEvent. `replay` is whether the sender says that it sends the
    event again on somebody's request: a hint, which is not signed. `claim` is what the replay store has it under, if any.
    """

    id: str
    type: str | None
    data: T
    message_id: str
    signed_at: datetime
    timestamp: datetime | None = None
    subject: str | None = None
    key: str | None = None
    source: str | None = None
    content_type: str = JSON
    attributes: Mapping[str, Any] = field(default_factory=dict)
    replay: bool = False
    batched: bool = False
    claim: Claimed | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim in a replay store: its key, and the token of whoever holds it."""

    key: str
    token: str


def events_of(body: bytes, headers: Headers, message_id: str, signed_at: int) -> list[ReceivedEvent[Any]]:
    """The events of a verified request, in their order; one, unless it is a batch.

    Raises: BodyNotJsonError, MalformedBodyError.
    """
    found = {name.lower(): value for name, value in headers.items()}
    content = found.get("content-type", JSON)
    common: dict[str, Any] = {
        "message_id": message_id,
        "signed_at": _at(signed_at),
        "replay": found.get(REPLAY_HEADER, "").lower() == "true",
    }
    media = content.partition(";")[0].strip().lower()
    if not (media == JSON or media.endswith("+json")):
        return [ReceivedEvent(id=message_id, type=None, data=body, content_type=content, **common)]
    parsed = _parsed(body)
    if media == CLOUDEVENT:
        return [_cloudevent(parsed, common)]
    if media == CLOUDEVENT_BATCH:
        return [_cloudevent(each, common | {"batched": True}) for each in _listed(parsed)]
    if _is_batch(parsed):
        return [_enveloped(each, each["id"], common | {"batched": True}) for each in _listed(parsed)]
    if isinstance(parsed, dict) and isinstance(parsed.get("type"), str):
        return [_enveloped(parsed, message_id, common)]
    return [ReceivedEvent(id=message_id, type=None, data=parsed, content_type=content, **common)]


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BodyNotJsonError("the signature is right, but the body is not JSON, as its content type says") from error


def _listed(parsed: Any) -> list[Any]:
    if not isinstance(parsed, list) or not 0 < len(parsed) <= EVENTS_MAX:
        raise MalformedBodyError(f"the signature is right, but the body is not a list of 1 to {EVENTS_MAX} events")
    return parsed


def _is_batch(parsed: Any) -> bool:
    return (
        isinstance(parsed, list)
        and bool(parsed)
        and all(isinstance(each, dict) and _text(each, "id") and _text(each, "type") for each in parsed)
    )


def _enveloped(body: dict[str, Any], id: str, common: dict[str, Any]) -> ReceivedEvent[Any]:
    if "data" in body:
        data = body["data"]
    elif "data_base64" in body:
        data = _bytes(body["data_base64"])
    else:  # a thin event has nothing but its envelope; what does not follow the standard is handed on whole
        data = None if body.keys() <= _OF_THE_ENVELOPE else body
    return ReceivedEvent(
        id=id,
        type=body["type"],
        data=data,
        timestamp=_moment(body.get("timestamp")),
        subject=_text(body, "subject"),
        key=_text(body, "key"),
        source=_text(body, "source"),
        content_type=_text(body, "content_type") or JSON,
        attributes={
            name: value for name, value in body.items() if name not in _OF_THE_ENVELOPE | {"data", "data_base64"}
        },
        **common,
    )


def _cloudevent(body: Any, common: dict[str, Any]) -> ReceivedEvent[Any]:
    if not isinstance(body, dict) or not (_text(body, "id") and _text(body, "type") and _text(body, "specversion")):
        raise MalformedBodyError(
            "the signature is right, but the body is no CloudEvent: it lacks specversion, id or type"
        )
    return ReceivedEvent(
        id=body["id"],
        type=body["type"],
        data=_bytes(body["data_base64"]) if "data_base64" in body else body.get("data"),
        timestamp=_moment(body.get("time")),
        subject=_text(body, "subject"),
        key=_text(body, "partitionkey"),
        source=_text(body, "source"),
        content_type=_text(body, "datacontenttype") or JSON,
        attributes={name: value for name, value in body.items() if name not in _OF_A_CLOUDEVENT},
        **common,
    )


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) and value else None


def _bytes(encoded: Any) -> bytes:
    try:
        return a2b_base64(encoded, strict_mode=True)
    except (NotBase64, TypeError, ValueError) as error:
        raise MalformedBodyError("the signature is right, but data_base64 is not Base64") from error


def _moment(value: Any) -> datetime | None:
    """RFC 3339; None for what cannot be read as a moment: it is for information."""
    try:
        read = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _at(unix_seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(unix_seconds, UTC)
    except (OverflowError, ValueError, OSError):  # only a tolerance of thousands of years lets it come so far
        return datetime.max.replace(tzinfo=UTC)
