"""The request of an attempt, and the time that is left to it: written at once, or where it may take long, elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from posthouse.domain.delivery import Delivery, DeliveryClass
from posthouse.domain.event import Event
from posthouse.domain.exchange import Request
from posthouse.ports.clock import Clock
from posthouse.ports.writing import Writer
from posthouse.wire.renderer import AnyRenderer
from posthouse.wire.spoken import Order

TOTAL_SECONDS_MIN: Final = 0.001  # that are left to a request after its token
_REPLAY: Final = DeliveryClass.REPLAY  # looked up once


def rendered(
    renderer: AnyRenderer,
    load: Sequence[Delivery],
    request_id: bytes | None,
    now: float,
    bearer: str | None,
    clock: Clock,
) -> Request:
    """What carries these, written `now`. Raises Unsendable. What had to wait for a token has so much less time for itself."""
    first = load[0]
    replay = first.kind is _REPLAY
    if request_id is None:
        request = renderer.render(first.event, now=now, replay=replay, token=bearer)
    else:
        events = [delivery.event for delivery in load]
        request = renderer.render_batch(events, now=now, replay=replay, request_id=request_id, token=bearer)
    if bearer is None:
        return request
    timeouts = request.timeouts
    total = max(timeouts.total - (clock.now() - now), TOTAL_SECONDS_MIN)
    return msgspec.structs.replace(request, timeouts=msgspec.structs.replace(timeouts, total=total))


def order_of(
    renderer: AnyRenderer, load: Sequence[Delivery], request_id: bytes | None, now: float, token: str | None
) -> Order:
    """The request that would be `rendered`, for somebody else to write."""
    events = [delivery.event for delivery in load]
    replay = load[0].kind is _REPLAY
    return renderer.order(events, now=now, replay=replay, request_id=request_id, token=token)


def written_at_once(renderer: AnyRenderer, events: Iterable[Event]) -> bool:
    """Whether a request with these takes no longer to be written than others may wait."""
    most = renderer.at_once_bytes
    return most is None or sum([len(event.payload) for event in events]) <= most


async def written(
    writer: Writer,
    renderer: AnyRenderer,
    events: Sequence[Event],
    *,
    now: float,
    replay: bool,
    request_id: bytes | None = None,
    token: str | None = None,
) -> Request:
    """What carries these: one, or with a `request_id` a batch. Raises Unsendable, and Overloaded where nobody could
    write it for now."""
    if not written_at_once(renderer, events):
        return await writer.write(renderer.order(events, now=now, replay=replay, request_id=request_id, token=token))
    if request_id is None:
        return renderer.render(events[0], now=now, replay=replay, token=token)
    return renderer.render_batch(events, now=now, replay=replay, request_id=request_id, token=token)
