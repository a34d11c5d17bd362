"""What the relay needs of the database that holds an outbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from posthouse_sdk.outbox.dsn import parse
from posthouse_sdk.outbox.errors import NotInstalledError
from posthouse_sdk.outbox.row import Row
from posthouse_sdk.outbox.schema import VERSION

DATA_BYTES_MAX = 16 * 1024 * 1024  # of one row; a larger one is not even read
COUNTED_MAX = 10_000


@dataclass
class Held:
    """What is left alone for a while: lines (`Row.line`), apps ('' for events without one), rows by id."""

    lines: set[str] = field(default_factory=set)
    apps: set[str] = field(default_factory=set)
    ids: set[int] = field(default_factory=set)


class Backlog(NamedTuple):
    """What waits. Counts go up to `COUNTED_MAX`; `oldest_seconds` is by the database's clock, 0 where nothing waits."""

    pending: int
    dead: int
    oldest_seconds: float


class Lease(NamedTuple):
    """Which relay works, and for how long it may without saying so again."""

    owner: str | None
    seconds: float


class DeadRow(NamedTuple):
    """What the server refused."""

    id: int
    type: str
    subject: str | None
    event_key: str | None
    app: str | None
    data: str
    reason: str
    dead_seconds: float  # since it was set aside


class Store(Protocol):
    """An outbox. Used by one task at a time but for `claim`, which comes from another.

    Raises DatabaseError, and NotInstalledError where the tables are not (or no more) there.
    """

    poll_seconds: float
    """How often to look where nobody says that there is something."""

    async def open(self) -> None:
        """Connect, and check that the tables are there in the version that is known here."""

    async def close(self) -> None: ...

    async def claim(self, owner: str, seconds: float) -> bool:
        """Take the lease, or prolong it: whether `owner` has it now. The database's clock decides."""

    async def release(self, owner: str) -> None:
        """Give the lease back, if it is `owner`'s."""

    async def poll(self, owner: str, polling: bool) -> None:
        """Say that the relay looks by itself (`polling`), or that it waits to be woken. Nothing where nobody wakes."""

    async def fetch(self, rows_max: int, bytes_max: int, held: Held) -> list[Row]:
        """The first rows in the order of their ids, but for what is held: at least one where there is any, and of those
        after it as many as both limits allow. Always from the beginning: a lower id may be committed after a higher one."""

    async def remove(self, ids: Sequence[int]) -> None:
        """Remove what was published."""

    async def set_aside(self, row_id: int, reason: str) -> None:
        """Move a row to the dead ones; nothing where it is no more."""

    async def wait(self, seconds: float) -> None:
        """Return when somebody says that there may be something, or after this time."""

    async def backlog(self) -> Backlog: ...

    async def lease(self) -> Lease: ...

    async def clock(self) -> float:
        """The database's time, in unix seconds."""

    async def dead(self, limit: int) -> list[DeadRow]:
        """The dead rows, the oldest first."""

    async def retry(self, ids: Sequence[int] | None) -> int:
        """Put dead rows (None: all) back at the end of the outbox: how many there were."""

    async def install(self) -> None:
        """Make the tables where they are not there. Needs no `open` before, only a connection of its own."""


def store_of(dsn: str) -> Store:
    """The outbox at a DSN, not opened yet. Raises DsnError, DriverMissingError."""
    told = parse(dsn)
    match told.dialect:
        case "postgresql":
            from posthouse_sdk.outbox.postgresql import PostgresStore

            return PostgresStore(told)
        case "mysql":
            from posthouse_sdk.outbox.mysql import MysqlStore

            return MysqlStore(told)
        case "sqlite":
            from posthouse_sdk.outbox.sqlite import SqliteStore

            return SqliteStore(told)


def check_version(found: int | None, where: str) -> None:
    """Raises NotInstalledError where the tables are of a version that is not known here."""
    if found is None:
        raise NotInstalledError(
            f"there is no outbox in {where}: `posthouse outbox install --dsn …` makes its tables, `posthouse outbox sql` "
            "shows how"
        )
    if found != VERSION:
        raise NotInstalledError(
            f"the outbox in {where} has version {found} of the tables; this program knows version {VERSION}. "
            + ("Upgrade it" if found > VERSION else "Run `posthouse outbox install --dsn …`")
        )
