"""The catalogue of the reference model."""

from __future__ import annotations

from posthouse.adapters.memory.database import MemoryDatabase
from posthouse.domain.ids import APP, AppId, parse_id
from posthouse.ports.catalogue import AppEntry, EventTypeEntry


class MemoryCatalogue:
    """`ports.catalogue.Catalogue` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def find_app(self, reference: str) -> AppEntry | None:
        await self._database.reading("find_app")
        raw = parse_id(APP, reference)
        for app in self._database.apps.values():
            if not app.deleted and (app.uid == reference or (raw is not None and app.id == AppId(raw))):
                return AppEntry(app.id, app.partition, app.uid, app.quotas)
        return None

    async def event_type(self, name: str) -> EventTypeEntry | None:
        await self._database.reading("event_type")
        return self._database.event_types.get(name)

    async def add_event_type(self, name: str) -> None:
        async with self._database.transaction("add_event_type"):
            if name not in self._database.event_types:
                self._database.put_event_type(EventTypeEntry(name, schema=None, archived=False))

    async def version(self) -> int:
        await self._database.reading("version")
        return self._database.event_types_version
