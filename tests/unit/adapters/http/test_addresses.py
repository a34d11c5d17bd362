"""The address book: all addresses judged, kept for a short while, one lookup at a time."""

from __future__ import annotations

import asyncio
import re

import pytest

from posthouse.adapters.http import addresses as module
from posthouse.adapters.http.addresses import AddressBook, Unusable
from posthouse.adapters.http.guard import GuardPolicy
from posthouse.adapters.http.resolver import Lookup, LookupFailed
from posthouse.domain.cache_use import CacheFacts
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Fault

A, B, C = "93.184.216.34", "93.184.216.35", "2606:4700::1111"


class Scripted:
    """Answers each lookup with the next of `answers`, the last one for ever; waits for `gate` first."""

    def __init__(self, *answers: Lookup | LookupFailed | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = False

    async def lookup(self, name: str) -> Lookup | LookupFailed:
        self.asked.append(name)
        self.was_asked.set()
        await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def book_of(resolver: Scripted, policy: GuardPolicy | None = None) -> tuple[AddressBook, Clock]:
    clock = Clock()
    return AddressBook(resolver, policy or GuardPolicy(), now=clock), clock


async def test_an_answer_is_kept_for_its_time_to_live() -> None:
    resolver = Scripted(Lookup((A,), 20.0), Lookup((B,), 20.0))
    book, clock = book_of(resolver)
    assert book.known("example.com", clock.now) is None
    assert await book.find("example.com") == (A,)
    assert book.known("example.com", clock.now + 19) == (A,)
    assert book.known("example.com", clock.now + 20) is None
    clock.now += 20
    assert await book.find("example.com") == (B,)
    assert resolver.asked == ["example.com", "example.com"]
    assert book.cached == CacheFacts(entries=1, hits=1, misses=2)


@pytest.mark.parametrize(("ttl", "kept"), [(0.0, 1.0), (1e6, 60.0)])
async def test_the_time_to_live_is_held_within_bounds(ttl: float, kept: float) -> None:
    book, clock = book_of(Scripted(Lookup((A,), ttl)))
    await book.find("example.com")
    assert book.known("example.com", clock.now + kept - 0.01) == (A,)
    assert book.known("example.com", clock.now + kept) is None


async def test_addresses_come_in_turn_ipv4_first_without_repeats() -> None:
    book, _ = book_of(Scripted(Lookup((C, A, "::ffff:93.184.216.34", B), 9.0)))
    assert await book.find("example.com") == (A, C, B)


async def test_the_address_that_answered_comes_first_from_then_on() -> None:
    book, clock = book_of(Scripted(Lookup((A, B), 9.0)))
    await book.find("example.com")
    book.prefer("example.com", B)
    assert book.known("example.com", clock.now) == (B, A)
    book.prefer("example.com", "10.0.0.1")
    book.prefer("other.example", A)
    assert book.known("example.com", clock.now) == (B, A)


@pytest.mark.parametrize(
    "bad", ["10.0.0.1", "127.0.0.1", "::1", "::ffff:169.254.169.254", "64:ff9b::1.1.1.1", "fe80::1"]
)
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_refused_address_refuses_the_host(bad: str, place: int) -> None:
    found = [A, C]
    found.insert(place, bad)
    book, clock = book_of(Scripted(Lookup(tuple(found), 60.0)))
    result = await book.find("example.com")
    assert isinstance(result, Unusable)
    assert result.fault is Fault.ADDRESS_REFUSED
    assert re.match("example.com (is at|leads to) ", result.detail)
    assert book.known("example.com", clock.now) is None


async def test_every_address_is_judged_not_only_those_that_are_tried() -> None:
    many = tuple(f"93.184.216.{n}" for n in range(100))
    book, _ = book_of(Scripted(Lookup(many, 60.0), Lookup((*many, "10.0.0.1"), 60.0)))
    assert await book.find("one.example") == many[: module.ADDRESSES_MAX]
    assert isinstance(await book.find("two.example"), Unusable)


async def test_a_refusal_replaces_what_was_known() -> None:
    book, clock = book_of(Scripted(Lookup((A,), 5.0), Lookup(("127.0.0.1",), 5.0), Lookup((A,), 5.0)))
    assert await book.find("example.com") == (A,)
    clock.now += 6
    assert isinstance(await book.find("example.com"), Unusable)
    assert await book.find("example.com") == (A,)  # and is not kept itself


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.1", "127.0.0.1"), ("2130706433", "127.0.0.1"), ("[::ffff:127.0.0.1]", "127.0.0.1"), ("0x7f.1", "127.0.0.1")],
)
async def test_spellings_of_an_address_need_no_resolver(host: str, address: str) -> None:
    resolver = Scripted(Lookup((A,), 60.0))
    strict, _ = book_of(resolver)
    refused = await strict.find(host)
    assert isinstance(refused, Unusable)
    assert refused.fault is Fault.ADDRESS_REFUSED
    lenient, clock = book_of(resolver, GuardPolicy(allow_loopback=True))
    assert await lenient.find(host) == (address,)
    assert lenient.known(host, clock.now + 1e9) == (address,)
    assert resolver.asked == []


async def test_what_is_no_address_is_not_asked_for() -> None:
    resolver = Scripted(Lookup((A,), 60.0))
    book, _ = book_of(resolver)
    result = await book.find("1.2.3.4.5")
    assert isinstance(result, Unusable)
    assert result.fault is Fault.DNS_FAILED
    assert resolver.asked == []


async def test_failures_are_told_and_not_kept() -> None:
    resolver = Scripted(
        LookupFailed("the name does not exist in DNS"), LookupFailed("no answer", timed_out=True), Lookup((), 9.0)
    )
    book, _ = book_of(resolver)
    assert await book.find("nx.example") == Unusable(
        Fault.DNS_FAILED, "cannot resolve nx.example: the name does not exist in DNS"
    )
    assert await book.find("nx.example") == Unusable(Fault.DNS_TIMEOUT, "cannot resolve nx.example: no answer")
    empty = await book.find("nx.example")
    assert isinstance(empty, Unusable)
    assert empty.fault is Fault.DNS_FAILED


async def test_our_own_fault_is_raised_to_everybody_who_waits() -> None:
    book, _ = book_of(Scripted(OSError(111, "no DNS server could be asked")))
    results = await asyncio.gather(*(book.find("example.com") for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, OSError) for result in results)


async def test_one_lookup_serves_all_who_ask_meanwhile() -> None:
    resolver = Scripted(Lookup((A,), 60.0))
    resolver.gate.clear()
    book, _ = book_of(resolver)
    finds = [asyncio.create_task(book.find("example.com")) for _ in range(50)]
    await resolver.was_asked.wait()
    resolver.gate.set()
    assert await asyncio.gather(*finds) == [(A,)] * 50
    assert resolver.asked == ["example.com"]


async def test_who_gives_up_leaves_the_answer_to_the_others() -> None:
    resolver = Scripted(Lookup((A,), 60.0))
    resolver.gate.clear()
    book, _ = book_of(resolver)
    impatient, patient = (asyncio.create_task(book.find("example.com")) for _ in range(2))
    await resolver.was_asked.wait()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    resolver.gate.set()
    assert await patient == (A,)


async def test_the_book_is_bounded_and_the_oldest_entry_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTRIES_MAX", 3)
    book, clock = book_of(Scripted(Lookup((A,), 60.0)))
    for name in ("a", "b", "c", "d"):
        await book.find(name)
    assert book.known("a", clock.now) is None
    assert [book.known(name, clock.now) for name in ("b", "c", "d")] == [(A,)] * 3


async def test_a_lookup_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKUP_SECONDS_MAX", 0.02)
    resolver = Scripted(Lookup((A,), 60.0))
    resolver.gate.clear()
    book, _ = book_of(resolver)
    result = await book.find("example.com")
    assert isinstance(result, Unusable)
    assert result.fault is Fault.DNS_TIMEOUT


async def test_check_at_creation() -> None:
    resolver = Scripted(
        Lookup((A,), 0.0), Lookup((A, "10.0.0.1"), 0.0), LookupFailed("no such name"), OSError(111, "no DNS server")
    )
    book, _ = book_of(resolver)
    assert await book.check("a.example", 443) == (A,)
    with pytest.raises(Invalid, match=r"b\.example leads to a private-use address,") as refused:
        await book.check("b.example", 443)
    assert refused.value.code == "address_refused"
    assert refused.value.path == "url"
    assert await book.check("c.example", 443) == ()
    assert await book.check("d.example", 443) == ()
    with pytest.raises(Invalid, match=r"169\.254\.169\.254"):
        await book.check("169.254.169.254", 80)


async def test_check_waits_only_so_long() -> None:
    resolver = Scripted(Lookup((A,), 60.0))
    resolver.gate.clear()
    book, _ = book_of(resolver)
    assert await book.check("slow.example", 443, seconds=0.02) == ()
    await book.close()
    assert resolver.closed
