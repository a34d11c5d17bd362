"""An outbox on PostgreSQL, by `asyncpg`: woken by NOTIFY, with polling behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from posthouse_sdk.outbox.dsn import FORMS, Dsn
from posthouse_sdk.outbox.errors import DatabaseError, DriverMissingError, DsnError
from posthouse_sdk.outbox.row import Row
from posthouse_sdk.outbox.schema import CHANNEL, statements
from posthouse_sdk.outbox.store import COUNTED_MAX, DATA_BYTES_MAX, Backlog, DeadRow, Held, Lease, check_version

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

T = TypeVar("T")

CONNECT_SECONDS: Final = 10.0
STATEMENT_SECONDS: Final = 30.0

_FETCH: Final = f"""
SELECT id, uid, type, subject, event_key, app, CASE WHEN size <= {DATA_BYTES_MAX} THEN data END, extra
  FROM (SELECT q.*, octet_length(q.data) AS size,
               sum(octet_length(q.data)) OVER (ORDER BY q.id ROWS UNBOUNDED PRECEDING) AS upto
          FROM (SELECT * FROM posthouse_outbox {{held}} ORDER BY id LIMIT $1) q) w
 WHERE w.upto - w.size < $2
 ORDER BY id"""  # noqa: S608
_FETCH_ALL: Final = _FETCH.format(held="")
_FETCH_OTHERS: Final = _FETCH.format(
    held="""WHERE id <> ALL ($3::bigint[]) AND coalesce(app, '') <> ALL ($4::text[])
                   AND (event_key IS NULL OR coalesce(app, '') || E'\\x1f' || event_key <> ALL ($5::text[]))"""
)
_SET_ASIDE: Final = """
WITH gone AS (DELETE FROM posthouse_outbox WHERE id = $1 RETURNING *)
INSERT INTO posthouse_outbox_dead (id, uid, type, subject, event_key, app, data, extra, created_at, reason)
SELECT id, uid, type, subject, event_key, app, data, extra, created_at, $2 FROM gone"""
_RETRY: Final = """
WITH gone AS (DELETE FROM posthouse_outbox_dead WHERE $1::bigint[] IS NULL OR id = ANY ($1) RETURNING *),
     back AS (INSERT INTO posthouse_outbox (uid, type, subject, event_key, app, data, extra)
              SELECT uid, type, subject, event_key, app, data, extra FROM gone ORDER BY id RETURNING 1)
SELECT count(*) FROM back"""
_CLAIM: Final = """
UPDATE posthouse_outbox_lease
   SET owner = $1, until = clock_timestamp() + make_interval(secs => $2), polling = polling AND owner IS NOT DISTINCT FROM $1
 WHERE id = 1 AND (owner IS NULL OR owner = $1 OR until < clock_timestamp()) RETURNING true"""
_BACKLOG: Final = f"""
SELECT (SELECT count(*) FROM (SELECT 1 FROM posthouse_outbox LIMIT {COUNTED_MAX}) p),
       (SELECT count(*) FROM (SELECT 1 FROM posthouse_outbox_dead LIMIT {COUNTED_MAX}) d),
       (SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM posthouse_outbox ORDER BY id LIMIT 1)"""  # noqa: S608


class PostgresStore:
    """`Store` on one connection, made anew where it was lost. Behind a pooler that shares connections between transactions,
    neither NOTIFY nor prepared statements work: give the relay PostgreSQL itself."""

    poll_seconds = 1.0

    def __init__(self, dsn: Dsn) -> None:
        try:
            import asyncpg
        except ImportError:
            raise DriverMissingError(
                "the relay reads a PostgreSQL outbox with asyncpg: pip install 'posthouse-sdk[postgresql]'"
            ) from None
        self._driver = asyncpg
        self._dsn = dsn
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._woken = asyncio.Event()

    async def open(self) -> None:
        check_version(await self._run(self._version), self._dsn.shown)

    async def close(self) -> None:
        if self._connection is not None:
            with suppress(OSError, self._driver.PostgresError, self._driver.InterfaceError, TimeoutError):
                await self._connection.close(timeout=2)
            self._connection = None

    async def claim(self, owner: str, seconds: float) -> bool:
        return await self._run(lambda c: c.fetchval(_CLAIM, owner, seconds)) is True

    async def release(self, owner: str) -> None:
        await self._run(
            lambda c: c.execute(
                "UPDATE posthouse_outbox_lease SET owner = NULL, until = NULL, polling = false WHERE owner = $1", owner
            )
        )

    async def poll(self, owner: str, polling: bool) -> None:
        await self._run(
            lambda c: c.execute(
                "UPDATE posthouse_outbox_lease SET polling = $2 WHERE owner = $1 AND polling <> $2", owner, polling
            )
        )

    async def fetch(self, rows_max: int, bytes_max: int, held: Held) -> list[Row]:
        if held.ids or held.apps or held.lines:
            others = (list(held.ids), list(held.apps), list(held.lines))
            found = await self._run(lambda c: c.fetch(_FETCH_OTHERS, rows_max, bytes_max, *others))
        else:
            found = await self._run(lambda c: c.fetch(_FETCH_ALL, rows_max, bytes_max))
        return [Row(*row) for row in found]

    async def remove(self, ids: Sequence[int]) -> None:
        await self._run(lambda c: c.execute("DELETE FROM posthouse_outbox WHERE id = ANY ($1::bigint[])", list(ids)))

    async def set_aside(self, row_id: int, reason: str) -> None:
        await self._run(lambda c: c.execute(_SET_ASIDE, row_id, reason))

    async def wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def backlog(self) -> Backlog:
        ((pending, dead, oldest),) = await self._run(lambda c: c.fetch(_BACKLOG))
        return Backlog(pending, dead, max(oldest or 0.0, 0.0))

    async def lease(self) -> Lease:
        ((owner, seconds),) = await self._run(
            lambda c: c.fetch(
                "SELECT owner, extract(epoch FROM until - clock_timestamp())::float8 FROM posthouse_outbox_lease"
            )
        )
        return Lease(owner, seconds or 0.0)

    async def clock(self) -> float:
        return float(await self._run(lambda c: c.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")))

    async def dead(self, limit: int) -> list[DeadRow]:
        rows = await self._run(
            lambda c: c.fetch(
                "SELECT id, type, subject, event_key, app, data, reason, "
                "extract(epoch FROM clock_timestamp() - dead_at)::float8 FROM posthouse_outbox_dead ORDER BY id LIMIT $1",
                limit,
            )
        )
        return [DeadRow(*row) for row in rows]

    async def retry(self, ids: Sequence[int] | None) -> int:
        return int(await self._run(lambda c: c.fetchval(_RETRY, None if ids is None else list(ids))))

    async def install(self) -> None:
        async def make(connection: Connection) -> None:
            async with connection.transaction():
                # Two at a time would trip over each other: IF NOT EXISTS looks before it makes.
                await connection.execute("SELECT pg_advisory_xact_lock(hashtext('posthouse_outbox'))")
                for statement in statements("postgresql"):
                    await connection.execute(statement)

        await self._run(make)

    async def _version(self, connection: Connection) -> int | None:
        if await connection.fetchval("SELECT to_regclass('posthouse_outbox_lease')") is None:
            return None
        version: int | None = await connection.fetchval("SELECT version FROM posthouse_outbox_lease")
        return version

    async def _run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do something on the connection, made where there is none; one at a time. Raises DatabaseError, NotInstalledError."""
        driver = self._driver
        async with self._turn:
            try:
                connection = await self._connected()
                return await work(connection)
            except driver.UndefinedTableError:
                check_version(None, self._dsn.shown)
                raise
            except driver.InsufficientPrivilegeError as error:
                raise DatabaseError(
                    f"{self._dsn.shown}: {error}. A relay needs SELECT, INSERT, UPDATE and DELETE on the three tables "
                    "posthouse_outbox, posthouse_outbox_dead and posthouse_outbox_lease",
                    refused=True,
                ) from error
            except (driver.InvalidAuthorizationSpecificationError, driver.InvalidCatalogNameError) as error:
                raise DatabaseError(
                    f"{self._dsn.shown} refuses us: {error}. Check user, password and database of --dsn", refused=True
                ) from error
            except (driver.PostgresError, driver.InterfaceError, driver.InternalClientError) as error:
                self._drop()
                raise DatabaseError(f"{self._dsn.shown}: {error}") from error
            except (OSError, TimeoutError) as error:
                self._drop()
                raise DatabaseError(f"{self._dsn.shown} cannot be reached: {error or 'no answer in time'}") from error
            except asyncio.CancelledError:
                self._drop()  # a statement may be under way on it
                raise

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            try:
                connection = await self._driver.connect(
                    self._dsn.url, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS
                )
            except (ValueError, self._driver.ClientConfigurationError):
                # Without its cause: the driver may quote the part of the DSN that it could not read.
                raise DsnError(f"the DSN cannot be read; give {FORMS}") from None
            await connection.add_listener(CHANNEL, self._wake)
            connection.add_termination_listener(lambda *_: self._woken.set())
            self._connection = connection
            self._woken.set()
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _wake(self, *_: Any) -> None:
        self._woken.set()
