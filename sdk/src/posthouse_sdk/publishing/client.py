"""`Posthouse`: the hub for threads."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from posthouse_sdk.publishing import recording
from posthouse_sdk.publishing.background import Options, ThreadBackground
from posthouse_sdk.publishing.connections import Connections
from posthouse_sdk.publishing.errors import ClosedError
from posthouse_sdk.publishing.event import MISSING, About, Event, Receipt
from posthouse_sdk.publishing.exchange import Accepted, Again, Call, Patience, Refused, one, several
from posthouse_sdk.publishing.hub import AGENT, Hub, Sending, event_of, one_batch

if TYPE_CHECKING:
    from ssl import SSLContext

    from posthouse_sdk.publishing.fires import Fires

F = TypeVar("F", bound=Callable[..., Any])


class Posthouse(Hub):
    """Publishes events to a Posthouse server. One for the whole program; thread-safe, and safe over `fork`.

        hub = Posthouse()                                        # POSTHOUSE_URL and POSTHOUSE_API_KEY
        on_event = hub.on_event
        on_event("user_register", {"username": "li"})            # in the background
        receipt = hub.publish("order_create", {"order": 7}, subject="shop:42")   # waits until it is durable

    `url` and `api_key` are taken from POSTHOUSE_URL and POSTHOUSE_API_KEY (or POSTHOUSE_KEY) where they are not given.
    `timeout`: seconds that `publish` takes at most, all its tries together. `connect_timeout`, `attempt_timeout` (15): of one
    try. `ssl_context`: for a CA or a client certificate of your own.

    The background: at most `buffer_events` (10,000) and `buffer_bytes` (64 MiB) wait; at the limit `when_full` is "block" (for
    `block_seconds`, 5, then BufferFullError), "raise" or "drop" (counted in `stats`, and told). They go in batches of at most
    `batch_events` (500) and `batch_bytes` (1 MiB), again and again for `keep_seconds` (an hour); as the process exits, for
    `exit_seconds` (10) more. `on_failed` is called with a `Failure` for each event that was not published, in the
    background's thread; it is logged, too.

    Raises: ConfigurationError.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 30.0,
        connect_timeout: float = 5.0,
        ssl_context: SSLContext | None = None,
        **sending: Unpack[Sending],
    ) -> None:
        super().__init__(url, api_key, timeout=timeout, connect_timeout=connect_timeout)
        options = Options(**sending)
        self._attempt_timeout = options.attempt_timeout
        self._connections = Connections(
            self._server, self._api_key, AGENT, connect_timeout=connect_timeout, context=ssl_context
        )
        self._background: ThreadBackground = ThreadBackground(options, self._server, self._connections)
        self._closed = False

    def publish(
        self, what: object, data: Any = MISSING, *, timeout: float | None = None, **about: Unpack[About]
    ) -> Receipt:
        """Publish an event, and wait until the server has it for good. What is given is as for `on_event`.

        It is tried again as long as that may help and `timeout` allows, under one idempotency key: it is published once.

        Raises: EventError, RefusedError, UnavailableError, ClosedError.
        """
        event = event_of(what, data, about)
        return self._published(one(event), [event], timeout)[0]

    def publish_many(self, events: Iterable[object], *, timeout: float | None = None) -> list[Receipt]:
        """Publish up to 1,000 events (`Event`, or instances of event-type classes), all or none, for one app or all for
        whoever is granted them. Their receipts, in order.

        Raises: as `publish`; the `path` of a RefusedError begins with the place of the event: `[3].data`.
        """
        made = [event_of(event, MISSING, {}) for event in events]
        return self._published(several(one_batch(made), made), made, timeout)

    def fires(self, what: str | type | None = None, **how: Unpack[Fires]) -> Callable[[F], F]:
        """A decorator: publish an event after the function returned. See `posthouse_sdk.publishing.fires`."""
        from posthouse_sdk.publishing.fires import decorator

        async def publish_async(event: Event) -> object:
            import asyncio

            return await asyncio.to_thread(self.publish, event)

        return decorator(self._submit, self.publish, publish_async, self._background.tell_failed, what, how)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every event handed to the background so far is published or failed. False: not within `timeout`."""
        return self._background.flush(self.timeout if timeout is None else timeout)

    def close(self, timeout: float | None = None) -> None:
        """Take no more events, and send what waits; what could not be sent within `timeout` is told of as failed."""
        self._closed = True
        self._background.close(self.timeout if timeout is None else timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _published(self, call: Call, events: list[Event], timeout: float | None) -> list[Receipt]:
        if recording.active is not None:
            return recording.active.take(events)
        self._complete()
        if self._closed:
            raise ClosedError("the hub is closed; make one that lives as long as the program")
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        patience = Patience(deadline, server=self._server)
        while True:
            left = max(deadline - time.monotonic(), 0.001)
            match self._connections.exchange(call, timeout=min(left, self._attempt_timeout)):
                case Accepted(receipts):
                    return receipts
                case Refused(error):
                    raise error
                case Again() as verdict:
                    time.sleep(patience.wait(verdict, now=time.monotonic(), draw=random.random()))  # noqa: S311
