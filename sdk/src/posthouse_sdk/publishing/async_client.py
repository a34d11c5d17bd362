"""`AsyncPosthouse`: the hub of an event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from posthouse_sdk.publishing import recording
from posthouse_sdk.publishing.background import Options
from posthouse_sdk.publishing.background_async import LoopBackground
from posthouse_sdk.publishing.connections import Connections
from posthouse_sdk.publishing.errors import ClosedError
from posthouse_sdk.publishing.event import MISSING, About, Event, Receipt
from posthouse_sdk.publishing.exchange import Accepted, Again, Call, Patience, Refused, one, several
from posthouse_sdk.publishing.hub import AGENT, Hub, Sending, event_of, one_batch
from posthouse_sdk.publishing.streams import Streams

if TYPE_CHECKING:
    from ssl import SSLContext

    from posthouse_sdk.publishing.fires import Fires

F = TypeVar("F", bound=Callable[..., Any])


class AsyncPosthouse(Hub):
    """As `Posthouse`, on an event loop: what waits there is awaited here.

        async with AsyncPosthouse() as hub:
            hub.on_event("user_register", {"username": "li"})                      # a task of the loop sends it
            receipt = await hub.publish("order_create", {"order": 7}, subject="shop:42")

    `on_event` is no coroutine: it takes the event and goes on; `await` its handle to wait for the receipt. `when_full` is
    "raise" (the default) or "drop": a loop must not be blocked, and `await publish()` waits without blocking it. Close it
    (`async with`, or `await close()`) before its loop ends; what is left then is sent as the process exits.
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
        sending.setdefault("when_full", "raise")
        options = Options(**sending)
        self._attempt_timeout = options.attempt_timeout
        about = (self._server, self._api_key, AGENT)
        self._streams = Streams(*about, connect_timeout=connect_timeout, context=ssl_context)
        at_exit = Connections(*about, connect_timeout=connect_timeout, context=ssl_context)
        self._background: LoopBackground = LoopBackground(options, self._server, at_exit, self._streams)
        self._closed = False

    async def publish(
        self, what: object, data: Any = MISSING, *, timeout: float | None = None, **about: Unpack[About]
    ) -> Receipt:
        """As `Posthouse.publish`."""
        event = event_of(what, data, about)
        return (await self._published(one(event), [event], timeout))[0]

    async def publish_many(self, events: Iterable[object], *, timeout: float | None = None) -> list[Receipt]:
        """As `Posthouse.publish_many`."""
        made = [event_of(event, MISSING, {}) for event in events]
        return await self._published(several(one_batch(made), made), made, timeout)

    def fires(self, what: str | type | None = None, **how: Unpack[Fires]) -> Callable[[F], F]:
        """A decorator: publish an event after the function returned. See `posthouse_sdk.publishing.fires`."""
        from posthouse_sdk.publishing.fires import decorator

        return decorator(self._submit, None, self.publish, self._background.tell_failed, what, how)

    async def flush(self, timeout: float | None = None) -> bool:
        """As `Posthouse.flush`."""
        return await self._background.flush(self.timeout if timeout is None else timeout)

    async def close(self, timeout: float | None = None) -> None:
        """As `Posthouse.close`."""
        self._closed = True
        await self._background.close(self.timeout if timeout is None else timeout)

    async def __aenter__(self) -> Self:
        self._background.bind()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _published(self, call: Call, events: list[Event], timeout: float | None) -> list[Receipt]:
        if recording.active is not None:
            return recording.active.take(events)
        self._complete()
        if self._closed:
            raise ClosedError("the hub is closed; make one that lives as long as the program")
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        patience = Patience(deadline, server=self._server)
        while True:
            left = max(deadline - time.monotonic(), 0.001)
            match await self._streams.exchange(call, timeout=min(left, self._attempt_timeout)):
                case Accepted(receipts):
                    return receipts
                case Refused(error):
                    raise error
                case Again() as verdict:
                    await asyncio.sleep(patience.wait(verdict, now=time.monotonic(), draw=random.random()))  # noqa: S311
