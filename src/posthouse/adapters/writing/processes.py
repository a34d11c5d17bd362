"""`ports.writing.Writer` over a few limited processes."""

from __future__ import annotations

from typing import Final

import msgspec

from posthouse.adapters.limited.pool import NoReply, Pool, PoolLimits, Why
from posthouse.adapters.writing.speech import (
    Answered,
    Pinned,
    Refused,
    Written,
    decode_answered,
    encode_order,
    encode_pinning,
)
from posthouse.domain.errors import Overloaded
from posthouse.domain.event import Event
from posthouse.domain.exchange import Request
from posthouse.domain.ids import AppId
from posthouse.domain.limits import (
    MADE_BODY_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    WRITING_MEMORY_FACTOR,
    WRITING_SECONDS,
    WRITING_WAITING_BYTES_MAX,
    WRITING_WAITING_CALLS_MAX,
    WRITING_WAITING_SECONDS_MAX,
    WRITING_WORKERS,
)
from posthouse.ports.telemetry import Telemetry
from posthouse.wire.message import Unsendable
from posthouse.wire.payload_version import Pinning
from posthouse.wire.spoken import Order

WORKER: Final = "posthouse.adapters.writing.worker"
REPLY_FACTOR: Final = 4  # an encrypted body is larger than the one that was made, and what was signed of it comes along

_TOO_MUCH: Final = {
    Why.TOO_LONG: "it takes longer to be written in this format than there is time for one request",
    Why.MEMORY: "it takes more memory to be written in this format than there is for one request",
    Why.TOO_LARGE: "the payload makes a request that is too large in this format",
}


def writing_limits(payload_bytes_max: int) -> PoolLimits:
    """What writing may take where payloads have at most so many bytes."""
    return PoolLimits(
        workers=WRITING_WORKERS,
        memory_bytes=WRITING_MEMORY_FACTOR * max(payload_bytes_max, PAYLOAD_BYTES_MAX),
        seconds=WRITING_SECONDS,
        reply_bytes=REPLY_FACTOR * max(MADE_BODY_BYTES_MAX, payload_bytes_max),
        waiting_calls=WRITING_WAITING_CALLS_MAX,
        waiting_bytes=WRITING_WAITING_BYTES_MAX,
        waiting_seconds=WRITING_WAITING_SECONDS_MAX,
    )


class WritingProcesses:
    """Writes requests in limited processes, one of an app at a time: an app that sends what takes long waits for itself.

    What exceeds their limits cannot be sent, which is the event's fault. That none of them could be had, or one died, is ours.
    """

    def __init__(self, limits: PoolLimits) -> None:
        self.pool: Final = Pool(WORKER, limits=limits)

    async def close(self) -> None:
        """End the processes."""
        await self.pool.close()

    def watch(self, telemetry: Telemetry) -> None:
        """Let its gauges be read whenever somebody scrapes."""
        telemetry.watch("writing_calls_waiting", lambda: self.pool.waiting)
        telemetry.watch("writing_calls", lambda: self.pool.calls)
        telemetry.watch("writing_refusals", lambda: self.pool.refused)
        telemetry.watch("writing_kills", lambda: self.pool.ended)

    async def write(self, order: Order) -> Request:
        """See the port."""
        endpoint, told = order.recipe.endpoint, order.recipe.signed_by
        answered = await self._asked(endpoint.app_id, encode_order(order))
        assert isinstance(answered, Written)
        if told is not None:
            for place, content in answered.signed.items():
                told.tell(place, content)
        return Request(answered.target, answered.head, answered.body, endpoint.timeouts, order.recipe.egress)

    async def pin(self, pinning: Pinning, app_id: AppId) -> Event:
        """See the port."""
        answered = await self._asked(app_id, encode_pinning(pinning))
        assert isinstance(answered, Pinned)
        return msgspec.structs.replace(pinning.event, payload=answered.payload)

    async def _asked(self, app_id: AppId, request: bytes) -> Written | Pinned:
        outcome = await self.pool.call(app_id.hex(), request)
        if isinstance(outcome, NoReply):
            if outcome.why in _TOO_MUCH:
                raise Unsendable(_TOO_MUCH[outcome.why])
            raise Overloaded(f"a request could not be written: {outcome.detail}; try again shortly", retry_after=5)
        answered: Answered = decode_answered(outcome.data)
        if isinstance(answered, Refused):
            raise Unsendable(answered.words)
        return answered
