"""Tokens of OAuth 2 for endpoints whose targets want them: asked for once, kept in memory, renewed ahead of their end.

They are neither stored nor logged, and each process has its own.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from posthouse.domain.cache_use import CacheFacts, CacheUse
from posthouse.domain.exchange import Answer, Failure, Fault, Result, Timings
from posthouse.domain.limits import OAUTH2_TOKENS_MAX
from posthouse.ports.clock import Clock
from posthouse.ports.transport import Transport
from posthouse.wire.authentication import TokenGrant
from posthouse.wire.tokens import NoToken, read_token

AHEAD_SECONDS: Final = 60.0  # before its end a token is renewed, and
AHEAD_SHARE: Final = 0.2  # not before the last fifth of its time
SLACK_SECONDS: Final = 1.0  # before its end it is not used any more: a request takes time
AGAIN_SECONDS: Final = 5.0  # until a renewal that failed is tried again, while the old token still holds
FAILED_SECONDS: Final = 1.0  # for which a failure answers for everybody who asks
REFUSED_SECONDS: Final = 10.0  # in which a token that came after a 401 is not given up for another 401

Bearer = str | Failure
"""A token, or why there is none."""


class _Entry:
    """What is known of one grant. `token` is empty where there is none; times are on the boot clock."""

    __slots__ = ("expires_at", "failed", "failed_until", "fetching", "refresh_at", "refused_at", "token")

    def __init__(self) -> None:
        self.token = ""
        self.expires_at = 0.0
        self.refresh_at = 0.0
        self.fetching: asyncio.Task[Bearer] | None = None
        self.failed: Failure | None = None
        self.failed_until = 0.0
        self.refused_at = float("-inf")


class Tokens:
    """The tokens of one process, at most OAUTH2_TOKENS_MAX, those used last."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._use = CacheUse()

    async def bearer(self, grant: TokenGrant, *, seconds: float) -> Bearer:
        """A token that holds now. One request brings it to all who wait; one that is about to end is renewed meanwhile.

        Waits at most so many seconds. Raises what `Transport.send` does: faults of our own.
        """
        entry = self._entry(grant)
        now = self._clock.boot()
        if entry.token and now < entry.expires_at:
            self._use.hits += 1
            if now >= entry.refresh_at and entry.fetching is None:
                self._fetch(grant, entry)
            return entry.token
        self._use.misses += 1
        if entry.fetching is None:
            if entry.failed is not None and now < entry.failed_until:
                return entry.failed
            self._fetch(grant, entry)
        fetching = entry.fetching
        assert fetching is not None, "it has just begun, or was under way"
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(fetching)  # whoever gives up waiting leaves the answer to the others
        except TimeoutError:
            waited = f"no token from the token endpoint within {seconds:g} s"
            return _failure(Fault.OAUTH2_TOKEN_TIMEOUT, waited, self._clock.boot() - now)

    def refused(self, grant: TokenGrant, token: str) -> bool:
        """The target answered 401 to this token: whether the next one asked for is another one.

        Not so where this one came after a 401 already, a moment ago: then the target refuses more than a token.
        """
        entry = self._entry(grant)
        if entry.token != token:
            return True  # somebody was told before us
        now = self._clock.boot()
        if now < entry.refused_at + REFUSED_SECONDS:
            return False
        entry.refused_at = now
        entry.token = ""
        return True

    @property
    def cached(self) -> CacheFacts:
        """Grants: a miss is one whose token was waited for, or could not be had."""
        return self._use.facts(len(self._entries))

    def _entry(self, grant: TokenGrant) -> _Entry:
        entry = self._entries.get(grant.identity)
        if entry is None:
            entry = self._entries[grant.identity] = _Entry()
            if len(self._entries) > OAUTH2_TOKENS_MAX:
                self._entries.popitem(last=False)
        else:
            self._entries.move_to_end(grant.identity)
        return entry

    def _fetch(self, grant: TokenGrant, entry: _Entry) -> None:
        entry.fetching = asyncio.create_task(self._ask(grant, entry))
        entry.fetching.add_done_callback(_retrieve)

    async def _ask(self, grant: TokenGrant, entry: _Entry) -> Bearer:
        try:
            began = self._clock.boot()
            result = await self._transport.send(grant.request)
            now = self._clock.boot()
            read = read_token(result) if isinstance(result, Answer) else NoToken(_unanswered(result))
            if isinstance(read, NoToken):
                fault = Fault.OAUTH2_TOKEN_TIMEOUT if _timed_out(result) else Fault.OAUTH2_TOKEN_FAILED
                failure = entry.failed = _failure(fault, read.detail, now - began)
                entry.failed_until = now + FAILED_SECONDS
                entry.refresh_at = now + AGAIN_SECONDS
                return failure
            # It counts from when it was asked for: that is before it was made.
            entry.expires_at = began + max(read.seconds - SLACK_SECONDS, read.seconds / 2)
            entry.refresh_at = began + read.seconds - min(AHEAD_SECONDS, read.seconds * AHEAD_SHARE)
            entry.token, entry.failed = read.text, None
            return read.text
        finally:
            entry.fetching = None


_TIMEOUTS: Final = frozenset(
    {
        Fault.DNS_TIMEOUT,
        Fault.CONNECT_TIMEOUT,
        Fault.TLS_TIMEOUT,
        Fault.PROXY_TIMEOUT,
        Fault.FIRST_BYTE_TIMEOUT,
        Fault.TOTAL_TIMEOUT,
    }
)


def _timed_out(result: Result) -> bool:
    return isinstance(result, Failure) and result.fault in _TIMEOUTS


def _unanswered(failure: Failure) -> str:
    return f"the token endpoint gave no answer: {failure.detail}"


def _failure(fault: Fault, detail: str, seconds: float) -> Failure:
    return Failure(fault, detail, Timings(total_us=int(seconds * 1_000_000)))


def _retrieve(fetching: asyncio.Task[Bearer]) -> None:
    """Take note of an error that nobody waited for, so that asyncio does not complain of it."""
    if not fetching.cancelled():
        fetching.exception()
