"""Sending in the background: what a thread and an event loop share, and the thread.

An event is in one of three places: it waits in the buffer, it is in the one batch under way, or it was told of. Whatever ends a
batch early (an exit, a loop that ended) puts it back, and it goes out again with the same keys.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from posthouse_sdk import forks
from posthouse_sdk.publishing import endings
from posthouse_sdk.publishing.buffer import Batch, Buffer, Settled
from posthouse_sdk.publishing.connections import Connections
from posthouse_sdk.publishing.errors import BufferFullError, ClosedError, ConfigurationError
from posthouse_sdk.publishing.event import Event, Receipt
from posthouse_sdk.publishing.exchange import Verdict, lost

if TYPE_CHECKING:
    from collections.abc import Generator

    from posthouse_sdk.publishing.exchange import Server

log = logging.getLogger("posthouse_sdk")

IDLE_SECONDS: Final = 30.0
DROPPED_TOLD_SECONDS: Final = 10.0
BATCH_EVENTS_MAX: Final = 1_000
BATCH_BYTES_MAX: Final = 8 * 1024 * 1024

WhenFull = Literal["block", "raise", "drop"]


class Handle(Future[Receipt]):
    """What becomes of an event in the background: `result(timeout)` is its receipt, or raises a PublishError.

    On an event loop, `await` it. It cannot be cancelled: an event that was taken is on its way.
    """

    def cancel(self) -> bool:
        return False

    def __await__(self) -> Generator[Any, None, Receipt]:
        import asyncio

        return asyncio.shield(asyncio.wrap_future(self)).__await__()


class Failure(NamedTuple):
    """An event that was not published, and why. `event` is None where none could be made (see `fires`)."""

    type: str
    error: Exception
    event: Event | None = None


class Options(NamedTuple):
    """How a hub sends in the background; `Posthouse` says what each means."""

    attempt_timeout: float = 15.0
    buffer_events: int = 10_000
    buffer_bytes: int = 64 * 1024 * 1024
    when_full: WhenFull = "block"
    block_seconds: float = 5.0
    batch_events: int = 500
    batch_bytes: int = 1024 * 1024
    keep_seconds: float = 3_600.0
    exit_seconds: float = 10.0
    on_failed: Callable[[Failure], object] | None = None

    def check(self) -> None:
        """Raises ConfigurationError."""
        if self.when_full not in ("block", "raise", "drop"):
            raise ConfigurationError(f"when_full is block, raise or drop, and not {self.when_full!r}")
        for name in ("attempt_timeout", "buffer_events", "buffer_bytes", "batch_events", "batch_bytes", "keep_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} is more than 0, and not {getattr(self, name)!r}")
        for name in ("block_seconds", "exit_seconds"):
            if not getattr(self, name) >= 0:
                raise ConfigurationError(f"{name} is 0 or more, and not {getattr(self, name)!r}")
        if self.batch_events > BATCH_EVENTS_MAX or self.batch_bytes > BATCH_BYTES_MAX:
            raise ConfigurationError(f"a batch has at most {BATCH_EVENTS_MAX} events and {BATCH_BYTES_MAX} bytes")


class Stats(NamedTuple):
    """Counts of the background since the hub was made (in this process)."""

    waiting: int
    waiting_bytes: int
    published: int
    failed: int
    dropped: int


class Background:
    """Takes events, and tells what became of them. `connections` are for what is left at the exit of the process."""

    def __init__(self, options: Options, server: Server, connections: Connections) -> None:
        options.check()
        self._options = options
        self._connections = connections
        self._buffer: Buffer[Handle] = Buffer(
            events_max=options.buffer_events,
            bytes_max=options.buffer_bytes,
            batch_events=options.batch_events,
            batch_bytes=options.batch_bytes,
            keep_seconds=options.keep_seconds,
            server=server,
        )
        self._ready = threading.Condition()
        self._under_way: Batch[Handle] | None = None
        self._telling = 0
        self._closed = False
        self._published = self._failed = self._dropped = 0
        self._dropped_told_at = -DROPPED_TOLD_SECONDS
        endings.mind(self)
        forks.mind(self)

    @property
    def stats(self) -> Stats:
        with self._ready:
            counts = (self._published, self._failed, self._dropped)
            return Stats(self._buffer.events, self._buffer.bytes, *counts)

    def submit(self, event: Event) -> Handle:
        """Take an event. Raises ClosedError, and BufferFullError as `when_full` says."""
        handle = Handle()
        with self._ready:
            if self._closed:
                raise ClosedError("the hub is closed; make one that lives as long as the program")
            if not self._buffer.has_room(event) and not self._room_comes(event):
                full = BufferFullError(f"{self._buffer.events} events wait to be sent, which is the most; {_SLOW}")
                if self._options.when_full != "drop":
                    raise full
                self._dropped += 1
            else:
                full = None
                self._buffer.add(event, handle, now=time.monotonic())
                endings.hold(self)
                self._wake()
        if full is not None:
            self._drop(event, handle, full)
        return handle

    def _room_comes(self, event: Event) -> bool:
        """Whether there is room after all. The lock is held."""
        return False

    def _wake(self) -> None:
        """See to it that what was added is sent. The lock is held."""
        raise NotImplementedError

    def _take(self) -> Batch[Handle] | float | None:
        """As `Buffer.take`, and a batch is under way from now on. The lock is held."""
        found = self._buffer.take(now=time.monotonic())
        if isinstance(found, Batch):
            self._under_way = found
        return found

    def _settle(self, batch: Batch[Handle], verdict: Verdict) -> None:
        with self._ready:
            if self._under_way is not batch:
                return  # it was given up meanwhile, and told of
            self._under_way = None
            settled = self._buffer.settle(batch, verdict, now=time.monotonic(), draw=random.random())  # noqa: S311
            if self._buffer.events == 0:
                endings.let_go(self)
            self._telling += 1
            self._ready.notify_all()
        try:
            self._tell(settled)
        finally:
            with self._ready:
                self._telling -= 1
                self._ready.notify_all()

    def _put_back(self) -> None:
        """Whoever sent the batch that is under way is gone. The lock is held."""
        if self._under_way is not None:
            self._buffer.put_back(self._under_way)
            self._under_way = None

    def _handles(self) -> list[Handle]:
        with self._ready:
            return self._buffer.handles(self._under_way)

    def _give_up(self, reason: str) -> None:
        with self._ready:
            self._put_back()
            settled = self._buffer.give_up(reason)
            endings.let_go(self)
        self._tell(settled)

    # Telling

    def _tell(self, settled: Sequence[Settled[Handle]]) -> None:
        failed = [(entry.event, outcome) for entry, outcome in settled if isinstance(outcome, Exception)]
        with self._ready:
            self._published += len(settled) - len(failed)
            self._failed += len(failed)
        if failed:
            log.error("%d not published: %s: %s", len(failed), _types(event for event, _ in failed), failed[0][1])
        for event, error in failed:
            self.tell_failed(Failure(event.type, error, event))
        for entry, outcome in settled:
            if isinstance(outcome, Receipt):
                entry.handle.set_result(outcome)
            else:
                entry.handle.set_exception(outcome)

    def tell_failed(self, failure: Failure) -> None:
        """Call `on_failed`; what it raises is logged."""
        if self._options.on_failed is None:
            return
        try:
            self._options.on_failed(failure)
        except Exception:
            log.exception("on_failed raised, for an event of type %s", failure.type)

    def _drop(self, event: Event, handle: Handle, error: BufferFullError) -> None:
        now = time.monotonic()
        if now - self._dropped_told_at >= DROPPED_TOLD_SECONDS:
            self._dropped_told_at = now
            log.error("dropped an event of type %s, %d so far: %s", event.type, self._dropped, error)
        self.tell_failed(Failure(event.type, error, event))
        handle.set_exception(error)

    # The end of the process, and its children

    def at_exit(self) -> None:
        """Send what waits, for `exit_seconds` at most; what is left is told of as failed."""
        raise NotImplementedError

    def _drain(self, deadline: float) -> None:
        """Send what waits, in this thread."""
        while (left := deadline - time.monotonic()) > 0:
            with self._ready:
                found = self._take()
            if found is None:
                return
            if isinstance(found, Batch):
                timeout = min(self._options.attempt_timeout, left)
                self._settle(found, self._exchanged(found, timeout))
            else:
                time.sleep(min(found, left))

    def _exchanged(self, batch: Batch[Handle], timeout: float) -> Verdict:
        try:
            return self._connections.exchange(batch.call, timeout=timeout)
        except Exception as error:  # noqa: BLE001 - it is logged, and the events go on
            return broken(error)

    def before_fork(self) -> None:
        """Nothing of it changes while that happens."""
        self._ready.acquire()

    def after_in_parent(self) -> None:
        self._ready.release()

    def forked(self) -> None:
        """In a child process: what waits is the parent's, who sends it."""
        self._ready = threading.Condition()
        self._buffer.forget()
        endings.let_go(self)
        self._under_way = None
        self._telling = self._published = self._failed = self._dropped = 0
        self._connections.forked()


def broken(error: Exception) -> Verdict:
    """The verdict after a fault of our own: whoever sends must go on, and nothing may be lost with it."""
    log.error("sending failed in an unexpected way", exc_info=error)
    return lost(f"{type(error).__name__}: {error}", sent=True)


_SLOW: Final = "the server does not answer, or takes them more slowly than they come"


def _types(events: Iterable[Event]) -> str:
    counts: dict[str, int] = {}
    for event in events:
        counts[event.type] = counts.get(event.type, 0) + 1
    shown = [f"{name} ×{count}" if count > 1 else name for name, count in list(counts.items())[:5]]
    return ", ".join(shown) + (", …" if len(counts) > len(shown) else "")


class ThreadBackground(Background):
    """Sends with a thread of its own, which begins with the first event and ends where there is nothing to do for long."""

    def __init__(self, options: Options, server: Server, connections: Connections) -> None:
        super().__init__(options, server, connections)
        self._thread: threading.Thread | None = None

    def _room_comes(self, event: Event) -> bool:
        if self._options.when_full != "block" or threading.current_thread() is self._thread:
            return False
        deadline = time.monotonic() + self._options.block_seconds
        while not self._buffer.has_room(event):
            left = deadline - time.monotonic()
            if left <= 0 or self._closed:
                return False
            self._ready.wait(left)
        return True

    def _wake(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            self._ready.notify_all()
            return
        thread = threading.Thread(target=self._run, name="posthouse-sdk", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:
            self._thread = None  # the interpreter is ending: `at_exit` sends it

    def flush(self, timeout: float) -> bool:
        """Wait until all that was taken so far is settled. Whether it is."""
        return not wait_for(self._handles(), timeout).not_done

    def close(self, timeout: float) -> None:
        """Take nothing more, send what waits, and tell what could not be sent in time."""
        deadline = time.monotonic() + timeout
        with self._ready:
            self._closed = True
            self._buffer.hurry()
            self._ready.notify_all()
            alive = self._thread is not None and self._thread.is_alive()
        if alive and threading.current_thread() is not self._thread:
            self.flush(timeout)
        else:
            self._drain(deadline)
        self._give_up(f"the hub was closed, and {timeout:g} s were not enough to send it")
        self._connections.close()

    def at_exit(self) -> None:
        self.close(self._options.exit_seconds)

    def forked(self) -> None:
        super().forked()
        self._thread = None

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            self._settle(batch, self._exchanged(batch, self._options.attempt_timeout))

    def _next(self) -> Batch[Handle] | None:
        """What to send next, once there is something. None: there is nothing to do any more."""
        with self._ready:
            while True:
                found = self._take()
                if isinstance(found, Batch):
                    return found
                if found is None and self._closed:
                    return None
                woken = self._ready.wait(IDLE_SECONDS if found is None else found)
                if not woken and found is None and self._buffer.events == 0:
                    self._thread = None
                    return None
