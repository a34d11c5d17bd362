"""Grants as they are managed. A change is one transaction with its audit entry, as in `ports.directory`."""

from __future__ import annotations

from typing import Protocol

from posthouse.domain.grant import Grant
from posthouse.domain.ids import AppId, GrantId
from posthouse.ports.directory import Audit


class Grants(Protocol):
    """Taking a grant away, or changing it, stamps its app, so that what was not yet sent is looked at again."""

    async def page(
        self, *, app_id: AppId | None, before: bytes, limit: int, event_type: str | None, subject: str | None
    ) -> list[Grant]:
        """Newest first, from below an id; of one app or of all. Filters keep the grants that cover a type, or a subject."""
        ...

    async def get(self, app_id: AppId, reference: str) -> Grant | None:
        """The app's grant with this id or uid."""
        ...

    async def create(self, grant: Grant, audit: Audit) -> Grant | None:
        """None where the app is gone. Raises Conflict where the uid is taken."""
        ...

    async def replace(self, grant: Grant, audit: Audit, *, make: bool) -> tuple[Grant, bool] | None:
        """The app's grant with this id or uid becomes this one, or is made; and whether it was made. None where the app is
        gone, or the grant is and none is to be made."""
        ...

    async def delete(self, app_id: AppId, grant_id: GrantId, audit: Audit) -> bool:
        """Whether it was there."""
        ...
