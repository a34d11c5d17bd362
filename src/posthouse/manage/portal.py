"""The portal of an app: the page on which whoever built it looks after its endpoints, signed in by a link that works once."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from posthouse.domain.access import Principal
from posthouse.domain.errors import Forbidden, Unauthorised
from posthouse.domain.ids import APP, SESSION, format_id
from posthouse.domain.limits import PORTAL_LINKS_MAX, PORTAL_SESSIONS_MAX, SESSION_SECONDS
from posthouse.manage.access import audit, find_app, not_reserved
from posthouse.manage.authenticator import Authenticator, link_hash, session_hash
from posthouse.manage.signing_in import SignIns, is_token, signed_in
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Audit, Directory


class Portal(SignIns):
    """A session may do what a key of its app may, for SESSION_SECONDS, and makes no links. It ends with the key that its link
    was made with, an administrator's or the app's own, and with the app; the audit names that key, and that it was `through`
    the portal.
    """

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        authenticator: Authenticator,
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
        session_seconds: float = SESSION_SECONDS,
        sessions_max: int = PORTAL_SESSIONS_MAX,
        links_max: int = PORTAL_LINKS_MAX,
    ) -> None:
        super().__init__("portal", clock, random)
        self._directory = directory
        self._authenticator = authenticator
        self._session_seconds = session_seconds
        self._sessions_max = sessions_max
        self._links_max = links_max

    async def create_link(self, principal: Principal, app: str, *, seconds: float) -> tuple[str, float]:
        """The code of a new link, which is told this once, and when it is over (unix seconds) unless somebody uses it.

        Raises NotFound for an app that the principal does not see, Forbidden for somebody who is signed in to the portal and
        for the apps of Posthouse's own, Unauthorised.
        """
        found = await find_app(self._directory, principal, app)
        if principal.in_portal:
            raise Forbidden("a link is made with an API key: who is signed in to the portal cannot make one")
        not_reserved(found.id)
        link, code = self._new(seconds)
        made = await self._directory.create_portal_link(
            link,
            link_hash(code, "portal"),
            principal.key_id,
            found.id,
            now=self._clock.now(),
            links_max=self._links_max,
            audit=audit(principal, "portal.link_created", format_id(APP, found.id)),
        )
        if not made:
            raise Unauthorised("this API key was revoked, or the app deleted, just now")
        return code, link.expires_at

    async def sign_in(self, code: str, *, client: str) -> tuple[Principal, str]:
        """Who is signed in by a link's code, which is used up, and what the browser keeps. Raises Unauthorised."""
        session, token = self._new(self._session_seconds)
        principal = None
        if is_token(code):
            principal = await self._directory.begin_portal_session(
                session,
                session_hash(token, "portal"),
                link_hash(code, "portal"),
                now=self._clock.now(),
                sessions_max=self._sessions_max,
                audit=_began,
            )
        if principal is None:
            self._failed("link", Unauthorised.code, client)
            raise Unauthorised("this link was used already, or is over: open the portal again from where you found it")
        return principal, token

    async def sign_out(self, principal: Principal) -> None:
        """At once in this process, within seconds in others. Raises NotFound where nobody is signed in: a key was sent."""
        session = signed_in(principal)
        ended = audit(principal, "session.ended", format_id(SESSION, session.id))
        await self._directory.end_portal_session(session.id, ended)
        self._authenticator.forget()


def _began(principal: Principal) -> Audit:
    return audit(principal, "session.created", format_id(SESSION, signed_in(principal).id), by="link")
