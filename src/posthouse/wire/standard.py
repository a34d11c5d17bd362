"""The standard profile's body: Standard Webhooks 1.0.0, section "Payload structure".

    {"type":"order.created","timestamp":"2026-01-02T03:04:05.678Z","data":<the payload, byte for byte>}

An event published as another content type than `application/json` has no JSON to put into an envelope: its payload is
the body as it was published, under its own content type (signed and identified by the same headers; the type of such an
event is not on the wire).
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Final

import msgspec

from posthouse.domain.event import JSON_CONTENT, Event

_encode: Final = msgspec.json.Encoder().encode


def envelope(event: Event) -> bytes:
    """The body of an event under the standard profile. It depends on the event alone: one serves all endpoints."""
    if event.content_type != JSON_CONTENT:
        return event.payload
    return b'{"type":%b,"timestamp":"%b","data":%b}' % (
        _encode(event.type),
        timestamp(event.created_at),
        event.payload,
    )


@lru_cache(maxsize=64)  # events of one commit have one time, and each is asked for twice
def timestamp(unix_seconds: float) -> bytes:
    """RFC 3339 in UTC with milliseconds, cut and not rounded: `2026-01-02T03:04:05.678Z`."""
    seconds, microseconds = divmod(round(unix_seconds * 1_000_000), 1_000_000)
    return b"%b.%03dZ" % (to_the_second(seconds), microseconds // 1_000)


@lru_cache(maxsize=64)  # events come many to the second
def to_the_second(unix_seconds: int) -> bytes:
    """RFC 3339 without fraction and zone. Pure, and remembered."""
    year, *rest = time.gmtime(unix_seconds)[:6]  # strftime writes the year 985 with three digits
    return b"%04d-%02d-%02dT%02d:%02d:%02d" % (year, *rest)
