"""What a request says of who sends it: an API key, or the cookie of somebody who signed in to one of our pages.

A browser sends a cookie with whatever any page makes it send. So it counts only beside a header that no page of another origin
can add (a request with it is asked for first, by CORS, and this server never allows it), and where the browser says which page
asks, only for our own. The header says which page asks, and each has a cookie of its own: one browser may be signed in to both.
An `Authorization` header is never a browser's own doing: where there is one, it alone decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from posthouse.domain.access import Page, Principal
from posthouse.domain.errors import Unauthorised
from posthouse.manage.signing_in import is_token

PAGE_HEADERS: Final[Mapping[Page, str]] = {"console": "x-posthouse-console", "portal": "x-posthouse-portal"}
COOKIE_PREFIX: Final = "posthouse-"
SECURITY: Final[Sequence[dict[str, list[str]]]] = (
    {"apiKey": []},
    {"session": [], "console": []},
    {"session": [], "portal": []},
)
"""The ways, as the OpenAPI document names them."""
_PAGES: Final[Mapping[bytes, Page]] = {header.encode(): page for page, header in PAGE_HEADERS.items()}
_OUR_OWN: Final = (None, b"same-origin", b"none")


class Authenticator(Protocol):
    async def authenticate(self, token: str) -> Principal: ...

    async def authenticate_session(self, token: str, page: Page) -> Principal: ...


class Credential(NamedTuple):
    """The headers that say who asks. `page`: the request is of this page of ours."""

    authorization: bytes | None
    cookie: bytes | None
    page: Page | None
    origin: bytes | None


def credential_of(headers: Iterable[tuple[bytes, bytes]]) -> Credential:
    authorization = cookie = origin = site = None
    pages: list[Page] = []
    for name, value in headers:
        if name == b"authorization":
            authorization = value
        elif name == b"cookie":
            cookie = value if cookie is None else cookie + b"; " + value  # RFC 9113, section 8.2.3
        elif name in _PAGES and value == b"1":
            pages.append(_PAGES[name])
        elif name == b"origin":
            origin = value
        elif name == b"sec-fetch-site":
            site = value
    page = pages[0] if len(pages) == 1 and site in _OUR_OWN else None
    return Credential(authorization, cookie, page, origin)


class SessionCookie:
    """The cookie that holds a session: out of reach of scripts, of other sites and, on HTTPS, of plain HTTP and other hosts.

    Cookies do not know ports, so its name is another one in each installation (`seed`), and for each page. On HTTPS it has a
    prefix by which browsers see to it that it was set there, for this host alone (RFC 6265bis, section 4.1.3). `Origin` says
    how the browser reached us, whatever proxy is between; where it does not, the public URL does.
    """

    def __init__(self, seed: bytes, public_url: str, page: Page = "console") -> None:
        self.name = f"{COOKIE_PREFIX}{sha256(f'{page} cookie'.encode() + seed).hexdigest()[:12]}"
        self._origin = _origin(public_url)
        self._path = f"{urlsplit(public_url).path.rstrip('/')}/"
        self._names = (f"__Host-{self.name}", f"__Secure-{self.name}", self.name)

    def token(self, cookie: bytes) -> str | None:
        """The session in a `Cookie` header; None where there is none that could be one. Raises Unauthorised where there are
        two: one was set by somebody else."""
        found: dict[str, str] = {}
        for pair in cookie.decode("latin-1").split(";"):
            name, _, value = pair.strip().partition("=")
            if name in self._names and is_token(value):
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


_NOBODY: Final[Mapping[Page, str]] = {
    "console": "nobody is signed in here; sign in with an API key, or by a link of `posthouse open`",
    "portal": "nobody is signed in here; open the portal from where you found it",
}


class Credentials:
    """Finds out who asks. Nobody is ever signed in to a page without a cookie: it is switched off."""

    def __init__(self, authenticator: Authenticator, cookies: Mapping[Page, SessionCookie]) -> None:
        self._authenticator = authenticator
        self._cookies = cookies

    def given(self, credential: Credential) -> bool:
        """Whether the request says who asks, be it true or not."""
        return credential.authorization is not None or self._token(credential) is not None

    async def principal(self, credential: Credential) -> Principal:
        """Raises Unauthorised, StoreUnavailable."""
        page = credential.page
        if credential.authorization is None and page is not None and page in self._cookies:
            token = self._token(credential)
            if token is None:
                raise Unauthorised(_NOBODY[page])
            return await self._authenticator.authenticate_session(token, page)
        scheme, _, key = (credential.authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise Unauthorised("send an API key: Authorization: Bearer <key>")
        return await self._authenticator.authenticate(key.strip().decode("latin-1"))

    def _token(self, credential: Credential) -> str | None:
        cookie = None if credential.page is None else self._cookies.get(credential.page)
        if cookie is None or credential.cookie is None:
            return None
        return cookie.token(credential.cookie)
