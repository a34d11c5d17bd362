"""An event as a CloudEvent in structured mode (CloudEvents 1.0.2, JSON event format).

    {"specversion":"1.0","id":"evt_…","source":"posthouse","type":"order.created","time":"2026-01-02T03:04:05.678Z",
     "subject":"shop:42","partitionkey":"42","datacontenttype":"application/json","data":<the payload, byte for byte>}

`subject` and `partitionkey` (the event's key) are there where the event has them. `source` is the installation's: with `id` it
identifies the event, as the specification wants it. Data of any other type than `application/json` are `data_base64`.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import Final

import msgspec

from posthouse.domain.cloudevent import SPEC_VERSION
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.ids import EVENT, format_id
from posthouse.wire.headers import UNKNOWN_CONTENT, is_content_type
from posthouse.wire.standard import timestamp

SOURCE: Final = "posthouse"
CONTENT: Final = b"application/cloudevents+json"
BATCH_CONTENT: Final = b"application/cloudevents-batch+json"

_encode: Final = msgspec.json.Encoder().encode
_START: Final = b'{"specversion":"%b","id":"' % SPEC_VERSION.encode()
_MIDDLE: Final = b'","source":%b,"type":' % _encode(SOURCE)


def cloudevent(event: Event) -> bytes:
    """The event as one JSON object. It depends on the event alone."""
    return before_data(event) + data_of(event) + b"}"


def before_data(event: Event) -> bytes:
    """The object as far as its data."""
    head = b'%b%b%b%b,"time":"%b"' % (
        _START,
        format_id(EVENT, event.id).encode("ascii"),
        _MIDDLE,
        _encode(event.type),
        timestamp(event.created_at),
    )
    if event.subject:
        head += b',"subject":%b' % _encode(event.subject)
    if event.key:
        head += b',"partitionkey":%b' % _encode(event.key)
    if event.content_type == JSON_CONTENT:
        return head + b',"datacontenttype":"application/json","data":'
    return head + b',"datacontenttype":%b,"data_base64":' % _encode(sendable(event.content_type))


def data_of(event: Event) -> bytes:
    """Its payload as a JSON value: as it was published where it is JSON, else Base64 in quotes."""
    if event.content_type == JSON_CONTENT:
        return event.payload
    return b'"%b"' % b2a_base64(event.payload, newline=False)


def data_bytes(event: Event) -> int:
    """How many bytes `data_of` makes of it."""
    size = len(event.payload)
    return size if event.content_type == JSON_CONTENT else (size + 2) // 3 * 4 + len('""')


def sendable(content_type: str) -> str:
    """A content type that can be told to a target."""
    return content_type if is_content_type(content_type) else UNKNOWN_CONTENT
