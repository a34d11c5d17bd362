"""Sending in the background of an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from posthouse_sdk.publishing.background import IDLE_SECONDS, Background, Handle, Options, broken
from posthouse_sdk.publishing.buffer import Batch
from posthouse_sdk.publishing.errors import ConfigurationError
from posthouse_sdk.publishing.event import Event
from posthouse_sdk.publishing.streams import CLOSE_SECONDS_MAX, Streams

if TYPE_CHECKING:
    from posthouse_sdk.publishing.connections import Connections
    from posthouse_sdk.publishing.exchange import Server

LOOK_SECONDS: Final = 0.05
ANSWER_SECONDS_MAX: Final = 1.0


class LoopBackground(Background):
    """Sends with a task of the loop it was first used on; once that loop has ended, or runs no more, of the next one it is used
    on.

    Events may be submitted from other threads, too, once there is a loop. What a loop leaves behind as it ends is sent by the
    next one, or as the process exits. Then a loop may still run, in a thread of its own: it ends the batch that is under way
    there, and the exit sends the rest. One of them sends at a time, whoever that is.
    """

    def __init__(self, options: Options, server: Server, connections: Connections, streams: Streams) -> None:
        if options.when_full == "block":
            raise ConfigurationError(
                "an event loop must not be blocked: when_full is raise or drop; or await publish()"
            )
        super().__init__(options, server, connections)
        self._streams = streams
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None  # whoever is not it takes nothing
        self._more = asyncio.Event()
        self._exiting = False

    def bind(self) -> None:
        """Send on the loop that runs here, unless another one does that. Raises RuntimeError where there is none."""
        with self._ready:
            self._bind()

    def _bind(self) -> None:
        here = _running()
        bound = self._loop
        # One that stands still may go on, and what other threads hand in waits for that; a loop that runs does not.
        if self._exiting or (bound is not None and not bound.is_closed() and (here is None or bound.is_running())):
            return
        if here is None:
            raise RuntimeError("AsyncPosthouse needs a running event loop; `Posthouse` does without")
        self._put_back()
        self._dismiss()
        self._loop, self._more = here, asyncio.Event()

    def _dismiss(self) -> None:
        """Should the task that sends go on after all, it ends, before anything else on its loop. The lock is held."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            with suppress(RuntimeError):  # its loop is closed
                task.get_loop().call_soon_threadsafe(task.cancel)

    def submit(self, event: Event) -> Handle:
        with self._ready:
            if not self._closed:
                self._bind()
        return super().submit(event)

    def _wake(self) -> None:
        loop = self._loop
        if loop is None:
            return
        if _running() is loop:
            self._go_on(loop)
            return
        with suppress(RuntimeError):  # it was closed just now: the next one sends it, or the exit
            loop.call_soon_threadsafe(self._go_on, loop)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """On this loop, if it is still the one that sends, and there is something to send."""
        with self._ready:
            if self._exiting or self._loop is not loop or self._buffer.events == 0:
                return
            self._more.set()
            if self._task is None or self._task.done():
                self._task = loop.create_task(self._run(), name="posthouse-sdk")

    async def flush(self, timeout: float) -> bool:
        """Wait until all that was taken so far is settled. Whether it is."""
        deadline = time.monotonic() + timeout
        waiting = [asyncio.wrap_future(handle) for handle in self._handles()]
        if not waiting:
            return True
        told: asyncio.Future[Any] = asyncio.gather(*waiting, return_exceptions=True)  # told of elsewhere
        try:
            while not told.done() and (left := deadline - time.monotonic()) > 0:
                # Whoever sends may be cancelled, or its loop ends: it is looked after until all is settled.
                sends = self._seen_to()
                both: list[asyncio.Future[Any]] = [told] if sends is None else [told, sends]
                look = LOOK_SECONDS if sends is None else left
                await asyncio.wait(both, timeout=min(left, look), return_when=asyncio.FIRST_COMPLETED)
            return told.done()
        finally:
            told.cancel()

    def _seen_to(self) -> asyncio.Task[None] | None:
        """See to it that somebody sends what waits; the task that does, where it is one of the loop that runs here."""
        with self._ready:
            if self._exiting or self._buffer.events == 0:
                return None
            self._bind()
            self._wake()
            return self._task if self._loop is _running() else None

    async def close(self, timeout: float) -> None:
        """Take nothing more, send what waits, and tell what could not be sent in time. Cancelled, it leaves that to the exit of
        the process."""
        with self._ready:
            self._closed = True
            self._buffer.hurry()
        try:
            await self.flush(timeout)
            self._give_up(f"the hub was closed, and {timeout:g} s were not enough to send it")
        finally:
            await self._end()

    async def _end(self) -> None:
        """Nobody sends any more, on whatever loop, and no connection stays open."""
        loop = self._loop
        if loop is None or not loop.is_running() or loop is asyncio.get_running_loop():
            await self._end_here()
        else:
            with suppress(RuntimeError, TimeoutError):  # it ended just now, or is stuck: it takes them with it
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._end_here(), loop))
        self._connections.close()

    async def _end_here(self) -> None:
        if self._task is not None and self._loop is asyncio.get_running_loop():
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._streams.close()

    def at_exit(self) -> None:
        deadline = time.monotonic() + self._options.exit_seconds
        with self._ready:
            self._closed = self._exiting = True
            self._buffer.hurry()
            loop = self._loop if self._under_way is not None or self._telling else None
        # One that is stuck ends nothing: what it has goes out again here, with the same keys.
        if loop is not None and _answers(loop, min(ANSWER_SECONDS_MAX, self._options.exit_seconds / 2)):
            self._let_end(loop, deadline)
        with self._ready:
            self._put_back()
            self._dismiss()
        self._drain(deadline)
        self._give_up(f"the process ended, and {self._options.exit_seconds:g} s were not enough to send it")
        self._connections.close()

    def _let_end(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        """Wait until the batch that this loop sends in another thread is settled, and told of."""
        with self._ready:
            while (self._under_way is not None or self._telling) and loop.is_running():
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._ready.wait(min(left, LOOK_SECONDS))

    def forked(self) -> None:
        super().forked()
        self._loop = self._task = None
        self._streams.forked()

    async def _run(self) -> None:
        me = asyncio.current_task()
        while True:
            with self._ready:
                if self._task is not me or self._exiting:
                    return
                self._more.clear()
                more, found = self._more, self._take()
            if isinstance(found, Batch):
                await self._send(found)
                continue
            if found is None and self._closed:
                return
            try:
                async with asyncio.timeout(IDLE_SECONDS if found is None else found):
                    await more.wait()
            except TimeoutError:
                if found is None and not more.is_set():
                    return

    async def _send(self, batch: Batch[Handle]) -> None:
        try:
            verdict = await self._streams.exchange(batch.call, timeout=self._options.attempt_timeout)
        except asyncio.CancelledError:
            with self._ready:
                if self._under_way is batch:
                    self._put_back()
                    self._ready.notify_all()
            raise
        except Exception as error:  # noqa: BLE001 - it is logged, and the events go on
            verdict = broken(error)
        self._settle(batch, verdict)


def _running() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _answers(loop: asyncio.AbstractEventLoop, seconds: float) -> bool:
    """Whether a loop runs in another thread, and is not stuck there."""
    if _running() is loop or not loop.is_running():
        return False
    answered = threading.Event()
    try:
        loop.call_soon_threadsafe(answered.set)
    except RuntimeError:
        return False  # it was closed just now
    return answered.wait(seconds)
