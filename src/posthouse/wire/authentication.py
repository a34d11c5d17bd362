"""From an endpoint's `auth` to what goes into its requests. Pure.

Sources: RFC 6750 section 2.1, RFC 7617 section 2, RFC 6749 sections 2.3.1, 4.4.2 and 5.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, assert_never
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

import msgspec

from posthouse import __version__
from posthouse.domain.authentication import ApiKeyAuth, Auth, BasicAuth, BearerAuth, ClientStyle, KeyPlace, OAuth2Auth
from posthouse.domain.egress import Egress
from posthouse.domain.endpoint import Timeouts
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Request, Target
from posthouse.domain.limits import HEADER_BYTES_MAX, NAME_LENGTH_MAX, OAUTH2_PARAMS_MAX, TEXT_LENGTH_MAX
from posthouse.wire.egress import compile_egress
from posthouse.wire.headers import check_headers
from posthouse.wire.keys import Keys, live_texts
from posthouse.wire.message import Message
from posthouse.wire.signing.fields import pointer, put_field
from posthouse.wire.target import parse_target

AUTHORIZATION: Final = "Authorization"
DEFAULT_TIMEOUTS: Final = Timeouts()
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_FORM: Final = "application/x-www-form-urlencoded"
# Of the form, besides the extensions that `params` are for.
_OURS: Final = frozenset({"grant_type", "client_id", "client_secret", "scope", "audience"})


class Credentials:
    """What shows who sends: headers, query parameters and fields of the body (by the steps that lead there), the same in every
    request. A step of making a message, too; one with fields comes before the body is encrypted."""

    __slots__ = ("fields", "headers", "query")

    def __init__(
        self,
        *,
        headers: Sequence[tuple[str, str]] = (),
        query: Sequence[tuple[str, str]] = (),
        fields: Sequence[tuple[tuple[str, ...], str]] = (),
    ) -> None:
        self.headers: Final = tuple(headers)
        self.query: Final = tuple(query)
        self.fields: Final = tuple(fields)

    def apply(self, message: Message) -> None:
        """Raises: Unsendable where the body has no place for a field."""
        message.headers += self.headers
        message.query += self.query
        for steps, value in self.fields:
            put_field(message.document, steps, value)

    def on(self, target: Target) -> Target:
        """The target with these parameters after its own query. Raises: Invalid where its query has one of them already."""
        if not self.query:
            return target
        _, asked, own = target.path.partition("?")
        taken = {name for name, _ in parse_qsl(own, keep_blank_values=True)}
        if any(name in taken for name, _ in self.query):
            raise Invalid("the URL has a query parameter of this name already", path="auth.name")
        added = urlencode(self.query, quote_via=quote)
        joint = "&" if own else "" if asked else "?"
        return msgspec.structs.replace(target, path=f"{target.path}{joint}{added}")


class TokenGrant(msgspec.Struct, frozen=True):
    """The request that brings a token, made once. Who has the same `identity` (a digest of all of it and of the app) may share
    the token."""

    identity: str
    request: Request

    def __repr__(self) -> str:
        return f"TokenGrant(identity={self.identity!r}, target={self.request.target!r})"


def with_token(token: str) -> Credentials:
    """What goes into a request that a token authorises."""
    return Credentials(headers=[(AUTHORIZATION, f"Bearer {token}")])


def compile_authentication(
    auth: Auth | None,
    keys: Keys,
    *,
    app: bytes,
    headers: Sequence[tuple[str, str]] = (),
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    egress: Egress | None = None,
) -> Credentials | TokenGrant | None:
    """What an endpoint's requests are authenticated with; the newest of the key's texts counts.

    `headers` are the endpoint's own, none of which may be the same. A token is asked for within these `timeouts`, over the
    proxy and from the source address of `egress`.

    Raises: Invalid, with the path of the field; never with anything of a key.
    """
    match auth:
        case None:
            return None
        case BearerAuth():
            made = with_token(_visible(_key(auth.key, keys), "auth.key"))
        case BasicAuth():
            made = _basic(auth, keys)
        case ApiKeyAuth():
            made = _api_key(auth, keys)
        case OAuth2Auth():
            _check_free([AUTHORIZATION], headers)
            return _grant(auth, keys, app=app, timeouts=timeouts, egress=egress)
        case _:
            assert_never(auth)
    _check_free([name for name, _ in made.headers], headers)
    return made


def _check_free(names: Sequence[str], headers: Sequence[tuple[str, str]]) -> None:
    for name, _ in headers:
        if name.lower() in [each.lower() for each in names]:
            raise Invalid("auth sets this header: leave it out here", path=f"headers.{name}")


def _key(name: str, keys: Keys) -> str:
    text = live_texts(keys, name, "auth.key")[0]
    if len(text.encode()) > HEADER_BYTES_MAX:
        raise Invalid(f"the key has more than {HEADER_BYTES_MAX} bytes", path="auth.key")
    return text


def _visible(text: str, path: str) -> str:
    if not _VISIBLE.fullmatch(text):
        raise Invalid(
            "the key holds a space, a line break or another character that a token cannot have (visible ASCII only)",
            path=path,
        )
    return text


def _plain(text: str, path: str, *, empty: bool = False, length_max: int = TEXT_LENGTH_MAX) -> str:
    """A text of the configuration itself."""
    if not text.isprintable() or len(text) > length_max or not (text or empty):
        raise Invalid(f"must be {0 if empty else 1} to {length_max} characters without control characters", path=path)
    return text


def _basic(auth: BasicAuth, keys: Keys) -> Credentials:
    username = _plain(auth.username, "auth.username", empty=True)
    if ":" in username:
        raise Invalid("a user's name has no colon (RFC 7617)", path="auth.username")
    password = _key(auth.key, keys)
    if not password.isprintable():
        raise Invalid("the key holds a line break or another control character", path="auth.key")
    return Credentials(headers=[(AUTHORIZATION, basic(username, password))])


def basic(username: str, password: str) -> str:
    """The value of `Authorization` or `Proxy-Authorization`."""
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode('ascii')}"


def _api_key(auth: ApiKeyAuth, keys: Keys) -> Credentials:
    value = _plain(auth.prefix, "auth.prefix", empty=True) + _key(auth.key, keys)
    if auth.place is KeyPlace.QUERY:
        if not value.isprintable():
            raise Invalid("the key holds a line break or another control character", path="auth.key")
        return Credentials(query=[(_plain(auth.name, "auth.name", length_max=NAME_LENGTH_MAX), value)])
    if auth.place is KeyPlace.FIELD:
        name = _plain(auth.name, "auth.name", length_max=NAME_LENGTH_MAX)
        return Credentials(fields=[(pointer(name, "auth.name") or (name,), value)])
    try:
        check_headers([(auth.name, "")])
    except Invalid as error:
        raise Invalid(str(error), path="auth.name") from None
    try:
        check_headers([(auth.name, value)])
    except Invalid:
        raise Invalid(
            f"prefix and key together are no value of a header: Latin-1 without line breaks, no space at an end, at most "
            f"{HEADER_BYTES_MAX} bytes",
            path="auth.key",
        ) from None
    return Credentials(headers=[(auth.name, value)])


def _grant(auth: OAuth2Auth, keys: Keys, *, app: bytes, timeouts: Timeouts, egress: Egress | None) -> TokenGrant:
    target = parse_target(auth.token_url, path="auth.token_url")
    if auth.tls is not None and target.scheme != "https":
        raise Invalid("TLS settings need an https URL, which the token_url is not", path="auth.tls")
    client_id, secret = _plain(auth.client_id, "auth.client_id"), _key(auth.key, keys)
    if not secret.isprintable():
        raise Invalid("the key holds a line break or another control character", path="auth.key")
    form = {"grant_type": "client_credentials"}
    for name in ("scope", "audience"):
        if value := _plain(getattr(auth, name), f"auth.{name}", empty=True):
            form[name] = value
    form |= _params(auth.params)
    lines = [
        f"POST {target.path} HTTP/1.1",
        f"Host: {target.authority}",
        f"User-Agent: Posthouse/{__version__}",
        "Accept: application/json",
        "Accept-Encoding: identity",
    ]
    if auth.style is ClientStyle.BASIC:
        lines.append(f"{AUTHORIZATION}: {basic(quote_plus(client_id), quote_plus(secret))}")
    else:
        form |= {"client_id": client_id, "client_secret": secret}
    body = urlencode(form).encode("ascii")
    lines += [f"Content-Type: {_FORM}", f"Content-Length: {len(body)}", "", ""]
    own = compile_egress(
        auth.tls,
        keys,
        app=app,
        proxy="" if egress is None else egress.proxy,
        source_address="" if egress is None else egress.source_address,
        path="auth.tls",
    )
    if own is not None and egress is not None and egress.proxy_credentials:
        identity = sha256(f"{own.identity} {egress.identity}".encode()).hexdigest()
        own = msgspec.structs.replace(own, identity=identity, proxy_credentials=egress.proxy_credentials)
    head = "\r\n".join(lines).encode("latin-1")
    told = b"\0".join([app, auth.token_url.encode(), head, body, b"" if own is None else own.identity.encode()])
    return TokenGrant(sha256(told).hexdigest(), Request(target, head, body, timeouts, own))


def _params(params: dict[str, str]) -> dict[str, str]:
    if len(params) > OAUTH2_PARAMS_MAX:
        raise Invalid(f"there are at most {OAUTH2_PARAMS_MAX} parameters", path="auth.params")
    for name, value in params.items():
        shown = name[:NAME_LENGTH_MAX].encode("unicode_escape").decode("ascii")
        if name in _OURS:
            raise Invalid("this parameter has a field of its own, or is Posthouse's", path=f"auth.params.{shown}")
        _plain(name, f"auth.params.{shown}", length_max=NAME_LENGTH_MAX)
        _plain(value, f"auth.params.{shown}", empty=True)
    return params
