"""How an endpoint's requests show the target who sends them, as configuration: what `wire/authentication.py` compiles.

Secrets are never in here: `key` names one of the endpoint's keys. Sources: RFC 6750 (bearer), RFC 7617 (basic), RFC 6749
section 4.4 (client credentials) and 2.3.1 (how a client says who it is).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from posthouse.domain.configuration import Configuration
from posthouse.domain.egress import Tls


class KeyPlace(StrEnum):
    """Where an API key goes."""

    HEADER = "header"
    QUERY = "query"
    FIELD = (
        "field"  # of the body, before it is encrypted: a top-level one by name, in JSON a deeper one by JSON Pointer
    )


class ClientStyle(StrEnum):
    """How a client shows its secret to the token endpoint."""

    BASIC = "basic"  # in the header `Authorization`
    BODY = "body"  # as `client_id` and `client_secret` in the form


class BearerAuth(Configuration, tag="bearer", tag_field="kind", frozen=True, kw_only=True):
    """`Authorization: Bearer <key>`."""

    key: str


class BasicAuth(Configuration, tag="basic", tag_field="kind", frozen=True, kw_only=True):
    """`Authorization: Basic …`; the key is the password."""

    username: str
    key: str


class ApiKeyAuth(Configuration, tag="api_key", tag_field="kind", frozen=True, kw_only=True):
    """The key in a header, a query parameter or a field of the body of this name, after `prefix`."""

    key: str
    name: str
    place: KeyPlace = msgspec.field(default=KeyPlace.HEADER, name="in")
    prefix: str = ""


class OAuth2Auth(Configuration, tag="oauth2", tag_field="kind", frozen=True, kw_only=True):
    """`Authorization: Bearer <token>`, with a token that `token_url` gives for the client's credentials.

    The key is the client's secret. `params` go along in the form. `tls` is for the token endpoint alone.
    """

    token_url: str
    client_id: str
    key: str
    scope: str = ""
    audience: str = ""
    style: ClientStyle = ClientStyle.BASIC
    params: dict[str, str] = msgspec.field(default_factory=dict)
    tls: Tls | None = None


Auth = BearerAuth | BasicAuth | ApiKeyAuth | OAuth2Auth
