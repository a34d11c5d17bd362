"""Sessions of the console on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

from posthouse.adapters.postgres.changes import write_audit
from posthouse.adapters.postgres.configuration import Configuration
from posthouse.adapters.postgres.database import Connection
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.access import Principal, Scope, Session
from posthouse.ports.directory import Audit

SQL = Queries("console.sql")


class PostgresSessions(Configuration):
    """`ports.sessions.SessionStore`."""

    async def session(self, session_hash: bytes, *, now: float) -> Principal | None:
        row = await self._database.fetchrow(SQL.session, session_hash, now)
        if row is None:
            return None
        return Principal(row["key_id"], Scope.ADMIN, None, row["name"], Session(row["id"], row["expires_at"]))

    async def begin_session(
        self,
        session: Session,
        session_hash: bytes,
        key_id: bytes,
        *,
        now: float,
        sessions_max: int,
        audit: Callable[[Principal], Audit],
    ) -> Principal | None:
        async with self._database.transaction() as connection:
            return await _begin(connection, session, session_hash, key_id, now, sessions_max, audit)

    async def begin_session_by_link(
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
            key_id = await connection.fetchval(SQL.take_link, link_hash, now)
            if key_id is None:
                return None
            return await _begin(connection, session, session_hash, key_id, now, sessions_max, audit)

    async def end_session(self, session_id: bytes, audit: Audit) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(SQL.end_session, session_id)
            await write_audit(connection, audit)

    async def create_link(
        self,
        link: Session,
        link_hash: bytes,
        key_id: bytes | None,
        *,
        now: float,
        links_max: int,
        audit: Audit,
    ) -> bool:
        async with self._database.transaction() as connection:
            await connection.execute(SQL.lock_links)
            if key_id is None:
                key_id = await connection.fetchval(SQL.oldest_admin_key)
            if await connection.fetchval(SQL.create_link, link.id, link_hash, key_id, link.expires_at) is None:
                return False
            await connection.execute(SQL.drop_links, now, links_max)
            await write_audit(connection, audit)
            return True


async def _begin(
    connection: Connection,
    session: Session,
    session_hash: bytes,
    key_id: bytes,
    now: float,
    sessions_max: int,
    audit: Callable[[Principal], Audit],
) -> Principal | None:
    await connection.execute(SQL.lock_sessions)
    row = await connection.fetchrow(SQL.begin_session, session.id, session_hash, key_id, session.expires_at)
    if row is None:
        return None
    await connection.execute(SQL.drop_sessions, now, sessions_max)
    principal = Principal(row["key_id"], Scope.ADMIN, None, row["name"], session)
    await write_audit(connection, audit(principal))
    return principal
