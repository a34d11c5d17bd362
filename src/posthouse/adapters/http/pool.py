"""Idle connections, kept for the next request with the same key."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from posthouse.adapters.http.connection import Connection, PoolKey
from posthouse.domain.cache_use import CacheFacts, CacheUse

IDLE_PER_KEY_MAX: Final = 128
IDLE_MAX: Final = 1_024
IDLE_SECONDS_MAX: Final = 30.0
SURPLUS_SECONDS_MAX: Final = 1.0
"""What a burst opened beyond IDLE_PER_KEY_MAX is kept this long: to the next turn of the burst, not to the next hour's. Closed
at once it would be opened again by the next request, which costs more than the request."""


class Pool:
    """At most `total_max` idle connections, each for `seconds_max` (the sweep closes them). Of one key, what is beyond
    `per_key_max` is kept for `surplus_seconds_max`, while half of the pool is free: it takes no other key's place.

    A connection is in the pool or in one request's hands, never both. The one used last is taken first, so that the
    surplus grows old and goes; over the total, the one idle longest makes room.
    """

    def __init__(self, *, per_key_max: int, total_max: int, seconds_max: float, surplus_seconds_max: float) -> None:
        self._per_key_max = per_key_max
        self._surplus_seconds_max = surplus_seconds_max
        self._total_max = total_max
        self._seconds_max = seconds_max
        self._by_key: dict[PoolKey, list[Connection]] = {}
        self._by_age: OrderedDict[Connection, None] = OrderedDict()
        self._use = CacheUse()

    def __len__(self) -> int:
        return len(self._by_age)

    @property
    def cached(self) -> CacheFacts:
        """Idle connections: a miss is a request that had to connect."""
        return self._use.facts(len(self._by_age))

    def take(self, key: PoolKey) -> Connection | None:
        """Hand out an idle connection of exactly this key."""
        idle = self._by_key.get(key)
        if not idle:
            self._use.misses += 1
            return None
        self._use.hits += 1
        connection = idle.pop()
        del self._by_age[connection]
        if not idle:
            del self._by_key[key]
        return connection

    def put(self, connection: Connection, now: float) -> None:
        """Keep a reusable connection, or close one: this, where it is surplus and there is no room, or the one idle longest."""
        idle = self._by_key.get(connection.key)
        if idle is None:
            idle = self._by_key[connection.key] = []
        seconds = self._seconds_max
        if len(idle) >= self._per_key_max:
            if len(self._by_age) >= self._total_max // 2:
                connection.abort()
                return
            seconds = self._surplus_seconds_max
        idle.append(connection)
        self._by_age[connection] = None
        connection.deadline = now + seconds
        if len(self._by_age) > self._total_max:
            oldest = next(iter(self._by_age))
            self.discard(oldest)
            oldest.abort()

    def discard(self, connection: Connection) -> None:
        """Forget a connection that has closed, if it is here."""
        if connection not in self._by_age:
            return
        del self._by_age[connection]
        idle = self._by_key[connection.key]
        idle.remove(connection)
        if not idle:
            del self._by_key[connection.key]
