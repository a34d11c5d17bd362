"""The outbox's relay in a thread of the application: it takes what is in the spool to the server.

Every process that shares a spool runs one. The lease in the file lets one of them work; the others stand by, and one follows
within seconds where it dies.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from typing import TYPE_CHECKING, Final

from posthouse_sdk.listening.spool_file import SpoolFile, SpoolStore
from posthouse_sdk.outbox.publisher import HttpPublisher
from posthouse_sdk.outbox.relay import Gauges, Relay, RelaySettings, boot_clock

if TYPE_CHECKING:
    from ssl import SSLContext

log = logging.getLogger("posthouse_sdk.listening")

BEGIN_AGAIN_SECONDS: Final = 1.0
BEGIN_AGAIN_SECONDS_MAX: Final = 30.0


class RelayThread:
    """Relays from `start` until `stop`, whatever comes between."""

    def __init__(
        self, file: SpoolFile, url: str, api_key: str, settings: RelaySettings, context: SSLContext | None
    ) -> None:
        self._file = file
        self._url = url
        self._api_key = api_key
        self._settings = settings
        self._context = context
        self.gauges = Gauges()
        self._owner = ""
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._starts_again = False
        self._relay: tuple[Relay, asyncio.AbstractEventLoop] | None = None
        self.reason = ""

    def start(self) -> None:
        """Begin; where one is still about to stop, as that one ends."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._start()
            elif self._stopping.is_set():
                self._starts_again = True

    def _start(self) -> None:
        """The lock is held."""
        self._starts_again = False
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="posthouse-listening-relay", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End after the request that is under way, and give the lease back."""
        with self._lock:
            thread = self._thread
            self._starts_again = False
            self._stopping.set()
            if self._relay is not None:
                relay, loop = self._relay
                loop.call_soon_threadsafe(relay.stop)
        if thread is not None:
            thread.join(timeout)

    @property
    def owner(self) -> str:
        """What its lease is under; empty before it begins."""
        return self._owner

    def release(self) -> None:
        """Give the lease back from outside, where the relay could not: the interpreter takes its threads away first."""
        if self._owner:
            self._file.release(self._owner)

    def why_unhealthy(self) -> str:
        """Why it does not relay, for half a minute or for good; empty where it does."""
        return self.reason or self.gauges.why_unhealthy(boot_clock()) or ""

    def forked(self) -> None:
        """This is a child process, which has no such thread."""
        self.gauges = Gauges()
        self._owner = ""
        self._begin()

    def _run(self) -> None:
        self._relay_until_stopped()
        with self._lock:
            self._thread = None  # it is alive for a moment more, and does nothing any more
            if self._starts_again:
                self._start()

    def _relay_until_stopped(self) -> None:
        pause = BEGIN_AGAIN_SECONDS
        while not self._stopping.is_set():
            try:
                self._file.make()
                asyncio.run(self._relaying())
            except Exception as error:
                if "shutdown" in str(error) and isinstance(error, RuntimeError):
                    return  # the interpreter ends, and no thread of it can be had any more
                self.reason = f"{type(error).__name__}: {error}"
                log.exception("the relay of %s ended, beginning again", self._file.path)
                self._stopping.wait(pause * (0.5 + random.random() / 2))  # noqa: S311
                pause = min(pause * 2, BEGIN_AGAIN_SECONDS_MAX)

    async def _relaying(self) -> None:
        store = SpoolStore(self._file)
        publisher = HttpPublisher(self._url, self._api_key, context=self._context)
        relay = Relay(store, publisher, self._settings)
        # Counts go on where an earlier relay of this process ended.
        relay.gauges.published, relay.gauges.refused = self.gauges.published, self.gauges.refused
        self.gauges, self._owner, self.reason = relay.gauges, relay.owner, ""
        with self._lock:
            self._relay = (relay, asyncio.get_running_loop())
            self._file.store = store
            if self._stopping.is_set():
                relay.stop()
        try:
            await relay.run()
        finally:
            with self._lock:
                self._relay = self._file.store = None
            relay.gauges.working = False
            await publisher.close()
            await store.close()
