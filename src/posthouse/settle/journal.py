"""The journal: results are gathered and written one transaction at a time.

Nobody waits for it, so it lingers a little (about 20 ms) to gather more: a batch costs a fixed part and a small part a
result. A batch that could not be written is tried again before any later one; what is unwritten is capped, and at the cap
the lanes start nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from msgspec.structs import replace

from posthouse.domain.delivery import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryKey,
    Effect,
    Health,
    JournalBatch,
    Owed,
    Rollup,
)
from posthouse.domain.errors import InDoubt, StoreRejected, StoreUnavailable
from posthouse.domain.ids import EndpointId
from posthouse.domain.limits import (
    JOURNAL_LINGER_SECONDS,
    JOURNAL_RESULTS_MAX,
    LEASE_SECONDS,
    UNWRITTEN_RESULTS_MAX,
)
from posthouse.ports.clock import Clock
from posthouse.ports.store import Store
from posthouse.ports.telemetry import Telemetry
from posthouse.settle.progress import Progress

log = structlog.get_logger()

CURSOR_SECONDS: Final = 1.0  # a cursor alone is not worth a commit more often than this
ROLLUP_SECONDS: Final = 5.0
RETRY_SECONDS_MAX: Final = 2.0

Written = Callable[[JournalBatch, set[int], list[DeliveryKey]], None]
"""(batch, partitions for which it was written, keys whose rows memory no longer speaks for)"""


class _Buffer:
    """Results on their way into the next batch; changes to one key are folded here."""

    __slots__ = ("attempts", "effects", "health", "marks", "released", "rows", "settled")

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.rows: dict[DeliveryKey, tuple[int, Owed | None]] = {}
        self.settled: list[tuple[int, int]] = []
        self.released: list[DeliveryKey] = []
        self.effects: list[Effect] = []
        self.health: dict[EndpointId, Health] = {}
        self.marks = 0

    def __len__(self) -> int:
        return max(len(self.attempts), len(self.rows), len(self.settled))


class Journal:
    """Gathers results and writes them, fenced by the epochs under which they were made.

    `epochs` is the live map of owned partitions, kept by the ownership. `written` is called after each batch; `room` when
    lanes may start again after the cap was reached.
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
        written: Written,
        room: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._progress = progress
        self._owner = owner
        self._epochs = epochs
        self._written = written
        self._room = room
        self._buffer = _Buffer()
        self._writing = 0
        self._rollups: dict[tuple[int, int, EndpointId], list[int]] = {}
        self._rollup_apps: dict[EndpointId, bytes] = {}
        self._rollups_due = 0.0
        self._cursors_due = 0.0
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    # What the engine records

    def record(
        self,
        delivery: Delivery,
        attempt: Attempt,
        owed: Owed | None,
        *,
        effect: Effect | None = None,
        health: Health | None = None,
    ) -> bool:
        """An attempt ended: `owed` is what remains owed, None for nothing. False where the partition is not ours any more."""
        if self._epochs.get(attempt.partition) != delivery.epoch:
            return False
        buffer = self._buffer
        buffer.attempts.append(attempt)
        self._settle(delivery, owed)
        if effect is not None:
            buffer.effects.append(effect)
        if health is not None:
            buffer.health[health.endpoint_id] = health
        self._count(attempt)
        return True

    def owe(self, delivery: Delivery, owed: Owed) -> None:
        """A delivery leaves memory for a row, without an attempt."""
        if self._epochs.get(owed.partition) == delivery.epoch:
            self._settle(delivery, owed)

    def mark_in_flight(self, delivery: Delivery, owed: Owed) -> None:
        """The cursor shall pass a delivery whose request still runs: its row says so, and memory goes on speaking for it."""
        if self._epochs.get(owed.partition) != delivery.epoch:
            return
        self._buffer.rows[delivery.key] = (owed.partition, owed)
        if delivery.fresh:
            self._buffer.settled.append((owed.partition, owed.seq))
        delivery.row = True
        delivery.fresh = False
        self._nudge()

    def _settle(self, delivery: Delivery, owed: Owed | None) -> None:
        buffer = self._buffer
        event = delivery.event
        key = (delivery.endpoint_id, event.id)
        if owed is not None or delivery.row:
            buffer.rows[key] = (event.partition, owed)
            buffer.released.append(key)
        if delivery.fresh:
            buffer.settled.append((event.partition, event.seq))
        self._nudge()

    def _nudge(self) -> None:
        self._wake.set()
        if len(self._buffer) >= JOURNAL_RESULTS_MAX // 2:
            self._urgent.set()

    def moved(self) -> None:
        """A cursor may have moved without any result (an event that nobody receives)."""
        self._wake.set()

    def forget(self, partition: int) -> None:
        """Drop what was recorded for a partition that is not ours any more."""
        buffer = self._buffer
        buffer.attempts = [a for a in buffer.attempts if a.partition != partition]
        buffer.settled = [s for s in buffer.settled if s[0] != partition]
        buffer.effects = [e for e in buffer.effects if e.partition != partition]
        buffer.health = {k: h for k, h in buffer.health.items() if h.partition != partition}
        gone = {key for key, (p, _) in buffer.rows.items() if p == partition}
        buffer.rows = {key: row for key, row in buffer.rows.items() if key not in gone}
        buffer.released = [key for key in buffer.released if key not in gone]
        self._rollups = {k: v for k, v in self._rollups.items() if k[0] != partition}

    @property
    def unwritten(self) -> int:
        """Results that a crash now would repeat."""
        return len(self._buffer) + self._writing

    @property
    def has_room(self) -> bool:
        return len(self._buffer) + self._writing < UNWRITTEN_RESULTS_MAX

    # Writing

    async def flush(self) -> None:
        """Return when everything recorded before this call is written."""
        self._urgent.set()
        self._wake.set()
        self._idle.clear()
        await self._idle.wait()

    async def run(self) -> None:
        """Write until cancelled. Cancel only after `flush`: an interrupted batch is in doubt."""
        while True:
            await self._gather()
            batch, released = self._build()
            if batch is not None:
                await self._write(batch, released)
            if not len(self._buffer):
                self._urgent.clear()
                self._idle.set()

    async def _gather(self) -> None:
        if not len(self._buffer) and not self._urgent.is_set():
            self._wake.clear()
            if self._progress.moved:
                delay = self._cursors_due - self._clock.boot()
                if delay <= 0:
                    return
                await self._wait(self._wake, delay)
            else:
                await self._wake.wait()
        if len(self._buffer) < JOURNAL_RESULTS_MAX // 2:
            await self._wait(self._urgent, JOURNAL_LINGER_SECONDS)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass

    def _build(self) -> tuple[JournalBatch | None, list[DeliveryKey]]:
        now = self._clock.boot()
        buffer, self._buffer = self._buffer, _Buffer()
        for partition, seq in buffer.settled:
            self._progress.settled(partition, seq)
        if not len(buffer) and self._cursors_due > now and not self._urgent.is_set():
            return None, []
        cursors = self._progress.advance()
        self._cursors_due = now + CURSOR_SECONDS
        if not len(buffer) and not cursors:
            return None, []
        rollups: list[Rollup] = []
        if buffer.attempts and now >= self._rollups_due:
            rollups = self._take_rollups()
            self._rollups_due = now + ROLLUP_SECONDS
        partitions = {a.partition for a in buffer.attempts}
        partitions.update(p for p, _ in buffer.rows.values())
        partitions.update(c.partition for c in cursors)
        partitions.update(r.partition for r in rollups)
        batch = JournalBatch(
            owner=self._owner,
            epochs={p: self._epochs[p] for p in partitions if p in self._epochs},
            attempts=tuple(buffer.attempts),
            owed=tuple(row for _, row in buffer.rows.values() if row is not None),
            settled=tuple((p, *key) for key, (p, row) in buffer.rows.items() if row is None),
            cursors=tuple(cursors),
            effects=tuple(buffer.effects),
            health=tuple(buffer.health.values()),
            rollups=tuple(rollups),
        )
        return batch, buffer.released

    async def _write(self, batch: JournalBatch, released: list[DeliveryKey]) -> None:
        self._writing = max(len(batch.attempts), len(batch.owed) + len(batch.settled))
        started = self._clock.boot()
        held = await self._insist(batch)
        self._telemetry.journal_batch(len(batch.attempts), self._clock.boot() - started)
        full = not self.has_room
        self._writing = 0
        self._written(batch, held, released)
        if full and self.has_room:
            self._room()

    async def _insist(self, batch: JournalBatch) -> set[int]:
        """Write a batch, however long the store is away. Its own partitions that others took meanwhile are left out."""
        again = False
        delay = 0.05
        while True:
            try:
                return await self._store.journal(batch, lease_seconds=LEASE_SECONDS, again=again)
            except StoreRejected as error:
                return await self._bisect(batch, error)
            except StoreUnavailable as error:
                again = again or isinstance(error, InDoubt)
                log.warning("journal.retrying", error=str(error), results=len(batch.attempts), again=again)
                await self._clock.sleep(delay)
                delay = min(delay * 2, RETRY_SECONDS_MAX)

    async def _bisect(self, batch: JournalBatch, error: StoreRejected) -> set[int]:
        """One result that the store refuses never holds up its neighbours: find it, and store it without its answer."""
        if len(batch.attempts) > 1:
            early, late = _halves(batch)
            return await self._insist(early) & await self._insist(late)
        stripped = tuple(
            replace(a, response_headers=None, response_body=None, error="the store refused this answer")
            for a in batch.attempts
        )
        if stripped == batch.attempts:
            raise error
        log.error("journal.answer_not_stored", error=str(error))
        return await self._insist(replace(batch, attempts=stripped))

    # Counters

    def _count(self, attempt: Attempt) -> None:
        key = (attempt.partition, int(attempt.started_at // 60), attempt.endpoint_id)
        counters = self._rollups.get(key)
        if counters is None:
            counters = self._rollups[key] = [0, 0, 0, 0]
            self._rollup_apps[attempt.endpoint_id] = attempt.app_id
        outcome = attempt.outcome
        if outcome is AttemptOutcome.DELIVERED:
            counters[0] += 1
        elif outcome is AttemptOutcome.FAILED:
            counters[1] += 1
        else:
            counters[2] += 1
        counters[3] += attempt.timings.total_us

    def _take_rollups(self) -> list[Rollup]:
        taken, self._rollups = self._rollups, {}
        apps, self._rollup_apps = self._rollup_apps, {}
        return [
            Rollup(
                partition=partition,
                minute=minute,
                app_id=apps[endpoint_id],  # type: ignore[arg-type]
                endpoint_id=endpoint_id,
                delivered=counters[0],
                failed=counters[1],
                gave_up=counters[2],
                total_us=counters[3],
            )
            for (partition, minute, endpoint_id), counters in taken.items()
        ]


def _halves(batch: JournalBatch) -> tuple[JournalBatch, JournalBatch]:
    """Two batches, to be written in this order: the first half of the attempts with their own rows, then all the rest,
    the cursors too. A crash between them is like one before a result was written: recovery derives the rest."""
    middle = len(batch.attempts) // 2
    first, second = batch.attempts[:middle], batch.attempts[middle:]
    keys = {a.key for a in first} - {a.key for a in second}
    early = JournalBatch(
        owner=batch.owner,
        epochs=batch.epochs,
        attempts=first,
        owed=tuple(o for o in batch.owed if o.key in keys),
        settled=tuple(s for s in batch.settled if s[1:] in keys),
    )
    late = replace(
        batch,
        attempts=second,
        owed=tuple(o for o in batch.owed if o.key not in keys),
        settled=tuple(s for s in batch.settled if s[1:] not in keys),
    )
    return early, late
