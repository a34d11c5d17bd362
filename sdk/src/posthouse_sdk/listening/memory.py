"""The light way: events wait in memory, in the background of the SDK's hub."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from posthouse_sdk import forks
from posthouse_sdk.listening.gauges import Held
from posthouse_sdk.listening.misses import Miss
from posthouse_sdk.listening.observation import Occurrence
from posthouse_sdk.listening.sink import CLOSE_SECONDS, no_one
from posthouse_sdk.publishing.client import Posthouse
from posthouse_sdk.publishing.errors import RefusedError
from posthouse_sdk.publishing.event import Event

if TYPE_CHECKING:
    from ssl import SSLContext


class Memory:
    """Events in memory, until the server has them: bounded, in batches, tried again with growing pauses for `keep_seconds` (an
    hour), and for `exit_seconds` (10) more as the process exits.

    An answer never waits. What is in memory is lost where the process is killed, or the server is away for longer than it is
    kept: where that must not be, take a `Spool`. What was lost otherwise is told. The buffers are those of `Posthouse`.

    Raises: ConfigurationError.
    """

    hold_seconds = 0.0

    def __init__(
        self,
        *,
        url: str | None = None,
        api_key: str | None = None,
        buffer_events: int = 10_000,
        buffer_bytes: int = 64 * 1024 * 1024,
        keep_seconds: float = 3_600.0,
        exit_seconds: float = 10.0,
        ssl_context: SSLContext | None = None,
    ) -> None:
        def made() -> Posthouse:
            return Posthouse(
                url,
                api_key,
                when_full="raise",
                buffer_events=buffer_events,
                buffer_bytes=buffer_bytes,
                keep_seconds=keep_seconds,
                exit_seconds=exit_seconds,
                ssl_context=ssl_context,
            )

        self._made = made
        self._hub = made()
        self.started = self._is_closed = False
        self._tell: Callable[[Miss], None] = no_one
        self._lock = threading.Lock()
        self._since: dict[Future[Any], float] = {}
        forks.mind(self)

    def attach(self, tell: Callable[[Miss], None]) -> None:
        self._tell = tell

    def start(self) -> None:
        """The hub begins by itself, with the first event."""
        with self._lock:
            if self._is_closed:
                self._hub, self._is_closed = self._made(), False
            self.started = True

    def put(self, occurrence: Occurrence) -> None:
        event = event_of(occurrence)
        handle = self._hub.on_event(event)
        with self._lock:
            self._since[handle] = time.monotonic()
        handle.add_done_callback(lambda settled: self._settled(settled, occurrence.rule, event.type))

    def held(self) -> Held:
        stats = self._hub.stats
        with self._lock:
            since = next(iter(self._since.values()), None)
        return Held(stats.published, stats.waiting, oldest_seconds=0.0 if since is None else time.monotonic() - since)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        with self._lock:
            self.started, self._is_closed = False, True
        self._hub.close(timeout)

    def before_fork(self) -> None:
        """The hub minds forks by itself."""

    def after_in_parent(self) -> None: ...

    def forked(self) -> None:
        self.started = False
        self._lock = threading.Lock()
        self._since = {}

    def _settled(self, handle: Future[Any], rule: str, event_type: str) -> None:
        with self._lock:
            self._since.pop(handle, None)
        error = handle.exception()
        if isinstance(error, Exception):
            self._tell(
                Miss("refused" if isinstance(error, RefusedError) else "unsent", rule, str(error), event_type, error)
            )


def event_of(occurrence: Occurrence) -> Event:
    """An event as the hub takes it. Raises EventError."""
    made = occurrence.made
    return Event(
        made.type,
        made.data,
        subject=made.subject,
        key=made.key,
        app=made.app,
        idempotency_key=occurrence.idempotency_key,
    )
