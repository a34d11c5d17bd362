"""The journal: results are gathered and written one transaction at a time.

Nobody waits for it, so it lingers a little (50 ms; longer where processes share the database) to gather more: a batch costs a
fixed part and a small part a result. A batch that could not be written is tried again before any later one; what is unwritten
is capped, and at the cap the lanes start nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import structlog
from msgspec.structs import replace

from posthouse.domain.delivery import (
    Attempt,
    Cursor,
    Delivery,
    DeliveryKey,
    Effect,
    HealthTurn,
    JournalBatch,
    Line,
    Owed,
    Rollup,
)
from posthouse.domain.errors import StoreRejected, StoreUnavailable
from posthouse.domain.ids import EndpointId
from posthouse.domain.limits import (
    JOURNAL_LINGER_SECONDS,
    JOURNAL_RESULTS_MAX,
    LEASE_SECONDS,
    UNWRITTEN_RESULTS_MAX,
)
from posthouse.ports.clock import Clock, set_or_over
from posthouse.ports.store import Journalled, Store
from posthouse.ports.telemetry import Telemetry
from posthouse.settle.batches import halves, reduced
from posthouse.settle.progress import Progress
from posthouse.settle.rollups import Rollups

log = structlog.get_logger()

LINGERING_PROCESSES_MAX: Final = 4
CURSOR_SECONDS: Final = 1.0  # a cursor alone is not worth a commit more often than this
ROLLUP_SECONDS: Final = 5.0
RETRY_SECONDS_MAX: Final = 2.0

Released = list[tuple[int, DeliveryKey]]
Written = Callable[[JournalBatch, Journalled, Released], None]
"""(batch, what of it was written, keys by partition whose rows memory no longer speaks for)"""


class _Buffer:
    """Results on their way into the next batch; changes to one key are folded here."""

    __slots__ = ("attempts", "count", "effects", "health", "lines", "released", "rows", "settled")

    def __init__(self) -> None:
        self.count = 0  # of results: kept, since each request asks for it
        self.attempts: list[Attempt] = []
        self.rows: dict[DeliveryKey, tuple[int, Owed | None]] = {}
        self.settled: list[tuple[int, int]] = []
        self.released: Released = []
        self.effects: list[Effect] = []
        self.health: dict[EndpointId, HealthTurn] = {}
        self.lines: dict[
            Line, int | None
        ] = {}  # those that change, with the first `seq` that becomes a row (None: none)

    def counted_again(self) -> None:
        """Some were taken out."""
        self.count = max(len(self.attempts), len(self.rows), len(self.settled))


class Journal:
    """Gathers results and writes them, fenced by the epochs under which they were made.

    `epochs` is the live map of owned partitions, kept by the ownership. `hold` is told each key whose row is about to
    change, and whether that is a row more (1), one less (-1) or neither: until `written` hands it back, memory speaks for that
    row, whatever the table says. `written` is called after each batch; `room` when lanes may start again after the cap was
    reached.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        progress: Progress,
        *,
        owner: bytes,
        epochs: dict[int, int],
        hold: Callable[[int, DeliveryKey, int], None],
        written: Written,
        room: Callable[[], None],
        sharing: Callable[[], int] = lambda: 1,
    ) -> None:
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._progress = progress
        self._owner = owner
        self._epochs = epochs
        self._hold = hold
        self._written = written
        self._room = room
        self._sharing = sharing
        self._buffer = _Buffer()
        self._writing = 0
        self._writing_for: Collection[int] = ()
        self._writing_lines: Mapping[Line, int | None] = {}
        self._rollups = Rollups()
        self._rollups_due = 0.0
        self._cursors_due = 0.0
        self._number = 0
        self._built = 0
        self._wrote = 0
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._idle = asyncio.Event()  # not set while a `flush` waits
        self._idle.set()

    # What the engine records

    def record(
        self,
        delivery: Delivery,
        attempt: Attempt,
        owed: Owed | None,
        *,
        effects: Sequence[Effect] = (),
        health: HealthTurn | None = None,
        counted: bool = True,
    ) -> bool:
        """An attempt ended: `owed` is what remains owed, None for nothing. False where the partition is not ours any more.
        One that is not `counted` is in no endpoint's counters."""
        if self._epochs.get(attempt.partition) != delivery.epoch:
            return False
        buffer = self._buffer
        buffer.attempts.append(attempt)
        self._settle(delivery, owed)
        buffer.effects += effects
        if health is not None:
            buffer.health[health.endpoint_id] = health
        if counted:
            self._rollups.count(attempt)
        return True

    def owns(self, delivery: Delivery) -> bool:
        """Whether what is recorded of a delivery would be written: its partition is ours as it was."""
        return self._epochs.get(delivery.event.partition) == delivery.epoch

    def note(
        self,
        delivery: Delivery,
        attempt: Attempt,
        *,
        effects: Sequence[Effect] = (),
        health: HealthTurn | None = None,
    ) -> None:
        """An attempt ended, and the delivery goes on in memory: at another URL."""
        if self._epochs.get(attempt.partition) == delivery.epoch:
            self._buffer.attempts.append(attempt)
            self._buffer.count += 1
            self._buffer.effects += effects
            if health is not None:
                self._buffer.health[health.endpoint_id] = health
            self._rollups.count(attempt)
            self._nudge()

    def owe(self, delivery: Delivery, owed: Owed) -> None:
        """A delivery leaves memory for a row, without an attempt."""
        if self._epochs.get(owed.partition) == delivery.epoch:
            self._settle(delivery, owed)

    def mark_in_flight(self, delivery: Delivery, owed: Owed) -> None:
        """The cursor shall pass a delivery whose request still runs: its row says so, and memory goes on speaking for it."""
        if self._epochs.get(owed.partition) != delivery.epoch:
            return
        self._change(delivery, owed)
        self._buffer.count += 1
        if delivery.fresh:
            self._buffer.settled.append((owed.partition, owed.seq))
        delivery.row = delivery.marked = True
        delivery.fresh = False
        self._nudge()

    def _settle(self, delivery: Delivery, owed: Owed | None) -> None:
        buffer = self._buffer
        buffer.count += 1
        event = delivery.event
        if owed is not None or delivery.row:
            self._change(delivery, owed)
            buffer.released.append((event.partition, (delivery.endpoint_id, event.id)))
        if delivery.fresh:
            buffer.settled.append((event.partition, event.seq))
        self._nudge()

    def _change(self, delivery: Delivery, owed: Owed | None) -> None:
        """Its row comes, changes or goes."""
        event = delivery.event
        key = (delivery.endpoint_id, event.id)
        if owed is not None and delivery.row:
            _, before = self._buffer.rows.get(key, (0, None))
            if before is None or before.known:
                owed = replace(owed, known=True)
        self._buffer.rows[key] = (event.partition, owed)
        self._hold(event.partition, key, (owed is not None) - delivery.row)
        if delivery.line:
            line = (event.partition, delivery.endpoint_id, delivery.line)
            first = self._buffer.lines.get(line)
            if owed is not None:
                first = event.seq if first is None else min(first, event.seq)
            self._buffer.lines[line] = first

    def unwritten_row(self, line: Line) -> int | None:
        """The `seq` of the first row of a line that is not written yet: what the store says of later ones is not the last
        word. None: there is none."""
        building, writing = self._buffer.lines.get(line), self._writing_lines.get(line)
        if building is None or writing is None:
            return writing if building is None else building
        return min(building, writing)

    def _nudge(self) -> None:
        self._wake.set()
        if self._buffer.count >= JOURNAL_RESULTS_MAX // 2:
            self._urgent.set()

    def moved(self) -> None:
        """A cursor may have moved without any result (an event that nobody receives)."""
        self._wake.set()

    def forget(self, partitions: Collection[int]) -> None:
        """Drop what was recorded for partitions that are not ours any more."""
        buffer = self._buffer
        buffer.attempts = [a for a in buffer.attempts if a.partition not in partitions]
        buffer.rows = {key: row for key, row in buffer.rows.items() if row[0] not in partitions}
        buffer.settled = [s for s in buffer.settled if s[0] not in partitions]
        buffer.released = [r for r in buffer.released if r[0] not in partitions]
        buffer.effects = [e for e in buffer.effects if e.partition not in partitions]
        buffer.lines = {k: first for k, first in buffer.lines.items() if k[0] not in partitions}
        buffer.health = {k: h for k, h in buffer.health.items() if h.partition not in partitions}
        buffer.counted_again()
        self._rollups.forget(partitions)

    def speaks_for(self, partitions: Collection[int]) -> bool:
        """Whether anything recorded of these is not written yet."""
        buffer = self._buffer
        return (
            any(partition in partitions for partition in self._writing_for)
            or any(attempt.partition in partitions for attempt in buffer.attempts)
            or any(partition in partitions for partition, _ in buffer.rows.values())
            or any(partition in partitions for partition, _ in buffer.settled)
        )

    @property
    def unwritten(self) -> int:
        """Results that a crash now would repeat."""
        return self._buffer.count + self._writing

    @property
    def has_room(self) -> bool:
        return self._buffer.count + self._writing < UNWRITTEN_RESULTS_MAX

    # Writing

    async def flush(self) -> None:
        """Return when everything recorded before this call is written."""
        self._idle.clear()
        self._urgent.set()
        self._wake.set()
        await self._idle.wait()

    async def caught_up(self) -> None:
        """Return when what was recorded before this call is written, however much comes meanwhile."""
        last = self._built + (1 if self._buffer.count else 0)
        while self._wrote < last:
            await self._clock.sleep(JOURNAL_LINGER_SECONDS)

    async def run(self) -> None:
        """Write until cancelled. Cancel only after `flush`: an interrupted batch is in doubt."""
        while True:
            await self._gather()
            batch, released = self._build()
            if batch is not None:
                await self._write(batch, released)
            if not self._buffer.count:
                self._idle.set()

    async def _gather(self) -> None:
        """Return when there is something to write: for results, a little after the first one (longer where many share)."""
        while not self._buffer.count and not self._urgent.is_set():
            due = self._due()
            delay = None if due is None else due - self._clock.boot()
            if delay is not None and delay <= 0:
                return
            self._wake.clear()
            await set_or_over(self._wake, delay)
        if self._buffer.count < JOURNAL_RESULTS_MAX // 2:
            await set_or_over(self._urgent, JOURNAL_LINGER_SECONDS * min(self._sharing(), LINGERING_PROCESSES_MAX))

    def _due(self) -> float | None:
        """When cursors or counters alone are worth a commit (boot clock); None where none has moved."""
        due = [self._cursors_due] if self._progress.moved else []
        if len(self._rollups):
            due.append(self._rollups_due)
        return min(due, default=None)

    def _build(self) -> tuple[JournalBatch | None, Released]:
        now = self._clock.boot()
        buffer, self._buffer = self._buffer, _Buffer()
        flushing = not self._idle.is_set()
        if not flushing:
            self._urgent.clear()
        for partition, seq in buffer.settled:
            self._progress.settled(partition, seq)
        rollups: list[Rollup] = []
        if len(self._rollups) and (flushing or now >= self._rollups_due):
            rollups = self._rollups.take()
            self._rollups_due = now + ROLLUP_SECONDS
        cursors: list[Cursor] = []
        if buffer.count or rollups or flushing or now >= self._cursors_due:
            cursors = self._progress.advance()
            self._cursors_due = now + CURSOR_SECONDS
        if not (buffer.count or rollups or cursors):
            return None, []
        partitions = {a.partition for a in buffer.attempts}
        partitions.update(p for p, _ in buffer.rows.values())
        partitions.update(c.partition for c in cursors)
        partitions.update(h.partition for h in buffer.health.values())
        partitions.update(r.partition for r in rollups)
        batch = JournalBatch(
            owner=self._owner,
            epochs={p: self._epochs[p] for p in partitions},
            number=self._next_number(),
            attempts=tuple(buffer.attempts),
            owed=tuple(row for _, row in buffer.rows.values() if row is not None),
            settled=tuple((p, *key) for key, (p, row) in buffer.rows.items() if row is None),
            cursors=tuple(cursors),
            effects=tuple(buffer.effects),
            health=tuple(buffer.health.values()),
            lines=tuple(buffer.lines),
            rollups=tuple(rollups),
        )
        self._writing_lines = buffer.lines
        self._built += 1
        return batch, buffer.released

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    async def _write(self, batch: JournalBatch, released: Released) -> None:
        self._writing = max(len(batch.attempts), len(batch.owed) + len(batch.settled))
        self._writing_for = batch.epochs
        started = self._clock.boot()
        result = await self._insist(batch)
        self._telemetry.journal_batch(len(batch.attempts), self._clock.boot() - started)
        full = not self.has_room
        self._writing = 0
        self._writing_for = ()
        self._writing_lines = {}
        self._wrote = self._built
        self._written(batch, result, released)
        if full and self.has_room:
            self._room()

    async def _insist(self, batch: JournalBatch) -> Journalled:
        """Write a batch, however long the store is away.

        One result that the store refuses never holds up its neighbours: it is found by halves, and stored without what may
        be at fault. What the store refuses even then (there is no table for this day, say) is tried until it can be
        written: ending the process would repeat every delivery since, over and over.
        """
        delay = 0.05
        while True:
            try:
                return await self._store.journal(batch, now=self._clock.now(), lease_seconds=LEASE_SECONDS)
            except StoreRejected as error:
                if len(batch.attempts) > 1:
                    early, late = halves(batch)
                    before = await self._insist(replace(early, number=self._next_number()))
                    after = await self._insist(replace(late, number=self._next_number()))
                    return Journalled(before.held & after.held, {**before.lines, **after.lines})
                less = reduced(batch)
                if less is None:
                    log.critical(
                        "journal.refused", error=str(error), attempts=len(batch.attempts), owed=len(batch.owed)
                    )
                    await self._clock.sleep(RETRY_SECONDS_MAX)
                else:
                    log.error("journal.stored_in_part", error=str(error))
                    batch = less
            except StoreUnavailable as error:
                log.warning("journal.retrying", error=str(error), results=len(batch.attempts))
                await self._clock.sleep(delay)
                delay = min(delay * 2, RETRY_SECONDS_MAX)
