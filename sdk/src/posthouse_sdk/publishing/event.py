"""Events as they are published, and how values become JSON.

A value is encoded in the call that publishes it: what happens to it later changes nothing, and what cannot be JSON is told
where it was given.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime, time, timedelta
from typing import Any, Final, NamedTuple, TypedDict

from posthouse_sdk.publishing.errors import EventError

JSON_CONTENT: Final = "application/json"
NAME_LENGTH_MAX: Final = 128
KEY_LENGTH_MAX: Final = 255
_TYPE_NAME: Final = re.compile(r"[A-Za-z0-9_]+(?:[.\-][A-Za-z0-9_]+)*\Z")
_CONTENT_TYPE: Final = re.compile(r"[!-~][ -~]*\Z")


class _Missing:
    """No data were given, which is not the same as None."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class About(TypedDict, total=False):
    """What an event may have beside its type and data; `Event` says what each means."""

    subject: str | None
    app: str | None
    key: str | None
    channels: tuple[str, ...] | list[str]
    attributes: Mapping[str, str] | None
    expires_at: datetime | timedelta | None
    idempotency_key: str | None
    content_type: str | None


class Receipt(NamedTuple):
    """The server's word that an event is durable. `apps`: how many it is for, where it went out to all that are granted it.

    An event whose idempotency key was seen before has the id and the time of the first one, and no `apps`.
    """

    id: str
    type: str
    created_at: datetime
    apps: int | None = None


class Event:
    """What is published: `Event("order.created", {"order": 7}, subject="shop:42")`, or of an instance of an event-type class.

    `app` addresses one app (id or uid) instead of all that are granted it. `key` orders events on endpoints that ask for
    order by key. `channels`, `attributes` and `expires_at` (an aware datetime, or a timedelta from now) are as in the HTTP API.
    `idempotency_key` makes it one event however often it is published within 24 hours; one is made where none is given.
    With `content_type` (any but application/json), `data` are bytes or text that go out as they are; such an event has a type
    and a subject only.

    Raises: EventError.
    """

    __slots__ = ("app", "body", "content_type", "idempotency_key", "payload", "subject", "type")

    def __init__(
        self,
        what: object,
        data: Any = MISSING,
        *,
        subject: str | None = None,
        app: str | None = None,
        key: str | None = None,
        channels: tuple[str, ...] | list[str] = (),
        attributes: Mapping[str, str] | None = None,
        expires_at: datetime | timedelta | None = None,
        idempotency_key: str | None = None,
        content_type: str | None = None,
    ) -> None:
        name, value = _named(what, data)
        self.type = _type_name(name)
        self.subject = _text(subject, "subject")
        self.app = _text(app, "app")
        self.idempotency_key = new_key() if idempotency_key is None else _key(idempotency_key)
        self.content_type = JSON_CONTENT if content_type is None else content_type
        if content_type is not None:
            if key is not None or channels or attributes or expires_at is not None:
                raise EventError(f"an event of {content_type} has a type and a subject, and nothing else")
            self.payload = self.body = _raw(value, content_type)
            return
        self.payload = _json(value)
        fields: dict[str, Any] = {
            "idempotency_key": self.idempotency_key,
            "subject": self.subject,
            "key": _text(key, "key"),
            "channels": _channels(channels),
            "attributes": _attributes(attributes),
            "expires_at": None if expires_at is None else _deadline(expires_at),
        }
        rest = _json({name: value for name, value in fields.items() if value is not None})
        self.body = b'{"type":"%b","data":%b,%b' % (self.type.encode(), self.payload, rest[1:])

    @property
    def is_json(self) -> bool:
        return self.content_type == JSON_CONTENT

    @property
    def data(self) -> Any:
        """The data as receivers will see them: decoded where they are JSON, else bytes."""
        return json.loads(self.payload) if self.is_json else self.payload

    def __repr__(self) -> str:
        told = self.payload[:80].decode("utf-8", "replace") + ("…" if len(self.payload) > 80 else "")
        about = "".join(f", {name}={value!r}" for name in ("subject", "app") if (value := getattr(self, name)))
        return f"Event({self.type!r}, {told}{about})"


def new_key() -> str:
    """An idempotency key that nobody else makes."""
    import uuid

    return uuid.uuid4().hex


def type_of(value: object) -> str | None:
    """The event type that a value's class was declared as (`@event_type`), or None."""
    declared = getattr(type(value), "__posthouse_event_type__", None)
    return None if declared is None else str(declared.name)


def _named(what: object, data: Any) -> tuple[str, Any]:
    if isinstance(what, str):
        if data is MISSING:
            raise EventError(f'an event has data: on_event("{what}", {{…}})')
        declared = type_of(data)
        if declared is not None and declared != what:
            raise EventError(f"these data are a {type(data).__name__}, which is of type {declared}, and not {what}")
        return what, data
    declared = type_of(what)
    if declared is None:
        raise EventError(
            f"an event is a type and its data, or an instance of a class declared with @event_type; this is a "
            f"{type(what).__name__}"
        )
    if data is not MISSING:
        raise EventError(f"a {type(what).__name__} is the data already")
    return declared, what


def _type_name(name: str) -> str:
    if len(name) > NAME_LENGTH_MAX or _TYPE_NAME.match(name) is None:
        raise EventError(
            f"an event type is made of letters, digits and _, in words joined by . or -, such as order.created; at most "
            f"{NAME_LENGTH_MAX} characters: {name[:NAME_LENGTH_MAX]!r}"
        )
    return name


def _text(value: str | None, name: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise EventError(f"{name} is a text that is not empty, and not {value!r}")
    return value


def _channels(value: object) -> list[str | None] | None:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise EventError(f"channels is a list of texts, and not {value!r:.300}")
    return [_text(channel, "one of channels") for channel in value] or None


def _attributes(value: object) -> dict[str, str] | None:
    if value is not None and not isinstance(value, Mapping):
        raise EventError(f"attributes are texts by name, and not {value!r:.300}")
    return dict(value) if value else None


def _key(value: str) -> str:
    # Visible ASCII, so that a header can carry it, too.
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= KEY_LENGTH_MAX
        or not (value.isascii() and value.isprintable())
    ):
        raise EventError(
            f"an idempotency key is 1 to {KEY_LENGTH_MAX} printable ASCII characters, and not {value!r:.300}"
        )
    return value


def _deadline(value: object) -> str:
    if isinstance(value, timedelta):
        value = datetime.now().astimezone() + value
    if not isinstance(value, datetime):
        raise EventError(f"expires_at is a datetime, or a timedelta from now, and not {value!r:.300}")
    if value.tzinfo is None:
        raise EventError(
            "expires_at has no time zone; use an aware datetime, such as datetime.now(UTC) + timedelta(hours=1)"
        )
    return value.isoformat()


def _raw(value: Any, content_type: str) -> bytes:
    if _CONTENT_TYPE.match(content_type) is None:
        raise EventError(f"this is not a content type: {content_type!r}")
    if content_type.partition(";")[0].strip().lower() == JSON_CONTENT:
        raise EventError("content_type is for data of other kinds; what is to be JSON is given as it is, without one")
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise EventError(f"with content_type={content_type!r}, data are bytes or text, and not a {type(value).__name__}")


def _json(value: Any) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=plain)
        return text.encode("utf-8")
    except RecursionError:
        raise EventError("the data are nested too deeply, or hold themselves") from None
    except UnicodeEncodeError as error:
        raise EventError(f"the data hold half a character (a lone surrogate): {error.object[:80]!r}") from None
    except (TypeError, ValueError) as error:
        raise EventError(f"these data cannot be JSON: {error}") from error


def plain(value: Any) -> Any:
    """What JSON has for a value that it has not: the hook of `json.dumps`.

    Times in ISO 8601, UUID and Decimal as text (a JSON number would lose digits at many receivers), enumerations by value,
    dataclasses, pydantic models and msgspec structs by their fields, mappings and sets. Raises TypeError for the rest.
    """
    import decimal
    import enum
    import uuid

    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case uuid.UUID() | decimal.Decimal():
            return str(value)
        case enum.Enum():
            return value.value
        case Mapping():
            return dict(value)
        case Set():
            return list(value)
        case bytes() | bytearray() | memoryview():
            raise TypeError("bytes are no JSON: encode them (base64), or give content_type to send them as they are")
        case _:
            return _fields(value)


def _fields(value: Any) -> Any:
    kind = type(value)
    if hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    if hasattr(kind, "__pydantic_serializer__"):  # a pydantic dataclass
        return sys.modules["pydantic"].TypeAdapter(kind).dump_python(value, mode="json", by_alias=True)
    if hasattr(kind, "__struct_fields__"):
        return sys.modules["msgspec"].to_builtins(value)
    if hasattr(kind, "__dataclass_fields__"):
        import dataclasses

        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"a {kind.__module__}.{kind.__qualname__} is none of the things that can be")
