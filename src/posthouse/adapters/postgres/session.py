"""One connection that says that this process lives: it holds the process's advisory lock, and hears notifications."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Final

import asyncpg
import structlog

from posthouse.adapters.postgres.database import SETTINGS, Database, translated
from posthouse.adapters.postgres.history import History
from posthouse.adapters.postgres.hosts import Hosts, RawConnection
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.errors import StoreUnavailable

log = structlog.get_logger()

SQL = Queries("session.sql")
CHANNEL: Final = "posthouse_appended"
SHARES: Final = "posthouse_shares"
"""Told without words: processes joined or left, or partitions were released."""
CHECK_SECONDS: Final = 2.0
RECONNECT_SECONDS_MIN: Final = 0.1
RECONNECT_SECONDS_MAX: Final = 1.0
ANSWER_SECONDS_MAX: Final = 12.0  # more than `lock_timeout`


def lock_key(owner: bytes) -> int:
    """The advisory lock of a process: 64 random bits of its id, as a signed bigint."""
    return int.from_bytes(owner[8:], "big", signed=True)


class ProcessSession:
    """Keeps the connection up until closed. `appended` hears of partitions that others published to; `changed` is
    called when another process has announced that shares of partitions change; `lost` when the lock may have been lost:
    another process may take our partitions from then on."""

    def __init__(self, dsn: str, database: Database, *, owner: bytes, history: History | None = None) -> None:
        self._hosts = Hosts(dsn)
        self._history = history
        self._database = database
        self._owner = owner
        self._appended: Callable[[list[int]], None] = lambda _: None
        self._lost: Callable[[], None] = lambda: None
        self._changed: Callable[[], None] = lambda: None
        self._announcing = False
        self._connection: RawConnection | None = None
        self._pending: set[int] = set()
        self._notify_due = asyncio.Event()

    def tell(
        self,
        *,
        appended: Callable[[list[int]], None],
        lost: Callable[[], None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Whom to tell; before `start`."""
        self._appended = appended
        self._lost = lost
        self._changed = changed

    @property
    def up(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self._connection is not None and not self._connection.is_closed()

    async def start(self) -> None:
        """Take the lock. Raises StoreUnavailable."""
        with translated(writing=False):
            connection = await self._hosts.connect(
                check=None if self._history is None else self._history.check,
                server_settings=SETTINGS | {"synchronous_commit": "off"},  # nothing here must outlast a crash
                command_timeout=ANSWER_SECONDS_MAX,
            )
            try:
                # The server may not know yet that our session before is over, and hold its lock for a while.
                await connection.execute("SELECT pg_advisory_lock($1)", lock_key(self._owner))
                await connection.add_listener(CHANNEL, self._heard)
                await connection.add_listener(SHARES, self._heard_change)
                connection.add_termination_listener(lambda _: self._notify_due.set())  # look at once
            except BaseException:
                connection.terminate()
                raise
        self._connection = connection

    async def run(self) -> None:
        """Watch the connection and send notifications until cancelled."""
        while True:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._notify_due.wait()
            except TimeoutError:
                pass
            self._notify_due.clear()
            try:
                await self._beat()
            except StoreUnavailable as error:
                log.warning("session.lost", error=str(error))
                self._lost()
                await self._reconnect()

    async def _beat(self) -> None:
        if self._connection is None:
            raise StoreUnavailable("the session is closed")
        partitions, self._pending = self._pending, set()
        announcing, self._announcing = self._announcing, False
        with translated(writing=False):
            if announcing:
                await self._connection.execute(SQL.notify, SHARES, "", timeout=5)
            if partitions:
                await self._connection.execute(SQL.notify, CHANNEL, ",".join(map(str, sorted(partitions))), timeout=5)
            elif self._connection.is_closed():
                raise asyncpg.InterfaceError("the connection was closed")
            else:
                await self._connection.execute("SELECT 1", timeout=5)

    async def _reconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        delay, lost_at = RECONNECT_SECONDS_MIN, time.monotonic()
        while True:
            try:
                await self.start()
            except StoreUnavailable:
                await asyncio.sleep(delay)
                delay = min(delay * 2, RECONNECT_SECONDS_MAX)
            else:
                log.info("session.back", after_seconds=round(time.monotonic() - lost_at, 1))
                return

    def notify(self, partitions: Iterable[int]) -> None:
        """Tell the owners of these partitions that there is something new; coalesced, and allowed to be lost."""
        self._pending.update(partitions)
        if self._pending:
            self._notify_due.set()

    def announce(self) -> None:
        """Tell the other processes to look at their shares of the partitions; allowed to be lost."""
        self._announcing = True
        self._notify_due.set()

    def _heard_change(self, _connection: object, pid: int, _channel: str, _payload: object) -> None:
        if self._connection is None or pid != self._connection.get_server_pid():
            self._changed()

    def _heard(self, _connection: object, pid: int, _channel: str, payload: object) -> None:
        if self._connection is not None and pid == self._connection.get_server_pid():
            return
        self._appended([int(p) for p in str(payload).split(",") if p.isdigit()])

    async def dead(self, owners: Collection[bytes]) -> set[bytes]:
        """Which of these processes no longer hold their lock."""
        rows = await self._database.fetch(SQL.dead, [lock_key(owner) for owner in owners])
        keys = {row[0] for row in rows}
        return {owner for owner in owners if lock_key(owner) in keys}

    async def close(self) -> None:
        """End the session, and so give up the lock; what was to be told is told first."""
        if self._announcing or self._pending:
            with suppress(StoreUnavailable):
                await self._beat()
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.terminate()
