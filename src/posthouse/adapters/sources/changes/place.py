"""What is made for a trigger in the database that it watches, and removed again: a publication and a replication slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import psycopg
import structlog
from psycopg import sql

from posthouse.adapters.sources.changes import examine
from posthouse.adapters.sources.changes.catalog import Catalog, Publication, Slot
from posthouse.adapters.sources.changes.names import Names, comment_of, mark_of, names_of
from posthouse.adapters.sources.changes.position import Position, SnapshotProgress
from posthouse.adapters.sources.changes.refusals import lost
from posthouse.adapters.sources.changes.settings import Settings, TableName, read
from posthouse.adapters.sources.changes.stream import Stream
from posthouse.domain.errors import Invalid, SourceRefused, SourceUnavailable
from posthouse.ports.sources import Plan, Spec

log = structlog.get_logger()

SLOT_SECONDS_MAX: Final = 60
"""For a slot to be made: it waits for all transactions that are open."""
LOCK_SECONDS_MAX: Final = 10
READER_SECONDS_MAX: Final = 10.0
"""For whoever reads our slot to end, once told to."""

_PUBLISHED: Final = """
SELECT n.nspname, c.relname, {columns}
  FROM pg_publication_rel r
  JOIN pg_publication p ON p.oid = r.prpubid
  JOIN pg_class c ON c.oid = r.prrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE p.pubname = %s"""
_COLUMNS_LISTED: Final = """
CASE WHEN r.prattrs IS NOT NULL THEN ARRAY(
    SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (r.prattrs::int2[])) END"""
_IDENTITY: Final = "SELECT system_identifier::text, current_database()::text FROM pg_control_system()"
_OLDEST: Final = """
SELECT pid, coalesce(application_name, ''), extract(epoch FROM clock_timestamp() - xact_start)::int FROM pg_stat_activity
 WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 1"""


class Place:
    """The database of one trigger. `snapshot` is whether its tables have to bear one, whatever the settings say."""

    def __init__(self, spec: Spec, settings: Settings, names: Names, catalog: Catalog) -> None:
        self._spec = spec
        self._settings = settings
        self._names = names
        self._catalog = catalog

    async def plan(self) -> Plan:
        install, facts, server = await self._missing(snapshot=self._settings.snapshot)
        return Plan(
            install=tuple(self._text(statement) for statement in install),
            remove=tuple(self._text(statement) for statement in self._traces()),
            remarks=tuple(examine.remarks(server, facts, self._settings)),
        )

    async def install(self, *, snapshot: bool | None = None) -> None:
        wanted = self._settings.snapshot if snapshot is None else snapshot
        statements, _, _ = await self._missing(snapshot=wanted)
        await self._be_patient()
        for statement in statements:
            await self._run(statement)

    async def _be_patient(self) -> None:
        """As long as that, and no longer: others wait for whoever waits for a lock."""
        for name, seconds in (("lock_timeout", LOCK_SECONDS_MAX), ("statement_timeout", SLOT_SECONDS_MAX)):
            statement = sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(f"{seconds}s"))
            await self._catalog.ask(statement)

    async def _run(self, statement: sql.Composed) -> None:
        try:
            await self._catalog.ask(statement, seconds=2 * SLOT_SECONDS_MAX)
        except SourceUnavailable as error:
            if not isinstance(error.__cause__, psycopg.errors.QueryCanceled):
                raise
            oldest = await self._catalog.ask(_OLDEST)
            pid, application, age = oldest[0] if oldest else ("-", "-", 0)
            raise SourceUnavailable(
                f"{self._catalog.where}: a slot is made when all transactions that are open have ended, and some "
                "had not within "
                f"{SLOT_SECONDS_MAX} s; the oldest is of process {pid} ({application}), for {age} s. It is "
                "tried again"
            ) from error

    async def _missing(self, *, snapshot: bool) -> tuple[list[sql.Composed], list[examine.TableFacts], examine.Server]:
        """The statements that make what is missing. Raises what `SourceKind.install` does."""
        catalog, names = self._catalog, self._names
        server = await examine.server(catalog, self._settings, names)
        facts = await examine.tables(catalog, self._settings, server, names, snapshot=snapshot)
        publication = await catalog.publication(names.publication)
        slot = await catalog.slot(names.slot)
        self._check_slot(slot, server)
        statements: list[sql.Composed] = []
        if names.owns_publication:
            statements += await self._publication_statements(publication, server)
        else:
            await self._check_publication(publication, facts)
        mark = server.end if names.owns_slot and not slot.exists else mark_of(publication)
        if names.owns_publication and (publication is None or publication.comment != comment_of(self._spec, mark)):
            statements.append(
                sql.SQL("COMMENT ON PUBLICATION {} IS {}").format(
                    sql.Identifier(names.publication), sql.Literal(comment_of(self._spec, mark))
                )
            )
        if not slot.exists:
            # Last: what is published has to be known wherever the slot begins.
            # From 17 on, one that standbys with sync_replication_slots have, too.
            options = "'pgoutput', failover => true" if server.number >= examine.VERSION_FAILOVER else "'pgoutput'"
            statements.append(
                sql.SQL("SELECT pg_create_logical_replication_slot({}, {})").format(
                    sql.Literal(names.slot), sql.SQL(options)
                )
            )
        return statements, facts, server

    def _check_slot(self, slot: Slot, server: examine.Server) -> None:
        names, where = self._names, self._catalog.where
        if not slot.exists and not names.owns_slot:
            raise Invalid(
                f"there is no slot {names.slot} in {where}. Make it: SELECT "
                f"pg_create_logical_replication_slot('{names.slot}', "
                "'pgoutput'); or leave this out, and one is made",
                path="slot",
            )
        if slot.exists and slot.plugin != "pgoutput":
            raise Invalid(f"the slot {names.slot} is not one of the plug-in pgoutput", path="slot")
        if slot.exists and slot.database != server.database:
            raise Invalid(f"the slot {names.slot} is of the database {slot.database}", path="slot")

    async def _publication_statements(
        self, publication: Publication | None, server: examine.Server
    ) -> list[sql.Composed]:
        """What makes our publication as the settings want it."""
        name = sql.Identifier(self._names.publication)
        options = sql.SQL("(publish = {}, publish_via_partition_root = true)").format(
            sql.Literal(", ".join(self._settings.on))
        )
        wanted = self._settings.column_names
        tables = sql.SQL(", ").join(_published_table(table, wanted.get(table)) for table in self._settings.table_names)
        if publication is None:
            return [sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH {}").format(name, tables, options)]
        statements = []
        if publication.operations != frozenset(self._settings.on) or not publication.via_root:
            statements.append(sql.SQL("ALTER PUBLICATION {} SET {}").format(name, options))
        listed = server.number >= examine.VERSION_COLUMNS
        question = sql.SQL(_PUBLISHED).format(columns=sql.SQL(_COLUMNS_LISTED if listed else "NULL"))
        there = {
            TableName(schema, table): None if columns is None else frozenset(columns)
            for schema, table, columns in await self._catalog.ask(question, (self._names.publication,))
        }
        if there != {
            table: frozenset(wanted[table]) if table in wanted else None for table in self._settings.table_names
        }:
            statements.append(sql.SQL("ALTER PUBLICATION {} SET TABLE {}").format(name, tables))
        return statements

    async def _check_publication(self, publication: Publication | None, facts: list[examine.TableFacts]) -> None:
        """A publication of theirs. Raises Invalid."""
        name = self._names.publication
        tables = sql.SQL(", ").join(_published_table(table, None) for table in self._settings.table_names)
        if publication is None:
            statement = sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)")
            raise Invalid(
                f"there is no publication {name} in {self._catalog.where}. The owner of the tables makes it: "
                f"{self._text(statement.format(sql.Identifier(name), tables))}; or leave this out, and one is made",
                path="publication",
            )
        missing = [operation for operation in self._settings.on if operation not in publication.operations]
        if missing:
            raise Invalid(
                f"it does not publish {', '.join(missing)}: ALTER PUBLICATION … SET (publish = …)", path="publication"
            )
        if self._settings.columns:
            raise Invalid("columns are what your publication says: leave this out", path="columns")
        if not publication.via_root and any(table.kind == "p" for table in facts):
            raise Invalid(
                "it publishes partitions by their own names: ALTER PUBLICATION … SET (publish_via_partition_root = "
                "true)",
                path="publication",
            )
        there = await self._catalog.published(name)
        for place, table in enumerate(self._settings.table_names):
            if table not in there:
                raise Invalid(
                    f"is not in the publication {name}: ALTER PUBLICATION … ADD TABLE …", path=f"tables[{place}]"
                )
        others = sorted(there - set(self._settings.table_names))
        if others:
            names = ", ".join(table.reference for table in others[:5])
            raise Invalid(f"the publication {name} also has {names}: add them here, or take them off it", path="tables")

    async def check(self, tables: Sequence[TableName]) -> None:
        """Raise what `install` does where these could not be published."""
        server = await examine.server(self._catalog, self._settings, self._names)
        await examine.tables(self._catalog, self._settings, server, self._names, snapshot=False, only=tables)

    async def publish(self, tables: Sequence[TableName]) -> None:
        """Take these into our publication. Raises as `check` does."""
        await self.check(tables)
        columns = self._settings.column_names
        statement = sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(
            sql.Identifier(self._names.publication),
            sql.SQL(", ").join(_published_table(table, columns.get(table)) for table in tables),
        )
        await self._catalog.ask(statement)

    async def remove(self) -> None:
        await self._remove(slot=self._names.owns_slot, publication=self._names.owns_publication)

    async def remove_slot(self) -> None:
        """Our slot, and nothing else."""
        await self._remove(slot=self._names.owns_slot, publication=False)

    async def _remove(self, *, slot: bool, publication: bool) -> None:
        if slot and (await self._catalog.slot(self._names.slot)).exists:
            await self._release_slot()
            await self._catalog.ask(_drop_slot(self._names.slot))
        if publication:
            await self._be_patient()
            await self._catalog.ask(_drop_publication(self._names.publication))

    async def _release_slot(self) -> None:
        """End whoever reads our slot for us. Raises SourceRefused where it is somebody else."""
        until = time.monotonic() + READER_SECONDS_MAX
        told = False
        while (slot := await self._catalog.slot(self._names.slot)).active_pid is not None:
            if time.monotonic() >= until or slot.application not in (self._names.application, None):
                raise SourceRefused(
                    f"{self._catalog.where}: process {slot.active_pid} of the database "
                    f"({slot.application or 'unnamed'}) reads the "
                    f"slot {self._names.slot}, which is to be dropped: SELECT pg_terminate_backend({slot.active_pid})",
                    code="slot_taken",
                )
            if not told:
                await self._catalog.ask("SELECT pg_terminate_backend(%s)", (slot.active_pid,))
                told = True
            await asyncio.sleep(0.02)

    async def remove_for(self, spec: Spec, settings: Settings, names: Names) -> None:
        """Remove what this trigger needed with the settings before, and does not with those of now."""
        now, before = names, self._names
        slot = before.owns_slot and before.slot != now.slot
        publication = before.owns_publication and before.publication != now.publication
        if settings.dsn != self._settings.dsn:
            there = await self._catalog.ask(_IDENTITY)
            async with at(spec) as other:
                if await other._catalog.ask(_IDENTITY) != there:
                    slot, publication = before.owns_slot, before.owns_publication
        await self._remove(slot=slot, publication=publication)

    async def rewind(self) -> str:
        """A position from which everything that is there is seen, and what changes after that."""
        names, catalog = self._names, self._catalog
        slot = await catalog.slot(names.slot)
        publication = await catalog.publication(names.publication)
        broken = slot.lost or (names.owns_publication and (publication is None or mark_of(publication) is None))
        if slot.exists and broken and names.owns_slot:
            await self._release_slot()
            await catalog.ask(_drop_slot(names.slot))
        elif slot.lost:
            raise lost(f"{catalog.where}: the slot {names.slot} kept more log than it may (max_slot_wal_keep_size)")
        await self.install(snapshot=True)
        slot = await catalog.slot(names.slot)
        stream = await Stream.open(names.dsn, catalog.where)
        try:
            system = await stream.identify()
        finally:
            stream.close()
        return Position(
            system=system.identifier,
            timeline=system.timelines.current,
            lsn=slot.flushed or "0/0",
            slot=await names.mark(catalog),
            snapshot=SnapshotProgress(),
        ).encoded()

    def _traces(self) -> list[sql.Composed]:
        made = []
        if self._names.owns_slot:
            made.append(_drop_slot(self._names.slot))
        if self._names.owns_publication:
            made.append(_drop_publication(self._names.publication))
        return made

    def _text(self, statement: sql.Composable) -> str:
        return statement.as_string(self._catalog.connection)


@asynccontextmanager
async def at(spec: Spec) -> AsyncIterator[Place]:
    """The place of a trigger, connected."""
    settings = read(spec.settings)
    names = names_of(spec, settings)
    catalog = await Catalog.open(names.dsn, settings.where)
    try:
        yield Place(spec, settings, names, catalog)
    finally:
        catalog.close()


async def install(spec: Spec, before: Spec | None) -> None:
    async with at(spec) as place:
        await place.install()
    if before is not None and dict(before.settings) != dict(spec.settings):
        await _leave(spec, before)


async def _leave(spec: Spec, before: Spec) -> None:
    settings = read(spec.settings)
    try:
        async with at(before) as old:
            await old.remove_for(spec, settings, names_of(spec, settings))
    except SourceUnavailable as error:
        # A database that is gone must not keep a trigger from moving to the one that took its place.
        log.warning("changes.left_behind", where=read(before.settings).where, error=str(error))


def _published_table(table: TableName, columns: tuple[str, ...] | None) -> sql.Composed:
    made = sql.SQL("ONLY {}").format(sql.Identifier(table.schema, table.name))
    if columns is not None:
        made += sql.SQL(" ({})").format(sql.SQL(", ").join(sql.Identifier(column) for column in columns))
    return made


def _drop_slot(name: str) -> sql.Composed:
    return sql.SQL("SELECT pg_drop_replication_slot({})").format(sql.Literal(name))


def _drop_publication(name: str) -> sql.Composed:
    return sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(name))
