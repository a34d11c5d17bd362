"""`cloudevents` 1.0.2: structured, binary, batched (JSON event format and HTTP binding), and XML (XML event format, a draft).

Structured and batched events are those of `wire/cloudevents.py`, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from posthouse.domain.cloudevent import SPEC_VERSION, CloudEvent, check, declares_json
from posthouse.domain.errors import Invalid
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.formats import CloudEventsFormat, CloudEventsMode
from posthouse.domain.ids import EVENT, format_id
from posthouse.wire import cloudevents
from posthouse.wire.cloudevents import BATCH_CONTENT, CONTENT, sendable
from posthouse.wire.documents import Bytes, JsonText
from posthouse.wire.formats.maker import Joined
from posthouse.wire.formats.shape import base64_of
from posthouse.wire.formats.xml import escaped_text
from posthouse.wire.formats.xml_body import fragment_of, is_xml
from posthouse.wire.headers import percent_encoded
from posthouse.wire.message import Document, Message, Unsendable
from posthouse.wire.standard import timestamp

XML_CONTENT: Final = "application/cloudevents+xml"
XML_BATCH_CONTENT: Final = "application/cloudevents-batch+xml"
PREFIX: Final = "ce-"

_encode: Final = msgspec.json.Encoder().encode
_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>'
_NAMESPACES: Final = (
    ' xmlns="http://cloudevents.io/xmlformat/V1"'
    ' xmlns:ce="http://cloudevents.io/xmlformat/V1"'  # of the types of extensions, which are qualified names
    ' xmlns:xs="http://www.w3.org/2001/XMLSchema"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
_START: Final = f' specversion="{SPEC_VERSION}"'
_EXTENSIONS: Final = frozenset({"partitionkey"})


class CloudEventsMaker:
    """Raises: Invalid for a source that is no URI reference, and for a batch in binary mode, which has none."""

    __slots__ = ("_mode", "_source", "_thin", "frame")

    def __init__(self, config: CloudEventsFormat) -> None:
        check(CloudEvent(type="a", source=config.source, id="a", payload=b""), prefix="format.")
        if config.content_type is not None:
            raise Invalid("the content type is what CloudEvents say it is: leave it out", path="format.content_type")
        self._mode: Final = config.mode
        self._thin: Final = config.thin
        self._source: Final = config.source
        self.frame: Joined | None
        match config.mode:
            case CloudEventsMode.STRUCTURED | CloudEventsMode.BATCHED:
                self.frame = Joined(BATCH_CONTENT.decode(), b"[", b",", b"]")
            case CloudEventsMode.XML:
                head = f"{_DECLARATION}<batch{_NAMESPACES}>".encode()
                self.frame = Joined(XML_BATCH_CONTENT, head, b"", b"</batch>")
            case CloudEventsMode.BINARY:
                self.frame = None

    def write(self, event: Event, message: Message) -> None:
        match self._mode:
            case CloudEventsMode.STRUCTURED:
                message.content_type = CONTENT.decode()
                message.document = JsonText(self._json(event))
            case CloudEventsMode.BATCHED:
                message.content_type = BATCH_CONTENT.decode()
                message.document = Bytes(b"[%b]" % self._json(event))
            case CloudEventsMode.XML:
                message.content_type = XML_CONTENT
                message.document = Bytes(f"{_DECLARATION}{self._xml(event, _NAMESPACES)}".encode())
            case CloudEventsMode.BINARY:
                message.content_type = "" if self._thin else sendable(event.content_type)
                message.document = self._data(event)
                message.headers += [
                    (PREFIX + name, percent_encoded(value, spaces=True)) for name, value in self._attributes(event)
                ]

    def part(self, event: Event, values: Mapping[str, str]) -> bytes:
        return self._xml(event).encode() if self._mode is CloudEventsMode.XML else self._json(event)

    def _json(self, event: Event) -> bytes:
        if self._source == cloudevents.SOURCE and not self._thin:
            return cloudevents.cloudevent(event)
        fields: dict[str, Any] = dict(self._attributes(event))
        if not self._thin:
            fields["datacontenttype"] = sendable(event.content_type)
            fields["data" if event.content_type == JSON_CONTENT else "data_base64"] = Raw(cloudevents.data_of(event))
        return _encode(fields)

    def _xml(self, event: Event, namespaces: str = "") -> str:
        out = [f"<event{namespaces}{_START}>"]
        for name, value in self._attributes(event)[1:]:
            type = ' xsi:type="ce:string"' if name in _EXTENSIONS else ""
            out.append(f"<{name}{type}>{escaped_text(value)}</{name}>")
        if not self._thin:
            out.append(f"<datacontenttype>{escaped_text(sendable(event.content_type))}</datacontenttype>")
            out.append(_xml_data(event))
        out.append("</event>")
        return "".join(out)

    def _data(self, event: Event) -> Document:
        if self._thin:
            return Bytes(b"")
        return JsonText(event.payload) if declares_json(event.content_type) else Bytes(event.payload)

    def _attributes(self, event: Event) -> list[tuple[str, str]]:
        """All but the content type of the data."""
        attributes = [
            ("specversion", SPEC_VERSION),
            ("id", format_id(EVENT, event.id)),
            ("source", self._source),
            ("type", event.type),
            ("time", timestamp(event.created_at).decode("ascii")),
        ]
        if event.subject:
            attributes.append(("subject", event.subject))
        if event.key:
            attributes.append(("partitionkey", event.key))
        return attributes


def _xml_data(event: Event) -> str:
    """As text what is JSON, as XML what is XML, all else as Base64; and what XML cannot hold as well."""
    if is_xml(event.content_type):
        try:
            return f'<data xsi:type="xs:any">{fragment_of(event, "utf-8", inside_namespace=True)}</data>'
        except Unsendable:
            pass
    elif event.content_type == JSON_CONTENT:
        try:
            return f'<data xsi:type="xs:string">{escaped_text(event.payload.decode())}</data>'
        except (Unsendable, UnicodeDecodeError):
            pass
    return f'<data xsi:type="xs:base64Binary">{base64_of(event)}</data>'
