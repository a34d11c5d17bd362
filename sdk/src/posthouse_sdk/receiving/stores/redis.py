"""A replay store in Redis, for a client of the package `redis`: `redis.Redis` or `redis.asyncio.Redis` (or a cluster's).

One key an event. Redis ends claims and confirmations by its own clock. Give it a Redis that does not evict (`noeviction`): what
is evicted is let in again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from posthouse_sdk.errors import ReceiverError
from posthouse_sdk.receiving.store import CLAIM_SECONDS, KEEP_SECONDS, Claim, Terms

if TYPE_CHECKING:
    import redis
    import redis.asyncio

PREFIX: Final = "posthouse:received:"

_DONE: Final = b"confirmed"
_HELD_BY: Final = b"held:"
# Only if the claim is still one's own: by then it may have ended, and be somebody else's.
_RELEASE: Final = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class _Keys:
    """What both kinds of client are asked, as names and values."""

    def __init__(self, prefix: str, claim_seconds: float, keep_seconds: float) -> None:
        terms = Terms(claim_seconds, keep_seconds)
        self._prefix: Final = prefix
        self.claim_ms: Final = max(1, round(terms.claim_seconds * 1000))
        self.keep_ms: Final = max(1, round(terms.keep_seconds * 1000))

    def name(self, key: str) -> str:
        return self._prefix + key

    @staticmethod
    def held(token: str) -> bytes:
        return _HELD_BY + token.encode()

    def standing(self, value: Any, token: str) -> Claim | None:
        """What a stored value says; None where there is none. A client may decode what it reads."""
        if value is None:
            return None
        stored = value.encode() if isinstance(value, str) else value
        if stored == _DONE:
            return Claim.CONFIRMED
        return Claim.GRANTED if stored == self.held(token) else Claim.HELD


class RedisReplayStore:
    """Over a `redis.Redis`, which is the caller's to make and to close.

    Raises: ReceiverError for an asynchronous client, or spans that make no sense.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        claim_seconds: float = CLAIM_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
        prefix: str = PREFIX,
    ) -> None:
        _check(client, asynchronous=False)
        self._redis: Final[Any] = client
        self._keys: Final = _Keys(prefix, claim_seconds, keep_seconds)

    def claim(self, key: str, token: str) -> Claim:
        name = self._keys.name(key)
        while True:
            if self._redis.set(name, self._keys.held(token), nx=True, px=self._keys.claim_ms):
                return Claim.GRANTED
            if (standing := self._keys.standing(self._redis.get(name), token)) is not None:
                return standing  # else it ended between the two questions

    def confirm(self, key: str, token: str) -> None:
        self._redis.set(self._keys.name(key), _DONE, px=self._keys.keep_ms)

    def release(self, key: str, token: str) -> None:
        self._redis.eval(_RELEASE, 1, self._keys.name(key), self._keys.held(token))

    def forget(self, key: str) -> None:
        self._redis.delete(self._keys.name(key))


class AsyncRedisReplayStore:
    """Over a `redis.asyncio.Redis`, which is the caller's to make and to close.

    Raises: ReceiverError for a blocking client, or spans that make no sense.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        *,
        claim_seconds: float = CLAIM_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
        prefix: str = PREFIX,
    ) -> None:
        _check(client, asynchronous=True)
        self._redis: Final[Any] = client
        self._keys: Final = _Keys(prefix, claim_seconds, keep_seconds)

    async def claim(self, key: str, token: str) -> Claim:
        name = self._keys.name(key)
        while True:
            if await self._redis.set(name, self._keys.held(token), nx=True, px=self._keys.claim_ms):
                return Claim.GRANTED
            if (standing := self._keys.standing(await self._redis.get(name), token)) is not None:
                return standing

    async def confirm(self, key: str, token: str) -> None:
        await self._redis.set(self._keys.name(key), _DONE, px=self._keys.keep_ms)

    async def release(self, key: str, token: str) -> None:
        await self._redis.eval(_RELEASE, 1, self._keys.name(key), self._keys.held(token))

    async def forget(self, key: str) -> None:
        await self._redis.delete(self._keys.name(key))


def _check(client: object, *, asynchronous: bool) -> None:
    """The two kinds have the same methods: taken for the other, every claim would seem granted."""
    is_asynchronous = any(cls.__module__.startswith("redis.asyncio") for cls in type(client).__mro__)
    if is_asynchronous is not asynchronous:
        right = "AsyncRedisReplayStore" if is_asynchronous else "RedisReplayStore"
        raise ReceiverError(f"a {type(client).__module__}.{type(client).__qualname__} goes into {right}")
