"""What the sinks share that write events where a kill of the process leaves them."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable

from posthouse_sdk import forks
from posthouse_sdk.listening.gauges import Held
from posthouse_sdk.listening.misses import Miss
from posthouse_sdk.listening.observation import Occurrence
from posthouse_sdk.listening.sink import CLOSE_SECONDS, Durable, no_one
from posthouse_sdk.listening.writer import Rows, Writer
from posthouse_sdk.outbox.row import NewRow, new_row
from posthouse_sdk.publishing.errors import ConfigurationError


class StoredSink:
    """A `Sink` that writes rows with a thread of its own. Subclasses say where to, and what publishes them from there.

    Raises: ConfigurationError.
    """

    def __init__(self, rows: Rows, hold_seconds: float) -> None:
        check_seconds("hold_seconds", hold_seconds, 0.0)
        self._hold_seconds = hold_seconds
        self._writer = Writer(rows)
        self._tell: Callable[[Miss], None] = no_one
        self._lock = threading.Lock()
        self.started = False
        self._minds_exit = False
        forks.mind(self)

    @property
    def hold_seconds(self) -> float:
        """As it was given; and nothing, while there is no hope."""
        return 0.0 if self._writer.reason else self._hold_seconds

    def attach(self, tell: Callable[[Miss], None]) -> None:
        self._tell = tell

    def start(self) -> None:
        with self._lock:
            if self.started:
                return
            self.started = True
            if not self._minds_exit:
                self._minds_exit = True
                atexit.register(_at_exit, weakref.ref(self))
            self._writer.open()
            self._begin()

    def put(self, occurrence: Occurrence) -> Durable:
        made = occurrence.made
        row: NewRow = new_row(made.type, made.data, subject=made.subject, key=made.key, app=made.app)
        return self._writer.put(occurrence.rule, row._replace(uid=occurrence.idempotency_key))

    def held(self) -> Held:
        raise NotImplementedError

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Write what waits, and let `_end` have what is left of the time. A `start` meanwhile holds: it goes on after that."""
        if self._stops():
            self._writer.close(timeout, self._tell)
            self._end(timeout)
            with self._lock:
                if self.started:  # what it opened and began was closed and ended here
                    self._writer.open()
                    self._begin()

    def at_exit(self) -> None:
        """The process ends, and whoever uses thread pools can work no more."""
        if self._stops():
            self._writer.close(CLOSE_SECONDS, self._tell)
            self._leave()

    def before_fork(self) -> None:
        self._writer.before_fork()

    def after_in_parent(self) -> None:
        self._writer.after_in_parent()

    def forked(self) -> None:
        self._lock = threading.Lock()
        self.started = False
        self._writer.forked()

    def _stops(self) -> bool:
        with self._lock:
            started, self.started = self.started, False
        return started

    def _begin(self) -> None:
        """Begin to publish from there."""

    def _end(self, timeout: float) -> None:
        """Publish what is there, for so many seconds at most, and end."""

    def _leave(self) -> None:
        """End at once."""


def check_seconds(name: str, value: float, least: float) -> None:
    """Raises ConfigurationError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
        raise ConfigurationError(f"{name} is seconds, {least:g} or more, and not {value!r}")


def _at_exit(reference: weakref.ref[StoredSink]) -> None:
    sink = reference()
    if sink is not None:
        sink.at_exit()
