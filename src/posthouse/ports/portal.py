"""Sessions of the portal of an app, and the links that begin one, which every process knows; only hashes are kept. Times are
unix seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from posthouse.domain.access import Principal, Session
from posthouse.domain.ids import AppId

if TYPE_CHECKING:
    from posthouse.ports.directory import Audit  # which is made of this


class PortalStore(Protocol):
    async def portal_session(self, session_hash: bytes, *, now: float) -> Principal | None:
        """Who is signed in by the session with this hash, if it is not over, its key works and its app is there."""
        ...

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
        """A session of the key and the app that a link was made with; the link is used up, and the app's oldest sessions make
        room. None: there is none such, or none any more."""
        ...

    async def end_portal_session(self, session_id: bytes, audit: Audit) -> None:
        """It need not be there."""
        ...

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
        """A link of a key to an app; the app's oldest links make room. False: the key was revoked, or the app deleted."""
        ...
