"""An event on its way through the outbox: as it is written, and as it is read again.

Nothing here touches a database. The limits are those of the server, so that what it would refuse is refused where the
mistake was made: in the caller's own transaction, not by a relay some time later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from posthouse_sdk.publishing.errors import EventError
from posthouse_sdk.publishing.event import MISSING, NAME_LENGTH_MAX, Event

TEXT_LENGTH_MAX: Final = 256
ATTRIBUTE_LENGTH_MAX: Final = 1_024
CHANNELS_MAX: Final = 16
ATTRIBUTES_MAX: Final = 32
DATA_BYTES_MAX: Final = 1024 * 1024

COLUMNS: Final = ("uid", "type", "subject", "event_key", "app", "data", "extra")
"""What `emit` writes; the database gives `id` and `created_at`."""

_CONTROL: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


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
        head: dict[str, Any] = {"type": self.type, "idempotency_key": self.uid}
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
    what: object,
    data: Any = MISSING,
    *,
    subject: str | None = None,
    key: str | None = None,
    app: str | None = None,
    channels: tuple[str, ...] | list[str] = (),
    attributes: Mapping[str, str] | None = None,
    expires_at: datetime | timedelta | None = None,
) -> NewRow:
    """The row of an event. Raises EventError for what the server would not take: here the mistake can still be seen."""
    for name, text, length_max in (
        ("subject", subject, TEXT_LENGTH_MAX),
        ("key", key, TEXT_LENGTH_MAX),
        ("app", app, NAME_LENGTH_MAX),
        *(("channels", channel, NAME_LENGTH_MAX) for channel in channels),
        *(("attributes", name, NAME_LENGTH_MAX) for name in attributes or ()),
        *((f"attributes.{name}", value, ATTRIBUTE_LENGTH_MAX) for name, value in (attributes or {}).items()),
    ):
        if text is not None:
            _check(name, text, length_max)
    if len(channels) > CHANNELS_MAX or len(attributes or ()) > ATTRIBUTES_MAX:
        raise EventError(f"an event has at most {CHANNELS_MAX} channels and {ATTRIBUTES_MAX} attributes")
    event = Event(
        what, data, subject=subject, app=app, key=key, channels=channels, attributes=attributes, expires_at=expires_at
    )
    if len(event.payload) > DATA_BYTES_MAX:
        raise EventError(f"the data have {len(event.payload)} bytes; an event has at most {DATA_BYTES_MAX}")
    extra = None
    if channels or attributes or expires_at is not None:
        told = json.loads(event.body)
        extra = json.dumps({name: told[name] for name in ("channels", "attributes", "expires_at") if name in told})
    return NewRow(event.idempotency_key, event.type, subject, key, app, event.payload.decode(), extra)


def _check(name: str, text: object, length_max: int) -> None:
    if not isinstance(text, str):
        raise EventError(f"{name} is a text, and not a {type(text).__name__}")
    if not 0 < len(text) <= length_max:
        raise EventError(f"{name} has 1 to {length_max} characters; this has {len(text)}")
    if (found := _CONTROL.search(text)) is not None:
        raise EventError(f"{name} holds U+{ord(found[0]):04X}, which is no character that it may hold")
