"""Reading the rows that are there, chunk by chunk, by primary key."""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from posthouse.adapters.sources.changes.bounded import bounded
from posthouse.adapters.sources.changes.catalog import Catalog, Keys
from posthouse.adapters.sources.changes.chunks import MARK_PREFIX, Chunk, View
from posthouse.adapters.sources.changes.pgoutput import Row
from posthouse.adapters.sources.changes.position import SnapshotProgress
from posthouse.adapters.sources.changes.refusals import translated
from posthouse.adapters.sources.changes.settings import Settings, TableName
from posthouse.adapters.sources.changes.tables import Table
from posthouse.adapters.sources.changes.values import encode_for

CHUNK_ROWS_MAX: Final = 1_000
CHUNK_BYTES_MAX: Final = 4 * 1024 * 1024
"""The row that goes over it is the last one of its chunk."""
CHUNK_SECONDS_MAX: Final = 60.0

_ROWS_AT_ONCE: Final = 50


class _AsWritten(Loader):
    """A value as PostgreSQL writes it."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class Look(NamedTuple):
    """What one look found: rows, what it saw (`View`), and how far the snapshot is with them. Without rows, `table` is None."""

    table: Table | None
    rows: list[Row]
    view: View | None
    progress: SnapshotProgress | None

    def chunk(self, mark: bytes) -> Chunk:
        assert self.table is not None
        assert self.view is not None
        return Chunk(self.table, self.rows, view=self.view, mark=mark, progress=self.progress)


class _Found(NamedTuple):
    """`cut`: there may be more, and these are large enough."""

    rows: list[Row]
    view: View | None
    types: list[int]
    cut: bool


class Snapshots:
    """Reads on the ordinary connection. Raises SourceUnavailable, SourceRefused."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self._catalog = catalog
        self._columns = settings.column_names
        self._tables = {name.reference: name for name in settings.table_names}

    async def prepare(self) -> None:
        """Once for a connection: a row that is hidden from us is an error, and a mark waits for no standby."""
        await self._catalog.ask("SET row_security = off")
        await self._catalog.ask("SET synchronous_commit = local")

    async def view(self) -> View:
        """What a look would see now; a later one sees no less."""
        return View((await self._catalog.ask("SELECT pg_current_snapshot()::text"))[0][0])

    async def look(self, progress: SnapshotProgress, limit: int) -> Look:
        """The next rows. Tables that are not there any more have none."""
        tables = progress.tables if progress.tables is not None else tuple(self._tables)
        if not tables:
            return Look(None, [], None, None)
        name = self._tables.get(tables[0])
        columns = [] if name is None else await self._names(name)
        after_this = SnapshotProgress(tables[1:]) if len(tables) > 1 else None
        if name is None or not columns:
            return Look(None, [], None, after_this)
        keys = await self._catalog.keys(name)
        if keys is None or not keys.primary:
            return Look(None, [], None, after_this)
        after = progress.after if progress.after is not None and len(progress.after) == len(keys.primary) else None
        limit = max(1, min(limit, CHUNK_ROWS_MAX))
        table, rows, view, all_of_it = await self._rows(name, columns, keys, after, limit)
        if not rows or view is None:
            return Look(None, [], None, after_this)
        if all_of_it:
            return Look(table, rows, view, after_this)
        places = [columns.index(key) for key in keys.primary]
        last = tuple(value.decode() if isinstance(value := rows[-1][place], bytes) else "" for place in places)
        return Look(table, rows, view, SnapshotProgress(tables, last))

    def mark(self) -> bytes:
        """What a mark is to say: nobody else's is the same."""
        return secrets.token_hex(16).encode()

    async def write(self, mark: bytes) -> None:
        """Write a mark into the log: everything that a look before it saw is in there before it."""
        await self._catalog.ask("SELECT pg_logical_emit_message(true, %s, %s)", (MARK_PREFIX, mark.decode()))

    async def _names(self, table: TableName) -> list[str]:
        """The columns as the stream has them."""
        listed = self._columns.get(table)
        there = await self._catalog.columns(table)
        return [c.name for c in there if not c.generated and (listed is None or c.name in listed)]

    async def _rows(
        self, name: TableName, columns: list[str], keys: Keys, after: tuple[str, ...] | None, limit: int
    ) -> tuple[Table, list[Row], View | None, bool]:
        """The table, rows of it, what was seen, and whether that was all."""
        order = sql.SQL(", ").join(sql.Identifier(key) for key in keys.primary)
        where = sql.SQL("").format()
        if after is not None:
            values = sql.SQL(", ").join(sql.Placeholder() * len(after))
            where = sql.SQL("WHERE ({}) > ({})").format(order, values)
        question = sql.SQL(
            "SELECT (SELECT pg_current_snapshot())::text, {columns} FROM {only} {table} {where} ORDER BY {order} "
            "LIMIT {limit}"
        ).format(
            columns=sql.SQL(", ").join(sql.Identifier(column) for column in columns),
            only=sql.SQL("" if keys.partitioned else "ONLY"),
            table=sql.Identifier(name.schema, name.name),
            where=where,
            order=order,
            limit=sql.Literal(limit),
        )
        try:
            found = await bounded(self._catalog.connection, self._read(question, after), CHUNK_SECONDS_MAX)
        except (psycopg.Error, OSError, TimeoutError, ValueError) as error:
            raise translated(error, self._catalog.where) from error
        described = [(column, encode_for(kind)) for column, kind in zip(columns, found.types, strict=False)]
        table = Table(name.schema, name.name, described, keys.identity)
        return table, found.rows, found.view, len(found.rows) < limit and not found.cut

    async def _read(self, question: sql.Composed, after: tuple[str, ...] | None) -> _Found:
        rows: list[Row] = []
        view: View | None = None
        size = 0
        async with self._catalog.connection.cursor() as cursor:
            types = cursor.adapters.types
            for known in {0} | {number for info in types for number in (info.oid, info.array_oid)}:
                cursor.adapters.register_loader(known, _AsWritten)
            found = cursor.stream(question, after, size=_ROWS_AT_ONCE if psycopg.pq.version() >= 170_000 else 1)
            async for seen, *row in found:
                view = view or View(seen.decode())
                rows.append(row)
                size += sum(len(value) for value in row if value is not None)
                if size >= CHUNK_BYTES_MAX:
                    break
            await found.aclose()  # type: ignore[attr-defined]
            kinds = [column.type_code for column in cursor.description or ()][1:]
        return _Found(rows, view, kinds, size >= CHUNK_BYTES_MAX)
