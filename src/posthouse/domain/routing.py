"""Which endpoints an event reaches.

A pattern is a type name, `*` for all, or a prefix: `order.*` matches `order.created` and `order.item.added`, not `order`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from posthouse.domain.cache_use import CacheUse
from posthouse.domain.endpoint import AppConfig, Endpoint
from posthouse.domain.event import is_type_name
from posthouse.domain.expression import Expression
from posthouse.domain.ids import EndpointId
from posthouse.domain.matching import Condition, Verdict, has_filters, key_of

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


class Asked(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A condition that decides whether an event reaches some endpoints; `endpoint` where it is of that one alone."""

    condition: Condition
    endpoint: Endpoint | None = None


Entry = tuple[Endpoint, Asked | None]
"""An endpoint whose type and channels match, and what else decides; None: nothing."""


def judged(entries: Iterable[Entry], verdicts: Mapping[Asked, Verdict]) -> Iterator[tuple[Endpoint, Verdict]]:
    """Whether the event reaches each of these endpoints, by the verdicts on what they ask; all that is asked has one."""
    for endpoint, asked in entries:
        yield endpoint, True if asked is None else verdicts[asked]


def distinct(asked: Iterable[Asked]) -> list[Expression]:
    """The expressions of all of these, each once."""
    return list(dict.fromkeys([expression for one in asked for expression in one.condition.expressions]))


class Router:
    """An `AppConfig` compiled for routing: by type once, then a look-up. Bounded, since types come from outside. `use` counts
    the look-ups, of several routers together. `filtered`: some endpoints have filters, so that `entries` is to be asked."""

    __slots__ = ("_asked", "_by_id", "_by_type", "_channels", "_entries", "_use", "config", "filtered")

    def __init__(self, config: AppConfig, use: CacheUse | None = None) -> None:
        self.config = config
        self._use = CacheUse() if use is None else use
        self._by_id = {endpoint.id: endpoint for endpoint in config.endpoints}
        self._by_type: dict[str, tuple[Endpoint, ...]] = {}
        self._channels = any(endpoint.channels for endpoint in config.endpoints)
        self._entries: dict[str, tuple[Entry, ...]] = {}
        self._asked = _asked(config.endpoints)
        self.filtered = bool(self._asked)

    def endpoint(self, endpoint_id: EndpointId) -> Endpoint | None:
        """The endpoint with this id, enabled or not."""
        return self._by_id.get(endpoint_id)

    def only(self, endpoint_id: EndpointId) -> tuple[Endpoint, ...]:
        """Whom an event reaches that is for one endpoint alone, whatever that listens to: it, if it is enabled."""
        endpoint = self._by_id.get(endpoint_id)
        return (endpoint,) if endpoint is not None and endpoint.enabled else ()

    @property
    def routes(self) -> int:
        """How many types it has been compiled for."""
        return len(self._by_type)

    def route(self, event_type: str, channels: tuple[str, ...]) -> tuple[Endpoint, ...]:
        """The enabled endpoints whose types and channels match, in the order of their creation: all that the event reaches,
        where nothing is `filtered`."""
        endpoints = self._by_type.get(event_type)
        if endpoints is not None:
            self._use.hits += 1
        else:
            self._use.misses += 1
            endpoints = tuple(e for e in self.config.endpoints if e.enabled and matches_type(e.events, event_type))
            if len(self._by_type) >= ROUTES_CACHED_MAX:
                self._by_type.clear()
                self._entries.clear()
            self._by_type[event_type] = endpoints
        if self._channels:
            return tuple(e for e in endpoints if matches_channels(e.channels, channels))
        return endpoints

    def entries(self, event_type: str, channels: tuple[str, ...]) -> tuple[Entry, ...]:
        """As `route`, each with what its filters ask: endpoints with the same filters share that."""
        if self._channels:
            return tuple([(e, self._asked.get(e.id)) for e in self.route(event_type, channels)])
        entries = self._entries.get(event_type)
        if entries is None or event_type not in self._by_type:
            entries = tuple([(e, self._asked.get(e.id)) for e in self.route(event_type, channels)])
            self._entries[event_type] = entries
        else:
            self._use.hits += 1
        return entries


def _asked(endpoints: Sequence[Endpoint]) -> dict[EndpointId, Asked]:
    """What the filters of each endpoint ask, for those that have any."""
    shared: dict[object, Asked] = {}
    found: dict[EndpointId, Asked] = {}
    for endpoint in endpoints:
        if not has_filters(endpoint):
            continue
        key = key_of(endpoint)
        asked = shared.get(key)
        if asked is None:
            asked = shared[key] = Asked(Condition(endpoint))
        found[endpoint.id] = Asked(asked.condition, endpoint) if asked.condition.personal else asked
    return found
