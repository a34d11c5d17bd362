"""The kind `table`: row triggers that write down each change of a table in the transaction that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from posthouse.adapters.sources.tables.place import Place
from posthouse.adapters.sources.tables.settings import EXPECTS, complete, read_settings, shown
from posthouse.adapters.sources.tables.source import TableSource
from posthouse.domain.errors import Invalid, PosthouseError, SourceRefused
from posthouse.ports.sources import Plan, Source, Spec
from posthouse_sdk.outbox.dsn import Dsn

log = structlog.get_logger()


class TableKind:
    """`SourceKind` for tables of PostgreSQL, MySQL and MariaDB, and SQLite."""

    name: Final = "table"
    expects: Final[Mapping[str, Any]] = EXPECTS

    def check(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return complete(settings)

    def shown(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return shown(settings)

    async def plan(self, spec: Spec) -> Plan:
        settings = read_settings(spec.settings)
        return await place_at(settings.dsn).plan(spec.id, settings)

    async def install(self, spec: Spec, *, before: Spec | None = None) -> None:
        """Where the database is another one than before, what waits in that one has to be published first; and what cannot be
        reached any more is left as it is."""
        settings = read_settings(spec.settings)
        old = None if before is None else read_settings(before.settings).dsn
        place = place_at(settings.dsn)
        if old is None or old == settings.dsn:
            await place.install(spec.id, settings)
            return
        left = place_at(old)
        try:
            held = await left.holds(spec.id)
        except PosthouseError as error:
            log.warning("trigger.left_behind", trigger=spec.name, database=old.shown, error=str(error))
            held = None
        if held is not None and held[1] and held[0] != await _database(place, spec):
            raise SourceRefused(
                f"{held[1]} changes in {old.shown} are not published yet. Let them be, and then give the other DSN; or make "
                "another trigger for that database, and delete this one later",
                code="changes_waiting",
            )
        await place.install(spec.id, settings)
        # The same database by another DSN must keep what was just installed; and so does a copy of it.
        if held is not None and held[0] != await _database(place, spec):
            await left.remove(spec.id)

    async def remove(self, spec: Spec) -> None:
        await place_at(read_settings(spec.settings).dsn).remove(spec.id)

    async def rewind(self, spec: Spec, to: float | None) -> str | None:
        settings = read_settings(spec.settings)
        if settings.keep_seconds == 0:
            raise Invalid("nothing that was published is kept, since keep_seconds is 0")
        since = await place_at(settings.dsn).rewind(spec.id, to)
        if to is not None and since is not None and since > to:
            told = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            raise Invalid(f"what was published is kept from {told} on: name a time since then, or none for all of it")
        return None

    def source(self, spec: Spec) -> Source:
        settings = read_settings(spec.settings)
        return TableSource(spec, settings, place_at(settings.dsn))


def place_at(dsn: Dsn) -> Place:
    match dsn.dialect:
        case "postgresql":
            from posthouse.adapters.sources.tables.postgresql.place import PostgresPlace

            return PostgresPlace(dsn)
        case "sqlite":
            from posthouse.adapters.sources.tables.blocking.place import BlockingPlace
            from posthouse.adapters.sources.tables.sqlite import SqliteDialect

            return BlockingPlace(SqliteDialect(dsn))
        case "mysql":
            from posthouse.adapters.sources.tables.blocking.place import BlockingPlace
            from posthouse.adapters.sources.tables.mysql import MysqlDialect

            return BlockingPlace(MysqlDialect(dsn))


async def _database(place: Place, spec: Spec) -> str | None:
    held = await place.holds(spec.id)
    return None if held is None else held[0]
