"""The audit on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from posthouse.adapters.postgres.changes import searchable, write_audit
from posthouse.adapters.postgres.configuration import Configuration
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.ids import KEY, parse_id
from posthouse.ports.directory import Audit, AuditEntry, AuditQuery

SQL = Queries("audit.sql")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class PostgresAudit(Configuration):
    """The audit of `ports.directory.Directory`."""

    async def record(self, audit: Audit) -> None:
        async with self._database.transaction() as connection:
            await write_audit(connection, audit)

    async def audit_entries(self, query: AuditQuery, *, limit: int) -> list[AuditEntry]:
        before_us, before_id = query.before
        rows = await self._database.fetch(
            SQL.entries,
            _time(before_us),
            before_id,
            _time(query.since_us),
            _filter(query.actor),
            _filter(query.object),
            _filter(query.kind),
            _filter(query.action),
            limit,
        )
        ids = {actor: parse_id(KEY, actor) for actor in {row["actor"] for row in rows}}
        keys = [key for key in ids.values() if key is not None]
        names = {row["id"]: row["name"] for row in await self._database.fetch(SQL.key_names, keys)} if keys else {}
        return [
            AuditEntry(
                id=row["id"],
                at_us=row["at_us"],
                actor=row["actor"],
                actor_name=names.get(ids[row["actor"]], ""),
                action=row["action"],
                object=row["object"],
                detail=msgspec.json.decode(row["detail"]),
            )
            for row in rows
        ]


def _time(unix_us: int) -> datetime:
    # To the microsecond, as PostgreSQL keeps it: a float would sometimes be one off, and a page would repeat an entry.
    return _EPOCH + timedelta(microseconds=unix_us)


def _filter(text: str | None) -> str | None:
    return None if text is None else searchable(text)
