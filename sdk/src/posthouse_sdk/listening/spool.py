"""The durable way: events are in a file before their answer goes out, and a relay in the application takes them from there."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from posthouse_sdk.listening.gauges import Held
from posthouse_sdk.listening.relaying import RelayThread
from posthouse_sdk.listening.sink import HOLD_SECONDS
from posthouse_sdk.listening.spool_file import SPOOL_BYTES_MAX, SpoolFile
from posthouse_sdk.listening.stored import StoredSink, check_seconds
from posthouse_sdk.outbox.relay import LEASE_SECONDS, RelaySettings
from posthouse_sdk.publishing import recording
from posthouse_sdk.publishing.errors import ConfigurationError
from posthouse_sdk.publishing.hub import IncompleteError, destination

if TYPE_CHECKING:
    from ssl import SSLContext

log = logging.getLogger("posthouse_sdk.listening")

LOOK_SECONDS: Final = 0.02


class Spool(StoredSink):
    """Events in a file of this machine, until the server has them: `Spool("/var/lib/shop/events.spool")`.

    An answer is held until its event is in the file, for `hold_seconds` (0.25) at most: then it goes out, counted as `late`,
    and the event is written after it. So an event of an answer that went out in time outlives `kill -9` of the process, and
    with `fsync` (the default) the loss of power; it is published at least once, when the server is there, by this process or
    the next one. Several processes of one machine may share the file: one relays at a time. Not on a network's file system.

    `url` and `api_key` are taken from POSTHOUSE_URL and POSTHOUSE_API_KEY where they are not given. `relays=False`: a
    `posthouse relay --dsn sqlite:///path` of yours takes them, and this process needs neither. `bytes_max` (1 GiB): how large
    the file may become; what finds no room waits in memory, and beyond that is dropped and told. `lease_seconds`: how soon
    another process follows one that was killed.

    Raises: ConfigurationError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        url: str | None = None,
        api_key: str | None = None,
        relays: bool = True,
        fsync: bool = True,
        hold_seconds: float = HOLD_SECONDS,
        bytes_max: int = SPOOL_BYTES_MAX,
        lease_seconds: float = LEASE_SECONDS,
        ssl_context: SSLContext | None = None,
    ) -> None:
        check_seconds("lease_seconds", lease_seconds, 0.1)
        self._file = SpoolFile(path, fsync=fsync, bytes_max=bytes_max)
        super().__init__(self._file, hold_seconds)
        self._relay: RelayThread | None = None
        if relays:
            try:
                server, key = destination(url, api_key)
            except IncompleteError as error:
                if not recording.lenient:
                    raise ConfigurationError(f"{error}; or relays=False, and `posthouse relay`") from None
            else:
                settings = RelaySettings(lease_seconds=lease_seconds)
                self._relay = RelayThread(self._file, server.url, key, settings, ssl_context)

    def __repr__(self) -> str:
        return f"Spool({str(self._file.path)!r})"

    def held(self) -> Held:
        waiting, since = self._writer.waiting()
        reason = self._writer.reason
        published = 0
        if self._relay is not None:
            published = self._relay.gauges.published
            reason = reason or self._relay.why_unhealthy()
        try:
            counts = self._file.counts()
        except sqlite3.Error as error:
            return Held(published, waiting, 0, since, reason or f"the spool cannot be read: {error}")
        return Held(published, counts.waiting + waiting, counts.dead, max(counts.oldest_seconds, since), reason)

    def forked(self) -> None:
        super().forked()
        if self._relay is not None:
            self._relay.forked()

    def _begin(self) -> None:
        if self._relay is not None:
            self._relay.start()

    def _end(self, timeout: float) -> None:
        if self._relay is not None:
            deadline = time.monotonic() + timeout
            while self._goes_on(self._relay) and time.monotonic() < deadline:
                time.sleep(LOOK_SECONDS)
            self._relay.stop(timeout)

    def _leave(self) -> None:
        """The relay's threads are gone already: another process is to relay at once, and not after the lease."""
        if self._relay is not None:
            try:
                self._relay.release()
            except sqlite3.Error as error:
                log.warning("the lease of %s could not be given back: %s", self._file.path, error)

    def _goes_on(self, relay: RelayThread) -> bool:
        """Whether something is there, and nothing keeps this process from publishing it."""
        gauges = relay.gauges
        if relay.reason or gauges.failing_since is not None or gauges.held:
            return False
        try:
            counts = self._file.counts()
        except sqlite3.Error:
            return False
        return counts.waiting > 0 and counts.owner in (None, relay.owner)
