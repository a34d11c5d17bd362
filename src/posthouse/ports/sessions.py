"""Sessions of the console, and the links that begin one, which every process knows; only hashes are kept. Times are unix
seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from posthouse.domain.access import Principal, Session

if TYPE_CHECKING:
    from posthouse.ports.directory import Audit  # which is made of this


class SessionStore(Protocol):
    async def session(self, session_hash: bytes, *, now: float) -> Principal | None:
        """Who is signed in by the session with this hash, if it is not over and its key is an administrator's that works."""
        ...

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
        """A session of a key; the oldest ones make room. None: the key is none of an administrator that works."""
        ...

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
        """The same, of the key that a link was made with; the link is used up. None: there is none such, or none any more."""
        ...

    async def end_session(self, session_id: bytes, audit: Audit) -> None:
        """It need not be there."""
        ...

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
        """A link of a key, or of the oldest administrator's key that works; the oldest links make room. False: there is no such
        key."""
        ...
