"""A database behind a blocking driver, in which table triggers are installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

from posthouse.adapters.sources.tables.blocking.dialect import (
    Dialect,
    Session,
    check_tables,
    move,
    standing,
    transaction,
    wanted_triggers,
)
from posthouse.adapters.sources.tables.blocking.store import BlockingStore
from posthouse.adapters.sources.tables.place import (
    INSTALL_SECONDS_MAX,
    TABLES,
    Standing,
    Store,
    Table,
    check_id,
    check_version,
)
from posthouse.adapters.sources.tables.settings import Settings
from posthouse.ports.sources import Plan

T = TypeVar("T")

MOVED_MAX: Final = 5_000  # changes in one transaction


class BlockingPlace:
    """`Place` by a dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    async def plan(self, trigger_id: str, settings: Settings) -> Plan:
        def make(cursor: Any) -> Plan:
            self._dialect.check_server(cursor)
            table = self._dialect.watched(cursor, settings.table)
            wanted = wanted_triggers(self._dialect, trigger_id, settings, table)
            install = self._install(cursor, trigger_id, settings, table)
            there = {trigger.name for trigger in self._dialect.row_triggers(cursor, trigger_id)}
            remove = (*self._drops(there | wanted.keys()), *self._clearing(cursor, trigger_id))
            done = () if install else ("All of it is installed: there is nothing to do.",)
            return Plan(install=install, remove=remove, remarks=(*done, *self._dialect.remarks(cursor, table)))

        return await self._run(make)

    async def install(
        self, trigger_id: str, settings: Settings, *, seconds: float = INSTALL_SECONDS_MAX, upgrades: bool = False
    ) -> None:
        def make(cursor: Any) -> None:
            self._dialect.check_server(cursor)
            with self._dialect.alone(cursor, seconds) as run:
                table = self._dialect.watched(cursor, settings.table)
                there = self._dialect.row_triggers(cursor, trigger_id)
                if (
                    upgrades
                    and standing(self._dialect, cursor, trigger_id, settings, table, there) is not Standing.OUTDATED
                ):
                    return
                for statement in self._install(cursor, trigger_id, settings, table):
                    run(statement)

        await self._run(make)

    async def remove(self, trigger_id: str) -> None:
        def remove(cursor: Any) -> None:
            with self._dialect.alone(cursor, INSTALL_SECONDS_MAX) as run:
                there = {trigger.name for trigger in self._dialect.row_triggers(cursor, trigger_id)}
                statements = self._drops(there)
                if self._dialect.tables(cursor):
                    statements += self._clearing(cursor, trigger_id)
                for statement in statements:
                    run(statement)

        check_id(trigger_id)
        await self._run(remove)

    async def rewind(self, trigger_id: str, to: float | None) -> float | None:
        words = self._dialect.words
        some = (
            f"SELECT id FROM posthouse_change_kept WHERE trigger_id = {words.place} "  # noqa: S608
            f"AND {words.unix_time.format('created_at')} >= {words.place} ORDER BY id LIMIT {MOVED_MAX}"
        )

        def rewind(cursor: Any) -> float | None:
            if not check_tables(self._dialect, cursor):
                check_version(None, self._dialect.dsn.shown)
            cursor.execute(
                f"SELECT kept_since FROM posthouse_change_trigger WHERE trigger_id = {words.place}",  # noqa: S608
                (trigger_id,),
            )
            row = cursor.fetchone()
            since = None if row is None or row[0] is None else float(row[0])
            if to is not None and since is not None and since > to:
                return since
            while True:  # by and by, so that nobody else waits long
                with transaction(cursor, words):
                    cursor.execute(some, (trigger_id, to or 0.0))
                    ids = tuple(row[0] for row in cursor.fetchall())
                    if not ids:
                        return since
                    move(cursor, words, trigger_id, ids, "posthouse_change_kept", "posthouse_change")

        check_id(trigger_id)
        return await self._run(rewind)

    async def holds(self, trigger_id: str) -> tuple[str, int] | None:
        place = self._dialect.words.place

        def count(cursor: Any) -> tuple[str, int] | None:
            if not check_tables(self._dialect, cursor):
                return None
            cursor.execute(
                "SELECT v.uid, (SELECT count(*) FROM posthouse_change c WHERE c.trigger_id = t.trigger_id) "  # noqa: S608
                f"FROM posthouse_change_version v, posthouse_change_trigger t WHERE t.trigger_id = {place}",
                (trigger_id,),
            )
            row = cursor.fetchone()
            return None if row is None else (str(row[0]), int(row[1]))

        return await self._run(count)

    def store(self, trigger_id: str, settings: Settings) -> Store:
        return BlockingStore(self._dialect, check_id(trigger_id), settings)

    def _install(self, cursor: Any, trigger_id: str, settings: Settings, table: Table) -> tuple[str, ...]:
        """The statements that make a trigger as it should be, given what is there."""
        dialect = self._dialect
        there = dialect.row_triggers(cursor, trigger_id)
        has_tables = check_tables(dialect, cursor)
        if has_tables and standing(dialect, cursor, trigger_id, settings, table, there) is Standing.CURRENT:
            return ()
        wanted = wanted_triggers(dialect, trigger_id, settings, table)
        names = {trigger.name for trigger in there if trigger.table == table.name}
        changed = dialect.changed(
            {name: statement for name, statement in wanted.items() if name not in names},
            [trigger for trigger in there if trigger.name not in wanted or trigger.table != table.name],
            table,
        )
        return (
            *dialect.prepare(),
            *(() if has_tables else dialect.shared()),
            self._registering(trigger_id, settings),
            *changed,
        )

    def _registering(self, trigger_id: str, settings: Settings) -> str:
        own, made_for = self._dialect.literal(trigger_id), self._dialect.literal(settings.made_for)
        return (
            f"INSERT INTO posthouse_change_trigger (trigger_id, made_for) VALUES ({own}, {made_for})\n"  # noqa: S608
            f"{self._dialect.words.on_conflict} made_for = {made_for}"
        )

    def _drops(self, names: set[str]) -> tuple[str, ...]:
        return tuple(f"DROP TRIGGER IF EXISTS {self._dialect.quoted(name)}" for name in sorted(names))

    def _clearing(self, cursor: Any, trigger_id: str) -> tuple[str, ...]:
        """What removes a trigger's rows, or the tables with the last of the triggers."""
        tables = self._dialect.tables(cursor)
        if 0 < tables < len(TABLES):  # somebody has dropped some of them: the others may be in use
            return ()
        if tables:
            cursor.execute(
                f"SELECT 1 FROM posthouse_change_trigger WHERE trigger_id <> {self._dialect.words.place} LIMIT 1",  # noqa: S608
                (trigger_id,),
            )
            if cursor.fetchone() is not None:
                own = self._dialect.literal(check_id(trigger_id))
                return tuple(f"DELETE FROM {table} WHERE trigger_id = {own}" for table in TABLES[:3])  # noqa: S608
        return tuple(f"DROP TABLE IF EXISTS {table}" for table in TABLES)

    async def _run(self, work: Callable[[Any], T]) -> T:
        def once() -> T:
            session = Session(self._dialect)
            try:
                return session.run(work)
            finally:
                session.close()

        return await asyncio.to_thread(once)
