"""What explains routing, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.ids import AppId, EndpointId
from posthouse.ports.routing import Candidate, Listener, NearMiss

SQL = Queries("routing.sql")

_config: Final = msgspec.json.Decoder(EndpointConfig)


class PostgresRoutingView:
    """`ports.routing.RoutingView` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_private(self, event_type: str) -> bool:
        return bool(await self._database.fetchval(SQL.visibility, event_type) == "private")

    async def covered_apps(self, event_type: str, subject: str | None, *, limit: int) -> list[Listener]:
        rows = await self._database.read(SQL.covered_apps, event_type, subject, limit)
        return [Listener(AppId(row["app_id"]), row["uid"]) for row in rows]

    async def near_misses(self, event_type: str, subject: str | None, *, limit: int) -> list[NearMiss]:
        rows = await self._database.read(SQL.near_misses, event_type, subject, limit)
        return [
            NearMiss(Listener(AppId(row["app_id"]), row["uid"]), row["ended"], row["subject_granted"]) for row in rows
        ]

    async def endpoints(self, app_ids: Collection[AppId], *, limit: int) -> list[Candidate]:
        rows = await self._database.read(SQL.app_endpoints, list(app_ids), limit)
        return [
            Candidate(
                id=EndpointId(row["id"]),
                app_id=AppId(row["app_id"]),
                uid=row["uid"],
                config=_config.decode(row["config"]),
                enabled=row["enabled"],
                disabled_reason=row["disabled_reason"],
                paused=row["paused"],
                verified=row["verified"],
            )
            for row in rows
        ]
