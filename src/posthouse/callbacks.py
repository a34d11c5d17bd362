"""Callback handlers: functions of yours that are called with what targets answered (`posthouse serve --callbacks yourmodule`).

    import posthouse

    @posthouse.on_callback("order.*")
    def shipped(callback: posthouse.Callback) -> posthouse.Action | None:
        if callback.response is not None and callback.response.json["state"] == "shipped":
            return posthouse.Emit("order.shipped", {"order": callback.event.data["id"]})
        return None

This module imports nothing of the server, and is imported only when one of its names is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from posthouse.domain.action import (
    Action,
    Disable,
    Emit,
    Forward,
    Notify,
    Resend,
    SetMetadata,
    Throttle,
)
from posthouse.domain.cloudevent import declares_json
from posthouse.domain.event import is_type_name

__all__ = [
    "Action",
    "App",
    "Callback",
    "Disable",
    "Emit",
    "Endpoint",
    "Event",
    "Forward",
    "Notify",
    "Resend",
    "Response",
    "SetMetadata",
    "Throttle",
    "on_callback",
]


@dataclass(frozen=True, kw_only=True)
class Event:
    """The event that was sent. `data` are its JSON; for events of another content type, or that are no JSON, bytes."""

    id: str
    type: str
    time: datetime
    data: Any = None
    subject: str | None = None
    key: str | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, kw_only=True)
class App:
    """The app whose endpoint answered. `uid` is what you call it by."""

    id: str
    uid: str | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The endpoint as it is now. The URL that this attempt went to is `Callback.url`."""

    id: str
    url: str
    uid: str | None = None
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Response:
    """What the target answered: `status`, `headers` by their names in lower case, `body` as bytes, at most 64 KiB of it
    (`truncated`: it was longer). What the endpoint's `redact_answer` names is masked."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    truncated: bool = False

    @property
    def text(self) -> str:
        """The body as text, in its charset."""
        text: str = self._read("text")
        return text

    @property
    def json(self) -> Any:
        """The body's JSON; None where it is none (or `null`)."""
        return self._read("body")

    @property
    def xml(self) -> dict[str, Any] | None:
        """The body's XML: `<r><code>0</code></r>` is `{"r": {"code": "0"}}`; None where it is none."""
        tree: dict[str, Any] | None = self._read("xml")
        return tree

    def _read(self, part: str) -> Any:
        from posthouse.domain.exchange import NO_TIMINGS, Answer
        from posthouse.wire.answers import facts_of

        headers = tuple([(k.lower().encode("utf-8"), v.encode("utf-8")) for k, v in self.headers.items()])
        return facts_of(Answer(self.status, headers, self.body, NO_TIMINGS, truncated=self.truncated), [part])[part]


@dataclass(frozen=True, kw_only=True)
class Callback:
    """One attempt that ended, with what it was about.

    `outcome` is `delivered`, `failed` (another attempt follows) or `gave_up`; `reason` says why, as the attempt itself does.
    `response` is None where no complete answer came; then `error` says what happened. `attempt` counts from 1.

    A handler may be called again with the same callback (after it failed, or the server died). `idempotency_key` is the same
    then, and another for each other callback and handler: give it to whatever must happen once.
    """

    event: Event
    app: App
    endpoint: Endpoint
    idempotency_key: str
    attempt: int = 1
    attempt_id: str = ""
    outcome: str = "delivered"
    reason: str = "confirmed"
    url: str = ""
    replay: bool = False
    response: Response | None = None
    error: str | None = None


Answered = Action | Sequence[Action] | None
Handler = Callable[[Callback], Answered | Awaitable[Answered]]
H = TypeVar("H", bound=Handler)

registered: list[tuple[tuple[str, ...], Handler]] = []
"""Patterns and their handlers, in the order in which they were declared."""


def on_callback(*patterns: str) -> Callable[[H], H]:
    """Call the function for every attempt of an event whose type is one of the patterns: a type's name, `order.*`, or `*`.

    It may be async. What it returns is done once: an action, several, or None. Raises TypeError or ValueError where it is
    not used so.
    """
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError('on_callback needs the event types to be called for, such as @on_callback("order.*")')
    for pattern in patterns:
        if pattern != "*" and not is_type_name(pattern.removesuffix(".*")):
            raise ValueError(f"{pattern!r} is no event type; use order.created, order.* or *")

    def register(handler: H) -> H:
        if not callable(handler):
            raise TypeError("on_callback is for functions")
        registered.append((patterns, handler))
        return handler

    return register


def event_data(payload: bytes, content_type: str) -> Any:
    """What `Event.data` is of a payload. What is published as it is may only say that it is JSON: then it is bytes too."""
    if not declares_json(content_type):
        return payload
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return payload


def time_of(unix: float) -> datetime:
    return datetime.fromtimestamp(unix, UTC)
