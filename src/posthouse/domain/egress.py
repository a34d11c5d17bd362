"""How connections to a target are made, where that is not as to all others: TLS of its own, a proxy, a source address.

`Tls` is configuration; `Egress` is what `wire/egress.py` makes of it, and of everything else that decides which connection a
request may go over. Sources: RFC 5280 (certificates), RFC 7469 section 2.4 (what a pin is taken of), RFC 9110 section 9.3.6
(CONNECT).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from posthouse.domain.configuration import Configuration


class TlsVersion(StrEnum):
    """The oldest version of TLS that is spoken."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class PinOf(StrEnum):
    """What of the target's own certificate a pin is the digest of."""

    PUBLIC_KEY = "public_key"  # SubjectPublicKeyInfo: it survives a renewal with the same key
    CERTIFICATE = "certificate"


class Pin(Configuration, frozen=True, kw_only=True):
    """A SHA-256 in hexadecimal or base64."""

    of: PinOf = PinOf.PUBLIC_KEY
    sha256: str


class Tls(Configuration, frozen=True, kw_only=True):
    """All certificates are PEM.

    `client_certificate` (the target's view of us, and the intermediates that it needs) goes with `client_key`, the name of the
    endpoint's key that holds its private key. `ca` are the authorities that are trusted, and no others then. Where there are
    `pins`, the target's own certificate must have one of them besides.
    """

    client_certificate: str = ""
    client_key: str = ""
    ca: str = ""
    pins: tuple[Pin, ...] = ()
    minimum_version: TlsVersion = TlsVersion.TLS_1_2


class Egress(msgspec.Struct, frozen=True, kw_only=True):
    """How one endpoint's connections are made.

    `identity` is a digest of all of it and of the app: requests share a connection only where it is the same. Texts are PEM,
    empty where there is none. `pins` are what to take of the certificate, and its SHA-256. `usable_until` (unix seconds) is
    when the client certificate ends.
    """

    identity: str
    minimum_version: TlsVersion = TlsVersion.TLS_1_2
    authorities: str = ""
    certificate: str = ""
    private_key: str = ""
    pins: tuple[tuple[PinOf, bytes], ...] = ()
    proxy: str = ""  # as the operator named it
    proxy_credentials: str = ""  # instead of the operator's: `user:password`
    source_address: str = ""
    usable_until: float | None = None

    def __repr__(self) -> str:
        return f"Egress(identity={self.identity!r}, proxy={self.proxy!r}, source_address={self.source_address!r}, …)"


class AllowedEgress(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator lets endpoints ask for: proxies by name, and addresses of this machine. `apps_choose_proxy`: the key
    of an app may set a proxy too."""

    proxies: frozenset[str] = frozenset()
    source_addresses: frozenset[str] = frozenset()
    apps_choose_proxy: bool = False
