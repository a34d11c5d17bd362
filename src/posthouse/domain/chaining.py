"""Follow-ups of an answer: what a response rule or a callback handler asks for, as effects to be recorded. Pure.

An effect is recorded in the transaction that settles what caused it, and done once (`settle/effects.py`). Its id is derived
from the attempt's, or from that of the effect which called a handler. What it publishes is one event further down a chain:
`depth` counts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, assert_never

import msgspec
from msgspec import UNSET, UnsetType

from posthouse.domain.action import (
    AnyAction,
    Disable,
    Emit,
    Forward,
    Notify,
    Resend,
    SetMetadata,
    Throttle,
)
from posthouse.domain.delivery import Effect, EffectKind
from posthouse.domain.endpoint import Throttle as ThrottleUntil
from posthouse.domain.errors import Invalid
from posthouse.domain.event import JSON_CONTENT, Draft, is_type_name
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId, effect_id
from posthouse.domain.limits import METADATA_BYTES_MAX, NAME_LENGTH_MAX, PAYLOAD_BYTES_MAX, TEXT_LENGTH_MAX
from posthouse.domain.operations import callback_notified, emit, endpoint_disabled, is_told

RULE_ORDINALS: Final = 32
"""From here on the effects of an attempt are those of its response rule; a call of handlers has one of its own."""

_encode: Final = msgspec.json.Encoder().encode
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class Origin(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What follow-ups come from. `id`: theirs are derived from it. `payload` and `content_type` are the answer's body as an
    event has them, masked as it goes on record; `at` is when it came (unix seconds)."""

    id: AttemptId
    attempt: AttemptId
    partition: int
    app_id: AppId
    endpoint_id: EndpointId
    event_id: EventId
    event_type: str
    subject: str | None
    key: str | None
    depth: int
    payload: bytes
    content_type: str
    at: float


class Publication(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The `data` of an effect of kind PUBLISH: an event of the app. `endpoint` is the uid or id of the only one that hears of
    it; `url`: it goes there, as the effect's own endpoint is spoken to."""

    app: bytes
    cause: bytes
    depth: int
    payload: bytes
    content_type: str = JSON_CONTENT
    subject: str | None = None
    key: str | None = None
    endpoint: str = ""
    url: str = ""

    @property
    def forwarded(self) -> bool:
        """Whether it is an answer on its way to somebody, rather than an event for whoever listens."""
        return bool(self.endpoint or self.url)


class Values(msgspec.Struct, frozen=True, gc=False):
    """The `data` of an effect of kind SET."""

    metadata: dict[str, Any]


class Did(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What became of one effect of a rule as the answer was settled: `recorded` (it will be done), or not, and why."""

    then: str
    recorded: bool
    detail: str = ""  # the type of the event, the rate, …
    why: str = ""


class Reaction(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Which response rule counted, what it says, and its effects: on record with the attempt, as JSON. `place` is where it
    stands: `on_response[1]`, or the name of the header in which the target said so itself."""

    place: str
    then: str
    effects: tuple[Did, ...] = ()


encode_reaction: Final = _encode
read_reaction: Final = msgspec.json.Decoder(Reaction).decode
read_publication: Final = msgspec.json.Decoder(Publication).decode
read_values: Final = msgspec.json.Decoder(Values).decode
read_throttle: Final = msgspec.json.Decoder(ThrottleUntil).decode


def depth_of(action: AnyAction, depth: int) -> int | None:
    """How deep in a chain the event is that the action makes, where what causes it is `depth` deep; None: it makes none. What
    operators are told is an event, too, but nothing follows from it."""
    match action:
        case Emit() | Forward():
            return depth + 1
        case Notify():
            return depth
        case _:
            return None


def effects_of(action: AnyAction, origin: Origin, *, place: int, first: int = RULE_ORDINALS) -> tuple[Effect, ...]:
    """What is to be recorded for an action: one effect, or two. `place` is its place among the actions that `origin` causes,
    and `first` the ordinal of the first effect of all these. `Resend` is nothing of the kind: none.

    Raises: Invalid with the path of what cannot be stored or published.
    """
    ordinal = first + 2 * place
    match action:
        case Emit():
            publication = _publication(action.type, action.data, origin, subject=action.subject, key=action.key)
            return (_effect(origin, ordinal, EffectKind.PUBLISH, action.type, publication),)
        case Forward():
            if bool(action.endpoint) == bool(action.url):
                raise Invalid("needs an endpoint or a url, one of the two", path="endpoint")
            publication = _publication(action.type, action.data, origin, endpoint=action.endpoint, url=action.url)
            return (_effect(origin, ordinal, EffectKind.PUBLISH, action.type, publication),)
        case SetMetadata():
            return (_effect(origin, ordinal, EffectKind.SET, "set", Values(_storable(action.metadata))),)
        case Throttle():
            rate = ThrottleUntil(action.per_second, origin.at + action.seconds)
            return (_effect(origin, ordinal, EffectKind.THROTTLE, "throttle", rate),)
        case Notify():
            news = callback_notified(
                origin.app_id,
                origin.endpoint_id,
                event=origin.event_id,
                event_type=origin.event_type,
                attempt=origin.attempt,
                message=_clean(action.message)[:TEXT_LENGTH_MAX],
                at=origin.at,
            )
            return _told(origin, ordinal, news.type, news.data)
        case Disable():
            news = endpoint_disabled(origin.app_id, origin.endpoint_id, reason=action.reason, at=origin.at)
            disabled = Effect(
                id=AttemptId(effect_id(origin.id, ordinal)),
                partition=origin.partition,
                endpoint_id=origin.endpoint_id,
                kind=EffectKind.DISABLE_ENDPOINT,
                reason=action.reason,
            )
            return (disabled, *_told(origin, ordinal + 1, news.type, news.data))
        case Resend():
            return ()
        case _:
            assert_never(action)


def draft_of_publication(
    effect: Effect, publication: Publication, event_id: EventId, *, only: EndpointId | None
) -> Draft:
    """The event that a `publish` effect makes. Whether it does is decided by the effect, once: the id may be any."""
    return Draft(
        id=event_id,
        app_id=AppId(publication.app),
        type=effect.reason,
        payload=publication.payload,
        content_type=publication.content_type,
        subject=publication.subject,
        key=publication.key,
        cause=EventId(publication.cause),
        depth=publication.depth,
        only=only,
        to_url=publication.url or None,
    )


def merged(metadata: dict[str, Any], several: Iterable[Values]) -> tuple[dict[str, Any], list[bool]]:
    """Metadata with these values, one after the other, and of each whether there was room for it. Null takes a name away."""
    fits = []
    for values in several:
        both = {name: value for name, value in (metadata | values.metadata).items() if value is not None}
        fits.append(len(_encode(both)) <= METADATA_BYTES_MAX)
        if fits[-1]:
            metadata = both
    return metadata, fits


def _publication(
    event_type: str,
    data: Any,
    origin: Origin,
    *,
    subject: str | UnsetType = UNSET,
    key: str | UnsetType = UNSET,
    endpoint: str = "",
    url: str = "",
) -> Publication:
    if not is_type_name(event_type):
        raise Invalid(f"{event_type[:80]!r} is no name of an event type", path="type")
    if data is UNSET:
        payload, content_type = origin.payload, origin.content_type
    else:
        payload, content_type = _json(data, "data"), JSON_CONTENT
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise Invalid(f"an event has at most {PAYLOAD_BYTES_MAX} bytes", path="data")
    return Publication(
        app=origin.app_id,
        cause=origin.event_id,
        depth=origin.depth + 1,
        payload=payload,
        content_type=content_type,
        subject=origin.subject if subject is UNSET else _name(subject, NAME_LENGTH_MAX * 2, "subject"),
        key=origin.key if key is UNSET else _name(key, NAME_LENGTH_MAX, "key"),
        endpoint=endpoint,
        url=url,
    )


def _name(text: str, length_max: int, path: str) -> str | None:
    if len(text) > length_max or "\0" in text or _clean(text) != text:
        raise Invalid(f"is a text of at most {length_max} characters, without NUL", path=path)
    return text or None


def _storable(metadata: dict[str, Any]) -> dict[str, Any]:
    size = len(_json(metadata, "metadata"))
    if size > METADATA_BYTES_MAX:
        raise Invalid(f"metadata has at most {METADATA_BYTES_MAX} bytes as JSON; this has {size}", path="metadata")
    if _NUL.search(_encode(metadata)):
        raise Invalid("a text in metadata holds no NUL", path="metadata")
    return metadata


def _json(value: Any, path: str) -> bytes:
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Invalid(f"cannot be written as JSON: {error}", path=path) from None


def _clean(text: str) -> str:
    """A text without what no store of texts takes."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def _effect(origin: Origin, ordinal: int, kind: EffectKind, reason: str, data: msgspec.Struct) -> Effect:
    return Effect(
        id=AttemptId(effect_id(origin.id, ordinal)),
        partition=origin.partition,
        endpoint_id=origin.endpoint_id,
        kind=kind,
        reason=reason,
        data=_encode(data),
    )


def _told(origin: Origin, ordinal: int, event_type: str, data: bytes) -> tuple[Effect, ...]:
    """Nothing is told of the operators' own app."""
    if not is_told(origin.app_id):
        return ()
    return (emit(origin.id, ordinal, origin.partition, origin.endpoint_id, event_type, data),)
