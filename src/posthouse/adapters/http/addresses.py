"""The address book: names to addresses that have been judged, kept for a short while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from itertools import chain, zip_longest
from math import inf
from time import monotonic
from typing import Final

import msgspec
import structlog

from posthouse.adapters.http.guard import Address, GuardPolicy, explain, parse_address, refusal, unmapped
from posthouse.adapters.http.resolver import LookupFailed, Resolver
from posthouse.adapters.http.waits import Waits
from posthouse.domain.cache_use import CacheFacts, CacheUse
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Fault

log = structlog.get_logger()

ENTRIES_MAX: Final = 10_000
TTL_SECONDS_MAX: Final = 60.0
TTL_SECONDS_MIN: Final = 1.0  # /etc/hosts says 0, and a name in it is asked for thousands of times a second
LOOKUP_SECONDS_MAX: Final = 30.0
CHECK_SECONDS: Final = 5.0
ADDRESSES_MAX: Final = 16  # that are tried; all are judged


class Unusable(msgspec.Struct, frozen=True):
    """No address to connect to, and why."""

    fault: Fault
    detail: str


class _Entry(msgspec.Struct):
    addresses: tuple[str, ...]
    expires_at: float


class AddressBook:
    """Addresses of hosts, every one of them judged by the guard before it is handed out.

    A host is refused as a whole where a single address of it is: who mixes a public address with one inside the network
    is waiting for us to pick the second. Answers are kept for their time to live, at most TTL_SECONDS_MAX; refusals and
    failures are not kept. One lookup of a name is under way at a time, however many wait for it.
    """

    def __init__(
        self,
        resolver: Resolver,
        policy: GuardPolicy,
        *,
        waits: Waits | None = None,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._resolver = resolver
        self._policy = policy
        self._waits = Waits() if waits is None else waits
        self._now = now
        self._entries: dict[str, _Entry] = {}
        self._use = CacheUse()
        self._lookups: dict[str, asyncio.Task[tuple[str, ...] | Unusable]] = {}

    def known(self, host: str, now: float) -> tuple[str, ...] | None:
        """The judged addresses of a host, where they are at hand: the hot path."""
        entry = self._entries.get(host)
        if entry is None or entry.expires_at <= now:
            return None
        self._use.hits += 1
        return entry.addresses

    async def find(self, host: str) -> tuple[str, ...] | Unusable:
        """The judged addresses of a host, looked up if need be; the caller bounds the time.

        Raises OSError where it is we who cannot look up.
        """
        addresses = self.known(host, self._now())
        if addresses is not None:
            return addresses
        self._use.misses += 1
        try:
            literal = parse_address(host)
        except ValueError as error:
            return Unusable(Fault.DNS_FAILED, f"cannot resolve {host}: {error}")
        if literal is not None:
            return self._judge(host, [literal], inf)
        lookup = self._lookups.get(host)
        if lookup is None:
            lookup = self._lookups[host] = asyncio.create_task(self._look_up(host))
            lookup.add_done_callback(_retrieve)
        # Shielded: whoever gives up waiting leaves the answer to the others.
        return await asyncio.shield(lookup)

    async def check(self, host: str, port: int, *, seconds: float = CHECK_SECONDS) -> tuple[str, ...]:
        """Judge a host as an endpoint is made: its addresses, or none where it does not resolve (yet).

        Raises: Invalid (path `url`, code `address_refused`) where an address of it must not be delivered to. Every
        attempt judges again, so an empty answer lets nothing through.
        """
        try:
            async with asyncio.timeout(seconds):
                found = await self.find(host)
        except OSError:  # TimeoutError too
            return ()
        if isinstance(found, tuple):
            return found
        if found.fault is Fault.ADDRESS_REFUSED:
            raise Invalid(f"the URL cannot be delivered to: {found.detail}", path="url", code="address_refused")
        return ()

    async def refusal(self, host: str, port: int) -> str | None:
        """Why a host is refused as an endpoint is made; None where it is not, as far as is known. See `check`."""
        try:
            await self.check(host, port)
        except Invalid as error:
            return str(error)
        return None

    def prefer(self, host: str, address: str) -> None:
        """Try this address of the host first from now on: it answered when others did not."""
        entry = self._entries.get(host)
        if entry is not None and address in entry.addresses:
            entry.addresses = (address, *(other for other in entry.addresses if other != address))

    @property
    def cached(self) -> CacheFacts:
        """Hosts with their addresses: a miss is one that was looked up, waited for or read from its own name."""
        return self._use.facts(len(self._entries))

    async def close(self) -> None:
        lookups = list(self._lookups.values())
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)
        await self._resolver.close()

    async def _look_up(self, host: str) -> tuple[str, ...] | Unusable:
        try:
            async with self._waits.within(LOOKUP_SECONDS_MAX):
                answer = await self._resolver.lookup(host.removesuffix("."))
        except TimeoutError:
            return Unusable(Fault.DNS_TIMEOUT, f"cannot resolve {host}: the DNS servers did not answer")
        finally:
            del self._lookups[host]
        if isinstance(answer, LookupFailed):
            fault = Fault.DNS_TIMEOUT if answer.timed_out else Fault.DNS_FAILED
            return Unusable(fault, f"cannot resolve {host}: {answer.detail}")
        addresses = [ip_address(text) for text in answer.addresses]
        if not addresses:
            return Unusable(Fault.DNS_FAILED, f"cannot resolve {host}: the name has no address in DNS")
        kept_seconds = min(max(answer.ttl_seconds, TTL_SECONDS_MIN), TTL_SECONDS_MAX)
        return self._judge(host, addresses, self._now() + kept_seconds)

    def _judge(self, host: str, addresses: list[Address], expires_at: float) -> tuple[str, ...] | Unusable:
        for address in addresses:
            kind = refusal(address, self._policy)
            if kind is not None:
                log.info("target.address_refused", host=host, address=str(address), kind=kind.name.lower())
                return Unusable(Fault.ADDRESS_REFUSED, explain(address, kind, host=host))
        usable = _interleaved(addresses)[:ADDRESSES_MAX]
        self._entries.pop(host, None)  # what is renewed goes to the end, so that the oldest go first
        if len(self._entries) >= ENTRIES_MAX:
            del self._entries[next(iter(self._entries))]
        self._entries[host] = _Entry(usable, expires_at)
        return usable


def _interleaved(addresses: list[Address]) -> tuple[str, ...]:
    """IPv4 and IPv6 in turn, IPv4 first, without repeats."""
    plain = [unmapped(address) for address in addresses]
    v4 = [str(address) for address in plain if address.version == 4]
    v6 = [str(address) for address in plain if address.version == 6]
    pairs = chain.from_iterable(zip_longest(v4, v6))
    return tuple(dict.fromkeys(address for address in pairs if address is not None))


def _retrieve(lookup: asyncio.Task[tuple[str, ...] | Unusable]) -> None:
    """Take note of an error that everybody stopped waiting for, so that asyncio does not complain of it."""
    if not lookup.cancelled():
        lookup.exception()
