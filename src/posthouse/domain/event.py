"""Events: immutable facts, before (`Draft`) and after (`Event`) the log has them."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from posthouse.domain.ids import AppId, EndpointId, EventId
from posthouse.domain.limits import NAME_LENGTH_MAX

TYPE_NAME: Final = re.compile(r"[A-Za-z0-9_]+(?:[.\-][A-Za-z0-9_]+)*\Z")
JSON_CONTENT: Final = "application/json"


def is_type_name(text: str) -> bool:
    """Whether `text` may name an event type: words of letters, digits and `_`, joined by `.` or `-`."""
    return len(text) <= NAME_LENGTH_MAX and TYPE_NAME.match(text) is not None


class Draft(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True):
    """An event on its way into the log, already validated. Texts hold no NUL; `payload` is verbatim."""

    id: EventId
    app_id: AppId | None = None  # None: for every app whose grants cover type and subject
    app_uid: str | None = None  # where the app was named by it: checked as the event is appended
    type: str
    payload: bytes
    content_type: str = JSON_CONTENT
    subject: str | None = None
    key: str | None = None
    source: str | None = None
    channels: tuple[str, ...] = ()
    attributes: bytes | None = None  # a JSON object of texts, as sent
    expires_at: float | None = None  # unix seconds
    traceparent: str | None = None
    cause: EventId | None = None
    depth: int = 0
    only: EndpointId | None = None  # follow-ups alone have these: nobody but this endpoint of the app hears of it,
    to_url: str | None = None  # and it goes to this URL rather than to the endpoint's own
    idempotency_key: str | None = None
    fingerprint: bytes = b""  # of the request body; compared where the idempotency key was seen before
    together: bool = False  # of a batch: where its key was used otherwise, nothing of what is appended with it is


class Event(msgspec.Struct, frozen=True, gc=False):
    """A fact in the log, at `(partition, seq)`.

    It is for one app, and `config_version` is the app's when it was appended; or, without `app_id`, for the apps of this
    partition that are its `audience`, and `config_version` is the partition's when they were found.

    Where one is made for each delivery its first fields go by position: Python calls with more than 15 keywords take 1 µs more.
    """

    id: EventId
    partition: int
    seq: int
    app_id: AppId | None
    type: str
    payload: bytes
    content_type: str
    created_at: float  # unix seconds, the database's clock
    config_version: int
    subject: str | None = None
    key: str | None = None
    channels: tuple[str, ...] = ()
    expires_at: float | None = None
    depth: int = 0
    audience: tuple[AppId, ...] = ()
    only: EndpointId | None = None  # nobody but this endpoint hears of it,
    to_url: str | None = None  # and it goes to this URL, as the endpoint itself is spoken to
    source: str | None = None
    attributes: bytes | None = None  # a JSON object of texts, as sent

    @property
    def size(self) -> int:
        """Bytes of what has no small limit: its payload, and what it has of attributes."""
        return len(self.payload) if self.attributes is None else len(self.payload) + len(self.attributes)
