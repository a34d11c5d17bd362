"""From an API key, or a session of a page, to its holder, at the price of a hash for those seen lately."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import TypeVar

from posthouse.domain.access import Page, Principal
from posthouse.domain.cache_use import CacheFacts, CacheUse
from posthouse.domain.errors import Unauthorised
from posthouse.domain.limits import KEY_CACHED_SECONDS, KEY_LENGTH_MAX, KEYS_CACHED_MAX, UNKNOWN_KEY_CACHED_SECONDS
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Directory

V = TypeVar("V")


def key_hash(token: str) -> bytes:
    """What is kept of a key."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def session_hash(token: str, page: Page) -> bytes:
    """What is kept of a session: never the hash of a key, whatever the text, nor one of the other page's, so that none is taken
    for another."""
    return hmac.digest(f"posthouse {page} session".encode(), token.encode("utf-8", "surrogatepass"), "sha256")


def link_hash(code: str, page: Page) -> bytes:
    """The same for the code of a link."""
    return hmac.digest(f"posthouse {page} link".encode(), code.encode("utf-8", "surrogatepass"), "sha256")


class Authenticator:
    """Remembers keys and sessions by their hash, and for a shorter time those that nobody holds; both are bounded. A look-up is
    by that hash alone: how long it takes tells nothing of what is there.

    A key that another process revoked, and what was signed in with it, works here for KEY_CACHED_SECONDS at most; one revoked
    in this process ends at once (`forget`).
    """

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._known: dict[bytes, tuple[Principal, float]] = {}
        self._unknown: dict[bytes, float] = {}
        self._known_use = CacheUse()
        self._unknown_use = CacheUse()
        self._generation = 0

    def cached(self, token: str) -> Principal | None:
        """The holder, if this key was looked up lately."""
        return self.known(key_hash(token))

    def known(self, hashed: bytes) -> Principal | None:
        """The same, by what is kept of the key."""
        found = self._known.get(hashed)
        if found is None or found[1] <= self._clock.boot():
            return None
        self._known_use.hits += 1
        return found[0]

    async def authenticate(self, token: str) -> Principal:
        """Raises Unauthorised for a key that nobody holds (any more), StoreUnavailable."""
        found = self.cached(token)
        if found is not None:
            return found
        if len(token) > KEY_LENGTH_MAX:
            raise _unauthorised()
        self._known_use.misses += 1
        found = await self._look_up(key_hash(token), self._directory.principal)
        if found is None:
            raise _unauthorised()
        return found

    async def authenticate_session(self, token: str, page: Page) -> Principal:
        """The same for a session of a page. Raises Unauthorised where it is over, StoreUnavailable."""
        hashed = session_hash(token, page)
        known = self._known.get(hashed)
        if known is not None and known[1] > self._clock.boot():
            self._known_use.hits += 1
            return known[0]
        self._known_use.misses += 1
        session = self._directory.session if page == "console" else self._directory.portal_session
        found = await self._look_up(hashed, lambda sought: session(sought, now=self._clock.now()))
        if found is None:
            raise Unauthorised("you are not signed in any more; sign in again")
        return found

    async def _look_up(
        self, hashed: bytes, look_up: Callable[[bytes], Awaitable[Principal | None]]
    ) -> Principal | None:
        if self._unknown.get(hashed, 0.0) > self._clock.boot():
            self._unknown_use.hits += 1
            return None
        self._unknown_use.misses += 1
        asked_at = self._clock.boot()
        generation = self._generation
        principal = await look_up(hashed)
        if generation != self._generation:
            # A key was revoked while we asked, perhaps this one: the answer serves this request, and is not kept.
            pass
        elif principal is None:
            _keep(self._unknown, hashed, asked_at + UNKNOWN_KEY_CACHED_SECONDS)
        else:
            lasts = KEY_CACHED_SECONDS
            if principal.session is not None:
                lasts = min(lasts, principal.session.expires_at - self._clock.now())
            _keep(self._known, hashed, (principal, asked_at + lasts))
        return principal

    @property
    def known_cached(self) -> CacheFacts:
        return self._known_use.facts(len(self._known))

    @property
    def unknown_cached(self) -> CacheFacts:
        """Keys that nobody holds: asked of only where `known_cached` had none."""
        return self._unknown_use.facts(len(self._unknown))

    def forget(self) -> None:
        """Keys changed: look every one up again."""
        self._generation += 1
        self._known.clear()
        self._unknown.clear()


def _keep(cache: dict[bytes, V], key: bytes, value: V) -> None:
    if len(cache) >= KEYS_CACHED_MAX:
        cache.clear()
    cache[key] = value


def _unauthorised() -> Unauthorised:
    return Unauthorised("this API key is not known, or was revoked")
