"""What authenticates a request, compiled: the exact bytes, and what is refused with the field's path and nothing of a key."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.fakes import EPOCH, an_endpoint, an_event

from posthouse.domain.authentication import ApiKeyAuth, Auth, BasicAuth, BearerAuth, ClientStyle, KeyPlace, OAuth2Auth
from posthouse.domain.egress import Egress, Tls, TlsVersion
from posthouse.domain.encryption import Derivation, Envelope
from posthouse.domain.endpoint import Batch, Format
from posthouse.domain.errors import Invalid
from posthouse.domain.formats import FormFormat
from posthouse.domain.named_keys import NamedKeys
from posthouse.wire.authentication import Credentials, TokenGrant, compile_authentication
from posthouse.wire.egress import compile_egress
from posthouse.wire.renderer import renderer_of
from posthouse_sdk import Decryption

APP = b"a" * 16
TOKEN_URL = "https://login.example.com/oauth2/token"


def compiled(auth: Auth, text: str = "s3cr3t", **options: Any) -> Credentials | TokenGrant:
    made = compile_authentication(auth, {"target": [text, "an old one"]}, app=APP, **options)
    assert made is not None
    return made


def oauth2(**fields: Any) -> OAuth2Auth:
    return OAuth2Auth(**{"token_url": TOKEN_URL, "client_id": "posthouse", "key": "target"} | fields)


def sent(auth: Auth, url: str = "https://example.com/hook", **fields: Any) -> bytes:
    """The head of a request to an endpoint so authenticated."""
    endpoint = an_endpoint(url=url, auth=auth, keys=NamedKeys({"target": ("s3cr3t",)}), **fields)
    return renderer_of(endpoint, random=bytes).render(an_event(), now=EPOCH, replay=False).head


@pytest.mark.parametrize(
    ("auth", "line"),
    [
        (BearerAuth(key="target"), b"Authorization: Bearer s3cr3t\r\n"),
        (BasicAuth(username="shop", key="target"), b"Authorization: Basic c2hvcDpzM2NyM3Q=\r\n"),
        (BasicAuth(username="", key="target"), b"Authorization: Basic OnMzY3IzdA==\r\n"),
        (ApiKeyAuth(name="X-API-Key", key="target"), b"X-API-Key: s3cr3t\r\n"),
        (ApiKeyAuth(name="Authorization", key="target", prefix="Token "), b"Authorization: Token s3cr3t\r\n"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])  # a plain endpoint, and one that is not
def test_headers(auth: Auth, line: bytes, method: str) -> None:
    head = sent(auth, method=msgspec.convert(method, type(an_endpoint().method)))
    assert head.startswith(f"{method} /hook HTTP/1.1\r\n".encode())
    assert head.count(line) == 1
    assert head.count(b"s3cr3t") + head.count(b"Basic") == 1


def test_a_key_in_a_field_of_the_body() -> None:
    def body(name: str, **fields: Any) -> Any:
        auth = ApiKeyAuth(name=name, key="target", place=KeyPlace.FIELD)
        endpoint = an_endpoint(auth=auth, keys=NamedKeys({"target": ("s3cr3t",)}), **fields)
        return renderer_of(endpoint, random=bytes).render(an_event(), now=EPOCH, replay=False).body

    assert msgspec.json.decode(body("token")).items() >= {"type": "order.created", "token": "s3cr3t"}.items()
    assert msgspec.json.decode(body("/token/of/mine"))["token"] == {"of": {"mine": "s3cr3t"}}
    assert body("token", format=FormFormat(body={"a": "b"})) == b"a=b&token=s3cr3t"
    encryption = Envelope(key="target", derive=Derivation.SHA256)
    sealed = body("token", encryption=encryption)
    assert b"s3cr3t" not in sealed
    opened = Decryption(msgspec.to_builtins(encryption), ["s3cr3t"])(sealed, {"Content-Type": "application/json"})
    assert msgspec.json.decode(opened.body)["token"] == "s3cr3t"
    with pytest.raises(Invalid, match="the body has no fields") as caught:
        body("token", batch=Batch())
    assert caught.value.path == "auth"
    with pytest.raises(Invalid) as caught:
        body("//", format=Format.JSON)
    assert caught.value.path == "auth.name"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com/hook", b"/hook?api%20key=%26s3cr3t"),
        ("https://example.com/hook?", b"/hook?api%20key=%26s3cr3t"),
        ("https://example.com/hook?a=1", b"/hook?a=1&api%20key=%26s3cr3t"),
    ],
)
def test_a_key_in_the_query(url: str, target: bytes) -> None:
    auth = ApiKeyAuth(name="api key", key="target", place=KeyPlace.QUERY, prefix="&")
    assert sent(auth, url).startswith(b"POST %b HTTP/1.1\r\n" % target)


def test_a_parameter_that_the_url_has_already() -> None:
    auth = ApiKeyAuth(name="key", key="target", place=KeyPlace.QUERY)
    with pytest.raises(Invalid, match="the URL has a query parameter of this name already") as refused:
        sent(auth, "https://example.com/hook?a=1&k%65y=2")
    assert refused.value.path == "auth.name"


@pytest.mark.parametrize(
    ("auth", "path"),
    [
        (BearerAuth(key="nobody"), "auth.key"),
        (BasicAuth(username="a:b", key="target"), "auth.username"),
        (BasicAuth(username="a\nb", key="target"), "auth.username"),
        (ApiKeyAuth(name="X Key", key="target"), "auth.name"),
        (ApiKeyAuth(name="Host", key="target"), "auth.name"),
        (ApiKeyAuth(name="webhook-id", key="target"), "auth.name"),
        (ApiKeyAuth(name="", key="target"), "auth.name"),
        (ApiKeyAuth(name="", key="target", place=KeyPlace.QUERY), "auth.name"),
        (ApiKeyAuth(name="X-Key", key="target", prefix="a\r\nb"), "auth.prefix"),
        (ApiKeyAuth(name="X-Key", key="target", prefix="百"), "auth.key"),
        (oauth2(token_url="ftp://example.com/"), "auth.token_url"),
        (oauth2(client_id=""), "auth.client_id"),
        (oauth2(scope="a\r\nb"), "auth.scope"),
        (oauth2(key="nobody"), "auth.key"),
        (oauth2(params={"client_secret": "x"}), "auth.params.client_secret"),
        (oauth2(params={"resource": "a\0b"}), "auth.params.resource"),
        (oauth2(params={str(n): "" for n in range(17)}), "auth.params"),
        (oauth2(token_url="http://login.example.com/", tls=Tls(minimum_version=TlsVersion.TLS_1_3)), "auth.tls"),
        (oauth2(tls=Tls(client_key="target")), "auth.tls.client_certificate"),
    ],
)
def test_what_is_refused(auth: Auth, path: str) -> None:
    with pytest.raises(Invalid) as refused:
        compiled(auth)
    assert refused.value.path == path
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("text", ["s3cr3t\r\nX-Evil: 1", "s3cr3t\n", "s3cr3t\0", "s3cr3t\u2028", "s" * 4_097])
@pytest.mark.parametrize(
    "auth",
    [
        BearerAuth(key="target"),
        BasicAuth(username="shop", key="target"),
        ApiKeyAuth(name="X-Key", key="target"),
        ApiKeyAuth(name="key", key="target", place=KeyPlace.QUERY),
        oauth2(),
        oauth2(style=ClientStyle.BODY),
    ],
)
def test_keys_that_must_not_get_into_a_request(auth: Auth, text: str) -> None:
    with pytest.raises(Invalid) as refused:
        compiled(auth, text)
    assert refused.value.path == "auth.key"
    assert text.strip()[:6] not in str(refused.value)


@pytest.mark.parametrize("auth", [BearerAuth(key="target"), oauth2()])
def test_a_header_of_the_endpoints_own_that_auth_sets(auth: Auth) -> None:
    with pytest.raises(Invalid, match="auth sets this header") as refused:
        compiled(auth, headers=[("X-Shop", "1"), ("authorization", "mine")])
    assert refused.value.path == "headers.authorization"
    compiled(ApiKeyAuth(name="X-Key", key="target"), headers=[("authorization", "mine")])


# OAuth 2


def grant(auth: OAuth2Auth, text: str = "s3cr3t", **options: Any) -> TokenGrant:
    made = compiled(auth, text, **options)
    assert isinstance(made, TokenGrant)
    return made


def test_the_request_for_a_token() -> None:
    made = grant(oauth2(scope="hooks write", audience="https://api.example.com", params={"resource": "a&b"})).request
    assert made.head.startswith(b"POST /oauth2/token HTTP/1.1\r\nHost: login.example.com\r\n")
    assert b"Authorization: Basic cG9zdGhvdXNlOnMzY3IzdA==\r\n" in made.head
    assert b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 101\r\n\r\n" in made.head
    assert made.body == (
        b"grant_type=client_credentials&scope=hooks+write&audience=https%3A%2F%2Fapi.example.com&resource=a%26b"
    )
    assert made.egress is None


def test_client_credentials_in_the_form() -> None:
    made = grant(oauth2(style=ClientStyle.BODY)).request
    assert b"Authorization" not in made.head
    assert made.body == b"grant_type=client_credentials&client_id=posthouse&client_secret=s3cr3t"


def test_credentials_in_the_header_are_form_encoded_first() -> None:
    made = grant(oauth2(client_id="a:b c"), "p%:ß").request
    assert b"Authorization: Basic YSUzQWIrYzpwJTI1JTNBJUMzJTlG\r\n" in made.head  # a%3Ab+c:p%25%3A%C3%9F


def test_who_shares_a_token() -> None:
    first = grant(oauth2()).identity
    assert grant(oauth2()).identity == first
    others = [
        grant(oauth2(), "another key"),
        grant(oauth2(scope="x")),
        grant(oauth2(style=ClientStyle.BODY)),
        grant(oauth2(tls=Tls(minimum_version=TlsVersion.TLS_1_3))),
        grant(oauth2(token_url="http://login.example.com/oauth2/token")),
        compile_authentication(oauth2(), {"target": ["s3cr3t"]}, app=b"b" * 16),
    ]
    identities = {other.identity for other in others if isinstance(other, TokenGrant)}
    assert len(identities) == 6
    assert first not in identities


def test_a_token_is_asked_for_the_way_the_endpoint_goes() -> None:
    keys = {"target": ["s3cr3t"], "account": ["shop:pass"]}
    way = compile_egress(
        Tls(minimum_version=TlsVersion.TLS_1_3),
        keys,
        app=APP,
        proxy="eu",
        proxy_key="account",
        source_address="192.0.2.7",
    )
    made = compile_authentication(oauth2(), keys, app=APP, egress=way)
    assert isinstance(made, TokenGrant)
    own = made.request.egress
    assert isinstance(own, Egress)
    assert (own.proxy, own.proxy_credentials, own.source_address) == ("eu", "shop:pass", "192.0.2.7")
    assert own.minimum_version is TlsVersion.TLS_1_2, "TLS to the token endpoint is its own"


def test_no_secret_in_what_is_printed() -> None:
    made = grant(oauth2(style=ClientStyle.BODY))
    assert "s3cr3t" not in repr(made)
    assert "posthouse" not in repr(made)
