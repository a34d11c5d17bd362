"""From an endpoint's `tls`, `proxy` and `source_address` to how its connections are made. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address
from typing import Final

import msgspec

from posthouse.domain.egress import Egress, Tls, TlsVersion
from posthouse.domain.errors import Invalid
from posthouse.domain.limits import NAME_LENGTH_MAX, PINS_MAX
from posthouse.wire.certificates import authorities, client_identity, pinned
from posthouse.wire.keys import Keys, live_texts
from posthouse.wire.message import Unsendable

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def compile_egress(
    tls: Tls | None,
    keys: Keys,
    *,
    app: bytes,
    proxy: str = "",
    proxy_key: str = "",
    source_address: str = "",
    path: str = "tls",
) -> Egress | None:
    """How connections are made with these settings; None where they are made as all others.

    Its identity tells apart apps, settings and versions of keys.

    Raises: Invalid, with the path of the field (`path` is that of `tls`).
    """
    if tls is None and not proxy and not source_address:
        if proxy_key:
            raise Invalid("there is no proxy that these credentials are for", path="proxy_key")
        return None
    tls = tls or Tls()
    certificate = private_key = trusted = ""
    usable_until = None
    if tls.client_certificate or tls.client_key:
        if not tls.client_certificate:
            raise Invalid("a client's key goes with its certificate", path=f"{path}.client_certificate")
        if not tls.client_key:
            raise Invalid("a client certificate goes with the name of its private key", path=f"{path}.client_key")
        key_path = f"{path}.client_key"
        certificate, private_key, usable_until = client_identity(
            tls.client_certificate,
            live_texts(keys, tls.client_key, key_path),
            path=f"{path}.client_certificate",
            key_path=key_path,
        )
    if tls.ca:
        trusted = authorities(tls.ca, f"{path}.ca")
    if len(tls.pins) > PINS_MAX:
        raise Invalid(f"there are at most {PINS_MAX} pins", path=f"{path}.pins")
    egress = Egress(
        identity="",
        minimum_version=TlsVersion(tls.minimum_version),
        authorities=trusted,
        certificate=certificate,
        private_key=private_key,
        pins=tuple(pinned(pin, f"{path}.pins[{index}].sha256") for index, pin in enumerate(tls.pins)),
        proxy=_name(proxy),
        proxy_credentials=_credentials(keys, proxy, proxy_key),
        source_address=_address(source_address),
        usable_until=usable_until,
    )
    return msgspec.structs.replace(egress, identity=sha256(app + _encode(egress)).hexdigest())


def _name(proxy: str) -> str:
    if len(proxy) > NAME_LENGTH_MAX or not proxy.isprintable():
        raise Invalid(f"the name of a proxy has at most {NAME_LENGTH_MAX} printable characters", path="proxy")
    return proxy


def _credentials(keys: Keys, proxy: str, proxy_key: str) -> str:
    if not proxy_key:
        return ""
    if not proxy:
        raise Invalid("there is no proxy that these credentials are for", path="proxy_key")
    text = live_texts(keys, proxy_key, "proxy_key")[0]
    if ":" not in text or not text.isprintable():
        raise Invalid("the key must hold user:password, without control characters", path="proxy_key")
    return text


def _address(text: str) -> str:
    if not text:
        return ""
    try:
        address = ip_address(text)
    except ValueError:
        address = None
    if address is None or "%" in text:
        raise Invalid("this is not an IP address", path="source_address")
    return str(address)


def check_usable(egress: Egress, now: float) -> None:
    """Raises: Unsendable where the client certificate has ended."""
    if egress.usable_until is not None and egress.usable_until <= now:
        ended = datetime.fromtimestamp(egress.usable_until, UTC)
        raise Unsendable(f"the endpoint's client certificate has expired, on {ended:%Y-%m-%d at %H:%M:%S} UTC")
