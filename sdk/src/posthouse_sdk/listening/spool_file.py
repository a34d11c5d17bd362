"""The file of a spool: the tables of an outbox in SQLite, which several processes of one machine may share.

It is in WAL mode, so that who writes and who reads do not wait for each other, and readable for its owner alone: it holds
what the application's users sent. `posthouse outbox status|list|retry --dsn sqlite:///path` work on it as on any other.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

from posthouse_sdk.outbox.dsn import parse
from posthouse_sdk.outbox.row import COLUMNS, NewRow
from posthouse_sdk.outbox.schema import statements
from posthouse_sdk.outbox.sqlite import SqliteStore
from posthouse_sdk.outbox.store import COUNTED_MAX
from posthouse_sdk.publishing.errors import ConfigurationError

T = TypeVar("T")

BUSY_SECONDS: Final = 5.0
SPOOL_BYTES_MAX: Final = 1024 * 1024 * 1024
SPOOL_BYTES_LEAST: Final = 1024 * 1024
_HAS_TABLES: Final = "SELECT 1 FROM sqlite_master WHERE name = 'posthouse_outbox_lease'"
_INSERT: Final = f"INSERT INTO posthouse_outbox ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"
_COUNTS: Final = (
    f"SELECT (SELECT count(*) FROM (SELECT 1 FROM posthouse_outbox LIMIT {COUNTED_MAX})), "  # noqa: S608
    f"(SELECT count(*) FROM (SELECT 1 FROM posthouse_outbox_dead LIMIT {COUNTED_MAX})), "
    f"(SELECT {_NOW} - created_at FROM posthouse_outbox ORDER BY id LIMIT 1), "
    f"(SELECT owner FROM posthouse_outbox_lease WHERE until > {_NOW})"
)


class Counts(NamedTuple):
    """Events that wait, events that were set aside (each counted up to 10,000), how long the oldest has waited, and which
    relay has the lease, if one has."""

    waiting: int = 0
    dead: int = 0
    oldest_seconds: float = 0.0
    owner: str | None = None


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
        self.lock = threading.Lock()
        self.store: SpoolStore | None = None
        """What the relay of this process works with, while it works."""
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

    def close_all(self) -> None:
        self.close()
        if self.store is not None:
            self.store.disconnect()

    def forked(self, *, is_closed: bool) -> None:
        self.lock = threading.Lock()
        if not is_closed:
            _abandoned.append((self._connection, self.store))
        self._connection = self.store = None

    def make(self) -> None:
        """The file with its tables, unless they are there. Raises sqlite3.Error, OSError."""
        with self.lock:
            self._connect().close()

    def counts(self) -> Counts:
        """Raises sqlite3.Error where it cannot be read; there is nothing where there is no file yet, or no table in it."""
        if not self.path.exists():
            return Counts()
        with self.lock, closing(self._reader()) as connection:
            if connection.execute(_HAS_TABLES).fetchone() is None:
                return Counts()
            waiting, dead, oldest, owner = connection.execute(_COUNTS).fetchone()
        return Counts(waiting, dead, max(oldest or 0.0, 0.0), owner)

    def release(self, owner: str) -> None:
        """Give back the lease of a relay that can do so no more. Raises sqlite3.Error."""
        with self.lock, closing(sqlite3.connect(self.path, timeout=1.0, isolation_level=None)) as connection:
            connection.execute("UPDATE posthouse_outbox_lease SET owner = NULL, until = NULL WHERE owner = ?", (owner,))

    def _reader(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{quote(str(self.path))}?mode=ro", uri=True, timeout=1.0)

    def _opened(self) -> sqlite3.Connection:
        """The connection, to the file that has this name now: what goes into one that was removed, nobody finds."""
        if self._connection is not None and self._file != _identity(self.path):
            self.close()
        if self._connection is None:
            self._connection = self._connect()
            self._file = _identity(self.path)
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        # Only a new file is opened here: to close one that SQLite has open takes its locks away (POSIX).
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute(f"PRAGMA synchronous = {'full' if self._fsync else 'normal'}")
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA max_page_count = {self._bytes_max // page_bytes}")
            if connection.execute(_HAS_TABLES).fetchone() is None:
                for statement in statements("sqlite"):
                    connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection


class SpoolStore(SqliteStore):
    """The relay's side of the file, in the process that writes to it."""

    def __init__(self, file: SpoolFile) -> None:
        super().__init__(parse(file.dsn))
        self._file = file

    def disconnect(self) -> None:
        """Whoever calls it holds the file's lock. What comes next opens another connection."""
        self._drop()

    def _work(self, work: Callable[[Any], T]) -> T:
        with self._file.lock:
            return super()._work(work)


_abandoned: list[object] = []
"""A parent's connections: SQLite forbids a child to use them, even to close them."""


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
