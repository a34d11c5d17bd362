"""A replay store in Django's cache, for a cache that all workers share: Redis, Memcached or the database.

It needs nothing but an atomic `add`. Claims and confirmations are entries of their own, so that no release can take away a
confirmation. A cache that evicts lets in again what it evicted.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from posthouse_sdk.errors import ReceiverError, ReplayStoreError
from posthouse_sdk.receiving.store import CLAIM_SECONDS, KEEP_SECONDS, Claim, Terms

PREFIX: Final = "posthouse-received-"
PLAIN_KEY_LENGTH_MAX: Final = 150  # Memcached takes 250 characters, of which the prefixes and the version are some


class DjangoCacheReplayStore:
    """Over one of Django's caches: `caches["default"]`, or its name in `CACHES`.

    Spans are whole seconds there, rounded up.

    Raises: ReceiverError for a cache that keeps nothing (`DummyCache`), or spans that make no sense.
    """

    def __init__(
        self,
        cache: Any = "default",
        *,
        claim_seconds: float = CLAIM_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
        prefix: str = PREFIX,
    ) -> None:
        terms = Terms(claim_seconds, keep_seconds)
        if isinstance(cache, str):
            from django.core.cache import caches

            cache = caches[cache]
        if type(cache).__name__ == "DummyCache":
            raise ReceiverError("this cache keeps nothing (DummyCache): name another one of CACHES")
        self._cache: Final = cache
        self._claim_seconds: Final = _whole(terms.claim_seconds)
        self._keep_seconds: Final = _whole(terms.keep_seconds)
        self._prefix: Final = prefix

    def claim(self, key: str, token: str) -> Claim:
        held, confirmed = self._names(key)
        if self._cache.get(confirmed):
            return Claim.CONFIRMED
        if not self._cache.add(held, token, self._claim_seconds) and self._cache.get(held) != token:
            return Claim.CONFIRMED if self._cache.get(confirmed) else Claim.HELD
        if self._cache.get(confirmed):  # it was confirmed, and its claim given back, between the two questions
            self._release(held, token)
            return Claim.CONFIRMED
        return Claim.GRANTED

    def confirm(self, key: str, token: str) -> None:
        held, confirmed = self._names(key)
        self._cache.set(confirmed, 1, self._keep_seconds)
        if not self._cache.get(confirmed):  # Memcached clients, for one, tell of no failure
            raise ReplayStoreError("the cache did not keep the confirmation")
        self._release(held, token)

    def release(self, key: str, token: str) -> None:
        self._release(self._names(key)[0], token)

    def forget(self, key: str) -> None:
        self._cache.delete_many(self._names(key))

    def _release(self, held: str, token: str) -> None:
        if self._cache.get(held) == token:
            self._cache.delete(held)

    def _names(self, key: str) -> tuple[str, str]:
        plain = key if len(key) <= PLAIN_KEY_LENGTH_MAX else hashlib.sha256(key.encode()).hexdigest()
        return f"{self._prefix}held-{plain}", f"{self._prefix}done-{plain}"


def _whole(seconds: float) -> int:
    return max(1, -int(-seconds // 1))
