"""Signing in to the console: with an administrator's key, or by a link that works once. What is told to the browser is kept as
a hash, as keys are."""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Final, Literal

import structlog

from posthouse.domain.access import Principal, Session
from posthouse.domain.errors import Forbidden, NotFound, Unauthorised
from posthouse.domain.ids import KEY, SESSION, format_id
from posthouse.domain.limits import (
    LINK_SECONDS,
    LINKS_MAX,
    SESSION_SECONDS,
    SESSIONS_MAX,
    SIGN_IN_FAILURES_TOLD_SECONDS,
    SIGN_IN_TOKEN_BYTES,
)
from posthouse.manage.access import admin_only, audit
from posthouse.manage.authenticator import Authenticator, link_hash, session_hash
from posthouse.ports.clock import Clock
from posthouse.ports.directory import SYSTEM, Audit
from posthouse.ports.sessions import SessionStore

log = structlog.get_logger()

By = Literal["key", "link"]

NOT_FOR_APPS: Final = "not_for_apps"
TOKEN_LENGTH: Final = (SIGN_IN_TOKEN_BYTES * 8 + 5) // 6
_CODE: Final = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}")


class Sessions:
    """A session stands for the key that it came from, for SESSION_SECONDS: it may do what that key may, the audit names the
    key, and revoking the key ends it. It does not outlive that time by itself: no session makes links.

    `failures` counts those who were not let in.
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
        self._store = store
        self._clock = clock
        self._authenticator = authenticator
        self._random = random
        self._session_seconds = session_seconds
        self._link_seconds = link_seconds
        self._sessions_max = sessions_max
        self._links_max = links_max
        self.failures = 0
        self._told_at = float("-inf")
        self._untold = 0

    async def sign_in(self, key: str, *, client: str) -> tuple[Principal, str]:
        """Who is signed in by this key, and what the browser keeps. Raises Unauthorised, and Forbidden for an app's key."""
        try:
            holder = await self._authenticator.authenticate(key)
            if not holder.admin:
                raise Forbidden(
                    "this key belongs to one app, and the console is for the platform's operators: sign in with a key of scope "
                    "admin",
                    code=NOT_FOR_APPS,
                )
            session, token = self._new()
            principal = await self._store.begin_session(
                session,
                session_hash(token),
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
        session, token = self._new()
        principal = None
        if _CODE.fullmatch(code):
            principal = await self._store.begin_session_by_link(
                session,
                session_hash(token),
                link_hash(code),
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
        code = self._token()
        now = self._clock.now()
        link = Session(self._clock.new_id(), now + self._link_seconds)
        made = await self._store.create_link(
            link, link_hash(code), key_id, now=now, links_max=self._links_max, audit=entry
        )
        return (code, link.expires_at) if made else None

    def _new(self) -> tuple[Session, str]:
        return Session(self._clock.new_id(), self._clock.now() + self._session_seconds), self._token()

    def _token(self) -> str:
        return urlsafe_b64encode(self._random(SIGN_IN_TOKEN_BYTES)).decode("ascii").rstrip("=")

    def _failed(self, by: By, code: str, client: str) -> None:
        """Told once a second at most: whoever tries many shall not fill the log."""
        self.failures += 1
        self._untold += 1
        now = self._clock.boot()
        if now - self._told_at >= SIGN_IN_FAILURES_TOLD_SECONDS:
            log.warning("session.refused", by=by, code=code, client=client, failures=self._untold)
            self._told_at = now
            self._untold = 0


def sign_in_url(url: str, code: str) -> str:
    """The address of the console at `url` with a link's code: behind `#`, so that no server is told of it, and no log."""
    return f"{url}/#/in?code={code}"


def signed_in(principal: Principal) -> Session:
    """The session of whoever asks. Raises NotFound where there is none: a key was sent."""
    if principal.session is None:
        raise NotFound("this is an API key, which nobody signed in with here", code="session_not_found")
    return principal.session


def _began(principal: Principal, by: By) -> Audit:
    assert principal.session is not None
    return audit(principal, "session.created", format_id(SESSION, principal.session.id), by=by)
