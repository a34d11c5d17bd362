"""Request bodies into events, strictly: what is wrong is said with its place, and nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Any, Final, NoReturn, TypeVar

import msgspec

from posthouse.domain.errors import Invalid, TooLarge
from posthouse.domain.event import is_type_name
from posthouse.domain.limits import (
    ATTRIBUTES_MAX,
    BATCH_EVENTS_MAX,
    CHANNELS_MAX,
    IDEMPOTENCY_KEY_LENGTH_MAX,
    JSON_AT_ONCE_BYTES_MAX,
    JSON_DEPTH_MAX,
    NAME_LENGTH_MAX,
    TEXT_LENGTH_MAX,
)
from posthouse.intake.malformed import check_depth, check_utf8, located, too_deep

T = TypeVar("T")

BATCH_EMPTY: Final = "batch_empty"

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_PLACE: Final = re.compile(r" - at `\$\.?([^`]*)`")
_FIELD: Final = re.compile(r"(?:unknown|required) field `([^`]+)`")


class EventBody(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """An event as a platform sends it."""

    type: str
    data: msgspec.Raw
    subject: str | None = None
    key: str | None = None
    channels: tuple[str, ...] = ()
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    attributes: dict[str, str] | None = None
    idempotency_key: str | None = None


class _Outline(msgspec.Struct, frozen=True, gc=False):
    """What has these may be an event; it is not looked at yet."""

    type: msgspec.Raw
    data: msgspec.Raw


_one: Final = msgspec.json.Decoder(EventBody)
_many: Final = msgspec.json.Decoder(list[EventBody])
_outlines: Final = msgspec.json.Decoder(list[_Outline])
_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])


def parse_event(body: bytes) -> EventBody:
    """One event from a JSON object. Raises Invalid, with line and column or with the field's path."""
    event = decode_json(_one.decode, body, prefix="")
    check(event, prefix="")
    return event


def parse_batch(body: bytes) -> Iterator[EventBody]:
    """Events from a JSON array; of a large one each is read as it is asked for. Raises Invalid, TooLarge."""
    large = len(body) > JSON_AT_ONCE_BYTES_MAX
    # What is no batch at all is refused before there is an object for each of its values.
    outlines: list[Any] = decode_json(_outlines.decode if large else _many.decode, body, prefix="")
    if not outlines:
        raise _no_event()
    if len(outlines) > BATCH_EVENTS_MAX:
        _too_many()
    for index, element in enumerate(_elements.decode(body) if large else outlines):
        prefix = f"[{index}]"
        event = decode_json(_one.decode, bytes(element), prefix=prefix) if large else element
        check(event, prefix=prefix)
        yield event


def parse_lines(body: bytes) -> Iterator[EventBody]:
    """Events from newline-delimited JSON, each as it is asked for; empty lines are passed over. Raises Invalid, TooLarge."""
    index = 0
    for number, line in enumerate(body.split(b"\n"), 1):
        if line.strip():
            if index >= BATCH_EVENTS_MAX:
                _too_many()
            event = decode_json(_one.decode, line, prefix=f"[{index}]", first_line=number)
            check(event, prefix=f"[{index}]")
            yield event
            index += 1
    if not index:
        raise _no_event()


def _no_event() -> Invalid:
    return Invalid("the batch holds no event; send at least one", code=BATCH_EMPTY)


def _too_many() -> NoReturn:
    raise TooLarge(f"a batch holds at most {BATCH_EVENTS_MAX} events; send several batches")


def check(event: EventBody, *, prefix: str) -> None:
    """What types alone do not say. Raises Invalid with the path of the field."""
    if len(event.data) > 2 * JSON_DEPTH_MAX:  # so many brackets take so many bytes
        check_depth(bytes(event.data), path=_join(prefix, "data"))
    check_type(event.type, path=_join(prefix, "type"))
    if event.subject is not None:
        check_subject(event.subject, path=_join(prefix, "subject"))
    if event.key is not None:
        _text(event.key, NAME_LENGTH_MAX * 2, _join(prefix, "key"))
    if event.channels:
        if len(event.channels) > CHANNELS_MAX:
            raise Invalid(f"an event has at most {CHANNELS_MAX} channels", path=_join(prefix, "channels"))
        for index, channel in enumerate(event.channels):
            _text(channel, NAME_LENGTH_MAX, _join(prefix, f"channels[{index}]"))
    if event.attributes:
        if len(event.attributes) > ATTRIBUTES_MAX:
            raise Invalid(f"an event has at most {ATTRIBUTES_MAX} attributes", path=_join(prefix, "attributes"))
        for name, value in event.attributes.items():
            _text(name, NAME_LENGTH_MAX, _join(prefix, "attributes"))
            _text(value, TEXT_LENGTH_MAX, _join(prefix, f"attributes.{name}"))
    if event.idempotency_key is not None:
        check_idempotency_key(event.idempotency_key, path=_join(prefix, "idempotency_key"))


def check_type(name: str, *, path: str) -> None:
    """Raises Invalid where this cannot be the name of an event type."""
    if not is_type_name(name):
        raise Invalid(
            "an event type is made of letters, digits and _, in words joined by . or -, such as order.created; "
            f"at most {NAME_LENGTH_MAX} characters",
            path=path,
            code="invalid_event_type",
        )


def check_subject(subject: str, *, path: str) -> None:
    """Raises Invalid where this cannot be a subject."""
    _text(subject, NAME_LENGTH_MAX * 2, path)


def check_idempotency_key(text: str, *, path: str = "Idempotency-Key") -> None:
    """Raises Invalid where this cannot be an idempotency key."""
    if not text or len(text) > IDEMPOTENCY_KEY_LENGTH_MAX or not text.isprintable():
        raise Invalid(f"an Idempotency-Key is 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} printable characters", path=path)


def _text(text: str, length_max: int, path: str) -> None:
    if not text or len(text) > length_max:
        raise Invalid(f"must have 1 to {length_max} characters, has {len(text)}", path=path)
    if (found := _CONTROL.search(text)) is not None:
        raise Invalid(f"must not hold control characters; U+{ord(found[0]):04X} is at {found.start()}", path=path)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def decode_json(decode: Callable[[bytes], T], body: bytes, *, prefix: str, first_line: int = 1) -> T:
    """What `decode` makes of a body of strict JSON in UTF-8. Raises Invalid with line and column, or with the field's path
    (under `prefix`)."""
    # The decoder passes over strings inside `data` without looking; their bytes go out again, so they are checked here.
    check_utf8(body, first_line=first_line)
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        _not_as_expected(error, prefix)
    except msgspec.DecodeError as error:
        raise located(body, error, first_line=first_line) from None
    except RecursionError:
        raise too_deep() from None


def _not_as_expected(error: msgspec.ValidationError, prefix: str) -> NoReturn:
    message = str(error)
    place = _PLACE.search(message)
    path = place[1] if place is not None else ""
    field = _FIELD.search(message)
    if field is not None:
        path = _join(path, field[1]) if path else field[1]
    path = path.replace("[...]", "[]")
    if prefix:
        path = prefix + path if path.startswith("[") else _join(prefix, path)
    message = _PLACE.sub("", message).replace("`", "")
    raise Invalid(message[:1].lower() + message[1:], path=path, code="invalid") from None


def attributes_json(attributes: dict[str, Any] | None) -> bytes | None:
    """Attributes in the form the log keeps."""
    return msgspec.json.encode(attributes) if attributes else None
