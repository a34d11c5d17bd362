"""What table triggers wrote into a PostgreSQL database: woken by NOTIFY, with polling behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import asyncpg

from posthouse.adapters.sources.tables.change import ROW_BYTES_MAX, Change
from posthouse.adapters.sources.tables.pauses import Pauses
from posthouse.adapters.sources.tables.place import COUNTED_MAX, KEPT_CHANGES_MAX, PRUNED_MAX, Standing, check_version
from posthouse.adapters.sources.tables.postgresql.connection import Connection, connect, translated
from posthouse.adapters.sources.tables.postgresql.definition import CHANNEL, quoted
from posthouse.adapters.sources.tables.postgresql.state import (
    definition,
    found,
    server_of,
    standing,
    watched,
)
from posthouse.adapters.sources.tables.settings import Settings
from posthouse.domain.errors import PosthouseError
from posthouse.ports.clock import set_or_over
from posthouse.ports.sources import Lag
from posthouse_sdk.outbox.dsn import Dsn

T = TypeVar("T")

WAITING_SECONDS: Final = (
    60.0  # so long does a commit wake a reader that has said that it waits, and may have died since
)
WOKEN_SECONDS_MAX: Final = 1.0  # between two looks, where commits wake
AFTER_SAYING_SECONDS: Final = 0.05  # a commit may have looked just before it was said, and be over just after
FLOOR_SECONDS: Final = 1.0
COUNTED_SECONDS: Final = 60.0  # between two looks at whether too many are kept

_FETCH: Final = f"""
SELECT id, uid::text, op, table_schema, table_name, row_key,
       CASE WHEN old_size <= {ROW_BYTES_MAX} THEN old_row END, CASE WHEN new_size <= {ROW_BYTES_MAX} THEN new_row END,
       note, extract(epoch FROM created_at)::float8
  FROM (SELECT q.*, sum(old_size + new_size) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS upto
          FROM (SELECT *, coalesce(octet_length(old_row), 0) AS old_size, coalesce(octet_length(new_row), 0) AS new_size
                  FROM {{h}}.posthouse_change WHERE trigger_id = $1 AND id > $4 ORDER BY id LIMIT $2) q) w
 WHERE w.upto - w.old_size - w.new_size < $3
 ORDER BY id"""  # noqa: S608
_REMOVE: Final = "DELETE FROM {h}.posthouse_change WHERE trigger_id = $1 AND id = ANY ($2::bigint[])"
_KEEP: Final = """
WITH gone AS (DELETE FROM {h}.posthouse_change WHERE trigger_id = $1 AND id = ANY ($2::bigint[]) RETURNING *)
INSERT INTO {h}.posthouse_change_kept SELECT * FROM gone"""
_PRUNE: Final = f"""
WITH oldest AS (SELECT id, published_at FROM {{h}}.posthouse_change_kept WHERE trigger_id = $1 ORDER BY id LIMIT {PRUNED_MAX}),
     gone AS (DELETE FROM {{h}}.posthouse_change_kept k USING oldest o
               WHERE k.trigger_id = $1 AND k.id = o.id
                 AND (o.published_at < clock_timestamp() - make_interval(secs => $2) OR o.id < $3)
              RETURNING k.created_at)
UPDATE {{h}}.posthouse_change_trigger t
   SET kept_since = greatest(t.kept_since, (SELECT max(created_at) + interval '1 microsecond' FROM gone))
 WHERE trigger_id = $1 AND EXISTS (SELECT 1 FROM gone)
RETURNING (SELECT count(*) FROM gone)"""  # noqa: S608
_FIRST_KEPT: Final = f"""
SELECT id FROM {{h}}.posthouse_change_kept WHERE trigger_id = $1 ORDER BY id DESC OFFSET {KEPT_CHANGES_MAX} LIMIT 1"""  # noqa: S608
_LAG: Final = f"""
SELECT (SELECT count(*) FROM (SELECT 1 FROM {{h}}.posthouse_change WHERE trigger_id = $1 AND id > $2 LIMIT {COUNTED_MAX}) p),
       (SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM {{h}}.posthouse_change
         WHERE trigger_id = $1 AND id > $2 ORDER BY id LIMIT 1)"""  # noqa: S608
_WAITS: Final = """
UPDATE {h}.posthouse_change_trigger SET waits_until = clock_timestamp() + make_interval(secs => $2) WHERE trigger_id = $1"""
_KEEPS_NONE: Final = "UPDATE {h}.posthouse_change_trigger SET kept_since = 'infinity' WHERE trigger_id = $1"
_KEEPS_AGAIN: Final = """
UPDATE {h}.posthouse_change_trigger SET kept_since = clock_timestamp() WHERE trigger_id = $1 AND kept_since = 'infinity'"""
_UNTOLD: Final = "UPDATE {h}.posthouse_change_trigger SET waits_until = NULL WHERE trigger_id = $1"


class PostgresStore:
    """`Store` on one connection, made anew where it was lost. Behind a pooler that shares connections between transactions
    nobody is woken: it polls there, every second when idle.

    `_floor`: no change with a lower id can appear any more. What was removed stays in the index until vacuum, which a long
    transaction of anybody's holds up for hours, and each reading would go over it.
    """

    def __init__(self, dsn: Dsn, trigger_id: str, settings: Settings) -> None:
        self._dsn = dsn
        self._id = trigger_id
        self._settings = settings
        self._connection: Connection | None = None
        self._home = ""
        self._woken = asyncio.Event()
        self._is_woken = False  # whether commits wake at all
        self._loop = asyncio.get_running_loop()
        self._pauses = Pauses(self._loop.time, 0.005, 0.25)
        self._told_until = 0.0
        self._looks_after = WOKEN_SECONDS_MAX
        self._floor = 0
        self._floor_at = 0.0
        self._counted_at = float("-inf")
        self._kept_from = 0  # no lower id is kept
        self._decided: tuple[int, int] | None = (
            None  # (xid, id): when all before the one are over, no lower id than the other comes
        )

    async def open(self) -> None:
        async def begin(connection: Connection) -> None:
            await connection.execute(
                (_KEEPS_AGAIN if self._settings.keep_seconds else _KEEPS_NONE).format(h=self._home), self._id
            )

        await self._run(begin)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                if self._told_until:
                    await connection.execute(_UNTOLD.format(h=self._home), self._id, timeout=2)
                await connection.close(timeout=2)
            connection.terminate()

    async def fetch(self, limit: int, bytes_max: int) -> list[Change]:
        async def read(connection: Connection) -> list[Change]:
            await self._raise_floor(connection)
            rows = await connection.fetch(_FETCH.format(h=self._home), self._id, limit, bytes_max, self._floor)
            self._pauses.came(len(rows))
            if self._told_until and self._pauses.is_busy:
                await connection.execute(_UNTOLD.format(h=self._home), self._id)
                self._told_until = 0.0
            return [Change(*row) for row in rows]

        return await self._run(read)

    async def settle(self, ids: Sequence[int]) -> None:
        statement = _KEEP if self._settings.keep_seconds else _REMOVE
        await self._run(lambda c: c.execute(statement.format(h=self._home), self._id, list(ids)))

    async def wait(self, seconds: float) -> None:
        if not self._is_woken or self._pauses.is_busy:
            await asyncio.sleep(min(seconds, self._pauses.next()))
            return
        now = self._loop.time()
        if now > self._told_until - WAITING_SECONDS / 2:
            await self._run(lambda c: c.execute(_WAITS.format(h=self._home), self._id, WAITING_SECONDS))
            self._told_until = now + WAITING_SECONDS
            self._looks_after = AFTER_SAYING_SECONDS
            return
        await set_or_over(self._woken, min(seconds, self._looks_after))
        self._woken.clear()
        self._looks_after = WOKEN_SECONDS_MAX

    async def prune(self) -> bool:
        async def prune(connection: Connection) -> bool:
            if self._loop.time() - self._counted_at > COUNTED_SECONDS:
                self._counted_at = self._loop.time()
                self._kept_from = await connection.fetchval(_FIRST_KEPT.format(h=self._home), self._id) or 0
            keep_seconds = float(self._settings.keep_seconds)
            gone = await connection.fetchval(_PRUNE.format(h=self._home), self._id, keep_seconds, self._kept_from)
            return bool(gone == PRUNED_MAX)

        return await self._run(prune)

    async def lag(self) -> Lag:
        row: Any = await self._run(lambda c: c.fetchrow(_LAG.format(h=self._home), self._id, self._floor))
        return Lag(pending=row[0], seconds=max(row[1] or 0.0, 0.0))

    async def standing(self) -> Standing:
        async def compare(connection: Connection) -> Standing:
            server = await server_of(connection, self._dsn.shown)
            table = await watched(connection, self._settings.table)
            made = definition(self._id, self._settings, table, server)
            return standing(made, table.oid, await found(connection, self._id, server), self._settings)

        return await self._run(compare)

    async def _raise_floor(self, connection: Connection) -> None:
        """Every second, see up to where the ids are decided. The order of these statements matters: who has an id that was
        given before the first one has a transaction id that was given before the second."""
        now = self._loop.time()
        if now < self._floor_at:
            return
        self._floor_at = now + FLOOR_SECONDS
        # Of a sequence that gave nothing yet, `last_value` is what comes first.
        last: int = await connection.fetchval(
            f"SELECT last_value - (NOT is_called)::int FROM {self._home}.posthouse_change_id_seq"  # noqa: S608
        )
        oldest, upcoming = await connection.fetchrow(
            "SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint FROM pg_current_snapshot() s"
        ) or (0, 0)
        if self._decided is not None and oldest < self._decided[0]:
            return  # somebody of those is still at it
        if self._decided is not None:
            first = await connection.fetchval(
                f"SELECT min(id) FROM {self._home}.posthouse_change WHERE trigger_id = $1 AND id > $2",  # noqa: S608
                self._id,
                self._floor,
            )
            decided = self._decided[1]
            self._floor = max(self._floor, decided if first is None else min(decided, first - 1))
        self._decided = (upcoming, last)

    async def _run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            return await work(await self._connected())
        except PosthouseError:
            raise
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            self._drop()
            raise translated(error, self._dsn) from error
        except (OSError, TimeoutError) as error:
            self._drop()
            raise translated(error, self._dsn) from error
        except asyncio.CancelledError:
            self._drop()  # a statement may be under way on it
            raise

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            # What is lost of ours is seen again, which does no harm; so no commit waits for the disk.
            self._connection = await connect(self._dsn, synchronous_commit="off")
            self._told_until, self._floor, self._floor_at, self._decided = 0.0, 0, 0.0, None
            try:
                await self._begin(self._connection)
            except BaseException:
                self._drop()
                raise
        return self._connection

    async def _begin(self, connection: Connection) -> None:
        server = await server_of(connection, self._dsn.shown)
        if not server.has_tables:
            check_version(None, self._dsn.shown)
        self._home = quoted(server.home)
        self._is_woken = await connection.fetchval("SELECT current_setting('max_prepared_transactions') = '0'")
        await connection.add_listener(CHANNEL, self._wake)
        connection.add_termination_listener(lambda *_: self._woken.set())
        self._woken.set()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def _wake(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        if payload == self._id:
            self._woken.set()
