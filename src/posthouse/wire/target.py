"""URLs of targets, taken apart once and strictly: what two parsers could read differently is refused.

Sources: RFC 3986 (URIs), RFC 9110 section 4.2 (http and https), RFC 9112 section 3.2 (request target), RFC 5891 and
UTS 46 (internationalised host names). Whether an address may be spoken to is decided where it is resolved, not here.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NoReturn
from urllib.parse import quote

import idna

from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Target
from posthouse.domain.limits import URL_LENGTH_MAX

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
HOST_LENGTH_MAX: Final = 253  # RFC 1035, section 2.3.4, without the final dot
PORT_MAX: Final = 65_535

_PARTS: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?"
)
_PORT: Final = re.compile(r"0*([0-9]{1,5})")
# Letters, digits, hyphens, and the underscore that container networks use in names.
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# A last label like these makes a host an IPv4 address in some parsers (WHATWG URL, "ends in a number checker").
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Kept as they are, `%` too: what the third party wrote is what its server sees.
_PATH_KEPT: Final = "/%:@!$&'()*+,;=-._~[]|"
_QUERY_KEPT: Final = _PATH_KEPT + "?{}^`"


def parse_target(url: str, *, path: str = "url") -> Target:
    """Take a target URL apart.

    The host becomes lower-case A-labels or a canonical address, the final dot is dropped; characters outside ASCII in
    path and query are percent-encoded (UTF-8); an empty path becomes `/`. `authority` holds the port unless it is the
    scheme's own.

    Raises: Invalid (with `path`: where it stands in what was given) for anything that is not plainly an absolute http or
    https URL within URL_LENGTH_MAX, for credentials and for a fragment.
    """
    try:
        return _parsed(url)
    except Invalid as error:
        raise Invalid(str(error), path=path) from error.__cause__


def _parsed(url: str) -> Target:
    if len(url) > URL_LENGTH_MAX:
        _refuse(f"is longer than {URL_LENGTH_MAX} characters")
    for character in url:
        if character in " \\" or not character.isprintable():
            _refuse(f"holds the character U+{ord(character):04X}: write it percent-encoded, or leave it out")
    if "#" in url:
        _refuse("has a fragment (#…), which is never sent: leave it out")
    parts = _PARTS.fullmatch(url)
    if parts is None:
        _refuse("is not an absolute URL such as https://example.com/hooks")
    scheme = parts["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        _refuse(f"has the scheme {scheme!r}: only http and https are spoken")
    host, port = _authority(parts["authority"], DEFAULT_PORTS[scheme])
    path = quote(parts["path"] or "/", safe=_PATH_KEPT) + quote(parts["query"] or "", safe=_QUERY_KEPT)
    bracketed = f"[{host}]" if ":" in host else host
    authority = bracketed if port == DEFAULT_PORTS[scheme] else f"{bracketed}:{port}"
    if len(scheme) + len("://") + len(authority) + len(path) > URL_LENGTH_MAX:
        _refuse(f"is longer than {URL_LENGTH_MAX} characters once it is percent-encoded")
    return Target(scheme=scheme, host=host, port=port, path=path, authority=authority)


def _authority(text: str, default_port: int) -> tuple[str, int]:
    if "@" in text:
        _refuse("holds credentials (user:password@), which end up in logs: send them in a header")
    if text.startswith("["):
        inside, bracket, after = text[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            _refuse("has an IPv6 address without its brackets closed")
        return _ipv6(inside), _port(after[1:], default_port)
    name, _, port = text.partition(":")
    if ":" in port:
        _refuse("has more than one colon in its host; an IPv6 address goes in brackets: https://[2001:db8::1]/")
    if not name:
        _refuse("has no host")
    return _host(name), _port(port, default_port)


def _port(text: str, default_port: int) -> int:
    if not text:  # RFC 3986, section 3.2.3: an empty port is the scheme's own
        return default_port
    match = _PORT.fullmatch(text)
    port = int(match[1]) if match else 0
    if not 0 < port <= PORT_MAX:
        _refuse(f"has no usable port: a number from 1 to {PORT_MAX}")
    return port


def _ipv6(text: str) -> str:
    if "%" in text:
        _refuse("has an IPv6 address with a zone, which means something on one machine only")
    try:
        return str(IPv6Address(text))
    except ValueError:
        _refuse("has something in brackets that is not an IPv6 address")


def _host(text: str) -> str:
    host = text.lower()
    if not host.isascii() or "xn--" in host:
        try:
            host = idna.encode(text, uts46=True).decode("ascii").lower()
        except (idna.IDNAError, UnicodeError) as error:
            raise Invalid(f"the URL has an invalid internationalised host name: {error}") from error
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > HOST_LENGTH_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        _refuse("has a host that no name can be: labels of 1 to 63 letters, digits and hyphens, joined by dots")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(host))
        except ValueError:
            _refuse("has a number for a host: write an IPv4 address as four decimal numbers, 192.0.2.1")
    return host


def _refuse(why: str) -> NoReturn:
    raise Invalid(f"the URL {why}")
