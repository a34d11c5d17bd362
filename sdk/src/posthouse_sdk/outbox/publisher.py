"""How a relay brings a batch to the server."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol

from posthouse_sdk.outbox.answers import Answer, judge
from posthouse_sdk.publishing.connections import Connections
from posthouse_sdk.publishing.exchange import Again, Call, batch_of, check_key, server_of

if TYPE_CHECKING:
    from ssl import SSLContext

REQUESTS_MAX: Final = 8
ANSWER_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 5.0


class Publisher(Protocol):
    """Brings events to a log. Several requests may be under way at once."""

    async def publish(self, app: str | None, body: bytes, events: int) -> Answer:
        """Publish a JSON array of so many events, for this app or for whoever a grant covers."""

    async def close(self) -> None: ...


class HttpPublisher:
    """`Publisher` by HTTP, on connections that are kept. Raises ConfigurationError for a URL or key that cannot be one."""

    def __init__(
        self, url: str, api_key: str, *, seconds: float = ANSWER_SECONDS, context: SSLContext | None = None
    ) -> None:
        server = server_of(url)
        self._connections = Connections(
            server, check_key(api_key), "posthouse-relay", connect_timeout=CONNECT_SECONDS, context=context
        )
        self._url = server.url
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(REQUESTS_MAX, thread_name_prefix="posthouse-relay")

    async def publish(self, app: str | None, body: bytes, events: int) -> Answer:
        call = batch_of(app, body, events)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, call)

    async def close(self) -> None:
        self._connections.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, call: Call) -> Answer:
        answer = self._connections.ask(call, timeout=self._seconds)
        if isinstance(answer, Again) and answer.reused:
            # It was closed while it was idle. Whatever came of the request, its keys make it one.
            answer = self._connections.ask(call, timeout=self._seconds)
        if isinstance(answer, Again):
            answer = answer._replace(reason=f"the server at {self._url}: {answer.reason}")
        return judge(call, answer, now=time.time())
