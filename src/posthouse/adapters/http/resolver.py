"""Names to addresses, through c-ares: it reads /etc/hosts and resolv.conf and cannot block a thread pool."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, Protocol

import aiodns
import msgspec
from aiodns import error as ares

TRY_SECONDS: Final = 2.0
TRIES: Final = 2
CHANNEL_SECONDS_MAX: Final = 60.0
CHANNEL_SECONDS_AFTER_NEGATIVE: Final = 1.0
HOST_LENGTH_MAX: Final = 253  # RFC 1035, section 2.3.4, without the final dot
LABEL_LENGTH_MAX: Final = 63


class Lookup(msgspec.Struct, frozen=True):
    """Every address of a name, IPv4 and IPv6, in the order of the answer, and how many seconds it may be kept."""

    addresses: tuple[str, ...]
    ttl_seconds: float


class LookupFailed(msgspec.Struct, frozen=True):
    """The name has no address, or none was told. `detail` is for a person to read."""

    detail: str
    timed_out: bool = False


class Resolver(Protocol):
    """Looks names up. A test brings its own, to let a name change its mind."""

    async def lookup(self, name: str) -> Lookup | LookupFailed:
        """Ask for every address of `name` (lower-case ASCII, no final dot; never an address).

        Raises OSError where it is we who cannot ask: no DNS server reached, no file descriptor left.
        """
        ...

    async def close(self) -> None: ...


# These say that nobody was asked: the target has no part in them.
_OURS: Final = {
    ares.ARES_ECONNREFUSED: errno.ECONNREFUSED,
    ares.ARES_EFILE: errno.EMFILE,
    ares.ARES_ENOMEM: errno.ENOMEM,
    ares.ARES_ECANCELLED: errno.ECANCELED,
    ares.ARES_EDESTRUCTION: errno.ECANCELED,
    ares.ARES_ENOTINITIALIZED: errno.ECANCELED,
}
_REASONS: Final = {
    ares.ARES_ENOTFOUND: "the name does not exist in DNS",
    ares.ARES_ENODATA: "the name has no address in DNS",
    ares.ARES_ESERVFAIL: "the DNS server failed to answer (SERVFAIL)",
    ares.ARES_EREFUSED: "the DNS server refused to answer (REFUSED)",
    ares.ARES_EBADNAME: "not a valid host name",
    ares.ARES_EBADRESP: "the DNS answer is malformed",
    ares.ARES_ETIMEOUT: "the DNS servers did not answer",
}


class _Channel:
    """A c-ares channel and how many lookups are under way on it."""

    def __init__(self, resolver: aiodns.DNSResolver, now: float) -> None:
        self.resolver = resolver
        self.made_at = now
        self.answered_no = False
        self.lookups = 0

    def too_old(self, now: float) -> bool:
        limit = CHANNEL_SECONDS_AFTER_NEGATIVE if self.answered_no else CHANNEL_SECONDS_MAX
        return now - self.made_at > limit


class AresResolver:
    """The `Resolver` of production.

    A channel of c-ares keeps answers for as long as an hour, "no such name" too, and cannot be told otherwise from
    Python. So a channel is replaced (a fifth of a millisecond) after CHANNEL_SECONDS_MAX, and sooner once it said no: a
    record that somebody has just added is seen by the next attempt.
    """

    def __init__(self, *, servers: Sequence[str] | None = None, now: Callable[[], float] = monotonic) -> None:
        """`servers` (`address` or `address:port`) go before those of resolv.conf."""
        self._servers = servers
        self._now = now
        self._channel: _Channel | None = None

    async def lookup(self, name: str) -> Lookup | LookupFailed:
        if not _possible(name):
            return LookupFailed(_REASONS[ares.ARES_EBADNAME])
        channel = await self._fresh_channel()
        channel.lookups += 1
        try:
            answer = await channel.resolver.getaddrinfo(name, type=socket.SOCK_STREAM)
        except ares.DNSError as error:
            channel.answered_no = True
            code = error.args[0] if error.args else ares.ARES_EFORMERR
            if code in _OURS:
                raise OSError(_OURS[code], f"no DNS server could be asked: {error.args[-1]}") from error
            reason = _REASONS.get(code) or str(error.args[-1]).lower()
            return LookupFailed(reason, timed_out=code == ares.ARES_ETIMEOUT)
        finally:
            channel.lookups -= 1
            if channel is not self._channel and channel.lookups == 0:
                await channel.resolver.close()
        ttls = [node.ttl for node in answer.nodes] + [alias.ttl for alias in answer.cnames]
        return Lookup(tuple(node.addr[0].decode("ascii") for node in answer.nodes), float(min(ttls, default=0)))

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.resolver.close()

    async def _fresh_channel(self) -> _Channel:
        now = self._now()
        channel = self._channel
        if channel is not None and not channel.too_old(now):
            return channel
        resolver = aiodns.DNSResolver(
            nameservers=self._servers, loop=asyncio.get_running_loop(), timeout=TRY_SECONDS, tries=TRIES
        )
        fresh = self._channel = _Channel(resolver, now)
        if channel is not None and channel.lookups == 0:
            await channel.resolver.close()
        return fresh


def _possible(name: str) -> bool:
    labels = name.split(".")
    return (
        name.isascii()
        and name.isprintable()
        and len(name) <= HOST_LENGTH_MAX
        and all(0 < len(label) <= LABEL_LENGTH_MAX for label in labels)
    )
