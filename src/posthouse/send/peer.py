"""An endpoint as we speak to it: its current revision, compiled, its URLs with their circuits, and how it has been doing."""

from __future__ import annotations

import math
from secrets import token_bytes
from typing import Final

import msgspec
import structlog

from posthouse.domain.balance import order_of, urls_of
from posthouse.domain.circuit import DEFAULT_POLICY, Circuit, CircuitPolicy, CircuitState, Health
from posthouse.domain.delivery import Delivery, HealthTurn, OwedReason
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import Invalid
from posthouse.domain.event import Event
from posthouse.domain.limits import FORWARD_URLS_MAX, HELD_TURN_SECONDS, MEASURED_FACTOR
from posthouse.wire.encryption.answers import Opener, opener_of
from posthouse.wire.renderer import AnyRenderer, renderer_of
from posthouse.wire.transforming import Transformation, transformation_of

log = structlog.get_logger()


class Route:
    """One URL of an endpoint. `renderer` is None where it cannot be spoken to (the URL or a secret is refused by now)."""

    __slots__ = ("circuit", "renderer", "url")

    def __init__(self, endpoint: Endpoint, url: str, circuit: Circuit) -> None:
        self.url = url
        self.circuit = circuit
        self.renderer = _compiled(endpoint, url)


ELSEWHERE: Final = -1
"""In place of the number of a URL: what is sent was forwarded, and goes to a URL of its own."""


class Peer:
    """`failing_since` (unix seconds) is since when the endpoint has confirmed nothing, None while it confirms; `held_until`
    how long it asked to be left alone; `calm` says that neither that nor a circuit is in the way of a request.

    `usable` is false where none of its URLs can be spoken to: that is for us to mend, so its deliveries wait. `transformation`
    is what its events go through before they are written; `growth` by how much they were seen to grow in it. `opener` opens its
    answers, where they are encrypted.
    """

    __slots__ = (
        "_elsewhere",
        "_policy",
        "calm",
        "endpoint",
        "failing_since",
        "growth",
        "held_until",
        "opener",
        "routes",
        "transformation",
        "usable",
        "writer",
    )

    def __init__(self, endpoint: Endpoint, circuits: CircuitPolicy = DEFAULT_POLICY) -> None:
        self._policy = circuits
        self.endpoint = endpoint
        health = endpoint.health
        self.failing_since = health.failing_since
        self.held_until = health.held_until or 0.0
        self._elsewhere: dict[str, Route] = {}
        self.routes = tuple([Route(endpoint, url, Circuit(circuits, health)) for url in urls_of(endpoint)])
        self.growth = 1.0
        self._compile()
        self._look()

    def configure(self, endpoint: Endpoint) -> None:
        """Go on with another revision; requests under way finish with the one they began with. What is known of a URL stays
        with it."""
        before = self.endpoint
        if endpoint.enabled and not before.enabled:
            self.failing_since = None
            self.held_until = 0.0
        self.endpoint = endpoint
        made_with = (before.revision, before.secrets, before.keys)
        if (endpoint.revision, endpoint.secrets, endpoint.keys) != made_with:
            self._elsewhere.clear()
            circuits = {route.url: route.circuit for route in self.routes}
            self.routes = tuple(
                [Route(endpoint, url, circuits.get(url) or Circuit(self._policy)) for url in urls_of(endpoint)]
            )
            self._compile()
        if endpoint.enabled and not before.enabled:
            for route in self.routes:
                route.circuit = Circuit(self._policy)
        self._look()

    def _compile(self) -> None:
        """Raises nothing: without what its events, and its answers, must go through, none of its URLs can be spoken to."""
        self.transformation: Transformation | None = None
        self.opener: Opener | None = None
        try:
            self.transformation = transformation_of(self.endpoint)
            self.opener = opener_of(self.endpoint)
        except Invalid as error:
            log.error("endpoint.unusable", endpoint=self.endpoint.id.hex(), error=str(error))
            for route in self.routes:
                route.renderer = None

    def _look(self) -> None:
        # A body is the same for each of its URLs: one of their renderers speaks for all.
        self.writer = next((route.renderer for route in self.routes if route.renderer is not None), None)
        self.usable = self.writer is not None
        self.calm = not self.held_until and all(route.circuit.closed for route in self.routes)

    def frame_bytes(self) -> int:
        """The body of a batch has so many bytes before it has any event."""
        return 0 if self.writer is None else self.writer.frame_bytes

    def added_bytes(self, event: Event) -> int:
        """What an event adds to the body of a batch; before it is transformed, what it is likely to."""
        size = len(event.payload) if self.writer is None else self.writer.added_bytes(event)
        return size if self.growth == 1.0 else math.ceil(size * self.growth)

    @property
    def measured_bytes(self) -> float:
        """A batch brings at most so many bytes of payloads: to measure them takes as long as to write them."""
        most = None if self.writer is None else self.writer.at_once_bytes
        return math.inf if most is None else MEASURED_FACTOR * most

    # When it may be spoken to, and where

    def wait(self, now: float) -> float:
        """Seconds until a request may begin: 0 now, infinity when one under way has ended."""
        if self.held_until:
            if now < self.held_until:
                return self.held_until - now
            self.held_until = 0.0
            self._look()
        best = math.inf
        for route in self.routes:
            circuit = route.circuit
            if route.renderer is None:
                continue
            if circuit.admits(now):
                return 0.0
            if circuit.state is CircuitState.OPEN:
                best = min(best, circuit.probe_at - now)
        return best

    @property
    def works(self) -> bool:
        """Whether one of its URLs does, as far as is known; what goes to another may be a probe."""
        return any(route.renderer is not None and route.circuit.closed for route in self.routes)

    @property
    def quiet_reason(self) -> OwedReason:
        """Why nothing is sent."""
        return OwedReason.HELD if self.held_until else OwedReason.CIRCUIT_OPEN

    def choose(self, delivery: Delivery, now: float, draw: float) -> int | None:
        """The URL for this delivery: the first in its order that was not tried and may be spoken to; None: there is none."""
        if now < self.held_until:
            return None  # it asked for that while whether this one may go was looked up
        if delivery.event.to_url is not None:
            return ELSEWHERE
        routes = self.routes
        if len(routes) == 1:
            route = routes[0]
            usable = route.renderer is not None and route.circuit.admits(now) and not delivery.tried
            return 0 if usable else None
        for index in order_of(self.endpoint, delivery.event, draw):
            route = routes[index]
            if not delivery.tried >> index & 1 and route.renderer is not None and route.circuit.admits(now):
                return index
        return None

    def elsewhere(self, event: Event) -> Route:
        """Where a forwarded event goes: it is spoken to as the endpoint is, and is sent what was forwarded as it is. Its
        circuit counts for nothing: each delivery there stands for itself."""
        url = event.to_url
        assert url is not None, "it was chosen for that"
        route = self._elsewhere.get(url)
        if route is None:
            if len(self._elsewhere) >= FORWARD_URLS_MAX:
                self._elsewhere.clear()
            endpoint = msgspec.structs.replace(self.endpoint, transform=None, dynamic_url=None)
            route = self._elsewhere[url] = Route(endpoint, url, Circuit(self._policy))
        return route

    # How it does

    def ended(
        self,
        circuit: Circuit,
        token: int,
        *,
        confirmed: bool | None,
        down: bool,
        held_until: float | None,
        now: float,
    ) -> HealthTurn | None:
        """Note a request's end; `confirmed` is None where another URL is to say. The turn, where the endpoint began to fail,
        confirms again, asked for time, or its circuit moved."""
        turned = circuit.ended(token, failed=down, now=now)
        if confirmed is not None and confirmed is not (self.failing_since is None):
            self.failing_since = None if confirmed else now
            turned = True
        if held_until is not None and held_until > self.held_until:
            turned = turned or held_until > self.held_until + HELD_TURN_SECONDS
            self.held_until = held_until
            self.calm = False
        if not turned:
            return None
        self._look()
        return HealthTurn(self.endpoint.partition, self.endpoint.id, self.health)

    @property
    def health(self) -> Health:
        """As it is stored. Where there are several URLs, the endpoint is as well as the best of them."""
        circuit = min((route.circuit for route in self.routes), key=lambda c: (_ORDER[c.state], c.probe_at))
        return Health(
            failing_since=self.failing_since,
            circuit=circuit.state,
            opened_at=circuit.opened_at,
            probe_at=circuit.probe_at if circuit.state is CircuitState.OPEN else None,
            trips=circuit.trips,
            held_until=self.held_until or None,
        )


_ORDER = {CircuitState.CLOSED: 0, CircuitState.HALF_OPEN: 1, CircuitState.OPEN: 2}


def _compiled(endpoint: Endpoint, url: str) -> AnyRenderer | None:
    try:
        return renderer_of(endpoint, random=token_bytes, url=url, checked=True)
    except (Invalid, ValueError) as error:
        log.error("endpoint.unusable", endpoint=endpoint.id.hex(), revision=endpoint.revision, error=str(error))
        return None
