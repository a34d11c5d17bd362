"""What a request says of who sends it: an API key, or the cookie of somebody who signed in to the console.

A browser sends a cookie with whatever any page makes it send. So it counts only beside a header that no page of another origin
can add (a request with it is asked for first, by CORS, and this server never allows it), and where the browser says which page
asks, only for our own. An `Authorization` header is never a browser's own doing: where there is one, it alone decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from posthouse.domain.access import Principal
from posthouse.domain.errors import Unauthorised
from posthouse.manage.sessions import TOKEN_LENGTH

CONSOLE_HEADER: Final = "x-posthouse-console"
COOKIE_PREFIX: Final = "posthouse-"
SECURITY: Final[Sequence[dict[str, list[str]]]] = ({"apiKey": []}, {"session": [], "console": []})
"""The two ways, as the OpenAPI document names them."""
_CONSOLE: Final = CONSOLE_HEADER.encode()
_TOKEN: Final = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}")
_OUR_OWN: Final = (None, b"same-origin", b"none")


class Authenticator(Protocol):
    async def authenticate(self, token: str) -> Principal: ...

    async def authenticate_session(self, token: str) -> Principal: ...


class Credential(NamedTuple):
    """The headers that say who asks. `console`: the request is of our own page."""

    authorization: bytes | None
    cookie: bytes | None
    console: bool
    origin: bytes | None


def credential_of(headers: Iterable[tuple[bytes, bytes]]) -> Credential:
    authorization = cookie = console = origin = site = None
    for name, value in headers:
        if name == b"authorization":
            authorization = value
        elif name == b"cookie":
            cookie = value if cookie is None else cookie + b"; " + value  # RFC 9113, section 8.2.3
        elif name == _CONSOLE:
            console = value
        elif name == b"origin":
            origin = value
        elif name == b"sec-fetch-site":
            site = value
    return Credential(authorization, cookie, console == b"1" and site in _OUR_OWN, origin)


class SessionCookie:
    """The cookie that holds a session: out of reach of scripts, of other sites and, on HTTPS, of plain HTTP and other hosts.

    Cookies do not know ports, so its name is another one in each installation (`seed`). On HTTPS it has a prefix by which
    browsers see to it that it was set there, for this host alone (RFC 6265bis, section 4.1.3). `Origin` says how the browser
    reached us, whatever proxy is between; where it does not, the public URL does.
    """

    def __init__(self, seed: bytes, public_url: str) -> None:
        self.name = f"{COOKIE_PREFIX}{sha256(b'console cookie' + seed).hexdigest()[:12]}"
        self._origin = _origin(public_url)
        self._path = f"{urlsplit(public_url).path.rstrip('/')}/"
        self._names = (f"__Host-{self.name}", f"__Secure-{self.name}", self.name)

    def token(self, cookie: bytes) -> str | None:
        """The session in a `Cookie` header; None where there is none that could be one. Raises Unauthorised where there are
        two: one was set by somebody else."""
        found: dict[str, str] = {}
        for pair in cookie.decode("latin-1").split(";"):
            name, _, value = pair.strip().partition("=")
            if name in self._names and _TOKEN.fullmatch(value):
                if found.get(name, value) != value:
                    raise Unauthorised(
                        "there are two cookies of this name; delete this site's cookies, and sign in again"
                    )
                found[name] = value
        return next((found[name] for name in self._names if name in found), None)

    def keep(self, token: str, origin: bytes | None, *, seconds: float) -> str:
        """The value of a `Set-Cookie` header."""
        return self._set(token, origin, int(seconds))

    def drop(self, origin: bytes | None) -> str:
        return self._set("", origin, 0)

    def _set(self, value: str, origin: bytes | None, seconds: int) -> str:
        # A page may be told to keep its origin to itself, and says `null`.
        came_from = self._origin if origin in (None, b"null") else origin.decode("latin-1").lower()
        secure = came_from is not None and came_from.startswith("https://")
        path = self._path if came_from == self._origin else "/"
        name = self.name
        if secure:
            name = f"__Host-{name}" if path == "/" else f"__Secure-{name}"
        told = f"{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict"
        return f"{told}; Secure" if secure else told


def _origin(url: str) -> str | None:
    """As a browser writes it: lower case, without the scheme's own port."""
    if not url:
        return None
    parts = urlsplit(url.lower())
    usual = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.removesuffix(usual)}"


class Credentials:
    """Finds out who asks. Without a cookie nobody is ever signed in: there is no console."""

    def __init__(self, authenticator: Authenticator, cookie: SessionCookie | None) -> None:
        self._authenticator = authenticator
        self._cookie = cookie

    def given(self, credential: Credential) -> bool:
        """Whether the request says who asks, be it true or not."""
        return credential.authorization is not None or self._token(credential) is not None

    async def principal(self, credential: Credential) -> Principal:
        """Raises Unauthorised, StoreUnavailable."""
        if credential.authorization is None and credential.console and self._cookie is not None:
            token = self._token(credential)
            if token is None:
                raise Unauthorised(
                    "nobody is signed in here; sign in with an API key, or by a link of `posthouse open`"
                )
            return await self._authenticator.authenticate_session(token)
        scheme, _, key = (credential.authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise Unauthorised("send an API key: Authorization: Bearer <key>")
        return await self._authenticator.authenticate(key.strip().decode("latin-1"))

    def _token(self, credential: Credential) -> str | None:
        if self._cookie is None or credential.cookie is None or not credential.console:
            return None
        return self._cookie.token(credential.cookie)
