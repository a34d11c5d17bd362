"""An event on its way through the outbox: as it is written, and as it is read again.

Nothing here touches a database. The limits are those of the server, so that what it would refuse is refused where the
mistake was made: in the caller's own transaction, not by a relay some time later.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NamedTuple

from posthouse_sdk.outbox.errors import RowError

NAME_LENGTH_MAX: Final = 128
TEXT_LENGTH_MAX: Final = 256
ATTRIBUTE_LENGTH_MAX: Final = 1_024
CHANNELS_MAX: Final = 16
ATTRIBUTES_MAX: Final = 32
DATA_BYTES_MAX: Final = 1024 * 1024

COLUMNS: Final = ("uid", "type", "subject", "event_key", "app", "data", "extra")
"""What `emit` writes; the database gives `id` and `created_at`."""

_TYPE: Final = re.compile(r"[A-Za-z0-9_]+(?:[.\-][A-Za-z0-9_]+)*\Z")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


class NewRow(NamedTuple):
    """What is written for one event, in the order of `COLUMNS`."""

    uid: str
    type: str
    subject: str | None
    event_key: str | None
    app: str | None
    data: str
    extra: str | None


class Row(NamedTuple):
    """An event as the relay reads it. `data` is None where it is larger than what a relay takes into memory."""

    id: int
    uid: str
    type: str
    subject: str | None
    event_key: str | None
    app: str | None
    data: str | None
    extra: str | None

    @property
    def line(self) -> str | None:
        """What its order is kept with: `line_of` its app and key. None: it has no key, and goes by itself."""
        return None if self.event_key is None else line_of(self.app, self.event_key)

    def as_json(self) -> str:
        """The event as the server takes it, in a batch. The data go out as they were written."""
        head: dict[str, Any] = {"type": self.type, "idempotency_key": f"outbox-{self.uid}"}
        if self.subject is not None:
            head["subject"] = self.subject
        if self.event_key is not None:
            head["key"] = self.event_key
        extra = "" if self.extra is None else self.extra.strip()[1:-1]
        return f'{json.dumps(head)[:-1]}, "data": {self.data}{", " + extra if extra else ""}}}'


def line_of(app: str | None, key: str) -> str:
    """One text for the app and the key of events that go one after the other."""
    return f"{app or ''}\x1f{key}"


def new_row(
    type: str,
    data: Any,
    *,
    subject: str | None = None,
    key: str | None = None,
    app: str | None = None,
    channels: Sequence[str] = (),
    attributes: Mapping[str, str] | None = None,
    expires_at: datetime | None = None,
) -> NewRow:
    """The row of an event. Raises RowError where the server would not take it."""
    if not isinstance(type, str) or len(type) > NAME_LENGTH_MAX or _TYPE.match(type) is None:
        raise RowError(
            f"type {type!r} cannot name an event type: letters, digits and _, in words joined by . or -, such as "
            f"order.created; at most {NAME_LENGTH_MAX} characters"
        )
    if subject is not None:
        _text("subject", subject, TEXT_LENGTH_MAX)
    if key is not None:
        _text("key", key, TEXT_LENGTH_MAX)
    if app is not None:
        _text("app", app, NAME_LENGTH_MAX)
    return NewRow(
        uid=str(uuid.uuid4()),
        type=type,
        subject=subject,
        event_key=key,
        app=app,
        data=_encoded(data),
        extra=_extra(channels, attributes, expires_at),
    )


def _extra(channels: Sequence[str], attributes: Mapping[str, str] | None, expires_at: datetime | None) -> str | None:
    """The fields that few events have, as a JSON object."""
    found: dict[str, Any] = {}
    if channels:
        if isinstance(channels, str) or len(channels) > CHANNELS_MAX:
            raise RowError(f"channels is a list of at most {CHANNELS_MAX} texts")
        for channel in channels:
            _text("channels", channel, NAME_LENGTH_MAX)
        found["channels"] = list(channels)
    if attributes:
        if len(attributes) > ATTRIBUTES_MAX:
            raise RowError(f"attributes has at most {ATTRIBUTES_MAX} entries")
        for name, value in attributes.items():
            _text("attributes", name, NAME_LENGTH_MAX)
            _text(f"attributes[{name!r}]", value, ATTRIBUTE_LENGTH_MAX)
        found["attributes"] = dict(attributes)
    if expires_at is not None:
        if expires_at.tzinfo is None:
            raise RowError("expires_at has no time zone; give one, such as datetime.now(UTC) + timedelta(hours=1)")
        found["expires_at"] = expires_at.isoformat()
    return json.dumps(found) if found else None


def _text(name: str, text: object, length_max: int) -> None:
    if not isinstance(text, str):
        raise RowError(f"{name} is a text, not a {type(text).__name__}")
    if not 0 < len(text) <= length_max:
        raise RowError(f"{name} has 1 to {length_max} characters; this has {len(text)}")
    if _CONTROL.search(text) or _SURROGATE.search(text):
        raise RowError(f"{name} must not hold control characters or lone surrogates: {text!r}")


def _encoded(data: Any) -> str:
    try:
        text = json.dumps(
            _plain_model(data), default=_plain, allow_nan=False, ensure_ascii=False, separators=(",", ":")
        )
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise RowError(f"data is not JSON: {error}") from error
    if size > DATA_BYTES_MAX:
        raise RowError(f"data has {size} bytes; an event has at most {DATA_BYTES_MAX}")
    return text


def _plain_model(data: Any) -> Any:
    """An event-type class, a model or a dataclass as what JSON can hold."""
    return _plain(data) if hasattr(data, "model_dump") or is_dataclass(data) or _is_struct(data) else data


def _plain(value: Any) -> Any:
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case uuid.UUID() | Decimal():
            return str(value)
        case Enum():
            return value.value
        case set() | frozenset():
            return sorted(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if _is_struct(value):
        import msgspec

        return msgspec.to_builtins(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"a {type(value).__name__} ({value!r:.80}) has no form in JSON")


def _is_struct(value: Any) -> bool:
    return hasattr(type(value), "__struct_fields__")
