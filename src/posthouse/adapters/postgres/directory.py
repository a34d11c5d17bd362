"""The configuration on PostgreSQL."""

from __future__ import annotations

from posthouse.adapters.postgres.apps import PostgresApps, quotas_of
from posthouse.adapters.postgres.audit import PostgresAudit
from posthouse.adapters.postgres.changes import SQL, searchable
from posthouse.adapters.postgres.configuration import names
from posthouse.adapters.postgres.endpoints import PostgresEndpoints
from posthouse.adapters.postgres.event_types import PostgresEventTypes
from posthouse.adapters.postgres.keys import PostgresKeys
from posthouse.adapters.postgres.portal import PostgresPortal
from posthouse.adapters.postgres.sessions import PostgresSessions
from posthouse.domain.ids import APP, AppId
from posthouse.ports.catalogue import AppEntry, EventTypeEntry


class PostgresDirectory(
    PostgresEventTypes, PostgresApps, PostgresEndpoints, PostgresKeys, PostgresSessions, PostgresPortal, PostgresAudit
):
    """`ports.directory.Directory` and `ports.catalogue.Catalogue` on PostgreSQL."""

    async def installation_id(self) -> bytes:
        return bytes((await self._installation())["id"])

    # What intake asks (`ports.catalogue`)

    async def find_app(self, reference: str) -> AppEntry | None:
        row = await self._database.fetchrow(SQL.find_app, *names(APP, reference))
        if row is None:
            return None
        return AppEntry(AppId(row["id"]), row["partition"], row["uid"], quotas_of(row["quotas"]))

    async def event_type(self, name: str) -> EventTypeEntry | None:
        row = await self._database.fetchrow(SQL.event_type_entry, searchable(name))
        return None if row is None else EventTypeEntry(name, row["schema"], row["archived"])

    async def version(self) -> int:
        return await self.catalogue_version()
