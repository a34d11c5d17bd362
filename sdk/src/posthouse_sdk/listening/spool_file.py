"""The file of a spool: the tables of an outbox in SQLite, which several processes of one machine may share.

It is in WAL mode, so that who writes and who reads do not wait for each other, and readable for its owner alone: it holds
what the application's users sent. `posthouse outbox status|list|retry --dsn sqlite:///path` work on it as on any other.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from posthouse_sdk.outbox.row import COLUMNS, NewRow
from posthouse_sdk.outbox.schema import statements
from posthouse_sdk.outbox.store import COUNTED_MAX
from posthouse_sdk.publishing.errors import ConfigurationError

BUSY_SECONDS: Final = 5.0
SPOOL_BYTES_MAX: Final = 1024 * 1024 * 1024
SPOOL_BYTES_LEAST: Final = 1024 * 1024
_INSERT: Final = f"INSERT INTO posthouse_outbox ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_COUNTS: Final = (
    f"SELECT (SELECT count(*) FROM (SELECT 1 FROM posthouse_outbox LIMIT {COUNTED_MAX})), "  # noqa: S608
    f"(SELECT count(*) FROM (SELECT 1 FROM posthouse_outbox_dead LIMIT {COUNTED_MAX})), "
    "(SELECT (julianday('now') - 2440587.5) * 86400.0 - created_at FROM posthouse_outbox ORDER BY id LIMIT 1)"
)


class Counts(NamedTuple):
    """Events that wait, events that were set aside (each counted up to 10,000), and how long the oldest has waited."""

    waiting: int = 0
    dead: int = 0
    oldest_seconds: float = 0.0


class SpoolFile:
    """Writes rows; with `fsync`, each transaction is on the disk before `write` returns, else in the system's memory.

    Of the file, `bytes_max` is the size that it does not grow beyond: a write into a full one fails, until the relay has made
    room. Raises: ConfigurationError where there can be no such file.
    """

    def __init__(self, path: str | os.PathLike[str], *, fsync: bool, bytes_max: int) -> None:
        self.path: Final = Path(path).absolute()
        if not self.path.parent.is_dir() or not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"the spool {self.path}: {self.path.parent} is no folder that this process may write to; make it"
            )
        if self.path.exists() and not (self.path.is_file() and os.access(self.path, os.R_OK | os.W_OK)):
            raise ConfigurationError(f"the spool {self.path} is no file that this process may write to")
        if bytes_max < SPOOL_BYTES_LEAST:
            raise ConfigurationError(f"a spool has {SPOOL_BYTES_LEAST} bytes at least, and not {bytes_max!r}")
        self._fsync = fsync
        self._bytes_max = bytes_max
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    @property
    def dsn(self) -> str:
        return f"sqlite:///{quote(str(self.path))}"

    def write(self, rows: Sequence[NewRow]) -> None:
        """All of them or none. Raises sqlite3.Error, OSError."""
        try:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT, rows)
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError):
            self.close()  # which rolls back
            raise

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abandon(self) -> None:
        if self._connection is not None:
            _abandoned.append(self._connection)
            self._connection = None

    def make(self) -> None:
        """The file with its tables, unless they are there. Raises sqlite3.Error, OSError."""
        self._connect().close()

    def counts(self) -> Counts:
        """Raises sqlite3.Error where it cannot be read; zeros where there is no file yet."""
        if not self.path.exists():
            return Counts()
        with closing(sqlite3.connect(f"file:{quote(str(self.path))}?mode=ro", uri=True, timeout=1.0)) as connection:
            waiting, dead, oldest = connection.execute(_COUNTS).fetchone()
        return Counts(waiting, dead, max(oldest or 0.0, 0.0))

    def release(self, owner: str) -> None:
        """Give back the lease of a relay that can do so no more. Raises sqlite3.Error."""
        with closing(sqlite3.connect(self.path, timeout=1.0, isolation_level=None)) as connection:
            connection.execute("UPDATE posthouse_outbox_lease SET owner = NULL, until = NULL WHERE owner = ?", (owner,))

    def _opened(self) -> sqlite3.Connection:
        """The connection, to the file that has this name now: what goes into one that was removed, nobody finds."""
        if self._connection is not None and self._file != _identity(self.path):
            self.close()
        if self._connection is None:
            self._connection = self._connect()
            self._file = _identity(self.path)
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute(f"PRAGMA synchronous = {'full' if self._fsync else 'normal'}")
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA max_page_count = {self._bytes_max // page_bytes}")
            if (
                connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'posthouse_outbox_lease'").fetchone()
                is None
            ):
                for statement in statements("sqlite"):
                    connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection


_abandoned: list[sqlite3.Connection] = []
"""A parent's connections: SQLite forbids a child to use them, even to close them."""


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
