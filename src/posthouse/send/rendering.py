"""The request of an attempt, and the time that is left to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from posthouse.domain.delivery import Delivery, DeliveryClass
from posthouse.domain.exchange import Request
from posthouse.ports.clock import Clock
from posthouse.wire.renderer import AnyRenderer

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
