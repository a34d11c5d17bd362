"""The event in a request that was verified and opened: what a profile's `receive` says of where its parts are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.pointers import index_of, pointer_of
from posthouse_sdk.errors import MalformedBodyError, SeveralEventsError
from posthouse_sdk.profiles.documents import Unreadable, json_of, the_one
from posthouse_sdk.profiles.file import Reading
from posthouse_sdk.profiles.moments import Moments
from posthouse_sdk.profiles.request import Body, Request, Told
from posthouse_sdk.received import REPLAY_HEADER, ReceivedEvent, events_of

PLACES: Final = ("header", "query", "json", "xml", "form", "sent")


class Place:
    """Somewhere in a request: `header:Name`, `query:name`, `json:/pointer`, `xml:/Element`, `form:name`, `body`, or nowhere;
    `sent:/pointer` is in the body as it was sent, where what is told stands beside what is encrypted. Raises: SettingError.
    """

    def __init__(self, text: str, path: str) -> None:
        kind, colon, name = text.partition(":")
        if text not in ("", "body") and (kind not in PLACES or not colon or not name):
            raise SettingError(
                "a place is header:Name, query:name, json:/pointer, xml:/Element, form:name, sent:/pointer, body, or empty",
                path,
            )
        self._kind: Final = kind
        self._name: Final = name
        self._steps: Final[Sequence[str]] = pointer_of(name, path) if kind in ("json", "xml", "sent") and name else ()

    def __bool__(self) -> bool:
        return bool(self._kind)

    @property
    def in_body(self) -> bool:
        """Whether it is in a body, and nowhere where there is none."""
        return self._kind in ("json", "xml", "sent")

    def value(self, request: Request, body: Body, sent: Body) -> Any:
        """What is there; None for nothing. Raises: Unreadable."""
        match self._kind:
            case "header":
                return request.header(self._name)
            case "query":
                return request.parameter(self._name)
            case "form":
                return request.parameter(self._name) if request.in_query else the_one(body.pairs(), self._name)
            case "json":
                return _at(json_of(body.raw), self._steps)
            case "xml":
                return body.element().at(self._steps)
            case "sent":
                return _at(sent.value(), self._steps)
            case "body":
                return dict(request.query) if request.in_query else body.value()
        return None


class Events:
    """Reads events, which come with this method. A body that the profile says nothing of is the standard envelope, or a
    CloudEvent. Raises: SettingError."""

    def __init__(self, reading: Reading, format: Mapping[str, Any], method: str = "POST") -> None:
        self._id: Final = Place(reading.id, "receive.id")
        self._type: Final = Place(reading.type, "receive.type")
        self._timestamp: Final = Place(reading.timestamp, "receive.timestamp")
        self._data: Final = Place(reading.data, "receive.data")
        places = {"id": self._id, "type": self._type, "timestamp": self._timestamp, "data": self._data}
        if method == "GET":
            if format["kind"] != "form":
                raise SettingError("a GET carries its data in the query: it needs the format form", "endpoint.method")
            for name, place in places.items():
                if place.in_body:
                    raise SettingError("a GET has no body: take query:name or form:name", f"receive.{name}")
        told = bool(self._id or self._type or self._timestamp or reading.data != "body")
        standard = format["kind"] == "cloudevents" or (format["kind"] == "json" and format.get("body") is None)
        self._standard: Final = standard and not told
        self._moments: Final = Moments(format.get("time"))

    def read(self, request: Request, body: Body, verified: Told, now: float) -> ReceivedEvent[Any]:
        """`verified` is what is known of the request by now. Raises: MalformedBodyError."""
        told, sent = verified.values, verified.sent
        signed_at = self._moments.read(told.get("timestamp") or told.get("timestamp_ms") or told.get("time"))
        at = signed_at or datetime.fromtimestamp(now, UTC)
        content = request.target.query.encode("utf-8", "surrogatepass") if request.in_query else body.raw
        fallback = told.get("message.id") or f"sha256-{hashlib.sha256(content).hexdigest()}"
        if self._standard:
            events = events_of(body.raw, _Headers(request, body.content_type), fallback, int(at.timestamp()))
            if len(events) != 1 or events[0].batched:
                raise SeveralEventsError(f"the request brings {len(events)} events in a batch")
            return events[0]
        try:
            id, type = self._id.value(request, body, sent), self._type.value(request, body, sent)
            return ReceivedEvent(
                id=fallback if id in (None, "") else _text(id),
                type=None if type in (None, "") else _text(type),
                data=self._data.value(request, body, sent),
                message_id=told.get("message.id") or (fallback if id in (None, "") else _text(id)),
                signed_at=at,
                timestamp=self._moments.read(self._timestamp.value(request, body, sent)),
                content_type=body.content_type,
                replay=(request.header(REPLAY_HEADER) or "").lower() == "true",
            )
        except Unreadable as error:
            raise MalformedBodyError(f"the signature is right, but {error}") from None


class _Headers(dict[str, str]):
    def __init__(self, request: Request, content_type: str) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        super().__init__(headers | ({"content-type": content_type} if content_type else {}))


def _at(value: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and (index := index_of(step, len(value))) is not None:
            value = value[index]
        else:
            return None
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
