"""Which addresses may be connected to. Pure: it decides on addresses, it resolves nothing.

A target URL is written by a third party, so that without a guard it is a way into the network that Posthouse runs in
(server-side request forgery). Only globally routable unicast is let through. The table below is ours rather than
`ipaddress.is_global`, whose answers differ between versions of Python; `is_global` is asked too, and both must agree.

Sources: the IANA special-purpose address registries (RFC 6890 and its updates), RFC 4291, RFC 6052, RFC 3056.
"""

from __future__ import annotations

import socket
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import msgspec

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Kind(StrEnum):
    """What an address is, in the words of the refusal: "… is a loopback address"."""

    LOOPBACK = "a loopback address"
    PRIVATE = "a private-use address"
    METADATA = "the address of a cloud's metadata service"
    LINK_LOCAL = "a link-local address"
    SHARED = "an address shared behind carrier-grade NAT"
    UNSPECIFIED = "an address of 'this network'"
    MULTICAST = "a multicast address"
    BROADCAST = "the broadcast address"
    DOCUMENTATION = "an address reserved for documentation"
    BENCHMARK = "an address reserved for benchmarks"
    TRANSLATED = "an IPv6 address that stands for an IPv4 one"
    SITE_LOCAL = "a site-local address"
    RESERVED = "a reserved address"


class GuardPolicy(msgspec.Struct, frozen=True):
    """What the operator lets through beside public addresses.

    `allow_loopback` is for development, `allow_private` for demonstrations (private use and loopback). Metadata
    services of clouds stay refused under both. `allowed_networks` is the operator's word about networks of their own
    and goes before every rule, metadata included.
    """

    allow_private: bool = False
    allow_loopback: bool = False
    allowed_networks: tuple[Network, ...] = ()


METADATA: Final = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google Cloud, and most others
        "fd00:ec2::254",  # AWS over IPv6
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure's wire server: public by its number, never by its routing
    )
)

# The first network that holds the address names it; the smaller ones come before those they lie in.
_IPV4: Final = tuple(
    (IPv4Network(text), kind)
    for text, kind in (
        ("0.0.0.0/8", Kind.UNSPECIFIED),
        ("10.0.0.0/8", Kind.PRIVATE),
        ("100.64.0.0/10", Kind.SHARED),
        ("127.0.0.0/8", Kind.LOOPBACK),
        ("169.254.0.0/16", Kind.LINK_LOCAL),
        ("172.16.0.0/12", Kind.PRIVATE),
        ("192.0.0.0/24", Kind.RESERVED),
        ("192.0.2.0/24", Kind.DOCUMENTATION),
        ("192.88.99.0/24", Kind.TRANSLATED),  # relays of 6to4, RFC 7526
        ("192.168.0.0/16", Kind.PRIVATE),
        ("198.18.0.0/15", Kind.BENCHMARK),
        ("198.51.100.0/24", Kind.DOCUMENTATION),
        ("203.0.113.0/24", Kind.DOCUMENTATION),
        ("224.0.0.0/4", Kind.MULTICAST),
        ("255.255.255.255/32", Kind.BROADCAST),
        ("240.0.0.0/4", Kind.RESERVED),
    )
)
_IPV6: Final = tuple(
    (IPv6Network(text), kind)
    for text, kind in (
        ("::/128", Kind.UNSPECIFIED),
        ("::1/128", Kind.LOOPBACK),
        ("::/96", Kind.TRANSLATED),  # IPv4-compatible
        ("64:ff9b::/96", Kind.TRANSLATED),  # NAT64
        ("64:ff9b:1::/48", Kind.TRANSLATED),  # NAT64, local use
        ("2001:db8::/32", Kind.DOCUMENTATION),
        ("2001::/32", Kind.TRANSLATED),  # Teredo
        ("2001::/23", Kind.RESERVED),  # IETF protocol assignments
        ("2002::/16", Kind.TRANSLATED),  # 6to4
        ("3fff::/20", Kind.DOCUMENTATION),
        ("fc00::/7", Kind.PRIVATE),
        ("fe80::/10", Kind.LINK_LOCAL),
        ("fec0::/10", Kind.SITE_LOCAL),
        ("ff00::/8", Kind.MULTICAST),
    )
)
_IPV6_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # all that IANA has handed out


def parse_address(host: str) -> Address | None:
    """The address that `host` spells, or None where it is a name for the resolver.

    Takes what an operating system takes: brackets around IPv6, one, two or three numbers for four (`127.1`), octal,
    hexadecimal and single numbers (`2130706433`), a final dot. An IPv4-mapped IPv6 address is the IPv4 address.

    Raises: ValueError for what ends like an IPv4 address and is none (`1.2.3.4.5`), or has a zone (`fe80::1%eth0`).
    """
    text = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in text:
        if "%" in text:
            raise ValueError("an IPv6 address with a zone means something on one machine only")
        return unmapped(IPv6Address(text))
    text = text.removesuffix(".")
    if not _ends_in_number(text):
        return None
    # inet_aton of glibc stops at white space and forgives what follows it.
    if any(character.isspace() for character in text):
        raise ValueError("an address holds no white space")
    try:
        return IPv4Address(socket.inet_aton(text))
    except OSError:
        raise ValueError("looks like an IPv4 address and is none") from None


def _ends_in_number(text: str) -> bool:
    last = text.rpartition(".")[2].lower()
    if last.startswith("0x"):
        return all(character in "0123456789abcdef" for character in last[2:])
    return last.isascii() and last.isdigit()


def unmapped(address: Address) -> Address:
    """`::ffff:a.b.c.d` as the operating system connects to it: a.b.c.d."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def refusal(address: Address, policy: GuardPolicy) -> Kind | None:
    """Why this address must not be connected to; None where it may."""
    address = unmapped(address)
    if any(address in network for network in policy.allowed_networks):
        return None
    kind = _kind(address)
    if kind is Kind.LOOPBACK and (policy.allow_loopback or policy.allow_private):
        return None
    if kind is Kind.PRIVATE and policy.allow_private:
        return None
    return kind


def _kind(address: Address) -> Kind | None:
    if address in METADATA:
        return Kind.METADATA
    if isinstance(address, IPv4Address):
        for network4, kind in _IPV4:
            if address in network4:
                return kind
    else:
        for network6, kind in _IPV6:
            if address in network6:
                return kind
        if address not in _IPV6_GLOBAL_UNICAST:
            return Kind.RESERVED
    return None if address.is_global else Kind.RESERVED


def explain(address: Address, kind: Kind, *, host: str = "") -> str:
    """A refusal in a person's words, with what the operator can do about it. Third parties read it: the address of a name in
    the network here is not told, if it is none that every machine has."""
    address = unmapped(address)
    if host and parse_address(host) is None and kind is not Kind.LOOPBACK:
        return (
            f"{host} leads to {kind}, and only public addresses are delivered to; the operator, in whose log it is, can allow "
            "its network with `posthouse serve --allow-network`"
        )
    what = f"{address} is {kind}" if host in ("", str(address)) else f"{host} is at {address}, {kind}"
    network = ip_network(address)
    remedy = f"the operator can allow it with `posthouse serve --allow-network {network}`"
    if kind is Kind.LOOPBACK:
        remedy = f"for development start with `posthouse serve --dev`, or {remedy}"
    return f"{what}, and only public addresses are delivered to; {remedy}"
