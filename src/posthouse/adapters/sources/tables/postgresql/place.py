"""A PostgreSQL database in which table triggers are installed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import asyncpg

from posthouse.adapters.sources.tables.place import (
    INSTALL_SECONDS_MAX,
    Standing,
    Store,
    check_id,
    check_version,
)
from posthouse.adapters.sources.tables.postgresql.connection import Connection, connected
from posthouse.adapters.sources.tables.postgresql.definition import Definition, drop_shared, literal, quoted, shared
from posthouse.adapters.sources.tables.postgresql.state import (
    Found,
    Server,
    Watched,
    definition,
    found,
    functions_of,
    server_of,
    standing,
    watched,
)
from posthouse.adapters.sources.tables.postgresql.store import PostgresStore
from posthouse.adapters.sources.tables.settings import Settings
from posthouse.domain.errors import SourceUnavailable
from posthouse.ports.sources import Plan
from posthouse_sdk.outbox.dsn import Dsn

LOCK_MS: Final = 500  # so long at most does the application wait behind us for its table
LOCK_PAUSE_SECONDS: Final = 0.5
MOVING_SECONDS_MAX: Final = 600.0  # of a statement that moves or removes what a trigger has written
_REWIND: Final = """
WITH back AS (DELETE FROM {h}.posthouse_change_kept
               WHERE trigger_id = $1 AND ($2::timestamptz IS NULL OR created_at >= $2) RETURNING *)
INSERT INTO {h}.posthouse_change
       (trigger_id, id, uid, op, table_schema, table_name, row_key, old_row, new_row, note, created_at)
SELECT trigger_id, id, uid, op, table_schema, table_name, row_key, old_row, new_row, note, created_at FROM back"""
_HOLDS: Final = """
SELECT v.uid::text, (SELECT count(*) FROM {h}.posthouse_change WHERE trigger_id = $1) AS waiting
  FROM {h}.posthouse_change_version v
 WHERE EXISTS (SELECT 1 FROM {h}.posthouse_change_trigger WHERE trigger_id = $1)"""


class PostgresPlace:
    """`Place` on PostgreSQL: an install is one transaction, so that nothing is missed and nothing is written down twice."""

    def __init__(self, dsn: Dsn) -> None:
        self._dsn = dsn

    async def plan(self, trigger_id: str, settings: Settings) -> Plan:
        async with connected(self._dsn) as connection:
            server = await server_of(connection, self._dsn.shown)
            table = await watched(connection, settings.table)
            made = definition(trigger_id, settings, table, server)
            there = await found(connection, trigger_id, server)
            install = _install(made, table, there, server, settings)
            drops = {function.shown for function in there.functions} | {made.called}
            remove = (*_drops(drops), *await _clearing(connection, trigger_id, server))
            return Plan(install=install, remove=remove, remarks=_remarks(table, bool(install)))

    async def install(
        self, trigger_id: str, settings: Settings, *, seconds: float = INSTALL_SECONDS_MAX, upgrades: bool = False
    ) -> None:
        async def work(connection: Connection) -> None:
            server = await server_of(connection, self._dsn.shown)
            table = await watched(connection, settings.table)
            made = definition(trigger_id, settings, table, server)
            there = await found(connection, trigger_id, server)
            if upgrades and standing(made, table.oid, there, settings) is not Standing.OUTDATED:
                return
            for statement in _install(made, table, there, server, settings):
                await connection.execute(statement)

        check_id(trigger_id)
        async with connected(self._dsn) as connection:
            await self._locked(connection, work, seconds)

    async def remove(self, trigger_id: str) -> None:
        """In two transactions: the table of the application is locked for the first one only, which is short."""

        async def drop(connection: Connection) -> None:
            for statement in _drops({function.shown for function in await functions_of(connection, trigger_id)}):
                await connection.execute(statement)

        async def clear(connection: Connection) -> None:
            server = await server_of(connection, self._dsn.shown)
            if server.has_tables:
                for statement in await _clearing(connection, trigger_id, server):
                    await connection.execute(statement)

        check_id(trigger_id)
        async with connected(self._dsn, statement_seconds=MOVING_SECONDS_MAX) as connection:
            await self._locked(connection, drop, INSTALL_SECONDS_MAX)
            await self._locked(connection, clear, INSTALL_SECONDS_MAX)

    async def rewind(self, trigger_id: str, to: float | None) -> float | None:
        async with connected(self._dsn, statement_seconds=MOVING_SECONDS_MAX) as connection, connection.transaction():
            server = await server_of(connection, self._dsn.shown)
            if not server.has_tables:
                check_version(None, self._dsn.shown)
            h = quoted(server.home)
            since: datetime | None = await connection.fetchval(
                f"SELECT kept_since FROM {h}.posthouse_change_trigger WHERE trigger_id = $1 FOR UPDATE",  # noqa: S608
                trigger_id,
            )
            wanted = None if to is None else datetime.fromtimestamp(to, UTC)
            if wanted is None or since is None or since <= wanted:
                await connection.execute(_REWIND.format(h=h), trigger_id, wanted)
            return None if since is None else since.timestamp()

    async def holds(self, trigger_id: str) -> tuple[str, int] | None:
        async with connected(self._dsn) as connection:
            server = await server_of(connection, self._dsn.shown)
            if not server.has_tables:
                return None
            row = await connection.fetchrow(_HOLDS.format(h=quoted(server.home)), trigger_id)
            return None if row is None else (row["uid"], row["waiting"])

    def store(self, trigger_id: str, settings: Settings) -> Store:
        return PostgresStore(self._dsn, check_id(trigger_id), settings)

    async def _locked(
        self, connection: Connection, work: Callable[[Connection], Awaitable[None]], seconds: float
    ) -> None:
        """Do something in a transaction, one process at a time. It never waits long for a lock, since others would wait behind
        it; it tries again. Raises SourceUnavailable where that did not help."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            try:
                async with connection.transaction():
                    await connection.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
                    # Two at a time would trip over each other.
                    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('posthouse_change'))")
                    await work(connection)
            except (
                asyncpg.LockNotAvailableError,
                asyncpg.DeadlockDetectedError,
                asyncpg.UniqueViolationError,
            ) as error:
                if loop.time() >= until:
                    raise SourceUnavailable(
                        f"a table in {self._dsn.shown} is locked by transactions that do not end ({error}): try again when "
                        "they are over; pg_stat_activity shows them, with their xact_start"
                    ) from error
                await asyncio.sleep(LOCK_PAUSE_SECONDS)
            else:
                return


def _install(made: Definition, table: Watched, there: Found, server: Server, settings: Settings) -> tuple[str, ...]:
    """The statements that make a trigger as it should be, given what is there."""
    if standing(made, table.oid, there, settings) is Standing.CURRENT:
        return ()
    tables = () if server.has_tables else shared(server.home)
    others = {function.shown for function in there.functions} - {made.called}
    return (*tables, *made.make_function(), made.register(), made.make_trigger(), *_drops(others))


def _drops(functions: set[str]) -> tuple[str, ...]:
    # Only the table's owner may drop a trigger, but the function is ours.
    return tuple(f"DROP FUNCTION IF EXISTS {function} CASCADE" for function in sorted(functions))


async def _clearing(connection: Connection, trigger_id: str, server: Server) -> tuple[str, ...]:
    """What removes a trigger's rows, or the tables with the last of the triggers."""
    h, own = quoted(server.home), literal(check_id(trigger_id))
    if not server.has_tables:
        # Where somebody has dropped some of them, the others may be in use.
        return () if server.tables else drop_shared(server.home)
    if not await connection.fetchval(
        f"SELECT EXISTS (SELECT 1 FROM {h}.posthouse_change_trigger WHERE trigger_id <> $1)",  # noqa: S608
        trigger_id,
    ):
        return drop_shared(server.home)
    return tuple(
        f"DELETE FROM {h}.{table} WHERE trigger_id = {own}"  # noqa: S608
        for table in ("posthouse_change", "posthouse_change_kept", "posthouse_change_trigger")
    )


def _remarks(table: Watched, is_due: bool) -> tuple[str, ...]:
    told = [
        "The statements are run in one transaction, in this order. The table is locked for a moment against writes; where "
        "that would take longer than half a second, it is tried again.",
        "TRUNCATE is no change of rows: it makes no events.",
    ]
    if table.is_numbered:
        told.append(
            "After a write, lastval() is a number of ours: an application that asks for the id of its new row must say "
            "RETURNING, or currval() with the name of the sequence."
        )
    if table.kind == "p":
        told.append("An update that moves a row to another partition is a delete and an insert.")
    if not is_due:
        told.insert(0, "All of it is installed: there is nothing to do.")
    return tuple(told)
