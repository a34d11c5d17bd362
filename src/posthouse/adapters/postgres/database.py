"""Connections to PostgreSQL, with this project's manners, and its errors in this project's words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from posthouse.adapters.postgres.history import History
from posthouse.adapters.postgres.hosts import Hosts, RawConnection
from posthouse.domain.errors import InDoubt, Invalid, StoreRejected, StoreTrouble, StoreUnavailable, TooLarge
from posthouse.domain.limits import (
    AUDIENCE_APPS_MAX,
    STATEMENT_SECONDS_MAX,
    STORE_ANSWER_SLACK_SECONDS,
    STORE_UNHEARD_SECONDS,
    STORE_WAIT_SECONDS,
)

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]
else:
    Connection = Any

# The server ended the session; a commit that was under way may have happened.
_ENDED: Final = (
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the driver lost its footing as the connection went away under it
    OSError,
    asyncio.IncompleteReadError,
)
# SQLSTATE classes in which the data themselves are refused: data exception, integrity constraint violation.
_DATA_CLASSES: Final = ("22", "23")
_TOO_MANY_APPS: Final = "PH002"  # raised by publish()

SETTINGS: Final = {
    "application_name": "posthouse",
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "3s",
    "idle_session_timeout": "0",
    "lock_timeout": "10s",
    "jit": "off",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": f"{STORE_UNHEARD_SECONDS}s",
    "TimeZone": "UTC",
}
# A commit that the synchronous standby did not confirm is told by a warning, and by nothing else.
_UNCONFIRMED: Final = ("01000", "57P01")

# What belongs to the connection with the server, which is the pooler's.
_CONNECTION_ONLY: Final = {
    "application_name",
    "idle_session_timeout",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_keepalives_count",
    "tcp_user_timeout",
}


@contextmanager
def translated(*, writing: bool) -> Iterator[None]:
    """Turn the driver's errors into the domain's.

    Raises InDoubt where the connection ended while `writing`; StoreRejected for refused data; StoreUnavailable for all
    else that the database says, since none of it is the caller's fault.
    """
    try:
        yield
    except asyncpg.TargetServerAttributeNotMatched as error:
        what = "none of the hosts takes writes now: they are standbys, until one of them is promoted"
        raise StoreUnavailable(what, trouble=StoreTrouble.READ_ONLY) from error
    except _ENDED as error:
        kind = InDoubt if writing else StoreUnavailable
        raise kind(f"the connection to PostgreSQL ended: {error or type(error).__name__}") from error
    except asyncpg.PostgresError as error:
        if isinstance(error, asyncpg.CheckViolationError) and error.constraint_name is None:
            # Not the data's fault: the janitor makes days ahead, and will make this one.
            raise StoreUnavailable(f"there is no table for this day yet: {error}") from error
        if error.sqlstate == _TOO_MANY_APPS:
            raise TooLarge(
                f"this is for more than {AUDIENCE_APPS_MAX} apps together; send fewer events at once"
            ) from error
        if (error.sqlstate or "")[:2] in _DATA_CLASSES:
            raise StoreRejected(f"PostgreSQL refused the data ({error.sqlstate}): {error}") from error
        what, trouble = _what(error)
        raise StoreUnavailable(f"{what} ({error.sqlstate}): {error}", trouble=trouble) from error
    except TimeoutError as error:
        kind = InDoubt if writing else StoreUnavailable
        raise kind("PostgreSQL did not answer in time") from error


def _what(error: asyncpg.PostgresError) -> tuple[str, StoreTrouble | None]:
    """What an operator is to make of an error that no statement of ours is to blame for."""
    match error:
        case asyncpg.DiskFullError():
            return "the disk of PostgreSQL is full; make room, or give it more", StoreTrouble.DISK_FULL
        case asyncpg.ReadOnlySQLTransactionError():
            told = (
                "PostgreSQL takes no writes; name the primary in --database-url, and see default_transaction_read_only"
            )
            return told, StoreTrouble.READ_ONLY
        case asyncpg.TooManyConnectionsError():
            return "PostgreSQL has no connection left; raise its max_connections", StoreTrouble.NO_CONNECTION
        case _:
            return "PostgreSQL could not do it", None


async def _keep(_: object) -> None:
    """Sessions are not reset between uses: ours never leave anything behind, and a reset is a round trip."""


@contextmanager
def confirmed(connection: Connection) -> Iterator[None]:
    """Around a commit. Raises InDoubt where it was done here and not confirmed by the synchronous standby: somebody ended the
    wait, and a failover would lose it. Inside of `translated`."""
    warnings: list[str] = []

    def hear(_: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity_en == "WARNING" and message.sqlstate in _UNCONFIRMED:
            warnings.append(message.message)

    connection.add_log_listener(hear)
    try:
        yield
    finally:
        with suppress(asyncpg.InterfaceError):  # it is closed
            connection.remove_log_listener(hear)
    if warnings:
        raise InDoubt(f"the commit was not confirmed: {warnings[0]}")


class Database:
    """A bounded set of connections, opened on demand, each with the same settings, to whichever host of the DSN serves.

    `statement_seconds` limits a statement on the server and, a little later, here: a hanging server must not hold us. With
    `history`, no connection to another history of the database is used before this process has given up what it remembers.

    `pooled`: a pooler in transaction mode stands before the server (PgBouncer of any version). A session's settings and named
    statements do not outlast a transaction there, and not even an unnamed one is sure to meet its preparation; so each
    statement runs in a transaction that begins with the settings. That takes five round trips: it is not for what is hot.
    Which server is behind it may change at any time, so such connections are not checked against a history.
    """

    def __init__(
        self,
        dsn: str,
        *,
        size: int,
        statement_seconds: float = STATEMENT_SECONDS_MAX,
        settings: dict[str, str] | None = None,
        history: History | None = None,
        pooled: bool = False,
    ) -> None:
        self._dsn = dsn
        self._size = size
        self._pooled = pooled
        self._settings = SETTINGS | {"statement_timeout": f"{int(statement_seconds * 1000)}ms"} | (settings or {})
        self._local_settings = "; ".join(
            f"SET LOCAL {name} = '{value}'" for name, value in self._settings.items() if name not in _CONNECTION_ONLY
        )
        self._command_timeout = statement_seconds + min(statement_seconds, STORE_ANSWER_SLACK_SECONDS)
        self._history = None if pooled else history
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._expiring: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Open the pool and one connection. Raises StoreUnavailable."""
        with translated(writing=False):
            hosts = Hosts(self._dsn)

            async def connect(*_: object, **options: Any) -> RawConnection:
                return await hosts.connect(check=self._check, **options)

            self._pool = await asyncpg.create_pool(
                connect=connect,
                min_size=0,
                max_size=self._size,
                max_inactive_connection_lifetime=0,
                command_timeout=self._command_timeout,
                server_settings=None if self._pooled else self._settings,
                statement_cache_size=0 if self._pooled else 100,
                reset=_keep,
            )
        if self._history is not None:
            self._history.tell(self._expire)
        async with self.connection():
            pass

    async def _check(self, connection: RawConnection) -> None:
        if self._history is not None:
            await self._history.check(connection)
        async with connection.transaction() if self._pooled else nullcontext():
            # Ids travel as their 16 raw bytes.
            await connection.set_type_codec("uuid", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")

    def _expire(self) -> None:
        """What is connected now leads to a server that is not the one any more; should it still answer, it must not."""
        if self._pool is not None:
            task = asyncio.get_running_loop().create_task(self._pool.expire_connections())
            self._expiring.add(task)
            task.add_done_callback(self._expiring.discard)

    async def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                async with asyncio.timeout(2):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for a short while. Raises StoreUnavailable where none is to be had within
        `STORE_WAIT_SECONDS` of the others, and `STORE_CONNECT_SECONDS` for a new one."""
        if self._pool is None:
            raise StoreUnavailable("the store is closed")
        with translated(writing=False):
            connection = await self._pool.acquire(timeout=STORE_WAIT_SECONDS)
        try:
            yield connection
        except (StoreUnavailable, asyncio.CancelledError):
            # Cancelled, it would be waited for until the server has ended the statement: one that hangs does not.
            with suppress(asyncpg.InterfaceError):  # the pool has noticed already
                connection.terminate()  # whatever state it is in, nobody shall meet it again
            raise
        finally:
            await self._pool_release(connection)

    async def _pool_release(self, connection: Connection) -> None:
        if self._pool is not None:
            await self._pool.release(connection)

    async def fetch(self, query: str, *arguments: object, writing: bool = False) -> list[asyncpg.Record]:
        """All rows of one autocommitted statement; errors as `translated` tells them."""
        async with self.connection() as connection:
            listening = confirmed(connection) if writing or self._pooled else nullcontext()
            with translated(writing=writing), listening:
                if not self._pooled:
                    return await connection.fetch(query, *arguments)
                async with connection.transaction():
                    await connection.execute(self._local_settings)
                    return await connection.fetch(query, *arguments)

    async def read(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """As `fetch`, for what people look for. Raises Invalid (code `query_too_broad`) where it takes too long."""
        try:
            return await self.fetch(query, *arguments)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, asyncpg.QueryCanceledError):
                raise Invalid(
                    "this would take too long to find; narrow it, for example with since and until",
                    code="query_too_broad",
                ) from error
            raise

    async def read_within(self, seconds: float, query: str, *arguments: object) -> list[asyncpg.Record] | None:
        """The rows, or None where it takes longer than that."""
        async with self.connection() as connection:
            with translated(writing=False):
                try:
                    async with connection.transaction(readonly=True):
                        if self._pooled:
                            await connection.execute(self._local_settings)
                        await connection.execute(f"SET LOCAL statement_timeout = {max(int(seconds * 1000), 1)}")
                        return await connection.fetch(query, *arguments)
                except asyncpg.QueryCanceledError:
                    return None

    async def fetchrow(self, query: str, *arguments: object, writing: bool = False) -> asyncpg.Record | None:
        rows = await self.fetch(query, *arguments, writing=writing)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *arguments: object, writing: bool = False) -> Any:
        row = await self.fetchrow(query, *arguments, writing=writing)
        return None if row is None else row[0]

    async def execute(self, query: str, *arguments: object) -> None:
        await self.fetch(query, *arguments, writing=True)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction on one connection; errors as `translated` tells them, InDoubt where the commit's fate is unknown."""
        async with self.connection() as connection:
            with translated(writing=True), confirmed(connection):
                async with connection.transaction():
                    if self._pooled:
                        await connection.execute(self._local_settings)
                    yield connection
