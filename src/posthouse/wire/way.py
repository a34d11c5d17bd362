"""The way to one of an endpoint's URLs: over which connections its requests go, and what authenticates them."""

from __future__ import annotations

from posthouse.domain.egress import Egress
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Target
from posthouse.wire.authentication import Credentials, TokenGrant, compile_authentication
from posthouse.wire.egress import compile_egress


def compile_way(endpoint: Endpoint, target: Target) -> tuple[Egress | None, Credentials | TokenGrant | None]:
    """Raises: Invalid with the path of what is wrong."""
    if endpoint.tls is not None and target.scheme != "https":
        raise Invalid("TLS settings need an https URL, which not all URLs of the endpoint are", path="tls")
    egress = compile_egress(
        endpoint.tls,
        endpoint.keys,
        app=endpoint.app_id,
        proxy=endpoint.proxy,
        proxy_key=endpoint.proxy_key,
        source_address=endpoint.source_address,
    )
    auth = compile_authentication(
        endpoint.auth,
        endpoint.keys,
        app=endpoint.app_id,
        headers=endpoint.headers,
        timeouts=endpoint.timeouts,
        egress=egress,
    )
    return egress, auth
