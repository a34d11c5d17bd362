"""Several events in one request, and what a target says of each of them.

The body is a JSON array. Under `format: json` each element is the standard envelope with the event's id before it, which a
single event has in the header `webhook-id`; content that is not JSON comes as Base64 with its type:

    [{"id":"evt_…","type":"order.created","timestamp":"2026-01-02T03:04:05.678Z","data":{"id":1}},
     {"id":"evt_…","type":"logo.changed","timestamp":"2026-01-02T03:04:06.001Z","content_type":"image/png","data_base64":"iVBO…"}]

Under `format: cloudevents` it is a CloudEvents batch (JSON batch format, CloudEvents 1.0.2).

One answer settles all events of a request, unless its status is 2xx and its body says otherwise of some:

    {"results":[{"id":"evt_…","confirmed":false,"reason":"no such shop"}]}

An event that is not named is confirmed. A body of any other shape says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from posthouse.domain.endpoint import Format
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.ids import EVENT, EventId, format_id, parse_id
from posthouse.domain.limits import ERROR_LENGTH_MAX
from posthouse.wire import cloudevents
from posthouse.wire.standard import timestamp

FRAME_BYTES: Final = 1
"""A body has so many bytes, and `added_bytes` for each of its events."""

_BRACKET_AND_COMMA: Final = len("},")

_encode: Final = msgspec.json.Encoder().encode


def batch_body(events: Sequence[Event], format: Format) -> bytes:
    """The body that carries these events, in this order."""
    head = _head_of(format)
    return b"[%b]" % b",".join([b"%b%b}" % (head(event), cloudevents.data_of(event)) for event in events])


def added_bytes(event: Event, format: Format) -> int:
    """What an event adds to the body of a batch, exactly."""
    return len(_head_of(format)(event)) + cloudevents.data_bytes(event) + _BRACKET_AND_COMMA


def _head_of(format: Format) -> Callable[[Event], bytes]:
    return cloudevents.before_data if format is Format.CLOUDEVENTS else _before_data


def _before_data(event: Event) -> bytes:
    head = b'{"id":"%b","type":%b,"timestamp":"%b"' % (
        format_id(EVENT, event.id).encode("ascii"),
        _encode(event.type),
        timestamp(event.created_at),
    )
    if event.content_type == JSON_CONTENT:
        return head + b',"data":'
    return head + b',"content_type":%b,"data_base64":' % _encode(cloudevents.sendable(event.content_type))


class EventResult(msgspec.Struct, frozen=True, gc=False):
    """What a target said of one event of a batch. `reason` is its own words, for a person to read: short, in one line."""

    confirmed: bool
    reason: str = ""


class _Entry(msgspec.Struct, frozen=True):
    id: str
    confirmed: bool
    reason: Any = None


class _Body(msgspec.Struct, frozen=True):
    results: list[_Entry]


_CONFIRMED: Final = EventResult(True)
_REFUSED: Final = EventResult(False)
_body: Final = msgspec.json.Decoder(_Body)


def results_of(status: int, body: bytes, events: Sequence[EventId]) -> tuple[EventResult, ...]:
    """What the answer to a batch says of each of its events, in their order.

    Any other status than 2xx confirms none. Of several results for one event the last one counts; what is told of events
    that were not sent is passed over. Never raises, whatever the body is.
    """
    if not 200 <= status < 300:
        return (_REFUSED,) * len(events)
    told = _told(body)
    if not told:
        return (_CONFIRMED,) * len(events)
    return tuple(told.get(event, _CONFIRMED) for event in events)


def _told(body: bytes) -> dict[bytes | None, EventResult]:
    try:
        entries = _body.decode(body).results
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return {
        parse_id(EVENT, entry.id): EventResult(entry.confirmed, "" if entry.confirmed else _reason(entry.reason))
        for entry in entries
    }


def _reason(reason: Any) -> str:
    return in_one_line(reason) if isinstance(reason, str) else ""


def in_one_line(words: str) -> str:
    """Words that go on record with an attempt: short, and without line breaks and what else cannot be seen."""
    return "".join(c if c.isprintable() else " " for c in words[:ERROR_LENGTH_MAX]).strip()
