"""Sending in the background of an event loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from posthouse_sdk.publishing.background import IDLE_SECONDS, Background, Handle, Options
from posthouse_sdk.publishing.buffer import Batch
from posthouse_sdk.publishing.errors import ConfigurationError
from posthouse_sdk.publishing.event import Event
from posthouse_sdk.publishing.streams import Streams

if TYPE_CHECKING:
    from posthouse_sdk.publishing.connections import Connections
    from posthouse_sdk.publishing.exchange import Server


class LoopBackground(Background):
    """Sends with a task of the loop it was first used on; once that loop has ended, of the next one it is used on.

    Events may be submitted from other threads, too, once there is a loop. What a loop leaves behind as it ends is sent by the
    next one, or as the process exits.
    """

    def __init__(self, options: Options, server: Server, connections: Connections, streams: Streams) -> None:
        if options.when_full == "block":
            raise ConfigurationError(
                "an event loop must not be blocked: when_full is raise or drop; or await publish()"
            )
        super().__init__(options, server, connections)
        self._streams = streams
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._more = asyncio.Event()

    def bind(self) -> None:
        """Send on the loop that runs here, unless another one does that. Raises RuntimeError where there is none."""
        with self._ready:
            self._bind()

    def _bind(self) -> None:
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if self._loop is not None and not self._loop.is_closed():
            return
        if here is None:
            raise RuntimeError("AsyncPosthouse needs a running event loop; `Posthouse` does without")
        self._put_back()
        self._loop, self._task, self._more = here, None, asyncio.Event()

    def submit(self, event: Event) -> Handle:
        with self._ready:
            self._bind()
        return super().submit(event)

    def _wake(self) -> None:
        assert self._loop is not None
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            self._go_on()
        else:
            self._loop.call_soon_threadsafe(self._go_on)

    def _go_on(self) -> None:
        self._more.set()
        if self._task is None or self._task.done():
            assert self._loop is not None
            self._task = self._loop.create_task(self._run(), name="posthouse-sdk")

    async def flush(self, timeout: float) -> bool:
        """Wait until all that was taken so far is settled. Whether it is."""
        waiting = [asyncio.wrap_future(handle) for handle in self._handles()]
        if not waiting:
            return True
        done, pending = await asyncio.wait(waiting, timeout=timeout)
        for future in done:
            future.exception()  # told of elsewhere
        return not pending

    async def close(self, timeout: float) -> None:
        """Take nothing more, send what waits, and tell what could not be sent in time."""
        with self._ready:
            self._closed = True
            self._buffer.hurry()
            waits = self._buffer.events > 0
            if waits:
                self._loop = None if self._loop is None or self._loop.is_closed() else self._loop
                self._bind()
                self._wake()
        await self.flush(timeout)
        self._give_up(f"the hub was closed, and {timeout:g} s were not enough to send it")
        if self._task is not None and self._loop is asyncio.get_running_loop():
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._streams.close()
        self._connections.close()

    def at_exit(self) -> None:
        with self._ready:
            self._closed = True
            self._put_back()
            self._buffer.hurry()
        self._drain(time.monotonic() + self._options.exit_seconds)
        self._give_up(f"the process ended, and {self._options.exit_seconds:g} s were not enough to send it")
        self._connections.close()

    def forked(self) -> None:
        super().forked()
        self._loop = self._task = None
        self._streams.forked()

    async def _run(self) -> None:
        while True:
            self._more.clear()
            with self._ready:
                found = self._take()
            if isinstance(found, Batch):
                await self._send(found)
                continue
            try:
                async with asyncio.timeout(IDLE_SECONDS if found is None else found):
                    await self._more.wait()
            except TimeoutError:
                if found is None and not self._more.is_set():
                    return

    async def _send(self, batch: Batch[Handle]) -> None:
        try:
            verdict = await self._streams.exchange(batch.call, timeout=self._options.attempt_timeout)
        except asyncio.CancelledError:
            with self._ready:
                if self._under_way is batch:
                    self._put_back()
            raise
        self._settle(batch, verdict)
