"""The resolver of production, against a DNS server of our own on loopback."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import cast

import pytest

from posthouse.adapters.http import resolver as module
from posthouse.adapters.http.resolver import AresResolver, Lookup, LookupFailed

NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
TYPE_A, TYPE_AAAA, TYPE_SOA = 1, 28, 6
TTL = 300


class Zone(asyncio.DatagramProtocol):
    """Answers for `names`: a list of addresses, a response code, or None for silence. NXDOMAIN comes with an SOA."""

    def __init__(self, names: dict[str, list[str] | int | None]) -> None:
        self.names = names
        self.asked: Counter[tuple[str, int]] = Counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += data[at] + 1
        question = data[12 : at + 5]
        (kind,) = struct.unpack("!H", data[at + 1 : at + 3])
        name = ".".join(labels).lower()
        self.asked[name, kind] += 1
        entry = self.names.get(name, NXDOMAIN)
        if entry is None:
            return
        records: list[bytes] = []
        authority: list[bytes] = []
        code = NOERROR
        if isinstance(entry, int):
            code = entry
            soa = b"\0\0" + struct.pack("!5I", 1, 600, 600, 600, 600)
            authority = [b"\0" + struct.pack("!HHIH", TYPE_SOA, 1, 600, len(soa)) + soa]
        else:
            for text in entry:
                address = ip_address(text)
                if (address.version == 4) == (kind == TYPE_A):
                    packed = address.packed
                    records.append(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, TTL, len(packed)) + packed)
        header = data[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), len(authority), 0)
        self._transport.sendto(header + question + b"".join(records) + b"".join(authority), addr)


@asynccontextmanager
async def zone(names: dict[str, list[str] | int | None]) -> AsyncIterator[tuple[Zone, AresResolver]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: Zone(names), local_addr=("127.0.0.1", 0))
    resolver = AresResolver(servers=[f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"])
    try:
        yield protocol, resolver
    finally:
        await resolver.close()
        transport.close()


async def test_all_addresses_of_both_families_with_their_time_to_live() -> None:
    found = ["93.184.216.34", "10.0.0.1", "2606:4700::1111"]
    async with zone({"a.example": list(found)}) as (served, resolver):
        answer = await resolver.lookup("a.example")
        assert isinstance(answer, Lookup)
        assert sorted(answer.addresses) == sorted(found)
        assert answer.ttl_seconds == TTL
        assert served.asked == {("a.example", TYPE_A): 1, ("a.example", TYPE_AAAA): 1}


async def test_localhost_is_known_without_asking() -> None:
    async with zone({}) as (served, resolver):
        answer = await resolver.lookup("localhost")
        assert isinstance(answer, Lookup)
        assert "127.0.0.1" in answer.addresses
        assert not served.asked


@pytest.mark.parametrize(
    ("entry", "reason"),
    [(NXDOMAIN, "does not exist"), ([], "has no address"), (SERVFAIL, "SERVFAIL"), (REFUSED, "REFUSED")],
)
async def test_why_a_name_has_no_address(entry: list[str] | int, reason: str) -> None:
    async with zone({"x.example": entry}) as (_, resolver):
        answer = await resolver.lookup("x.example")
        assert isinstance(answer, LookupFailed)
        assert reason in answer.detail
        assert not answer.timed_out


async def test_silence_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRY_SECONDS", 0.05)
    monkeypatch.setattr(module, "TRIES", 1)
    async with zone({"silent.example": None}) as (_, resolver):
        answer = await resolver.lookup("silent.example")
        assert isinstance(answer, LookupFailed)
        assert answer.timed_out


async def test_a_dead_dns_server_is_our_own_fault() -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    transport.close()
    await asyncio.sleep(0)  # the loop closes the socket
    resolver = AresResolver(servers=[f"127.0.0.1:{port}"])
    with pytest.raises(OSError, match="no DNS server could be asked"):
        await resolver.lookup("a.example")
    await resolver.close()


@pytest.mark.parametrize(
    "name", ["", "a..b", ".a", "a" * 64, "a." * 127 + "toolong", "é.example", "a b.example", "a\0b"]
)
async def test_names_that_no_host_can_have_are_not_asked_for(name: str) -> None:
    async with zone({}) as (served, resolver):
        assert isinstance(await resolver.lookup(name), LookupFailed)
        assert not served.asked


async def test_a_name_that_has_just_been_added_is_seen_soon() -> None:
    now = 1000.0
    async with zone({}) as (served, resolver):
        resolver._now = lambda: now
        assert isinstance(await resolver.lookup("new.example"), LookupFailed)
        served.names["new.example"] = ["93.184.216.34"]
        now += module.CHANNEL_SECONDS_AFTER_NEGATIVE + 0.1
        assert isinstance(await resolver.lookup("new.example"), Lookup)


async def test_an_answer_is_asked_for_again_after_a_minute() -> None:
    now = 1000.0
    async with zone({"a.example": ["93.184.216.34"]}) as (served, resolver):
        resolver._now = lambda: now
        await resolver.lookup("a.example")
        await resolver.lookup("a.example")
        assert served.asked["a.example", TYPE_A] == 1
        now += module.CHANNEL_SECONDS_MAX + 1
        await resolver.lookup("a.example")
        assert served.asked["a.example", TYPE_A] == 2


async def test_a_lookup_under_way_survives_the_change_of_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRY_SECONDS", 0.3)
    now = 1000.0
    async with zone({"slow.example": None, "a.example": ["93.184.216.34"]}) as (served, resolver):
        resolver._now = lambda: now
        slow = asyncio.create_task(resolver.lookup("slow.example"))
        while not served.asked:  # noqa: ASYNC110 (the datagram arrives on another thread's socket)
            await asyncio.sleep(0.001)
        now += module.CHANNEL_SECONDS_MAX + 1
        assert isinstance(await resolver.lookup("a.example"), Lookup)
        served.names["slow.example"] = ["93.184.216.34"]
        assert isinstance(await slow, Lookup)  # c-ares asks again
