"""What a cache is worth, in plain integers: its owner counts, and whoever scrapes reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol


class CacheFacts(NamedTuple):
    """How many entries a cache has now, and how often since the process began what was asked of it was there (`hits`) and was
    not (`misses`)."""

    entries: int
    hits: int
    misses: int


class CacheUse:
    """Counted by the cache itself. What a quick look does not find, and a slower one then looks for, is asked for once: the
    quick look counts its hits only."""

    __slots__ = ("hits", "misses")

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0

    def facts(self, entries: int) -> CacheFacts:
        """With so many entries in it now."""
        return CacheFacts(entries, self.hits, self.misses)


class _Info(Protocol):
    @property
    def hits(self) -> int: ...

    @property
    def misses(self) -> int: ...

    @property
    def currsize(self) -> int: ...


class _Remembering(Protocol):
    def cache_info(self) -> _Info: ...


def of_function(function: _Remembering) -> Callable[[], CacheFacts]:
    """The facts of a function with `functools.lru_cache`, which counts by itself."""

    def facts() -> CacheFacts:
        info = function.cache_info()
        return CacheFacts(info.currsize, info.hits, info.misses)

    return facts
