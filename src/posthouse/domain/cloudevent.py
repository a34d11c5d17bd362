"""What a CloudEvent is (CloudEvents 1.0.2), and what becomes of it here.

    type             type, which must be the name of an event type here as well: the catalogue knows no others
    subject, source  subject, source
    data             payload
    partitionkey     key            (an extension of "Partitioning")
    expirytime       expires_at     (an extension of "Expiry Time")
    traceparent      traceparent    (an extension of "Distributed Tracing"), where it is a valid one
    id, time, dataschema and all other extensions: attributes of the same names

The specification advises against attribute names longer than 20 characters; here they may have NAME_LENGTH_MAX. `source` and
`id` together identify an event: that is its idempotency key, unless the sender gave one.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Final, TypedDict

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.event import JSON_CONTENT, is_type_name
from posthouse.domain.limits import (
    ATTRIBUTES_MAX,
    IDEMPOTENCY_KEY_LENGTH_MAX,
    NAME_LENGTH_MAX,
    TEXT_LENGTH_MAX,
    URL_LENGTH_MAX,
)

SPEC_VERSION: Final = "1.0"

_NAME: Final = re.compile(r"[a-z0-9]+")
# What the type system does not allow in a String: controls, and the two last code points of each plane with their like.
# Halves of surrogate pairs get through neither JSON nor UTF-8.
_FORBIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
_TIME: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_PCHAR: Final = r"[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2}"
_REFERENCE: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*:)?"
    rf"(?://(?:{_PCHAR}|[\[\]])*)?(?:{_PCHAR}|/)*(?:\?(?:{_PCHAR}|[/?])*)?(?:#(?:{_PCHAR}|[/?])*)?"
)
_TRACEPARENT: Final = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class CloudEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A CloudEvent; in whichever mode it came, it looks the same.

    `datacontenttype` is as declared, or application/json; `content_type` is the one under which Posthouse keeps the payload
    (`application/json` without its parameters). `payload` is verbatim. Values of `extensions` are in their canonical string
    form.
    """

    type: str
    source: str
    id: str
    subject: str | None = None
    time: str | None = None
    datacontenttype: str = JSON_CONTENT
    dataschema: str | None = None
    payload: bytes
    content_type: str = JSON_CONTENT
    extensions: dict[str, str] = {}

    @property
    def is_json(self) -> bool:
        """Whether the payload is JSON, so that a schema can speak of it."""
        return declares_json(self.datacontenttype)


class DraftFields(TypedDict):
    """The fields of a `Draft` that a CloudEvent decides."""

    type: str
    payload: bytes
    content_type: str
    subject: str | None
    key: str | None
    source: str
    attributes: bytes | None
    expires_at: float | None
    traceparent: str | None


def draft_fields(event: CloudEvent) -> DraftFields:
    """A checked CloudEvent in Posthouse's own words."""
    attributes = {"id": event.id}
    if event.time is not None:
        attributes["time"] = event.time
    if event.dataschema is not None:
        attributes["dataschema"] = event.dataschema
    attributes.update(event.extensions)
    key = attributes.pop("partitionkey", None)
    expiry = attributes.pop("expirytime", None)
    traceparent = attributes.get("traceparent")
    if traceparent is not None and is_traceparent(traceparent):
        del attributes["traceparent"]
    else:
        traceparent = None
    return DraftFields(
        type=event.type,
        payload=event.payload,
        content_type=event.content_type,
        subject=event.subject,
        key=key,
        source=event.source,
        attributes=msgspec.json.encode(attributes),
        expires_at=None if expiry is None else seconds_of(expiry),
        traceparent=traceparent,
    )


def idempotency_of(source: str, event_id: str) -> str:
    """The idempotency key of the event that `source` and `event_id` identify: the same for the same two, another for others.

    A source holds no space, so the two cannot run into each other; what is long or not printable is hashed.
    """
    key = f"ce:{source} {event_id}"
    if len(key) <= IDEMPOTENCY_KEY_LENGTH_MAX and key.isprintable():
        return key
    return "ce:sha256:" + sha256(key.encode()).hexdigest()


def check(event: CloudEvent, *, prefix: str) -> None:
    """What types alone do not say. Raises Invalid whose path is the attribute's name after `prefix`."""
    _check_text(event.id, TEXT_LENGTH_MAX, f"{prefix}id")
    if not is_type_name(event.type):
        raise Invalid(
            "the type of a CloudEvent must also be the name of an event type here: letters, digits and _, in words joined by "
            f". or -, such as order.created; at most {NAME_LENGTH_MAX} characters",
            path=f"{prefix}type",
            code="invalid_event_type",
        )
    _check_reference(event.source, f"{prefix}source", absolute=False)
    if event.dataschema is not None:
        _check_reference(event.dataschema, f"{prefix}dataschema", absolute=True)
    if event.subject is not None:
        _check_text(event.subject, NAME_LENGTH_MAX * 2, f"{prefix}subject")
    if event.time is not None:
        _check_time(event.time, f"{prefix}time")
    for number, (name, value) in enumerate(event.extensions.items()):
        path = f"{prefix}{name}"
        if number >= ATTRIBUTES_MAX:
            raise Invalid(f"a CloudEvent has at most {ATTRIBUTES_MAX} extension attributes", path=path)
        if not _NAME.fullmatch(name) or len(name) > NAME_LENGTH_MAX:
            raise Invalid(f"an attribute's name is 1 to {NAME_LENGTH_MAX} lower-case letters and digits", path=path)
        if value:
            _check_text(value, TEXT_LENGTH_MAX, path)
    if (key := event.extensions.get("partitionkey")) is not None:
        _check_text(key, NAME_LENGTH_MAX * 2, f"{prefix}partitionkey")
    if (expiry := event.extensions.get("expirytime")) is not None:
        _check_time(expiry, f"{prefix}expirytime")


def _check_text(text: str, length_max: int, path: str) -> None:
    if not text or len(text) > length_max:
        raise Invalid(f"must have 1 to {length_max} characters, has {len(text)}", path=path)
    if (found := _FORBIDDEN.search(text)) is not None:
        raise Invalid(f"must not hold control characters; U+{ord(found[0]):04X} is at {found.start()}", path=path)


def _check_reference(text: str, path: str, *, absolute: bool) -> None:
    _check_text(text, URL_LENGTH_MAX, path)
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise Invalid("this is no URI; characters that a URI does not hold have to be percent-encoded", path=path)
    if absolute and found["scheme"] is None:
        raise Invalid("must be an absolute URI, such as https://example.com/schema.json", path=path)


def _check_time(text: str, path: str) -> None:
    if seconds_of(text) is None:
        raise Invalid("must be a time of RFC 3339, such as 2026-01-02T03:04:05Z", path=path)


def seconds_of(text: str) -> float | None:
    """A timestamp of RFC 3339 (section 5.6) in unix seconds, None where it is none. A leap second is the one after it."""
    found = _TIME.fullmatch(text)
    if found is None or len(text) > TEXT_LENGTH_MAX:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    offset = timedelta(hours=int(found[9] or 0), minutes=int(found[10] or 0))
    leap = second == 60
    try:
        zone = timezone(-offset if found[8] == "-" else offset)
        whole = datetime(year, month, day, hour, minute, 59 if leap else second, tzinfo=zone)
    except ValueError:
        return None
    return whole.timestamp() + leap + float(found[7] or 0)


def is_traceparent(text: str) -> bool:
    """Whether a text is a `traceparent` (W3C Trace Context, section 3.2), of version 00 or of one to come."""
    found = _TRACEPARENT.fullmatch(text)
    return found is not None and (found[1] != "00" or found[2] is None)


def declares_json(content_type: str) -> bool:
    """Whether data of this type are JSON: `*/json` or `*/*+json` (JSON event format, section 3.1.1)."""
    subtype = content_type.partition(";")[0].strip().lower().partition("/")[2]
    return subtype == "json" or subtype.endswith("+json")
