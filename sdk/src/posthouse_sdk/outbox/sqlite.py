"""An outbox in a SQLite file: polled. SQLite writes one at a time, so the relay's writes are short and wait for others'."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from posthouse_sdk.outbox.errors import DatabaseError, NotInstalledError
from posthouse_sdk.outbox.threaded import ThreadedStore, Words

BUSY_SECONDS: Final = 10.0
_NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"


class SqliteStore(ThreadedStore):
    words = Words(
        place="?",
        now=_NOW,
        later=f"{_NOW} + ?",
        seconds_from=f"({_NOW} - {{}})",
        bytes_of="length(CAST({} AS blob))",
        line="(coalesce(app, '') || char(31) || event_key)",
        begin="BEGIN IMMEDIATE",
        unix_time=_NOW,
    )
    poll_seconds = 0.05

    _creates = False

    async def install(self) -> None:
        self._creates = True
        await super().install()

    def _connect(self) -> Any:
        path = Path(self._dsn.path).absolute()
        if not self._creates and not path.exists():  # SQLite would make an empty one for any typing error
            raise DatabaseError(f"there is no file {path}; is that the database of your application?", refused=True)
        if not path.parent.is_dir():
            raise DatabaseError(f"there is no folder {path.parent} for {path.name}", refused=True)
        return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)

    def _has_lease_table(self, cursor: Any) -> bool:
        cursor.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'posthouse_outbox_lease'")
        return cursor.fetchone() is not None

    def _translated(self, error: Exception) -> Exception | None:
        where = self._dsn.shown
        if isinstance(error, DatabaseError):
            return error
        if isinstance(error, sqlite3.OperationalError) and "no such table" in str(error):
            return NotInstalledError(f"there is no outbox in {where}: `posthouse outbox install --dsn …` makes it")
        if isinstance(error, sqlite3.Error):
            return DatabaseError(f"{where}: {error}")
        return None
