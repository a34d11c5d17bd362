"""What an endpoint's transformation and dynamic URL make of an event, given what their expressions came to. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.exchange import Target
from posthouse.domain.expression import Expression, Failed, FailedBecause, Outcome
from posthouse.domain.json_text import decoded
from posthouse.domain.limits import HEADER_BYTES_MAX, TEXT_LENGTH_MAX, TRANSFORM_BYTES_MAX
from posthouse.domain.rules import expressions_in
from posthouse.domain.transformation import DynamicUrl, WithoutUrl
from posthouse.wire.data_schema import DataSchema
from posthouse.wire.headers import header_text
from posthouse.wire.message import Additions
from posthouse.wire.payload_version import Pinning, Pins
from posthouse.wire.target import parse_target
from posthouse.wire.url_template import NoUrl, UrlTemplate

TRANSFORM_FAILED: Final = "transform_failed"
NO_URL: Final = "no_url"
IDENTITY: Final = "event.data"
"""The expression that makes of the data what they are: they are sent byte for byte, as without it."""

_DATA: Final = "data"
_CHOOSE: Final = "choose"

_encode: Final = msgspec.json.Encoder().encode


class Transformed(msgspec.Struct, frozen=True, gc=False):
    """What is sent of an event, and what its request has of its own. `url` is None where that is the endpoint's."""

    event: Event
    url: str | None
    additions: Additions


class NotTransformed(msgspec.Struct, frozen=True, gc=False):
    """Why an event is not sent: the reason on record, and words for a person, without the event's values."""

    reason: str
    words: str


class NotEvaluated(Exception):
    """An expression has no value for now, through no fault of its own: it is to be tried again."""


class _Failed(Exception):
    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class Transformation:
    """An endpoint's `transform` and `dynamic_url`, compiled. `expressions` are those of both, to be evaluated together for
    each event, as it is `pinned`.

    Raises: Invalid with the path of what is wrong.
    """

    __slots__ = ("_data", "_pins", "_places", "_schema", "_url", "expressions")

    def __init__(self, endpoint: Endpoint) -> None:
        found: list[Expression] = []
        places: list[tuple[str, str]] = []  # the kind and the name of each
        for path, expression in expressions_in(endpoint):
            field, _, rest = path.partition(".")
            if field in ("transform", "dynamic_url") and not _is_identity(path, expression):
                kind, _, name = rest.partition(".")
                found.append(expression)
                places.append((kind, name))
        self.expressions: Final = tuple(found)
        self._places: Final = tuple(places)
        self._data: Final = (_DATA, "") in places
        self._pins: Final = Pins(endpoint.pinned_schemas)
        schema = None if endpoint.transform is None else endpoint.transform.schema
        self._schema: Final = None if schema is None else DataSchema(schema, path="transform.schema")
        self._url: Final = None if endpoint.dynamic_url is None else _Url(endpoint.dynamic_url)

    def pinned(self, event: Event) -> Event | Pinning:
        """The event as the version of its type knew it that the endpoint pins, or what is to be done for that elsewhere. Raises
        Unsendable."""
        return self._pins.later(event) or self._pins.event(event)

    def applied(self, event: Event, outcomes: Sequence[Outcome]) -> Transformed | NotTransformed:
        """What is sent of the event. `outcomes` are those of `expressions`, in their order. Raises NotEvaluated."""
        for outcome in outcomes:
            if isinstance(outcome, Failed) and outcome.because is FailedBecause.UNAVAILABLE:
                raise NotEvaluated(outcome.detail)
        try:
            return self._applied(event, outcomes)
        except _Failed as failed:
            return NotTransformed(failed.reason, str(failed))

    def _applied(self, event: Event, outcomes: Sequence[Outcome]) -> Transformed:
        headers: list[tuple[str, str]] = []
        query: list[tuple[str, str]] = []
        chosen: Outcome | None = None
        made = event
        for (kind, name), outcome in zip(self._places, outcomes, strict=True):
            match kind:
                case "data":
                    made = self._with(event, _value(outcome, "transform.data"))
                case "headers":
                    headers.append((name, header_text(_text(outcome, f"transform.headers.{name}", HEADER_BYTES_MAX))))
                case "query":
                    query.append((name, _text(outcome, f"transform.query.{name}", TEXT_LENGTH_MAX)))
                case _:
                    chosen = outcome
        if self._schema is not None and not self._data:
            self._judge(_own_data(event), len(event.payload))
        url, target = (None, None) if self._url is None else self._url.of(event, chosen)
        return Transformed(made, url, Additions(target, tuple(headers), tuple(query)))

    def _with(self, event: Event, value: Any) -> Event:
        payload = _json(value, "transform.data")
        if len(payload) > max(TRANSFORM_BYTES_MAX, len(event.payload)):
            raise _Failed(
                TRANSFORM_FAILED,
                f"transform.data: the new data have {len(payload)} bytes, more than the event's own and than "
                f"{TRANSFORM_BYTES_MAX}",
            )
        self._judge(value, len(payload))
        return msgspec.structs.replace(event, payload=payload, content_type=JSON_CONTENT)

    def _judge(self, data: Any, size: int) -> None:
        fault = None if self._schema is None else self._schema.fault_of(data, size)
        if fault is not None:
            raise _Failed(TRANSFORM_FAILED, f"transform.schema: {fault}")


class _Url:
    """A dynamic URL, compiled. Raises Invalid."""

    __slots__ = ("_among", "_otherwise", "_template")

    def __init__(self, url: DynamicUrl) -> None:
        self._otherwise: Final = url.otherwise
        self._template: Final = UrlTemplate(url.template, url.hosts, path="dynamic_url") if url.template else None
        self._among: Final = {name: (text, among_target(name, text)) for name, text in url.among.items()}

    def of(self, event: Event, chosen: Outcome | None) -> tuple[str | None, Target | None]:
        """The URL of an event, taken apart; None for the endpoint's own. Raises _Failed."""
        try:
            return self._template.fill(event) if self._template is not None else self._chosen(chosen)
        except (NoUrl, _Failed) as error:
            if self._otherwise is WithoutUrl.URL:
                return None, None
            raise _Failed(NO_URL, str(error)) from None

    def _chosen(self, outcome: Outcome | None) -> tuple[str, Target]:
        assert outcome is not None, "it is either a template or a choice"
        found = self._among.get(_text(outcome, "dynamic_url.choose", TEXT_LENGTH_MAX))
        if found is None:
            raise NoUrl("dynamic_url.choose: it came to a name that is not among the declared ones")
        return found


def among_target(name: str, url: str) -> Target:
    """One of the URLs that are chosen among. Raises Invalid with its path."""
    return parse_target(url, path=f"dynamic_url.among.{name}")


def _is_identity(path: str, expression: Expression) -> bool:
    return path == "transform.data" and expression.text.strip() == IDENTITY


def _value(outcome: Outcome, path: str) -> Any:
    if isinstance(outcome, Failed):
        raise _Failed(TRANSFORM_FAILED, f"{path}: {outcome.detail}")
    return outcome.value


def _text(outcome: Outcome, path: str, length_max: int) -> str:
    value = _value(outcome, path)
    text = value if isinstance(value, str) else _json(value, path).decode()
    if len(text) > length_max:
        raise _Failed(TRANSFORM_FAILED, f"{path}: it came to {len(text)} characters, more than {length_max}")
    return text


def _json(value: Any, path: str) -> bytes:
    try:
        made = _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        made = None
    # The encoder writes null for what is no number: what has none in it needs no look.
    if made is None or (b"null" in made and not _finite(value)):
        raise _Failed(TRANSFORM_FAILED, f"{path}: it came to something that JSON cannot hold")
    return made


def _finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_finite, value.values()))
        case list() | tuple():
            return all(map(_finite, value))
        case _:
            return True


def _own_data(event: Event) -> Any:
    if event.content_type != JSON_CONTENT:
        raise _Failed(TRANSFORM_FAILED, "transform.schema: the event's data are no JSON")
    try:
        return decoded(event.payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _Failed(TRANSFORM_FAILED, "transform.schema: the event's data cannot be read") from None


def transformation_of(endpoint: Endpoint) -> Transformation | None:
    """None where the endpoint has neither a transformation nor a dynamic URL. Raises Invalid."""
    return None if endpoint.transform is None and endpoint.dynamic_url is None else Transformation(endpoint)
