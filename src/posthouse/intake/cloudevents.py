"""CloudEvents 1.0 on the way in: the three content modes of the HTTP protocol binding, into one form.

    structured  application/cloudevents+json          the event is a JSON object, its data inside it
    batch       application/cloudevents-batch+json    an array of those; an empty one is valid
    binary      ce-* headers                          the body is the data, as it is

Sources, both 1.0.2: the JSON event format (2.2 for attributes, 3.1 for `data`) and the HTTP protocol binding (3.1.3.2 for
header values). Where these leave a choice:

- Data that are declared as JSON (`*/json`, `*/*+json`, or not declared at all) must be JSON in UTF-8, in every mode.
- An event without data has the payload `null` where it would be JSON, else an empty one.
- `data` of another content type is a string, and its bytes are UTF-8; for other charsets there is `data_base64`.
- Integers have 32 bits, as in the type system; a larger number has to come as a string.
- A header that is there twice, a stray `%` and bytes outside ASCII are refused: there is no telling what they meant.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

from posthouse.domain.cloudevent import SPEC_VERSION, CloudEvent, check, declares_json
from posthouse.domain.errors import Invalid, TooLarge
from posthouse.domain.event import JSON_CONTENT
from posthouse.domain.limits import BATCH_EVENTS_MAX, CLOUDEVENT_CONTEXT_BYTES_MAX
from posthouse.intake.malformed import check_depth
from posthouse.intake.parse import decode_json
from posthouse.wire.headers import is_content_type

STRUCTURED_CONTENT: Final = "application/cloudevents+json"
BATCH_CONTENT: Final = "application/cloudevents-batch+json"
UNSUPPORTED: Final = "unsupported_media_type"

Headers = Iterable[tuple[bytes, bytes]]
Mode = Literal["structured", "batch", "binary"]

_ANY_FORMAT: Final = "application/cloudevents"
_PREFIX: Final = b"ce-"
_REQUIRED_HEADERS: Final = frozenset({b"ce-specversion", b"ce-id", b"ce-source", b"ce-type"})
_CORE: Final = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "data_base64"}
)

_INTEGER: Final = re.compile(rb"-?(?:0|[1-9][0-9]{0,9})")
_STRAY_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPED: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"')


def is_structured(essence: str) -> bool:
    """Whether a media type (lower case, without parameters) announces one CloudEvent in the JSON format."""
    return essence == STRUCTURED_CONTENT


def is_batch(essence: str) -> bool:
    """Whether a media type (lower case, without parameters) announces a batch of CloudEvents in the JSON format."""
    return essence == BATCH_CONTENT


def has_binary_headers(headers: Headers) -> bool:
    """Whether the sender means a CloudEvent in binary mode: any of the four required headers says so, and `parse_binary`
    then asks for the others. Names are in lower case, as ASGI gives them."""
    return not _REQUIRED_HEADERS.isdisjoint([name for name, _ in headers])


def mode_of(essence: str, headers: Headers) -> Mode | None:
    """How a request carries CloudEvents, None where it does not.

    Raises Invalid (unsupported_media_type) for an event format that is not JSON.
    """
    if is_structured(essence):
        return "structured"
    if is_batch(essence):
        return "batch"
    if essence.startswith(_ANY_FORMAT):
        raise Invalid(
            f"CloudEvents come as {STRUCTURED_CONTENT}, as {BATCH_CONTENT} or with ce- headers, not as {essence[:80]}",
            path="Content-Type",
            code=UNSUPPORTED,
        )
    return "binary" if has_binary_headers(headers) else None


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    """The JSON format's members of known names; whatever else there is, is an extension."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_one: Final = msgspec.json.Decoder(_Envelope)
_many: Final = msgspec.json.Decoder(list[_Envelope])
_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_one_text: Final = msgspec.json.Decoder(str)
_text_or_null: Final = msgspec.json.Decoder(str | None)
_json_text: Final = msgspec.json.Decoder(msgspec.Raw)


def parse_structured(body: bytes) -> CloudEvent:
    """One event from a body of `application/cloudevents+json`. Raises Invalid (with its place or path), TooLarge."""
    return _structured(decode_json(_one.decode, body, prefix=""), body, "")


def parse_structured_batch(body: bytes) -> Iterator[CloudEvent]:
    """Events from a body of `application/cloudevents-batch+json`, each as it is asked for; it may hold none. Raises Invalid,
    TooLarge."""
    envelopes = decode_json(_many.decode, body, prefix="")
    if len(envelopes) > BATCH_EVENTS_MAX:
        raise TooLarge(f"a batch holds at most {BATCH_EVENTS_MAX} events; send several batches")
    elements = _elements.decode(body)
    for index, (envelope, element) in enumerate(zip(envelopes, elements, strict=True)):
        yield _structured(envelope, bytes(element), f"[{index}].")


def parse_binary(headers: Headers, body: bytes) -> CloudEvent:
    """The event of a request in binary mode. `headers` are all of the request's, their names in lower case.

    Raises Invalid, whose path names the header.
    """
    values: dict[str, str] = {}
    content_type: str | None = None
    for header, raw in headers:
        if header == b"content-type":
            if content_type is not None:
                raise Invalid("this header is there twice", path="Content-Type")
            content_type = raw.decode("latin-1").strip(" \t")
        elif header.startswith(_PREFIX):
            shown = header.decode("latin-1")
            name = shown[len(_PREFIX) :]
            if name in ("data", "datacontenttype"):
                raise Invalid("this header must not be sent; data are the body, their type is Content-Type", path=shown)
            if name in values:
                raise Invalid("this header is there twice", path=shown)
            values[name] = _header_value(raw, shown)
    for name in ("specversion", "id", "source", "type"):
        if name not in values:
            raise Invalid("a CloudEvent needs this header", path=f"ce-{name}")
    datacontenttype = JSON_CONTENT if content_type is None else content_type
    kept = _content_type(datacontenttype, "Content-Type")
    _check_version(values.pop("specversion"), "ce-specversion")
    event = CloudEvent(
        id=values.pop("id"),
        source=values.pop("source"),
        type=values.pop("type"),
        subject=values.pop("subject", None),
        time=values.pop("time", None),
        datacontenttype=datacontenttype,
        dataschema=values.pop("dataschema", None),
        payload=_json_payload(body, datacontenttype, ""),
        content_type=kept,
        extensions=values,
    )
    check(event, prefix="ce-")
    return event


def _structured(envelope: _Envelope, element: bytes, prefix: str) -> CloudEvent:
    # What is between the attributes is bounded before each of them becomes an object of its own.
    carried = sum(len(data) for data in (envelope.data, envelope.data_base64) if isinstance(data, msgspec.Raw))
    if len(element) - carried > CLOUDEVENT_CONTEXT_BYTES_MAX:
        raise TooLarge(f"a CloudEvent has at most {CLOUDEVENT_CONTEXT_BYTES_MAX} bytes besides its data")
    _check_version(envelope.specversion, f"{prefix}specversion")
    datacontenttype = JSON_CONTENT if envelope.datacontenttype is None else envelope.datacontenttype
    kept = _content_type(datacontenttype, f"{prefix}datacontenttype")
    extensions: dict[str, str] = {}
    for name, raw in _members.decode(element).items():
        if name not in _CORE and (value := _json_value(bytes(raw), f"{prefix}{name}")) is not None:
            extensions[name] = value
    event = CloudEvent(
        id=envelope.id,
        source=envelope.source,
        type=envelope.type,
        subject=envelope.subject,
        time=envelope.time,
        datacontenttype=datacontenttype,
        dataschema=envelope.dataschema,
        payload=_data(envelope, datacontenttype, prefix),
        content_type=kept,
        extensions=extensions,
    )
    check(event, prefix=prefix)
    return event


def _data(envelope: _Envelope, datacontenttype: str, prefix: str) -> bytes:
    """The payload of an event in the JSON format (section 3.1.2)."""
    encoded = None
    if isinstance(envelope.data_base64, msgspec.Raw):
        try:
            encoded = _text_or_null.decode(envelope.data_base64)
        except msgspec.ValidationError:
            raise Invalid("must be a string in Base64", path=f"{prefix}data_base64") from None
    if encoded is not None:
        if isinstance(envelope.data, msgspec.Raw):
            raise Invalid("data and data_base64 exclude each other; send one of them", path=f"{prefix}data_base64")
        try:
            payload = b64decode(encoded, validate=True)
        except ValueError:
            raise Invalid("must be a string in Base64", path=f"{prefix}data_base64") from None
        return _json_payload(payload, datacontenttype, f"{prefix}data_base64")
    if not isinstance(envelope.data, msgspec.Raw):
        return _json_payload(b"", datacontenttype, "")
    data = bytes(envelope.data)
    if declares_json(datacontenttype):
        check_depth(data, path=f"{prefix}data")
        return data
    if not data.startswith(b'"'):
        raise Invalid(
            f"data of the type {_essence(datacontenttype)} must be a string; for bytes there is data_base64",
            path=f"{prefix}data",
        )
    payload = _one_text.decode(data).encode()
    charset = _charset(datacontenttype)
    if charset not in (None, "utf-8", "utf8") and not (charset == "us-ascii" and payload.isascii()):
        raise Invalid(f"text in the charset {charset} has to come as data_base64", path=f"{prefix}data")
    return payload


def _check_version(version: str, path: str) -> None:
    if version != SPEC_VERSION:
        raise Invalid(f"only version {SPEC_VERSION} of CloudEvents is spoken here", path=path)


def _json_payload(payload: bytes, datacontenttype: str, path: str) -> bytes:
    """A payload that may be JSON by its declaration, and then is. Raises Invalid, with line and column."""
    if not declares_json(datacontenttype):
        return payload
    if not payload:
        return b"null"
    try:
        decode_json(_json_text.decode, payload, prefix="")
        check_depth(payload, path=path)
    except Invalid as error:
        raise Invalid(str(error), path=path, code=error.code) from None
    return payload


def _json_value(raw: bytes, path: str) -> str | None:
    """The canonical string of an attribute's JSON value (JSON format, section 2.2); None for null, which means unset."""
    if raw.startswith(b'"'):
        return _one_text.decode(raw)
    if raw == b"null":
        return None
    if raw in (b"true", b"false"):
        return raw.decode()
    if _INTEGER.fullmatch(raw) and -(2**31) <= int(raw) < 2**31:
        return str(int(raw))
    raise Invalid("an attribute's value is a string, a boolean or an integer of 32 bits", path=path)


def _header_value(raw: bytes, path: str) -> str:
    """A header's value decoded (HTTP binding, section 3.1.3.2): first quotes, then one round of percent-encoding."""
    if not raw.isascii():
        raise Invalid("characters outside ASCII have to be percent-encoded", path=path)
    value = raw.strip(b" \t")
    if value.startswith(b'"'):
        quoted = _QUOTED.fullmatch(value)
        if quoted is None:
            raise Invalid("the quoted string does not end, or something comes after it", path=path)
        value = re.sub(rb"\\(.)", rb"\1", quoted[1])
    if _STRAY_PERCENT.search(value):
        raise Invalid("a percent sign has to be sent as %25", path=path)
    try:
        return _ESCAPED.sub(lambda found: bytes((int(found[1], 16),)), value).decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid("what is percent-encoded must be UTF-8", path=path) from None


def _content_type(datacontenttype: str, path: str) -> str:
    """The content type under which a payload is kept. Raises Invalid where it is no media type."""
    if not is_content_type(datacontenttype):
        raise Invalid("this is not a content type that could be sent on", path=path)
    essence = _essence(datacontenttype)
    if declares_json(essence) and _charset(datacontenttype) not in (None, "utf-8", "utf8", "us-ascii"):
        raise Invalid("send JSON in UTF-8", path=path, code=UNSUPPORTED)
    return JSON_CONTENT if essence == JSON_CONTENT else datacontenttype


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _charset(content_type: str) -> str | None:
    return next((value for name, value in _parameters(content_type) if name == "charset"), None)


def _parameters(content_type: str) -> Iterator[tuple[str, str]]:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        yield name.strip().lower(), value.strip().strip('"').lower()
