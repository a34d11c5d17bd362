"""Makes events durable in a thread of its own: all that wait in one transaction, so that one commit serves many answers."""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from posthouse_sdk.listening.misses import Miss
from posthouse_sdk.listening.sink import Durable
from posthouse_sdk.outbox.row import NewRow
from posthouse_sdk.publishing.errors import BufferFullError, ClosedError

log = logging.getLogger("posthouse_sdk.listening")

QUEUE_EVENTS_MAX: Final = 10_000
QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024
ROW_BYTES: Final = 600
"""What an event in memory takes beside its data, about."""
ROWS_MAX: Final = 500  # in one transaction
FORK_SECONDS_MAX: Final = 5.0
BACKOFF_SECONDS: Final = 0.1
BACKOFF_SECONDS_MAX: Final = 5.0


class Rows(Protocol):
    """What rows are written to. Used by the writer's thread alone."""

    @property
    def lock(self) -> threading.Lock:
        """Held by whoever uses it; whoever forks holds it, too."""

    def write(self, rows: Sequence[NewRow]) -> None:
        """All of them, durable when it returns, or none: it raises whatever it likes."""

    def close(self) -> None:
        """Let go of the connection; `write` opens another one."""

    def close_all(self) -> None:
        """Before a fork: the same, and every other connection of this process to it. They are opened again when needed."""

    def forked(self, *, is_closed: bool) -> None:
        """This is a child process: it has a lock of its own. Where it could not be closed before, its connection is the
        parent's, and must not be spoken on, not even to close it."""


class _Entry(NamedTuple):
    rule: str
    row: NewRow
    since: float
    durable: Durable

    @property
    def size(self) -> int:
        return len(self.row.data) + ROW_BYTES


class Writer:
    """Takes rows as long as there is room, and tries to write them until they are; `tell` hears of what `close` gave up."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._ready = threading.Condition()
        self._queue: deque[_Entry] = deque()
        self._bytes = 0
        self._thread: threading.Thread | None = None
        self._closed = False
        self._is_still = False
        self.reason = ""
        """Why nothing can be written just now; empty where it can."""

    def put(self, rule: str, row: NewRow) -> Durable:
        """Take a row. Raises BufferFullError, ClosedError."""
        durable = Durable()
        durable.set_running_or_notify_cancel()  # whoever waits for it cannot cancel it
        entry = _Entry(rule, row, time.monotonic(), durable)
        with self._ready:
            if self._closed:
                raise ClosedError("the listener is closed")
            if len(self._queue) >= QUEUE_EVENTS_MAX or self._bytes + entry.size > QUEUE_BYTES_MAX:
                raise BufferFullError(f"{len(self._queue)} events wait to be stored, which is the most")
            self._queue.append(entry)
            self._bytes += entry.size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="posthouse-listening", daemon=True)
                self._thread.start()
            self._ready.notify_all()
        return durable

    def waiting(self) -> tuple[int, float]:
        """How many wait to be written, and how many seconds the first of them has."""
        with self._ready:
            return len(self._queue), time.monotonic() - self._queue[0].since if self._queue else 0.0

    def open(self) -> None:
        """Take rows again after `close`."""
        with self._ready:
            self._closed = False
            self._ready.notify_all()

    def close(self, timeout: float, tell: Callable[[Miss], None]) -> None:
        """Take nothing more, and write what waits; until `open`, after which that is what the thread does anyway."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
            self._ready.wait_for(lambda: not (self._closed and (self._queue or self._thread)), timeout)
            if not self._closed:
                return
            left, self._bytes = list(self._queue), 0
            self._queue.clear()
        for entry in left:
            entry.durable.set_result(False)
            tell(Miss("unsent", entry.rule, f"it could not be stored: {self.reason or 'no time'}", entry.row.type))

    def before_fork(self) -> None:
        self._is_still = self._rows.lock.acquire(timeout=FORK_SECONDS_MAX)
        if self._is_still:
            with suppress(Exception):
                self._rows.close_all()

    def after_in_parent(self) -> None:
        if self._is_still:
            self._rows.lock.release()

    def forked(self) -> None:
        self._ready = threading.Condition()
        self._queue, self._bytes = deque(), 0
        self._thread = None
        self.reason = ""
        self._rows.forked(is_closed=self._is_still)

    # The thread

    def _run(self) -> None:
        failures = 0
        while entries := self._next():
            try:
                with self._rows.lock:
                    self._rows.write([entry.row for entry in entries])
            except Exception as error:  # noqa: BLE001 - whatever it is, the rows are kept and tried again
                failures += 1
                self._failed(error)
                self._pause(failures)
            else:
                failures, self.reason = 0, ""
                self._settle(entries)

    def _next(self) -> list[_Entry]:
        """What to write next, which stays in the queue until it is written. Nothing: it is closed, and the thread ends."""
        with self._ready:
            self._ready.wait_for(lambda: self._queue or self._closed)
            if not self._queue:
                with self._rows.lock:
                    self._rows.close()
                self._thread = None
                self._ready.notify_all()
            return list(itertools.islice(self._queue, ROWS_MAX))

    def _settle(self, entries: Sequence[_Entry]) -> None:
        settled = []
        with self._ready:
            for entry in entries:
                if self._queue and self._queue[0] is entry:  # else `close` gave it up meanwhile
                    settled.append(self._queue.popleft())
                    self._bytes -= entry.size
            self._ready.notify_all()
        for entry in settled:
            entry.durable.set_result(True)

    def _failed(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        if reason != self.reason:
            log.error("events cannot be stored, trying again: %s", reason)
        self.reason = reason

    def _pause(self, failures: int) -> None:
        most = min(BACKOFF_SECONDS * 2.0 ** min(failures - 1, 16), BACKOFF_SECONDS_MAX)
        with self._ready:
            hurries = self._ready.wait_for(lambda: self._closed, most * (0.5 + random.random() / 2))  # noqa: S311
        if hurries:  # there is no later: it tries on, but not in a tight loop
            time.sleep(BACKOFF_SECONDS)
