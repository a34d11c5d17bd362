"""Which addresses are let through: every range that must be refused, every spelling of it, and what an operator may allow."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from posthouse.adapters.http.guard import (
    METADATA,
    Address,
    GuardPolicy,
    Kind,
    explain,
    parse_address,
    refusal,
    unmapped,
)

STRICT = GuardPolicy()
LOOPBACK = GuardPolicy(allow_loopback=True)
PRIVATE = GuardPolicy(allow_private=True)

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001::200e"]

REFUSED = {
    "0.0.0.0": Kind.UNSPECIFIED,
    "0.255.255.255": Kind.UNSPECIFIED,
    "10.0.0.1": Kind.PRIVATE,
    "100.64.0.1": Kind.SHARED,
    "100.127.255.255": Kind.SHARED,
    "127.0.0.1": Kind.LOOPBACK,
    "127.255.255.254": Kind.LOOPBACK,
    "169.254.1.1": Kind.LINK_LOCAL,
    "172.16.0.1": Kind.PRIVATE,
    "172.31.255.255": Kind.PRIVATE,
    "192.0.0.1": Kind.RESERVED,
    "192.0.0.9": Kind.RESERVED,  # is_global differs between versions of Python
    "192.0.0.170": Kind.RESERVED,
    "192.0.2.1": Kind.DOCUMENTATION,
    "192.88.99.1": Kind.TRANSLATED,
    "192.168.1.1": Kind.PRIVATE,
    "198.18.0.1": Kind.BENCHMARK,
    "198.51.100.1": Kind.DOCUMENTATION,
    "203.0.113.1": Kind.DOCUMENTATION,
    "224.0.0.1": Kind.MULTICAST,
    "239.255.255.255": Kind.MULTICAST,
    "240.0.0.1": Kind.RESERVED,
    "255.255.255.255": Kind.BROADCAST,
    "169.254.169.254": Kind.METADATA,
    "100.100.100.200": Kind.METADATA,
    "168.63.129.16": Kind.METADATA,
    "fd00:ec2::254": Kind.METADATA,
    "::": Kind.UNSPECIFIED,
    "::1": Kind.LOOPBACK,
    "::8.8.8.8": Kind.TRANSLATED,
    "::127.0.0.1": Kind.TRANSLATED,
    "::ffff:127.0.0.1": Kind.LOOPBACK,
    "::ffff:10.0.0.1": Kind.PRIVATE,
    "::ffff:169.254.169.254": Kind.METADATA,
    "64:ff9b::8.8.8.8": Kind.TRANSLATED,
    "64:ff9b::127.0.0.1": Kind.TRANSLATED,
    "64:ff9b:1::1": Kind.TRANSLATED,
    "100::1": Kind.RESERVED,
    "2001::1": Kind.TRANSLATED,
    "2001:2::1": Kind.RESERVED,
    "2001:10::1": Kind.RESERVED,
    "2001:20::1": Kind.RESERVED,
    "2001:db8::1": Kind.DOCUMENTATION,
    "2002:7f00:1::": Kind.TRANSLATED,
    "3fff::1": Kind.DOCUMENTATION,
    "5f00::1": Kind.RESERVED,
    "fc00::1": Kind.PRIVATE,
    "fdff::1": Kind.PRIVATE,
    "fe80::1": Kind.LINK_LOCAL,
    "fec0::1": Kind.SITE_LOCAL,
    "feff::1": Kind.SITE_LOCAL,
    "ff02::1": Kind.MULTICAST,
    "4000::1": Kind.RESERVED,
    "8000::1": Kind.RESERVED,
}


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_pass(text: str) -> None:
    assert refusal(ip_address(text), STRICT) is None


@pytest.mark.parametrize(("text", "kind"), REFUSED.items())
def test_everything_else_is_refused_by_its_name(text: str, kind: Kind) -> None:
    assert refusal(ip_address(text), STRICT) is kind


@pytest.mark.parametrize(("text", "kind"), REFUSED.items())
def test_what_development_and_demonstrations_let_through(text: str, kind: Kind) -> None:
    address = ip_address(text)
    assert refusal(address, LOOPBACK) is (None if kind is Kind.LOOPBACK else kind)
    assert refusal(address, PRIVATE) is (None if kind in (Kind.LOOPBACK, Kind.PRIVATE) else kind)


@pytest.mark.parametrize("text", REFUSED)
def test_the_operators_list_goes_before_every_rule(text: str) -> None:
    address = unmapped(ip_address(text))
    assert refusal(address, GuardPolicy(allowed_networks=(ip_network(address),))) is None


def test_the_operators_list_lets_nothing_else_through() -> None:
    policy = GuardPolicy(allowed_networks=(ip_network("10.1.0.0/16"),))
    assert refusal(ip_address("10.1.2.3"), policy) is None
    assert refusal(ip_address("::ffff:10.1.2.3"), policy) is None
    assert refusal(ip_address("10.2.0.1"), policy) is Kind.PRIVATE
    assert refusal(ip_address("127.0.0.1"), policy) is Kind.LOOPBACK


ADDRESSES = st.ip_addresses(v=4) | st.ip_addresses(v=6)


@given(ADDRESSES)
@example(IPv6Address("::ffff:0:0"))
def test_what_passes_is_global_for_python_too(address: Address) -> None:
    if refusal(address, STRICT) is None:
        plain = unmapped(address)
        assert plain.is_global
        assert not plain.is_multicast
        assert plain not in METADATA


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_the_address_it_stands_for(address: IPv4Address) -> None:
    mapped = IPv6Address(f"::ffff:{address}")
    for policy in (STRICT, LOOPBACK, PRIVATE):
        assert refusal(mapped, policy) is refusal(address, policy)


@given(st.ip_addresses(v=4))
def test_no_ipv6_address_that_holds_an_ipv4_one_passes(address: IPv4Address) -> None:
    number = int(address)
    for text in (f"64:ff9b::{address}", f"::{address}", f"2002:{number >> 16:x}:{number & 0xFFFF:x}::"):
        if text not in ("::0.0.0.0", "::0.0.0.1"):
            assert refusal(ip_address(text), PRIVATE) is Kind.TRANSLATED


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0x7F000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("::ffff:7f00:1", "127.0.0.1"),
        ("0:0:0:0:0:FFFF:7F00:1", "127.0.0.1"),
        ("2606:4700::1111", "2606:4700::1111"),
    ],
)
def test_spellings_of_an_address(host: str, address: str) -> None:
    assert parse_address(host) == ip_address(address)


@pytest.mark.parametrize(
    "host", ["example.com", "localhost", "a.b-c.d", "127.0.0.1.example", "0x7g", "x.0x7g", "1.2.c"]
)
def test_names_are_for_the_resolver(host: str) -> None:
    assert parse_address(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "1.2.3.4.5",
        "256.1.1.1",
        "example.256",
        "x.0x1",
        "0x",
        "fe80::1%eth0",
        "[::g]",
        "1.2.3.4 example.1",
        "09",
        "1..2",
    ],
)
def test_what_ends_like_an_address_and_is_none(host: str) -> None:
    with pytest.raises(ValueError):
        parse_address(host)


@given(ADDRESSES)
def test_every_address_is_read_as_written(address: Address) -> None:
    assert parse_address(str(address)) == unmapped(address)


@given(st.integers(0, 2**32 - 1))
def test_a_single_number_is_an_address(number: int) -> None:
    for spelling in (f"{number}", f"{number:#x}", f"0{number:o}"):
        assert parse_address(spelling) == IPv4Address(number)


def test_a_refusal_says_what_the_operator_can_do() -> None:
    text = explain(ip_address("127.0.0.1"), Kind.LOOPBACK)
    assert text.startswith("127.0.0.1 is a loopback address")
    assert "serve --dev" in text
    assert "127.0.0.1/32" in text
    text = explain(ip_address("::ffff:10.0.0.5"), Kind.PRIVATE, host="hooks.example")
    assert text.startswith("hooks.example leads to a private-use address, and only public addresses")
    assert "serve --dev" not in text
    assert "10.0.0.5" not in text, "where a name is in the network here is nobody's business"
    assert explain(ip_address("10.0.0.5"), Kind.PRIVATE, host="10.0.0.5").startswith(
        "10.0.0.5 is a private-use address"
    )
    text = explain(ip_address("127.0.0.1"), Kind.LOOPBACK, host="hooks.example")
    assert text.startswith("hooks.example is at 127.0.0.1, a loopback address")
