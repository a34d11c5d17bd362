"""The audit: who changed or looked at what."""

from __future__ import annotations

import re
from typing import Final

from posthouse.domain.access import Principal
from posthouse.domain.errors import Invalid
from posthouse.manage.access import admin_only
from posthouse.ports.directory import AuditEntry, AuditQuery, Directory

LATEST: Final = (2**52, 2**63 - 1)
"""Where the list begins: after every (unix microseconds, id)."""

_ACTION: Final = re.compile(r"([a-z_]+)\.([a-z_]*)\Z")


class AuditTrail:
    """Administrators read who did what; nobody changes it."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def page(
        self,
        principal: Principal,
        *,
        before: tuple[int, int],
        since: float | None,
        until: float | None,
        actor: str | None,
        action: str | None,
        object: str | None,
        limit: int,
    ) -> list[AuditEntry]:
        """Entries newest first, from below (unix microseconds, id) `before`; from `since` on and before `until` (unix
        seconds). `action` is one (`app.created`), or all of one kind (`app.`). Raises Forbidden, Invalid."""
        admin_only(principal)
        kind = exactly = None
        if action is not None:
            found = _ACTION.match(action)
            if found is None:
                raise Invalid(
                    "an action is such as endpoint.created; endpoint. is all there are of endpoints", path="?action"
                )
            kind = found[1]
            exactly = action if found[2] else None
        if until is not None:
            before = min(before, (_microseconds(until), 0))
        query = AuditQuery(
            before=before,
            since_us=0 if since is None else _microseconds(since),
            actor=actor,
            object=object,
            kind=kind,
            action=exactly,
        )
        return await self._directory.audit_entries(query, limit=limit)


def _microseconds(unix_seconds: float) -> int:
    return min(max(round(unix_seconds * 1_000_000), 0), LATEST[0])
