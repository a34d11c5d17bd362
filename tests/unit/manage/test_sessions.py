"""Signing in to the console: what is told, what is kept, and who is not let in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from posthouse.domain.access import Principal, Scope, Session
from posthouse.domain.errors import Forbidden, NotFound, Unauthorised
from posthouse.domain.ids import AppId
from posthouse.domain.limits import KEY_CACHED_SECONDS, LINK_SECONDS, SESSION_SECONDS
from posthouse.manage.authenticator import Authenticator, key_hash, link_hash, session_hash
from posthouse.manage.sessions import Sessions
from posthouse.manage.signing_in import sign_in_url, signed_in
from posthouse.ports.directory import Audit

ADMIN = Principal(b"k" * 16, Scope.ADMIN, name="ci")
OF_AN_APP = Principal(b"a" * 16, Scope.APP, AppId(b"a" * 16))
PUBLISHER = Principal(b"p" * 16, Scope.PUBLISH)
NOW = 1_000_000.0


class Clock:
    def __init__(self) -> None:
        self.at = 0.0
        self.ids = 0

    def now(self) -> float:
        return NOW + self.at

    def boot(self) -> float:
        return self.at

    def new_id(self) -> bytes:
        self.ids += 1
        return self.ids.to_bytes(16, "big")


class Stored:
    """Keeps sessions and links; `works` is whether the administrator's key does."""

    def __init__(self) -> None:
        self.works = True
        self.sessions: dict[bytes, Session] = {}
        self.links: dict[bytes, Session] = {}
        self.audit: list[Audit] = []
        self.asked = 0

    async def principal(self, hashed: bytes) -> Principal | None:
        return {key_hash("admin"): ADMIN, key_hash("app"): OF_AN_APP, key_hash("publisher"): PUBLISHER}.get(hashed)

    async def session(self, hashed: bytes, *, now: float) -> Principal | None:
        self.asked += 1
        found = self.sessions.get(hashed)
        if found is None or found.expires_at <= now or not self.works:
            return None
        return Principal(ADMIN.key_id, Scope.ADMIN, None, ADMIN.name, found)

    async def begin_session(
        self, session: Session, hashed: bytes, key_id: bytes, *, audit: Callable[[Principal], Audit], **_: Any
    ) -> Principal | None:
        if not self.works:
            return None
        assert key_id == ADMIN.key_id
        self.sessions[hashed] = session
        principal = Principal(key_id, Scope.ADMIN, None, ADMIN.name, session)
        self.audit.append(audit(principal))
        return principal

    async def begin_session_by_link(
        self, session: Session, hashed: bytes, link: bytes, *, now: float, **more: Any
    ) -> Principal | None:
        found = self.links.pop(link, None)
        if found is None or found.expires_at <= now:
            return None
        return await self.begin_session(session, hashed, ADMIN.key_id, now=now, **more)

    async def end_session(self, session_id: bytes, audit: Audit) -> None:
        self.sessions = {key: one for key, one in self.sessions.items() if one.id != session_id}
        self.audit.append(audit)

    async def create_link(self, link: Session, hashed: bytes, key_id: bytes | None, *, audit: Audit, **_: Any) -> bool:
        if not self.works:
            return False
        self.links[hashed] = link
        self.audit.append(audit)
        return True


@pytest.fixture
def stored() -> Stored:
    return Stored()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authenticator(stored: Stored, clock: Clock) -> Authenticator:
    directory: Any = stored
    time: Any = clock
    return Authenticator(directory, time)


@pytest.fixture
def sessions(stored: Stored, clock: Clock, authenticator: Authenticator) -> Sessions:
    store: Any = stored
    time: Any = clock
    return Sessions(store, time, authenticator)


async def test_what_the_browser_keeps_is_told_once_and_only_its_hash_is_kept(
    sessions: Sessions, stored: Stored
) -> None:
    principal, token = await sessions.sign_in("admin", client="127.0.0.1")
    assert (principal.key_id, principal.name, principal.admin) == (ADMIN.key_id, "ci", True)
    assert signed_in(principal).expires_at == NOW + SESSION_SECONDS
    assert len(token) == 43, "256 bits"
    assert list(stored.sessions) == [session_hash(token, "console")]
    others = key_hash(token), link_hash(token, "console"), session_hash(token, "portal"), link_hash(token, "portal")
    assert len({session_hash(token, "console"), *others}) == 5, "none is ever taken for another"
    _, second = await sessions.sign_in("admin", client="127.0.0.1")
    assert second != token
    assert [(entry.action, entry.detail) for entry in stored.audit] == [("session.created", {"by": "key"})] * 2
    assert token not in str(stored.audit)


async def test_who_is_not_let_in(sessions: Sessions, stored: Stored) -> None:
    with pytest.raises(Unauthorised):
        await sessions.sign_in("unknown", client="")
    with pytest.raises(Forbidden, match="belongs to one app") as refused:
        await sessions.sign_in("app", client="")
    assert refused.value.code == "not_for_apps"
    with pytest.raises(Forbidden, match="may publish events, and nothing else"):
        await sessions.sign_in("publisher", client="")
    for code in ("", "short", "x" * 43, "x" * 42 + "é", "x" * 44):
        with pytest.raises(Unauthorised):
            await sessions.sign_in_by_link(code, client="")
    stored.works = False
    with pytest.raises(Unauthorised):
        await sessions.sign_in("admin", client="")
    assert sessions.failures == 9
    assert (stored.sessions, stored.audit) == ({}, [])


async def test_failures_are_told_once_a_second_and_tell_no_secret(sessions: Sessions, clock: Clock) -> None:
    with capture_logs() as told:
        for _ in range(5):
            with pytest.raises(Unauthorised):
                await sessions.sign_in("s3cr3t", client="192.0.2.7")
        clock.at += 1.0
        with pytest.raises(Unauthorised):
            await sessions.sign_in_by_link("s3cr3t", client="192.0.2.7")
    assert [(line["event"], line["by"], line["failures"], line["client"]) for line in told] == [
        ("session.refused", "key", 1, "192.0.2.7"),
        ("session.refused", "link", 5, "192.0.2.7"),
    ]
    assert "s3cr3t" not in str(told)


async def test_a_link_works_once_and_for_a_day(sessions: Sessions, clock: Clock, stored: Stored) -> None:
    code, expires_at = await sessions.create_link(ADMIN)
    assert expires_at == NOW + LINK_SECONDS
    assert sign_in_url("https://hooks.example.com", "console", code) == f"https://hooks.example.com/#/in?code={code}"
    principal, _ = await sessions.sign_in_by_link(code, client="")
    assert principal.key_id == ADMIN.key_id
    with pytest.raises(Unauthorised, match="used already"):
        await sessions.sign_in_by_link(code, client="")
    code, _ = await sessions.create_link(ADMIN)
    clock.at += LINK_SECONDS
    with pytest.raises(Unauthorised):
        await sessions.sign_in_by_link(code, client="")
    assert code not in str(stored.audit)


async def test_only_an_administrators_key_makes_links(sessions: Sessions, stored: Stored) -> None:
    principal, _ = await sessions.sign_in("admin", client="")
    for asking in (OF_AN_APP, principal):
        with pytest.raises(Forbidden):
            await sessions.create_link(asking)
    stored.works = False
    with pytest.raises(Unauthorised):
        await sessions.create_link(ADMIN)
    assert await sessions.first_link() is None
    stored.works = True
    code = await sessions.first_link()
    assert code is not None
    assert (stored.audit[-1].actor, stored.audit[-1].action) == ("system", "session.link_created")
    await sessions.sign_in_by_link(code, client="")


async def test_a_session_is_looked_up_once_and_not_believed_past_its_end(
    sessions: Sessions, authenticator: Authenticator, clock: Clock, stored: Stored
) -> None:
    principal, token = await sessions.sign_in("admin", client="")
    for _ in range(3):
        assert await authenticator.authenticate_session(token, "console") == principal
    assert stored.asked == 1
    clock.at += KEY_CACHED_SECONDS
    await authenticator.authenticate_session(token, "console")
    assert stored.asked == 2
    clock.at = SESSION_SECONDS - 1.0
    await authenticator.authenticate_session(token, "console")
    clock.at = SESSION_SECONDS
    with pytest.raises(Unauthorised, match="sign in again"):
        await authenticator.authenticate_session(token, "console")
    assert stored.asked == 4, "the cache did not hold it for longer than it lasts"
    with pytest.raises(Unauthorised):
        await authenticator.authenticate(token)


async def test_signing_out_ends_it_at_once(sessions: Sessions, authenticator: Authenticator, stored: Stored) -> None:
    principal, token = await sessions.sign_in("admin", client="")
    _, other = await sessions.sign_in("admin", client="")
    await authenticator.authenticate_session(token, "console")
    await sessions.sign_out(principal)
    with pytest.raises(Unauthorised):
        await authenticator.authenticate_session(token, "console")
    await authenticator.authenticate_session(other, "console")
    assert (stored.audit[-1].action, stored.audit[-1].object[:4]) == ("session.ended", "ses_")
    with pytest.raises(NotFound):
        await sessions.sign_out(ADMIN)
