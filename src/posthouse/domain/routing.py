"""Which endpoints an event reaches.

A pattern is a type name, `*` for all, or a prefix: `order.*` matches `order.created` and `order.item.added`, not `order`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from posthouse.domain.cache_use import CacheUse
from posthouse.domain.endpoint import AppConfig, Endpoint
from posthouse.domain.event import is_type_name
from posthouse.domain.ids import EndpointId

ROUTES_CACHED_MAX: Final = 1_000


def is_pattern(text: str) -> bool:
    """Whether `text` may stand in an endpoint's `events`."""
    return text == "*" or is_type_name(text.removesuffix(".*"))


def matches_type(patterns: Iterable[str], event_type: str) -> bool:
    """Whether any pattern matches; no pattern at all matches everything."""
    some = False
    for pattern in patterns:
        some = True
        if pattern in ("*", event_type):
            return True
        if pattern.endswith(".*") and event_type.startswith(pattern[:-1]):
            return True
    return not some


def matches_channels(endpoint: tuple[str, ...], event: tuple[str, ...]) -> bool:
    """An endpoint without channels hears all; one with channels hears events that share one."""
    return not endpoint or any(channel in endpoint for channel in event)


class Router:
    """An `AppConfig` compiled for routing: by type once, then a look-up. Bounded, since types come from outside. `use` counts
    the look-ups, of several routers together."""

    __slots__ = ("_by_id", "_by_type", "_channels", "_use", "config")

    def __init__(self, config: AppConfig, use: CacheUse | None = None) -> None:
        self.config = config
        self._use = CacheUse() if use is None else use
        self._by_id = {endpoint.id: endpoint for endpoint in config.endpoints}
        self._by_type: dict[str, tuple[Endpoint, ...]] = {}
        self._channels = any(endpoint.channels for endpoint in config.endpoints)

    def endpoint(self, endpoint_id: EndpointId) -> Endpoint | None:
        """The endpoint with this id, enabled or not."""
        return self._by_id.get(endpoint_id)

    @property
    def routes(self) -> int:
        """How many types it has been compiled for."""
        return len(self._by_type)

    def route(self, event_type: str, channels: tuple[str, ...]) -> tuple[Endpoint, ...]:
        """The enabled endpoints that the event reaches, in the order of their creation."""
        endpoints = self._by_type.get(event_type)
        if endpoints is not None:
            self._use.hits += 1
        else:
            self._use.misses += 1
            endpoints = tuple(e for e in self.config.endpoints if e.enabled and matches_type(e.events, event_type))
            if len(self._by_type) >= ROUTES_CACHED_MAX:
                self._by_type.clear()
            self._by_type[event_type] = endpoints
        if self._channels:
            return tuple(e for e in endpoints if matches_channels(e.channels, channels))
        return endpoints
