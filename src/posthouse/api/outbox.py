"""An outbox in Posthouse's own database: a platform that keeps its data there needs no relay beside the server.

`publish()` may not be called in the platform's own transaction: it would hold the heads of the log until that commits, and with
them everybody else's events (docs/internals/architecture.md, "An outbox in our own database"). So the event is a row of the
platform's transaction here, too, and the relay is in this process, without HTTP. Each process of a server has one, and the
lease lets one of them work, as it does with relays of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from posthouse.api.express import Headers
from posthouse.domain.errors import PosthouseError
from posthouse_sdk.outbox.answers import Answer, judge
from posthouse_sdk.outbox.errors import OutboxError
from posthouse_sdk.outbox.relay import Relay
from posthouse_sdk.outbox.store import store_of
from posthouse_sdk.publishing.exchange import batch_of
from posthouse_sdk.publishing.http1 import Answer as HttpAnswer

log = structlog.get_logger()

LOOK_SECONDS: Final = 10.0

Publish = Callable[[str | None, bytes], Awaitable[tuple[int, Headers, bytes]]]
"""An app, or none, and a batch as JSON -> status, headers and body of the answer."""


class OwnOutbox:
    """Relays the outbox of this server's own database, from when one is `there`. Whatever fails is logged and tried again."""

    def __init__(self, dsn: str, publish: Publish, *, there: Callable[[], Awaitable[bool]]) -> None:
        self._dsn = dsn
        self._publisher = _Directly(publish)
        self._there = there

    async def run(self) -> None:
        while True:
            try:
                if await self._there():
                    await self._relay()
            except PosthouseError as error:
                log.debug("outbox.not_looked_at", error=str(error))
            except OutboxError as error:
                log.warning("outbox.not_relayed", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def _relay(self) -> None:
        store = store_of(self._dsn)
        try:
            await Relay(store, self._publisher).run()
        finally:
            await store.close()


class _Directly:
    """`posthouse_sdk.outbox.publisher.Publisher` without a request."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    async def publish(self, app: str | None, body: bytes, events: int) -> Answer:
        status, headers, told = await self._publish(app, body)
        named = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        answer = HttpAnswer(status, named, told, reusable=True)
        return judge(batch_of(app, body, events), answer, now=time.time())

    async def close(self) -> None:
        pass
