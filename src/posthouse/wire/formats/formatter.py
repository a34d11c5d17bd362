"""From an event, or several, to the message that brings them to an endpoint: everything but encryption, authentication and
signatures, which are steps that are applied to the message before it is assembled (`wire/assemble.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never

from posthouse.domain.errors import Invalid
from posthouse.domain.event import Event
from posthouse.domain.exchange import Target
from posthouse.domain.formats import (
    AnyFormat,
    CloudEventsFormat,
    CloudEventsMode,
    FormFormat,
    JsonFormat,
    Method,
    RawFormat,
    XmlFormat,
)
from posthouse.domain.ids import EVENT, REQUEST, EventId, format_id
from posthouse.domain.limits import NAME_LENGTH_MAX, QUERY_PARAMETERS_MAX, TEXT_LENGTH_MAX, URL_LENGTH_MAX
from posthouse.wire.assemble import url_length
from posthouse.wire.documents import Bytes, Query
from posthouse.wire.formats.cloudevents_body import PREFIX, CloudEventsMaker
from posthouse.wire.formats.form_body import FormMaker
from posthouse.wire.formats.json_body import JsonMaker, RawMaker
from posthouse.wire.formats.maker import Maker
from posthouse.wire.formats.xml_body import XmlMaker
from posthouse.wire.headers import check_headers, is_content_type, percent_encoded, without_spaces_at_its_ends
from posthouse.wire.message import Message, Unsendable
from posthouse.wire.query import request_path
from posthouse.wire.template import EVENT_VALUES, REQUEST_VALUES, Template
from posthouse.wire.times import compile_time, milliseconds

NONCE_BYTES: Final = 16

_NOTHING: Final = Bytes(b"")


def compile_format(
    format: AnyFormat,
    *,
    target: Target,
    method: Method = Method.POST,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    constants: Mapping[str, str] | None = None,
    batch: bool = False,
) -> Formatter:
    """What writes the requests of an endpoint to one of its URLs.

    `headers` and `query` are templates by name. `constants` are the values of `app.id` and `endpoint.id`. With `batch` it
    writes several events at once (`render_batch`), and templates cannot name what each of them has for itself.

    Raises: Invalid with the path of what is wrong: `format.root`, `headers.X-Shop`, `query.shop`, `method`, `batch`. A request
    for the smallest event there is is made on trial: what cannot be sent even then is refused here.
    """
    formatter = Formatter(
        format,
        target=target,
        method=method,
        headers=headers or {},
        query=query or {},
        constants=constants or {},
        batch=batch,
    )
    formatter.try_out()
    return formatter


class Formatter:
    """See `compile_format`, which makes it."""

    __slots__ = ("_batch", "_constants", "_form", "_headers", "_maker", "_method", "_query", "_target", "_time")

    def __init__(
        self,
        format: AnyFormat,
        *,
        target: Target,
        method: Method,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        constants: Mapping[str, str],
        batch: bool,
    ) -> None:
        self._target: Final = target
        self._method: Final = method
        self._batch: Final = batch
        self._constants: Final = {"app.id": "", "endpoint.id": "", **constants}
        self._time: Final = compile_time(format.time, path="format.time")
        if format.content_type is not None and not is_content_type(format.content_type):
            raise Invalid("a content type is a media type such as text/xml; charset=gbk", path="format.content_type")
        self._maker: Final = _maker(format, batch=batch)
        self._form: Final = self._maker if isinstance(self._maker, FormMaker) else None
        if method is Method.GET and self._form is None:
            raise Invalid("a GET carries its data in the query: it needs the format form", path="method")
        if batch and self._maker.frame is None:
            raise Invalid(
                f"a batch needs the format json, xml or cloudevents (not in binary mode): {_named(format)} holds one",
                path="batch",
            )
        known = REQUEST_VALUES if batch else EVENT_VALUES | REQUEST_VALUES
        self._headers: Final = _headers(headers, known)
        self._query: Final = _query(query, known)
        if isinstance(format, CloudEventsFormat) and format.mode is CloudEventsMode.BINARY:
            for name, _ in self._headers:
                if name.lower().startswith(PREFIX):
                    raise Invalid("headers with ce- are the attributes of the CloudEvent", path=f"headers.{name}")

    def render(self, event: Event, *, now: float, random: Callable[[int], bytes], replay: bool) -> Message:
        """The message that brings one event.

        Raises: Unsendable where this event cannot be written this way.
        """
        id = format_id(EVENT, event.id)
        message = self._message(id, now=now, random=random, replay=replay)
        message.values |= self._event_values(event)
        self._add(message, replay=replay)
        if self._method is Method.GET and self._form is not None:
            message.query += self._form.pairs(event, message.values)
            message.charset = self._form.charset
            message.document = Query(message.query)
        else:
            self._maker.write(event, message)
        return message

    def render_batch(
        self, events: Sequence[Event], *, now: float, random: Callable[[int], bytes], replay: bool, request_id: bytes
    ) -> Message:
        """The message that brings several events at once; its id is its own: `req_…`. Only with `batch`.

        Raises: Unsendable where one of them cannot be written this way.
        """
        frame = self._maker.frame
        assert frame is not None
        message = self._message(format_id(REQUEST, request_id), now=now, random=random, replay=replay)
        self._add(message, replay=replay)
        message.content_type = frame.content_type
        message.document = frame.document([self._part(event) for event in events])
        return message

    @property
    def frame_bytes(self) -> int:
        """The body of a batch has so many bytes, and `added_bytes` for each of its events (before it is encrypted or
        compressed)."""
        frame = self._maker.frame
        return 0 if frame is None else len(frame.head) + len(frame.tail) - len(frame.between)

    def added_bytes(self, event: Event) -> int:
        """What an event adds to the body of a batch, exactly. It is written for it: keep it for the request.

        Raises: Unsendable where it cannot be written this way.
        """
        frame = self._maker.frame
        assert frame is not None
        return len(self._part(event)) + len(frame.between)

    def try_out(self) -> None:
        """Raises: Invalid where not even the smallest event can be sent."""
        try:
            if self._batch:
                message = self.render_batch([SMALLEST], now=0, random=bytes, replay=False, request_id=bytes(16))
            else:
                message = self.render(SMALLEST, now=0, random=bytes, replay=False)
        except Unsendable as error:
            raise Invalid(str(error), path="format") from None
        length = url_length(message.target, request_path(message))
        if length > URL_LENGTH_MAX:
            raise Invalid(
                f"the URL with its query has {length} characters even for the smallest event, more than {URL_LENGTH_MAX}",
                path="query",
            )

    def _part(self, event: Event) -> bytes:
        return self._maker.part(event, self._constants | self._event_values(event))

    def _message(self, id: str, *, now: float, random: Callable[[int], bytes], replay: bool) -> Message:
        nonce = random(NONCE_BYTES).hex()
        values = self._constants | {
            "message.id": id,
            "timestamp": str(int(now)),
            "timestamp_ms": str(milliseconds(now)),
            "time": self._time(now),
            "nonce": nonce,
            "replay": "true" if replay else "false",
        }
        return Message(
            method=self._method.value,
            target=self._target,
            id=id,
            now=now,
            nonce=nonce,
            random=random,
            content_type="",
            document=_NOTHING,
            values=values,
        )

    def _add(self, message: Message, *, replay: bool) -> None:
        for name, template in self._headers:
            values = {known: percent_encoded(message.values[known]) for known in template.names}
            message.headers.append((name, without_spaces_at_its_ends(template.fill(values))))
        if replay:
            message.headers.append(("webhook-replay", "true"))
        message.query += [(name, template.fill(message.values)) for name, template in self._query]

    def _event_values(self, event: Event) -> dict[str, str]:
        return {
            "event.id": format_id(EVENT, event.id),
            "event.type": event.type,
            "event.subject": event.subject or "",
            "event.key": event.key or "",
            "event.content_type": event.content_type,
            "event.time": self._time(event.created_at),
            "event.timestamp": str(milliseconds(event.created_at) // 1_000),
            "event.timestamp_ms": str(milliseconds(event.created_at)),
        }


SMALLEST: Final = Event(
    id=EventId(bytes(16)),
    partition=0,
    seq=0,
    app_id=None,
    type="a",
    payload=b"{}",
    content_type="application/json",
    created_at=0,
    config_version=0,
)


def _maker(format: AnyFormat, *, batch: bool) -> Maker:
    match format:
        case JsonFormat():
            return JsonMaker(format, batch=batch)
        case RawFormat():
            return RawMaker(format)
        case XmlFormat():
            return XmlMaker(format, batch=batch)
        case FormFormat():
            return FormMaker(format, batch=batch)
        case CloudEventsFormat():
            return CloudEventsMaker(format)
        case _:
            assert_never(format)


def _named(format: AnyFormat) -> str:
    return "form" if isinstance(format, FormFormat) else "raw" if isinstance(format, RawFormat) else "binary mode"


def _headers(headers: Mapping[str, str], known: frozenset[str]) -> tuple[tuple[str, Template], ...]:
    compiled = tuple(
        (name, Template(text, known=known, path=f"headers.{name[:NAME_LENGTH_MAX]}")) for name, text in headers.items()
    )
    check_headers((name, template.sample("x")) for name, template in compiled)
    return compiled


def _query(query: Mapping[str, str], known: frozenset[str]) -> tuple[tuple[str, Template], ...]:
    compiled = []
    for place, (name, text) in enumerate(query.items()):
        path = f"query.{name[:NAME_LENGTH_MAX]}"
        if place >= QUERY_PARAMETERS_MAX:
            raise Invalid(f"there are more than {QUERY_PARAMETERS_MAX} parameters", path=path)
        if not 0 < len(name) <= NAME_LENGTH_MAX or len(text) > TEXT_LENGTH_MAX:
            raise Invalid(
                f"a parameter has a name of 1 to {NAME_LENGTH_MAX} characters and a value of at most {TEXT_LENGTH_MAX}",
                path=path,
            )
        if not (name + text).isprintable():
            raise Invalid("a parameter holds no control characters", path=path)
        compiled.append((name, Template(text, known=known, path=path)))
    return tuple(compiled)
