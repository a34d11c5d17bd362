"""What is asked of the database beside the stream, on an ordinary connection. Every method raises SourceUnavailable and
SourceRefused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from psycopg import sql

from posthouse.adapters.sources.changes.bounded import bounded
from posthouse.adapters.sources.changes.refusals import translated
from posthouse.adapters.sources.changes.settings import TableName
from posthouse.adapters.sources.changes.stream import connect

QUESTION_SECONDS_MAX: Final = 30.0

_KEYS: Final = """
SELECT c.relkind = 'p',
       ARRAY(SELECT a.attname::text
               FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
              WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.place),
       ARRAY(SELECT a.attname::text
               FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
              WHERE i.indrelid = c.oid AND i.indisreplident AND c.relreplident = 'i' ORDER BY k.place)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE """
_BY_NAME: Final = sql.SQL(_KEYS + "n.nspname = %s AND c.relname = %s").format()
_BY_NUMBER: Final = sql.SQL(_KEYS + "c.oid = %s").format()
_COLUMNS: Final = """
SELECT a.attname, a.attgenerated <> '', a.attlen < 0 AND a.attstorage <> 'p', a.attnotnull
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum"""
_SLOT: Final = """
SELECT s.plugin, s.slot_type, s.database, s.active_pid, s.wal_status,
       s.confirmed_flush_lsn::text, pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint,
       extract(epoch FROM clock_timestamp())::float8, pg_current_wal_flush_lsn()::text,
       p.application_name, p.client_addr::text
  FROM (SELECT %s::text AS name) w
  LEFT JOIN pg_replication_slots s ON s.slot_name = w.name
  LEFT JOIN pg_stat_activity p ON p.pid = s.active_pid"""
_PUBLICATION: Final = """
SELECT p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot, p.puballtables,
       obj_description(p.oid, 'pg_publication'), pg_get_userbyid(p.pubowner)
  FROM pg_publication p WHERE p.pubname = %s"""
_PUBLISHED: Final = "SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = %s"


class Keys(NamedTuple):
    """`primary` are the columns of the primary key, in its order; `identity` those that identify a row in the stream."""

    partitioned: bool
    primary: list[str]
    identity: list[str]


class Column(NamedTuple):
    name: str
    generated: bool
    toastable: bool
    not_null: bool


class Slot(NamedTuple):
    """A replication slot; `plugin` None is a slot that is not there. `now` is the database's clock, in unix
    seconds, and `end` where its log ends."""

    plugin: str | None
    kind: str | None
    database: str | None
    active_pid: int | None
    wal_status: str | None
    flushed: str | None
    retained_bytes: int | None
    now: float
    end: str
    application: str | None
    address: str | None

    @property
    def exists(self) -> bool:
        return self.kind is not None

    @property
    def lost(self) -> bool:
        return self.wal_status == "lost"


class Publication(NamedTuple):
    insert: bool
    update: bool
    delete: bool
    truncate: bool
    via_root: bool
    all_tables: bool
    comment: str | None
    owner: str

    @property
    def operations(self) -> frozenset[str]:
        return frozenset(name for name in ("insert", "update", "delete", "truncate") if getattr(self, name))


class Catalog:
    """One connection, on which one question is asked after the other."""

    def __init__(self, connection: psycopg.AsyncConnection, where: str) -> None:
        self.connection = connection
        self.where = where

    @classmethod
    async def open(cls, dsn: str, where: str) -> Catalog:
        return cls(await connect(dsn, where), where)

    def close(self) -> None:
        """At once."""
        self.connection.pgconn.finish()

    async def ask(
        self,
        question: LiteralString | sql.Composed,
        parameters: Sequence[object] = (),
        *,
        seconds: float = QUESTION_SECONDS_MAX,
    ) -> list[tuple[Any, ...]]:
        """The rows of an answer; none where a statement has no rows."""
        try:
            return await bounded(self.connection, self._ask(question, parameters), seconds)
        except (psycopg.Error, OSError, TimeoutError) as error:
            raise translated(error, self.where) from error

    async def _ask(self, question: LiteralString | sql.Composed, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        cursor = await self.connection.execute(question, parameters or None)
        return await cursor.fetchall() if cursor.description is not None else []

    async def keys(self, table: TableName | int) -> Keys | None:
        """The keys of a table, by its name or its number (oid); None where it is not there (any more)."""
        if isinstance(table, TableName):
            found = await self.ask(_BY_NAME, (table.schema, table.name))
        else:
            found = await self.ask(_BY_NUMBER, (table,))
        return Keys(found[0][0], found[0][1], found[0][2] or found[0][1]) if found else None

    async def columns(self, table: TableName) -> list[Column]:
        return [Column(*row) for row in await self.ask(_COLUMNS, (table.schema, table.name))]

    async def slot(self, name: str) -> Slot:
        return Slot(*(await self.ask(_SLOT, (name,)))[0])

    async def publication(self, name: str) -> Publication | None:
        found = await self.ask(_PUBLICATION, (name,))
        return Publication(*found[0]) if found else None

    async def published(self, publication: str) -> set[TableName]:
        return {TableName(*row) for row in await self.ask(_PUBLISHED, (publication,))}
