"""Sessions of the portal on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from posthouse.adapters.postgres.changes import write_audit
from posthouse.adapters.postgres.configuration import Configuration
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.access import Principal, Scope, Session
from posthouse.domain.ids import AppId
from posthouse.ports.directory import Audit

SQL = Queries("portal.sql")
_OVER_AT_ONCE: Final = 1_000
"""Of what is over, so many go when somebody signs in: more than can come to be meanwhile."""


class PostgresPortal(Configuration):
    """`ports.portal.PortalStore`."""

    async def portal_session(self, session_hash: bytes, *, now: float) -> Principal | None:
        row = await self._database.fetchrow(SQL.session, session_hash, now)
        if row is None:
            return None
        return Principal(
            row["key_id"], Scope.APP, AppId(row["app_id"]), row["name"], Session(row["id"], row["expires_at"])
        )

    async def begin_portal_session(
        self,
        session: Session,
        session_hash: bytes,
        link_hash: bytes,
        *,
        now: float,
        sessions_max: int,
        audit: Callable[[Principal], Audit],
    ) -> Principal | None:
        if await self._database.fetchrow(SQL.link, link_hash, now) is None:
            return None
        async with self._database.transaction() as connection:
            taken = await connection.fetchrow(SQL.take_link, link_hash, now)
            if taken is None:
                return None
            key_id, app_id = taken
            await connection.execute(SQL.lock_sessions)
            row = await connection.fetchrow(
                SQL.begin_session, session.id, session_hash, key_id, app_id, session.expires_at
            )
            if row is None:
                return None
            await connection.execute(SQL.drop_over_sessions, now, _OVER_AT_ONCE)
            await connection.execute(SQL.drop_oldest_sessions, app_id, sessions_max)
            principal = Principal(row["key_id"], Scope.APP, AppId(app_id), row["name"], session)
            await write_audit(connection, audit(principal))
            return principal

    async def end_portal_session(self, session_id: bytes, audit: Audit) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(SQL.end_session, session_id)
            await write_audit(connection, audit)

    async def create_portal_link(
        self,
        link: Session,
        link_hash: bytes,
        key_id: bytes,
        app_id: AppId,
        *,
        now: float,
        links_max: int,
        audit: Audit,
    ) -> bool:
        async with self._database.transaction() as connection:
            await connection.execute(SQL.lock_links)
            made = await connection.fetchval(SQL.create_link, link.id, link_hash, key_id, app_id, link.expires_at)
            if made is None:
                return False
            await connection.execute(SQL.drop_over_links, now, _OVER_AT_ONCE)
            await connection.execute(SQL.drop_oldest_links, app_id, links_max)
            await write_audit(connection, audit)
            return True
