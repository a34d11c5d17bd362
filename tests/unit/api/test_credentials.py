"""Who asks: a key, or a cookie that counts only where no other page can have sent it."""

from __future__ import annotations

import pytest

from posthouse.api.credentials import Credentials, SessionCookie, credential_of
from posthouse.domain.access import Page, Principal, Scope, Session
from posthouse.domain.errors import Unauthorised
from posthouse.domain.ids import AppId

TOKEN = "t" * 43
OTHER = "o" * 43
BY_KEY = Principal(b"k" * 16, Scope.ADMIN)
BY_SESSION = Principal(b"k" * 16, Scope.ADMIN, session=Session(b"s" * 16, 2e9))
IN_PORTAL = Principal(b"k" * 16, Scope.APP, AppId(b"a" * 16), session=Session(b"p" * 16, 2e9))


class Known:
    """Knows one key and one session."""

    async def authenticate(self, token: str) -> Principal:
        if token != "good":
            raise Unauthorised("not known")
        return BY_KEY

    async def authenticate_session(self, token: str, page: Page) -> Principal:
        if token != TOKEN:
            raise Unauthorised("over")
        return BY_SESSION if page == "console" else IN_PORTAL


@pytest.fixture
def cookie() -> SessionCookie:
    return SessionCookie(b"seed", "")


@pytest.fixture
def credentials(cookie: SessionCookie) -> Credentials:
    return Credentials(Known(), {"console": cookie})


async def who(credentials: Credentials, **headers: str) -> Principal | None:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    try:
        return await credentials.principal(credential_of(sent))
    except Unauthorised:
        return None


async def test_a_cookie_counts_beside_the_header_of_the_console(
    credentials: Credentials, cookie: SessionCookie
) -> None:
    sent = f"theirs=1; {cookie.name}={TOKEN}; more=x"
    assert await who(credentials, cookie=sent, x_posthouse_console="1") == BY_SESSION
    for headers in (
        {},
        {"x_posthouse_console": "0"},
        {"x_posthouse_console": ""},
        {"x_posthouse_console": "1, 1"},
        {"x_posthouse_console": "1", "sec_fetch_site": "cross-site"},
        {"x_posthouse_console": "1", "sec_fetch_site": "same-site"},  # another port of this host
    ):
        assert await who(credentials, cookie=sent, **headers) is None, headers
    assert await who(credentials, cookie=sent, x_posthouse_console="1", sec_fetch_site="same-origin") == BY_SESSION


async def test_an_authorization_header_alone_decides(credentials: Credentials, cookie: SessionCookie) -> None:
    sent = {"cookie": f"{cookie.name}={TOKEN}", "x_posthouse_console": "1"}
    assert await who(credentials, authorization="Bearer good", **sent) == BY_KEY
    for authorization in ("Bearer bad", "Basic Z29vZA==", "", "Bearer", f"Bearer {TOKEN}"):
        assert await who(credentials, authorization=authorization, **sent) is None, authorization


async def test_neither_is_taken_for_the_other(credentials: Credentials, cookie: SessionCookie) -> None:
    assert await who(credentials, cookie=f"{cookie.name}=good", x_posthouse_console="1") is None
    assert await who(credentials, authorization=f"Bearer {TOKEN}") is None


async def test_only_what_could_be_a_session_is_looked_up(credentials: Credentials, cookie: SessionCookie) -> None:
    for value in ("", "short", TOKEN + "t", TOKEN[:-1] + "=", TOKEN[:-1] + "\xe9", f'"{TOKEN}"'):
        sent = f"{cookie.name}={value}".encode("latin-1")
        assert cookie.token(sent) is None, value
    other = SessionCookie(b"another installation", "")
    assert other.name != cookie.name, "two servers on one host have one cookie jar"
    assert await who(credentials, cookie=f"{other.name}={TOKEN}", x_posthouse_console="1") is None


async def test_a_second_cookie_of_the_name_is_somebody_elses(credentials: Credentials, cookie: SessionCookie) -> None:
    twice = f"{cookie.name}={OTHER}; {cookie.name}={TOKEN}"
    assert await who(credentials, cookie=twice, x_posthouse_console="1") is None
    assert await who(credentials, cookie=f"{cookie.name}={TOKEN}; {cookie.name}={TOKEN}", x_posthouse_console="1")
    # What only HTTPS and this very host can have set goes before what anybody near could.
    assert cookie.token(f"{cookie.name}={OTHER}; __Host-{cookie.name}={TOKEN}".encode()) == TOKEN
    assert cookie.token(f"__Secure-{cookie.name}={OTHER}; __Host-{cookie.name}={TOKEN}".encode()) == TOKEN


async def test_a_cookie_header_that_comes_in_pieces_is_one(cookie: SessionCookie) -> None:
    pieces = [(b"cookie", b"a=b"), (b"x-posthouse-console", b"1"), (b"cookie", f"{cookie.name}={TOKEN}".encode())]
    assert await Credentials(Known(), {"console": cookie}).principal(credential_of(pieces)) == BY_SESSION


async def test_without_a_console_no_cookie_counts() -> None:
    name = SessionCookie(b"seed", "").name
    headers = {"cookie": f"{name}={TOKEN}", "x_posthouse_console": "1"}
    assert await who(Credentials(Known(), {}), **headers) is None


@pytest.mark.parametrize(
    ("public", "origin", "prefix", "path", "secure"),
    [
        ("", None, "", "/", False),
        ("", "http://127.0.0.1:8080", "", "/", False),
        ("", "https://hooks.example.com", "__Host-", "/", True),
        ("https://hooks.example.com", None, "__Host-", "/", True),
        ("https://hooks.example.com", "null", "__Host-", "/", True),
        ("https://hooks.example.com:443", "https://hooks.example.com", "__Host-", "/", True),
        ("https://Example.com/hooks", "https://example.com", "__Secure-", "/hooks/", True),
        ("http://example.com/hooks", "http://example.com", "", "/hooks/", False),
        # Not through the proxy: over an SSH tunnel, or on the machine itself.
        ("https://example.com/hooks", "http://127.0.0.1:8080", "", "/", False),
        ("https://example.com/hooks", "https://internal.example", "__Host-", "/", True),
    ],
)
def test_how_the_cookie_is_set(public: str, origin: str | None, prefix: str, path: str, secure: bool) -> None:
    cookie = SessionCookie(b"seed", public)
    sent = None if origin is None else origin.encode()
    pair, *flags = cookie.keep(TOKEN, sent, seconds=60.0).split("; ")
    assert pair == f"{prefix}{cookie.name}={TOKEN}"
    assert set(flags) == {f"Path={path}", "Max-Age=60", "HttpOnly", "SameSite=Strict"} | (
        {"Secure"} if secure else set()
    )
    assert cookie.token(pair.encode()) == TOKEN
    dropped, *flags = cookie.drop(sent).split("; ")
    assert dropped == f"{prefix}{cookie.name}="
    assert {f"Path={path}", "Max-Age=0"} <= set(flags), "a browser drops it only where it was set"


async def test_each_page_has_a_cookie_of_its_own(cookie: SessionCookie) -> None:
    portal = SessionCookie(b"seed", "", "portal")
    assert portal.name != cookie.name
    both = Credentials(Known(), {"console": cookie, "portal": portal})
    sent = f"{cookie.name}={TOKEN}; {portal.name}={TOKEN}"
    assert await who(both, cookie=sent, x_posthouse_console="1") == BY_SESSION
    assert await who(both, cookie=sent, x_posthouse_portal="1") == IN_PORTAL
    assert await who(both, cookie=f"{cookie.name}={TOKEN}", x_posthouse_portal="1") is None
    assert await who(both, cookie=f"{portal.name}={TOKEN}", x_posthouse_console="1") is None
    assert await who(both, cookie=sent, x_posthouse_console="1", x_posthouse_portal="1") is None, "of neither page"
    assert await who(Credentials(Known(), {"console": cookie}), cookie=sent, x_posthouse_portal="1") is None, (
        "it is off"
    )
