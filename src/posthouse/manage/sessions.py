"""Signing in to the console: with an administrator's key, or by a link that works once."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from posthouse.domain.access import Principal
from posthouse.domain.errors import Forbidden, Unauthorised
from posthouse.domain.ids import KEY, SESSION, format_id
from posthouse.domain.limits import (
    LINK_SECONDS,
    LINKS_MAX,
    SESSION_SECONDS,
    SESSIONS_MAX,
)
from posthouse.manage.access import admin_only, audit, not_only_publishing
from posthouse.manage.authenticator import Authenticator, link_hash, session_hash
from posthouse.manage.signing_in import By, SignIns, is_token, signed_in
from posthouse.ports.clock import Clock
from posthouse.ports.directory import SYSTEM, Audit
from posthouse.ports.sessions import SessionStore

NOT_FOR_APPS: Final = "not_for_apps"


class Sessions(SignIns):
    """A session stands for the key that it came from, for SESSION_SECONDS: it may do what that key may, the audit names the
    key, and revoking the key ends it. It does not outlive that time by itself: no session makes links.
    """

    def __init__(
        self,
        store: SessionStore,
        clock: Clock,
        authenticator: Authenticator,
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
        session_seconds: float = SESSION_SECONDS,
        link_seconds: float = LINK_SECONDS,
        sessions_max: int = SESSIONS_MAX,
        links_max: int = LINKS_MAX,
    ) -> None:
        super().__init__("console", clock, random)
        self._store = store
        self._authenticator = authenticator
        self._session_seconds = session_seconds
        self._link_seconds = link_seconds
        self._sessions_max = sessions_max
        self._links_max = links_max

    async def sign_in(self, key: str, *, client: str) -> tuple[Principal, str]:
        """Who is signed in by this key, and what the browser keeps. Raises Unauthorised; Forbidden: no administrator's."""
        try:
            holder = await self._authenticator.authenticate(key)
            not_only_publishing(holder)
            if not holder.admin:
                raise Forbidden(
                    "this key belongs to one app, and the console is for the platform's operators: sign in with a key of scope "
                    "admin",
                    code=NOT_FOR_APPS,
                )
            session, token = self._new(self._session_seconds)
            principal = await self._store.begin_session(
                session,
                session_hash(token, "console"),
                holder.key_id,
                now=self._clock.now(),
                sessions_max=self._sessions_max,
                audit=lambda found: _began(found, "key"),
            )
            if principal is None:
                raise Unauthorised("this API key was revoked")
        except (Unauthorised, Forbidden) as error:
            self._failed("key", error.code, client)
            raise
        return principal, token

    async def sign_in_by_link(self, code: str, *, client: str) -> tuple[Principal, str]:
        """The same by the code of a link, which is used up. Raises Unauthorised."""
        session, token = self._new(self._session_seconds)
        principal = None
        if is_token(code):
            principal = await self._store.begin_session_by_link(
                session,
                session_hash(token, "console"),
                link_hash(code, "console"),
                now=self._clock.now(),
                sessions_max=self._sessions_max,
                audit=lambda found: _began(found, "link"),
            )
        if principal is None:
            self._failed("link", Unauthorised.code, client)
            raise Unauthorised(
                "this link was used already, is over, or its key was revoked: `posthouse open` makes another one"
            )
        return principal, token

    async def sign_out(self, principal: Principal) -> None:
        """At once in this process, within seconds in others. Raises NotFound where nobody is signed in: a key was sent."""
        session = signed_in(principal)
        await self._store.end_session(session.id, audit(principal, "session.ended", format_id(SESSION, session.id)))
        self._authenticator.forget()

    async def create_link(self, principal: Principal) -> tuple[str, float]:
        """The code of a new link, which is told this once, and when it is over. Raises Forbidden."""
        admin_only(principal)
        if principal.session is not None:
            raise Forbidden("a link is made with an API key: what is signed in with one does not outlast its own time")
        entry = audit(principal, "session.link_created", format_id(KEY, principal.key_id))
        made = await self._link(principal.key_id, entry)
        if made is None:
            raise Unauthorised("this API key was revoked")
        return made

    async def first_link(self) -> str | None:
        """The code of a link for whoever starts the server; it stands for the oldest key of an administrator. None: there is
        none such."""
        made = await self._link(None, Audit(SYSTEM, "session.link_created", "console"))
        return None if made is None else made[0]

    async def _link(self, key_id: bytes | None, entry: Audit) -> tuple[str, float] | None:
        link, code = self._new(self._link_seconds)
        made = await self._store.create_link(
            link,
            link_hash(code, "console"),
            key_id,
            now=self._clock.now(),
            links_max=self._links_max,
            audit=entry,
        )
        return (code, link.expires_at) if made else None


def _began(principal: Principal, by: By) -> Audit:
    return audit(principal, "session.created", format_id(SESSION, signed_in(principal).id), by=by)
