"""Which renderer makes the requests of an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event
from posthouse.domain.exchange import Request, Target
from posthouse.wire.authentication import TokenGrant
from posthouse.wire.render import Renderer
from posthouse.wire.spoken import Order, Random, SpokenRenderer


class AnyRenderer(Protocol):
    """See `Renderer`. `grant` is where the token comes from that it must be given, None where it takes none."""

    @property
    def target(self) -> Target: ...

    @property
    def grant(self) -> TokenGrant | None: ...

    @property
    def at_once_bytes(self) -> int | None:
        """None: it writes everything at once; else what brings more bytes of payloads is an `order`."""
        ...

    def order(
        self,
        events: Sequence[Event],
        *,
        now: float,
        replay: bool,
        token: str | None = None,
        request_id: bytes | None = None,
    ) -> Order: ...

    @property
    def frame_bytes(self) -> int: ...

    def added_bytes(self, event: Event) -> int: ...

    def render(self, event: Event, *, now: float, replay: bool, token: str | None = None) -> Request: ...

    def render_batch(
        self, events: Sequence[Event], *, now: float, replay: bool, request_id: bytes, token: str | None = None
    ) -> Request: ...


def renderer_of(endpoint: Endpoint, *, random: Random, url: str | None = None, checked: bool = False) -> AnyRenderer:
    """Raises: Invalid with the path of what cannot be sent so, SecretError; see `Renderer` and `SpokenRenderer`."""
    if endpoint.plain:
        return Renderer(endpoint, url=url)
    return SpokenRenderer(endpoint, random=random, url=url, checked=checked)
