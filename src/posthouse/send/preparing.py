"""What the events of a request are made into before it is written: transformed, and each with the URL that it goes to.

Endpoints that ask for neither do not come this way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from posthouse.domain.delivery import Delivery
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import PosthouseError
from posthouse.domain.event import Event
from posthouse.domain.exchange import Request, Target
from posthouse.domain.expression import Facts
from posthouse.domain.ids import EventId
from posthouse.ports.expressions import Expressions
from posthouse.ports.writing import Writer
from posthouse.send.peer import Peer
from posthouse.send.rendering import written
from posthouse.wire.authentication import TokenGrant
from posthouse.wire.message import Unsendable
from posthouse.wire.payload_version import Pinning
from posthouse.wire.renderer import AnyRenderer
from posthouse.wire.spoken import Order, SpokenRenderer
from posthouse.wire.transforming import (
    TRANSFORM_FAILED,
    NotEvaluated,
    NotTransformed,
    Transformation,
    Transformed,
    transformation_of,
)

GROWTH_KEPT: Final = 0.9  # of what payloads were seen to grow by, from one batch to the next
GROWTH_MARGIN: Final = 1.05


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """The events of a request as they are sent."""

    events: dict[EventId, Transformed]

    @property
    def url(self) -> str | None:
        """Where it goes; None: to the endpoint's own URL. Several events in one request have no other."""
        return next(iter(self.events.values())).url

    def by(self, renderer: AnyRenderer) -> AnyRenderer:
        """What writes the request, as this renderer of the endpoint does."""
        return PreparedRenderer(renderer, self.events)


class Unready(msgspec.Struct, frozen=True, gc=False):
    """No request is made of these now. `why` says of each in its order why it is not sent at all; where there is no reason it
    goes again at once: without the others, or in a smaller batch."""

    why: Sequence[tuple[str, str] | None]


class PreparedRenderer:
    """As `AnyRenderer`, for the events that it was made for."""

    __slots__ = ("_events", "_renderer")

    def __init__(self, renderer: AnyRenderer, events: dict[EventId, Transformed]) -> None:
        assert isinstance(renderer, SpokenRenderer), "an endpoint with a transformation is not plain"
        self._renderer: Final = renderer
        self._events: Final = events

    @property
    def target(self) -> Target:
        return self._renderer.target

    @property
    def grant(self) -> TokenGrant | None:
        return self._renderer.grant

    @property
    def at_once_bytes(self) -> int | None:
        """Of the payloads as they are now: whoever asks counts them as they were."""
        now = sum([len(made.event.payload) for made in self._events.values()])
        return None if now <= self._renderer.at_once_bytes else -1

    def order(
        self,
        events: Sequence[Event],
        *,
        now: float,
        replay: bool,
        token: str | None = None,
        request_id: bytes | None = None,
    ) -> Order:
        made = [self._events[event.id] for event in events]
        additions = made[0].additions if request_id is None else None
        return self._renderer.order(
            [each.event for each in made],
            now=now,
            replay=replay,
            token=token,
            request_id=request_id,
            additions=additions,
        )

    @property
    def frame_bytes(self) -> int:
        return self._renderer.frame_bytes

    def added_bytes(self, event: Event) -> int:
        return self._renderer.added_bytes(self._events[event.id].event)

    def render(self, event: Event, *, now: float, replay: bool, token: str | None = None) -> Request:
        made = self._events[event.id]
        return self._renderer.render(made.event, now=now, replay=replay, token=token, additions=made.additions)

    def render_batch(
        self, events: Sequence[Event], *, now: float, replay: bool, request_id: bytes, token: str | None = None
    ) -> Request:
        made = [self._events[event.id].event for event in events]
        return self._renderer.render_batch(made, now=now, replay=replay, request_id=request_id, token=token)


async def transformed(
    expressions: Expressions, writer: Writer, transformation: Transformation, event: Event, endpoint: Endpoint
) -> Transformed | NotTransformed:
    """What is sent of an event. Raises NotEvaluated, and Overloaded."""
    asked = transformation.expressions
    try:
        pinned = transformation.pinned(event)
        if isinstance(pinned, Pinning):
            pinned = await writer.pin(pinned, endpoint.app_id)
    except Unsendable as error:
        return NotTransformed(TRANSFORM_FAILED, str(error))
    if not asked:
        return transformation.applied(pinned, ())
    return transformation.applied(pinned, await expressions.evaluate(asked, Facts(event=pinned, endpoint=endpoint)))


async def prepared_alone(
    expressions: Expressions, writer: Writer, endpoint: Endpoint, event: Event
) -> Prepared | NotTransformed | None:
    """One event, outside of any lane; None where the endpoint gets it as it is. Raises NotEvaluated, Overloaded, and Invalid
    where what it should go through cannot be compiled."""
    transformation = transformation_of(endpoint)
    if transformation is None:
        return None
    made = await transformed(expressions, writer, transformation, event, endpoint)
    return Prepared({event.id: made}) if isinstance(made, Transformed) else made


async def prepare(
    expressions: Expressions, writer: Writer, peer: Peer, load: Sequence[Delivery]
) -> Prepared | Unready | None:
    """None where the endpoint asks for nothing of the kind; where nothing has to wait for a limited process, it does not.

    Raises PosthouseError where an expression could not be evaluated for now: our fault, and nothing is recorded.
    """
    while (transformation := peer.transformation) is not None:
        events: dict[EventId, Transformed] = {}
        bad: dict[int, tuple[str, str]] = {}
        for place, delivery in enumerate(load):
            if place:
                await asyncio.sleep(0)  # each takes its while, and others are being delivered to
            try:
                made = await transformed(expressions, writer, transformation, delivery.event, peer.endpoint)
            except NotEvaluated as error:
                raise PosthouseError(f"an expression could not be evaluated: {error}") from error
            if isinstance(made, Transformed):
                events[delivery.event.id] = made
            else:
                bad[place] = (made.reason, made.words)
        if peer.transformation is transformation:
            if bad:
                return Unready([bad.get(place) for place in range(len(load))])
            return Prepared(events) if _fits(peer, load, events) else Unready([None] * len(load))
        # The endpoint was changed meanwhile: what is sent is as it is configured now.
    return None


def _fits(peer: Peer, load: Sequence[Delivery], events: dict[EventId, Transformed]) -> bool:
    """Whether a batch is as small as its endpoint wants, with the payloads that its events have now; the next ones are made
    with what was learnt of how they grow."""
    batch = peer.endpoint.batch
    if batch is None or peer.writer is None:
        return True
    if len(load) > 1 and (size := sum([len(made.event.payload) for made in events.values()])) > peer.measured_bytes:
        # They are not measured, since that takes about as long as to write them.
        peer.growth = GROWTH_MARGIN * size / max(1, sum([len(delivery.event.payload) for delivery in load]))
        return False
    was = sum([peer.writer.added_bytes(delivery.event) for delivery in load])
    now = sum([peer.writer.added_bytes(made.event) for made in events.values()])
    seen = GROWTH_MARGIN * now / was
    if len(load) > 1 and peer.frame_bytes() + now > batch.max_bytes:
        peer.growth = seen  # by which the same load is too large
        return False
    peer.growth = max(1.0, seen, peer.growth * GROWTH_KEPT)
    return True


async def unsendable(writer: Writer, renderer: AnyRenderer, load: Sequence[Delivery], now: float) -> dict[int, str]:
    """Which of a batch cannot be written, by their place in it, and why. Raises Overloaded."""
    bad: dict[int, str] = {}
    for place, delivery in enumerate(load if len(load) > 1 else ()):
        try:
            await written(writer, renderer, [delivery.event], now=now, replay=False, request_id=bytes(16))
        except Unsendable as error:
            bad[place] = str(error)
        await asyncio.sleep(0)
    return bad
