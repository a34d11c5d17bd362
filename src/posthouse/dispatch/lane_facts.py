"""What lanes must know of the store: when they last sent, which of their lines have rows, whose turn it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Final, NamedTuple

import structlog

from posthouse.domain.delivery import Delivery, Owed
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.limits import LANE_LINES_OWED_MAX
from posthouse.lane.lane import Lane
from posthouse.lane.pace import Bucket
from posthouse.ports.clock import Clock
from posthouse.ports.store import Claim, Store
from posthouse.settle.journal import Journal

log = structlog.get_logger()

SLOW_RATE_SECONDS: Final = 1.0  # a rate whose first request would wait for longer is worth a query
LEARN_SECONDS: Final = 1.0
ID_SECONDS: Final = 0.001  # as exact as the time in an attempt's id is


class _Owned(NamedTuple):
    """Since when a partition is ours, on both clocks, whether its last owner left in order, and how far back the record of what
    was sent is whole."""

    boot: float
    now: float
    planned: bool
    on_record_seconds: float


class LaneFacts:
    """`spawn` runs a query beside everything else; `position` says up to which `seq` a partition was dispatched, and
    `undecided` from which on it is not known yet whether an event reaches an endpoint; `start` lets a lane go that may do so
    earlier than it thought."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        journal: Journal,
        *,
        position: Callable[[int], int],
        undecided: Callable[[Endpoint], int | None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        start: Callable[[Lane], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._journal = journal
        self._position = position
        self._undecided = undecided
        self._spawn = spawn
        self._start = start
        self._owned: dict[int, _Owned] = {}

    def take(self, claims: Sequence[Claim]) -> None:
        """Partitions were claimed just now."""
        for claim in claims:
            self._owned[claim.partition] = _Owned(
                self._clock.boot(), self._clock.now(), claim.previous is None, claim.on_record_seconds
            )

    def owned_since(self, partition: int) -> float:
        """Since when (boot clock) nobody else sends anything of this partition."""
        owned = self._owned.get(partition)
        return self._clock.boot() if owned is None else owned.boot

    def made(self, lane: Lane) -> None:
        """A slow rate need not begin anew with each owner: after a planned hand-over the last attempt is on record."""
        owned = self._owned.get(lane.partition)
        bucket = lane.bucket
        if bucket is not None and owned is not None and owned.planned:
            wait = bucket.wait(self._clock.boot())
            if wait > SLOW_RATE_SECONDS:
                self._spawn(self._credit(lane, bucket, owned))

    async def _credit(self, lane: Lane, bucket: Bucket, owned: _Owned) -> None:
        endpoint = lane.endpoint
        try:
            last = await self._store.last_sent(endpoint.partition, endpoint.id)
        except StoreUnavailable as error:
            log.warning("rate.not_seeded", endpoint=endpoint.id.hex(), error=str(error))  # it waits a little longer
            return
        bucket.credit(max(min(owned.now - (last or 0.0) - ID_SECONDS, owned.on_record_seconds), 0.0))
        self._start(lane)

    async def unmarked(self, sender: bytes, running: Collection[Delivery]) -> set[int]:
        """Partitions of which one of these requests is under way though no row says so: it was taken away (cancelled) while it
        was in memory, and does not come back. Who owns them next could not know when it last sent."""
        rows = {(delivery.event.partition, *delivery.key) for delivery in running if self._journal.owns(delivery)}
        if not rows:
            return set()
        try:
            rows -= await self._store.in_flight(sender, rows)
        except StoreUnavailable as error:
            log.warning("requests.not_looked_up", error=str(error))  # rates begin anew
        return {partition for partition, _, _ in rows}

    def in_turn(self, owed: Owed, endpoint: Endpoint) -> bool:
        """Whether a row of an ordered line that the store calls due is: all before it were dispatched, with whom they reach
        decided, and none of them is on its way into the store."""
        if owed.seq > self._position(owed.partition):
            return False
        undecided = self._undecided(endpoint)
        if undecided is not None and undecided < owed.seq:
            return False
        unwritten = self._journal.unwritten_row((owed.partition, owed.endpoint_id, owed.line))
        return unwritten is None or unwritten >= owed.seq

    def learn(self, lane: Lane) -> None:
        """Find out which lines of a lane have rows, so that the others need not go through the store."""
        lane.learning = mine = set[int]()
        self._spawn(self._learn(lane, mine))

    async def _learn(self, lane: Lane, mine: set[int]) -> None:
        """`mine`: what the lane collects meanwhile, for as long as its partition is not lost."""
        endpoint = lane.endpoint
        try:
            await self._journal.caught_up()
            lines = await self._store.owed_lines(endpoint.partition, endpoint.id, limit=LANE_LINES_OWED_MAX)
            if lane.learning is not mine:
                return
            if len(lines) < LANE_LINES_OWED_MAX:
                lane.know_lines(lines)
            else:
                await self._clock.sleep(LEARN_SECONDS)
        except StoreUnavailable as error:
            log.warning("lines.not_learnt", endpoint=endpoint.id.hex(), error=str(error))
            await self._clock.sleep(LEARN_SECONDS)
        finally:
            if lane.learning is mine:
                lane.learning = None
