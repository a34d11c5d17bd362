"""What both hubs share: where the server is, how events are made, and the decorators."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar, Unpack

from posthouse_sdk.publishing import recording
from posthouse_sdk.publishing.background import Failure, Handle, Stats, WhenFull
from posthouse_sdk.publishing.errors import ConfigurationError, EventError, PublishError
from posthouse_sdk.publishing.event import MISSING, About, Event
from posthouse_sdk.publishing.exchange import Server, check_key, server_of

if TYPE_CHECKING:
    from posthouse_sdk.publishing.background import Background
    from posthouse_sdk.publishing.event_types import Visibility

VERSION: Final = "0.1.0"
AGENT: Final = f"posthouse-sdk/{VERSION}"
MANY_EVENTS_MAX: Final = 1_000

C = TypeVar("C", bound=type)


class Sending(TypedDict, total=False):
    """How a hub sends, beside where to; `Posthouse` says what each means."""

    attempt_timeout: float
    buffer_events: int
    buffer_bytes: int
    when_full: WhenFull
    block_seconds: float
    batch_events: int
    batch_bytes: int
    keep_seconds: float
    exit_seconds: float
    on_failed: Callable[[Failure], object] | None


class Hub:
    """The common part of `Posthouse` and `AsyncPosthouse`, which say what the parameters mean."""

    _background: Background

    def __init__(self, url: str | None, api_key: str | None, *, timeout: float, connect_timeout: float) -> None:
        if not timeout > 0 or not connect_timeout > 0:
            raise ConfigurationError("timeout and connect_timeout are seconds, more than 0")
        self.timeout: Final = timeout
        self._connect_timeout = connect_timeout
        self._incomplete: ConfigurationError | None = None
        try:
            self._server, self._api_key = destination(url, api_key)
        except IncompleteError as error:
            if not recording.lenient:
                raise ConfigurationError(str(error)) from None
            self._incomplete = ConfigurationError(str(error))
            self._server, self._api_key = Server(False, "posthouse.invalid", 80, ""), "none"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._server.url!r})"

    @property
    def stats(self) -> Stats:
        """What waits in the background, and what became of the rest."""
        return self._background.stats

    def on_event(self, what: object, data: Any = MISSING, **about: Unpack[About]) -> Handle:
        """Publish an event in the background, and go on at once: `on_event("user_register", {"username": "li"})`.

        `what` is a type and `data` its data; or an instance of a class declared with `@event_type`, or an `Event`. What else
        an event may have (`subject`, `app`, `key`, …) is told by `Event`. The handle knows what becomes of it; whoever does
        not ask is told of failures by `on_failed` and the log. Events of one destination stay in order.

        Raises: EventError for what cannot be an event; BufferFullError as `when_full` says; ClosedError.
        """
        return self._submit(event_of(what, data, about))

    def event_type(
        self,
        name: str,
        *,
        description: str | None = None,
        visibility: Visibility | None = None,
        examples: tuple[Any, ...] | list[Any] = (),
    ) -> Callable[[C], C]:
        """The same as `posthouse_sdk.event_type`: declare a class as the data of an event type."""
        from posthouse_sdk.publishing.event_types import event_type

        return event_type(name, description=description, visibility=visibility, examples=examples)

    def _submit(self, event: Event) -> Handle:
        recorder = recording.active
        if recorder is None:
            self._complete()
            return self._background.submit(event)
        handle = Handle()
        try:
            handle.set_result(recorder.take([event])[0])
        except PublishError as error:
            self._background.tell_failed(Failure(event.type, error, event))
            handle.set_exception(error)
        return handle

    def _complete(self) -> None:
        if self._incomplete is not None:
            raise self._incomplete


class IncompleteError(ConfigurationError):
    """URL or key are nowhere."""


def destination(url: str | None, api_key: str | None) -> tuple[Server, str]:
    """The server and the API key, as given or from the environment.

    Raises: ConfigurationError; IncompleteError where one of the two is nowhere.
    """
    url = url or os.environ.get("POSTHOUSE_URL")
    key = api_key or os.environ.get("POSTHOUSE_API_KEY") or os.environ.get("POSTHOUSE_KEY")
    if not url:
        raise IncompleteError(
            "no server: give url, or set POSTHOUSE_URL (http://127.0.0.1:8080 is where `posthouse serve` listens)"
        )
    server = server_of(url)
    if not key:
        raise IncompleteError(
            "no API key: give api_key, or set POSTHOUSE_API_KEY; `posthouse keys create --scope publish` makes one"
        )
    return server, check_key(key)


def event_of(what: object, data: Any, about: About) -> Event:
    """The event of what a hub was called with. Raises EventError."""
    if isinstance(what, Event):
        if data is not MISSING or about:
            raise EventError("an Event has its data and all that belongs to it already")
        return what
    return Event(what, data, **about)


def one_batch(events: list[Event]) -> str | None:
    """The app that all of them are for. Raises EventError where they cannot be one batch."""
    if not events or len(events) > MANY_EVENTS_MAX:
        raise EventError(f"publish_many takes 1 to {MANY_EVENTS_MAX} events, all or none; these are {len(events)}")
    if len({event.app for event in events}) > 1:
        raise EventError("the events of one batch are for one app, or all for whoever is granted them")
    if len({event.idempotency_key for event in events}) < len(events):
        raise EventError("two events of the batch have the same idempotency key")
    if not all(event.is_json for event in events):
        raise EventError("an event with a content type of its own goes alone: publish()")
    return events[0].app
