"""What an endpoint says of how its requests are authenticated, and over which connections they go. Keys are named, not told."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import ConfigDict, Field

from posthouse.api.models.common import Answer, Body
from posthouse.domain.authentication import ApiKeyAuth, Auth, BasicAuth, BearerAuth, ClientStyle, KeyPlace, OAuth2Auth
from posthouse.domain.egress import Pin, PinOf, Tls, TlsVersion
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.limits import (
    CA_BYTES_MAX,
    CLIENT_CERTIFICATE_BYTES_MAX,
    NAME_LENGTH_MAX,
    OAUTH2_PARAMS_MAX,
    PINS_MAX,
    TEXT_LENGTH_MAX,
    URL_LENGTH_MAX,
)


def _text(most: int, description: str, *, examples: list[str] | None = None) -> Any:
    return Field(description=description, json_schema_extra={"maxLength": most}, examples=examples)


KeyName = Annotated[str, Field(description="The name of a key of this endpoint.", examples=["target"])]


class PinFields(Body):
    """What the target's own certificate must be."""

    of: Annotated[
        Literal["public_key", "certificate"],
        Field(description="What the digest is of; a public key survives a renewal. Default: public_key."),
    ] = "public_key"
    sha256: Annotated[str, Field(description="In base64 or hexadecimal.")]


class TlsFields(Body):
    """TLS to the target. Certificates are PEM."""

    client_certificate: Annotated[
        str, _text(CLIENT_CERTIFICATE_BYTES_MAX, "Shown to the target, with the intermediates that it needs.")
    ] = ""
    client_key: Annotated[str, Field(description="The name of the key that holds its private key, as PEM.")] = ""
    ca: Annotated[
        str, _text(CA_BYTES_MAX, "Authorities that are trusted, and no others then. Default: the system's.")
    ] = ""
    pins: Annotated[
        list[PinFields],
        Field(
            default_factory=list,
            description="One of them must be of the target's certificate, which is verified besides.",
            json_schema_extra={"maxItems": PINS_MAX},
        ),
    ]
    minimum_version: Annotated[Literal["1.2", "1.3"], Field(description="Default: 1.2.")] = "1.2"

    def tls(self) -> Tls:
        return Tls(
            client_certificate=self.client_certificate,
            client_key=self.client_key,
            ca=self.ca,
            pins=tuple(Pin(of=PinOf(pin.of), sha256=pin.sha256) for pin in self.pins),
            minimum_version=TlsVersion(self.minimum_version),
        )


class BearerBody(Body):
    """`Authorization: Bearer <key>`."""

    kind: Literal["bearer"]
    key: KeyName

    def auth(self) -> Auth:
        return BearerAuth(key=self.key)


class BasicBody(Body):
    """`Authorization: Basic …`: the key is the password."""

    kind: Literal["basic"]
    username: Annotated[str, _text(TEXT_LENGTH_MAX, "Without a colon.")]
    key: KeyName

    def auth(self) -> Auth:
        return BasicAuth(username=self.username, key=self.key)


class ApiKeyBody(Body):
    """The key in a header, a query parameter or a field of the body."""

    model_config = ConfigDict(extra="forbid", strict=True, validate_by_name=True, validate_by_alias=True)

    kind: Literal["api_key"]
    key: KeyName
    name: Annotated[
        str,
        _text(
            NAME_LENGTH_MAX,
            "Of the header, parameter or field; a field deep in JSON is a JSON pointer.",
            examples=["X-API-Key"],
        ),
    ]
    place: Annotated[Literal["header", "query", "field"], Field(alias="in", description="Default: header.")] = "header"
    prefix: Annotated[str, _text(TEXT_LENGTH_MAX, "Before the key, with its space.", examples=["Token "])] = ""

    def auth(self) -> Auth:
        return ApiKeyAuth(key=self.key, name=self.name, place=KeyPlace(self.place), prefix=self.prefix)


class OAuth2Body(Body):
    """A bearer token that a token endpoint gives for the client's credentials (OAuth 2, RFC 6749 section 4.4)."""

    kind: Literal["oauth2"]
    token_url: Annotated[
        str,
        Field(
            description="Judged as every target is.",
            json_schema_extra={"format": "uri", "maxLength": URL_LENGTH_MAX},
            examples=["https://login.example.com/oauth2/token"],
        ),
    ]
    client_id: Annotated[str, _text(TEXT_LENGTH_MAX, "The client's name at the token endpoint.")]
    key: Annotated[str, Field(description="The name of the key of this endpoint that holds the client's secret.")]
    scope: Annotated[str, _text(TEXT_LENGTH_MAX, "Sent where it is not empty.")] = ""
    audience: Annotated[str, _text(TEXT_LENGTH_MAX, "Sent where it is not empty.")] = ""
    style: Annotated[
        Literal["basic", "body"],
        Field(description="Where the client's credentials go: the header Authorization or the form. Default: basic."),
    ] = "basic"
    params: Annotated[
        dict[str, str],
        Field(
            default_factory=dict,
            description="Sent along in the form.",
            json_schema_extra={"maxProperties": OAUTH2_PARAMS_MAX},
        ),
    ]
    tls: Annotated[
        TlsFields | None, Field(description="TLS to the token endpoint, which has its own. Default: as to all others.")
    ] = None

    def auth(self) -> Auth:
        return OAuth2Auth(
            token_url=self.token_url,
            client_id=self.client_id,
            key=self.key,
            scope=self.scope,
            audience=self.audience,
            style=ClientStyle(self.style),
            params=self.params,
            tls=None if self.tls is None else self.tls.tls(),
        )


AuthBody = Annotated[BearerBody | BasicBody | ApiKeyBody | OAuth2Body, Field(discriminator="kind")]


class ConnectionFields(Body):
    """What of this an endpoint and a change of one have in common."""

    auth: Annotated[
        AuthBody | None,
        Field(
            description="How its requests show who sends them. Default: not but by their signature.",
            examples=[{"kind": "bearer", "key": "target"}],
        ),
    ] = None
    tls: Annotated[
        TlsFields | None,
        Field(description="Default: the system's authorities, TLS 1.2.", examples=[{"minimum_version": "1.3"}]),
    ] = None
    proxy: Annotated[
        str | None,
        _text(NAME_LENGTH_MAX, "The name of a proxy of the operator's, to go through. Default: none.", examples=["eu"]),
    ] = None
    proxy_key: Annotated[
        str | None,
        Field(
            description="The name of a key of this endpoint with user:password for the proxy. Default: the operator's."
        ),
    ] = None
    source_address: Annotated[
        str | None,
        Field(
            description="The address to connect from, one of those that the operator allows. Default: any.",
            examples=["192.0.2.7"],
        ),
    ] = None


DOMAIN: Final[dict[str, Any]] = {
    "auth": lambda body: body.auth(),
    "tls": TlsFields.tls,
}
"""What a given field of these is in the domain's words, where that is something else."""


class ConnectionAnswer(Answer):
    """What of this an endpoint and its revisions tell."""

    auth: Annotated[dict[str, Any] | None, Field(description="As it was given; keys by their names.")]
    tls: Annotated[dict[str, Any] | None, Field(description="As it was given; keys by their names.")]
    proxy: str | None
    proxy_key: str | None
    source_address: str | None


def connection_fields(config: EndpointConfig) -> dict[str, Any]:
    """The fields of `ConnectionAnswer`."""
    return {
        "auth": None if config.auth is None else msgspec.to_builtins(config.auth),
        "tls": None if config.tls is None else msgspec.to_builtins(config.tls),
        "proxy": config.proxy or None,
        "proxy_key": config.proxy_key or None,
        "source_address": config.source_address or None,
    }
