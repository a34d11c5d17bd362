"""The engine of one process: everything between the log and the transport, wired together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any, Final

import structlog

from posthouse.dispatch.configs import Configs
from posthouse.dispatch.dispatcher import Dispatcher
from posthouse.dispatch.filtering import Filtering
from posthouse.dispatch.lane_facts import LaneFacts
from posthouse.dispatch.leaving import Leaving
from posthouse.dispatch.overflow import Overflow
from posthouse.dispatch.ownership import Ownership
from posthouse.dispatch.platform import PlatformRoutes
from posthouse.dispatch.replays import Replays
from posthouse.dispatch.tail import Tails
from posthouse.domain.circuit import DEFAULT_POLICY, CircuitPolicy
from posthouse.domain.delivery import DeliveryKey, JournalBatch, Line, Owed, OwedReason, Rollup
from posthouse.domain.endpoint import AppConfig, Endpoint
from posthouse.domain.errors import PosthouseError, StoreUnavailable
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.limits import (
    OUTSTANDING_BUSY_MAX,
    OUTSTANDING_DELIVERIES_MAX,
    OWED_PER_ENDPOINT_MAX,
    PAGED_BYTES_MAX,
    PLATFORM_PENDING_MAX,
)
from posthouse.lane.budget import Budget
from posthouse.lane.busy import Busy
from posthouse.lane.lanes import Lanes
from posthouse.ports.calls import CallBook
from posthouse.ports.clock import Clock
from posthouse.ports.expressions import NO_EXPRESSIONS, Expressions
from posthouse.ports.handlers import Handlers
from posthouse.ports.jobs import Jobs
from posthouse.ports.log import EventLog, Head
from posthouse.ports.store import Claim, Journalled, Store
from posthouse.ports.telemetry import Telemetry
from posthouse.ports.transport import Transport
from posthouse.ports.writing import WRITTEN_HERE, Writer
from posthouse.send.ending import EXPIRED
from posthouse.send.outcomes import CANCELLED, Outcomes
from posthouse.send.reactions import Reactions
from posthouse.send.sender import Sender
from posthouse.settle.backlog import Backlog
from posthouse.settle.calls import Calls
from posthouse.settle.chains import Chains
from posthouse.settle.effects import Effects
from posthouse.settle.journal import Journal, Released
from posthouse.settle.progress import Progress

log = structlog.get_logger()

SWEEP_SECONDS: Final = 0.25


class Engine:
    """Owns partitions and delivers their events.

    `start` takes partitions and begins; `stop` hands them over. `offer` is the publisher's short cut; `published` is told of
    the events that follow-ups made (by default they are offered). `changed`: other processes should look at their shares of
    the partitions (`ownership.wake`). `counted`: counters were written, as far as they are of these partitions. `pressed`:
    somebody waits for what they publish to be stored. `failed` is completed with an exception should one of the engine's own
    tasks die, which is a bug: the process should then end.
    """

    def __init__(
        self,
        *,
        event_log: EventLog,
        store: Store,
        transport: Transport,
        clock: Clock,
        telemetry: Telemetry,
        owner: bytes,
        exclusive: bool,
        dead: Callable[[Collection[bytes]], Awaitable[set[bytes]]] | None = None,
        budget: Budget | None = None,
        published: Callable[[list[Event]], object] | None = None,
        circuits: CircuitPolicy = DEFAULT_POLICY,
        owed_max: int = OWED_PER_ENDPOINT_MAX,
        jobs: Jobs | None = None,
        changed: Callable[[], None] = lambda: None,
        expressions: Expressions = NO_EXPRESSIONS,
        writer: Writer = WRITTEN_HERE,
        call_book: CallBook | None = None,
        handlers: Handlers | None = None,
        counted: Callable[[Sequence[Rollup], Collection[int]], None] = lambda rollups, held: None,
        pressed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._counted = counted
        self._log = event_log
        self._store = store
        self._clock = clock
        self._owner = owner
        self.progress = Progress()
        self.busy = Busy(clock)
        self.ownership = Ownership(
            store,
            clock,
            owner=owner,
            exclusive=exclusive,
            taken=self._taken,
            lost=self._lost,
            dead=dead,
            leave=self._leave,
            changed=changed,
        )
        epochs = self.ownership.epochs
        self.journal = Journal(
            store,
            clock,
            telemetry,
            self.progress,
            owner=owner,
            epochs=epochs,
            hold=self._hold,
            written=self._written,
            room=self._room,
            sharing=lambda: self.ownership.live,
        )
        self.effects = Effects(
            store,
            clock,
            epochs=epochs,
            published=published or self.offer,
            throttled=lambda endpoint_id, throttle: self.lanes.slow_down(endpoint_id, throttle),
        )
        self.chains = Chains(clock)
        self.calls = None
        if handlers is not None and call_book is not None:
            self.calls = Calls(
                call_book,
                handlers,
                clock,
                owner=owner,
                epochs=epochs,
                recorded=self.effects.recorded,
                chains=self.chains,
            )
        self.outcomes = Outcomes(
            self.journal,
            store,
            clock,
            telemetry,
            Reactions(
                expressions,
                self.chains,
                slow_down=lambda endpoint_id, throttle: self.lanes.slow_down(endpoint_id, throttle),
                has_room=self.effects.has_room,
                calls=self.calls,
            ),
            owner=owner,
            disabled=lambda peer: self.lanes.disable(peer.endpoint.id),
        )
        self.sender = Sender(
            transport,
            self.outcomes,
            self.journal,
            store,
            clock,
            may_write=lambda: self.ownership.valid,
            expressions=expressions,
            writer=writer,
        )
        self.facts = LaneFacts(
            store,
            clock,
            self.journal,
            position=lambda partition: self.tails.position(partition),
            undecided=lambda endpoint: self.filtering.undecided(endpoint),
            spawn=self._chore,
            start=lambda lane: self.lanes.start(lane),
        )
        self.lanes = Lanes(
            budget or Budget(),
            clock,
            send=self.sender.attempt,
            may_start=self._may_start,
            may_spill=lambda: self.journal.has_room,
            spill=lambda *what: self.leaving.spill(*what),
            release=lambda delivery: self.leaving.release(delivery),
            mark_in_flight=lambda *what: self.leaving.mark_in_flight(*what),
            hand_over=lambda *what: self.leaving.hand_over(*what),
            drained=lambda endpoint_id: self.backlog.drained(endpoint_id),
            owned_since=self.facts.owned_since,
            owes=lambda endpoint_id: self.backlog.owes(endpoint_id),
            made=self.facts.made,
            learn=self.facts.learn,
            circuits=circuits,
            pressed=pressed,
            busy=self.busy,
        )
        self.configs = Configs(
            store,
            clock,
            changed=self._configured,
            only=self._only,
            shrunk=lambda app: self._chore(self._hasten(app)),
        )
        self.backlog = Backlog(
            store,
            clock,
            epochs=epochs,
            find=self.configs.find,
            room=self.lanes.room,
            memory=self._paging_memory,
            page_in=self.lanes.page_in,
            orphaned=self._orphaned,
            in_turn=self.facts.in_turn,
            many=lambda *counted: self.overflow.look(*counted),
        )
        self.leaving = Leaving(
            self.journal,
            self.backlog,
            clock,
            owner=owner,
            epochs=epochs,
            asking=self.sender.asking,
            settling=self.outcomes.late.settling,
        )
        self.overflow = Overflow(
            store, clock, self.backlog, owner=owner, epochs=epochs, rows_max=owed_max, written=self.journal.caught_up
        )
        self.filtering = Filtering(
            expressions,
            self.configs,
            self.progress,
            clock,
            offer=lambda *what: self.dispatcher.offer(*what),
            skip=lambda *what: self.dispatcher.skip(*what),
            moved=self._progress_moved,
            has_room=lambda: self.progress.deliveries < OUTSTANDING_DELIVERIES_MAX and self.journal.has_room,
            spawn=self._chore,
        )
        self.platform = PlatformRoutes(store, clock, self.journal)
        self.dispatcher = Dispatcher(
            self.configs,
            self.lanes,
            self.progress,
            clock,
            self.filtering,
            self.platform,
            give_up=self.outcomes.give_up,
        )
        self.tails = Tails(
            event_log,
            clock,
            self.progress,
            ready=self.dispatcher.ready,
            prepare=self.dispatcher.prepare,
            dispatch=self._dispatch,
            has_room=self._tail_has_room,
            rewound=self.ownership.abandon,
            heads_seen=self._heads_seen,
            ended=self._ended,
        )
        self.replays = None if jobs is None else Replays(jobs, clock, owner=owner, epochs=epochs)
        self._pokes: dict[int, int] = {}
        self._reloading: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._chores: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Take partitions and begin to deliver. Raises StoreUnavailable; then nothing was begun."""
        for name, work in (
            ("journal", self.journal.run()),
            ("backlog", self.backlog.run()),
            ("effects", self.effects.run()),
            ("sweep", self._sweep()),
            ("overflow", self.overflow.run()),
        ):
            self._spawn(name, work)
        try:
            await self.platform.load()
            await self.ownership.start()
        except BaseException:
            await self._end()
            raise
        self._spawn("ownership", self.ownership.run())
        self._spawn("tails", self.tails.run())
        self._spawn("platform", self.platform.run())
        if self.calls is not None:
            self._spawn("calls", self.calls.run())
        if self.replays is not None:
            self._spawn("replays", self.replays.run())

    def suspend(self) -> None:
        """The process's session with the store was lost: start nothing until it is back, and trust nothing that was read."""
        self.ownership.suspend()
        self.tails.suspect_all()

    def replaced(self) -> None:
        """The store has another history now (a standby was promoted): forget all that was read from the one before. Partitions
        are taken and derived afresh, and the log is compared with what it was."""
        self.ownership.drop(list(self.ownership.epochs))
        self.configs.forget()

    async def stop(self, *, seconds: float = 5.0) -> None:
        """Planned hand-over: start nothing, journal, mark what still runs, release; then wait a while for late answers.
        Handlers that are called have as long before all that, in which everything else goes on."""
        if self.calls is not None:
            await self.calls.drain(seconds)
        self._stopping = True
        await self._end("tails", "backlog", "replays")
        self.filtering.drop(self.ownership.epochs)  # the successor routes what waits
        try:
            async with asyncio.timeout(seconds):
                await self.ownership.close()
                await self.tails.close()
                self.lanes.leave(set(self.ownership.epochs))
                await self.journal.flush()
                await self._look_for_marks(self.ownership.epochs)
                while self.journal.unwritten:  # nothing may come between the last write and the release
                    await self.journal.flush()
                await self.ownership.release()
        except (TimeoutError, StoreUnavailable) as error:
            log.warning("engine.release_failed", error=str(error) or "out of time")
        await self.tails.close()
        await self.lanes.finish(seconds)
        await self._end()
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)

    def offer(self, events: Sequence[Event]) -> list[int]:
        """Events just appended by this process; the partitions among them that other processes own."""
        self.tails.offer(events)
        epochs = self.ownership.epochs
        return [event.partition for event in events if event.partition not in epochs]

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self.failed.done():
            return
        error = task.exception()
        if error is not None:
            log.critical("engine.task_died", task=task.get_name(), exc_info=error)
            self.failed.set_exception(error)

    async def _end(self, *names: str) -> None:
        ending = [task for task in self._tasks if not names or task.get_name() in names]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self._tasks = [task for task in self._tasks if task not in ending]

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
        task.add_done_callback(self._ended)

    # Partitions come and go

    async def _taken(self, claims: Sequence[Claim]) -> None:
        """Derive what the predecessors left. The claim was a statement of its own: what follows sees all they wrote."""
        partitions = [claim.partition for claim in claims]
        self.facts.take(claims)
        heads = await self._log.heads(partitions)
        self.configs.take({partition: heads[partition].config_version for partition in partitions})
        for previous in {claim.previous for claim in claims} - {None, self._owner}:
            epochs = {c.partition: c.epoch for c in claims if c.previous == previous}
            if previous is not None:
                await self._store.recover_in_flight(self._owner, epochs, previous=previous, now=self._clock.now())
        newest = await self._store.newest_attempt(partitions)
        if newest is not None:
            self._clock.ids_after(newest)
        for claim in claims:
            head = heads[claim.partition]
            recorded: set[DeliveryKey] = set()
            if head.seq > claim.cursor.seq:
                recorded = await self._store.recorded(claim.partition, after=claim.cursor, until=head.seq)
            if self._holds(claim):
                self._pokes[claim.partition] = head.poke
                self.progress.take(claim.partition)
                self.dispatcher.take(claim.partition, head.seq, recorded)
        await self.backlog.take(partitions)
        held = [claim for claim in claims if self._holds(claim)]  # others were lost meanwhile
        partitions = [claim.partition for claim in held]
        self.lanes.taken(partitions)
        for claim in held:
            self.tails.take(claim)
        self.tails.nudge(partitions)
        await self.effects.take(partitions)
        if self.calls is not None:
            await self.calls.take(partitions)
        if self.backlog.endpoints:
            self._chore(self._count_owed(partitions))

    def _holds(self, claim: Claim) -> bool:
        return self.ownership.epochs.get(claim.partition) == claim.epoch

    async def _count_owed(self, partitions: Sequence[int]) -> None:
        try:
            self.backlog.counted(partitions, await self._store.count_owed(partitions))
        except StoreUnavailable as error:
            log.warning("owed.not_counted", error=str(error))  # what is there already does not count towards the cap

    async def _leave(self, partitions: Collection[int]) -> None:
        """These are about to be handed over: start nothing more of them, and write all that is known."""
        partitions = set(partitions)
        self.tails.drop(partitions)
        self.filtering.drop(partitions)
        self.lanes.leave(partitions)
        while self.journal.speaks_for(partitions):
            await self.journal.caught_up()
        await self._look_for_marks(partitions)
        while self.journal.speaks_for(partitions):
            await self.journal.caught_up()

    async def _look_for_marks(self, partitions: Collection[int]) -> None:
        """A successor goes by the rows of what still runs. Where somebody took one away, it must not go by the others."""
        unmarked = await self.facts.unmarked(self._owner, self.lanes.paced(partitions))
        self.ownership.unrecorded(unmarked)

    def _lost(self, partitions: Collection[int]) -> None:
        partitions = set(partitions)
        self.tails.drop(partitions)
        self.filtering.drop(partitions)
        self.configs.drop(partitions)
        self.lanes.drop(partitions)
        self.journal.forget(partitions)
        self.backlog.drop(partitions)
        self.dispatcher.drop(partitions)
        self.progress.drop(partitions)
        self.effects.drop(partitions)
        if self.calls is not None:
            self.calls.drop(partitions)

    def _heads_seen(self, heads: dict[int, Head]) -> None:
        """What the poll brought besides the heads: changed configuration, and rows written from outside."""
        poked = []
        for partition, head in heads.items():
            if head.config_version > self.configs.version(partition) > 0 and partition not in self._reloading:
                self._reloading.add(partition)
                self._chore(self._reload(partition, head.config_version))
            if head.poke != self._pokes.get(partition, head.poke):
                poked.append(partition)
            self._pokes[partition] = head.poke
        if poked:
            self._chore(self._poked(poked))
            if self.replays is not None:
                self.replays.wake()

    async def _reload(self, partition: int, version: int) -> None:
        try:
            await self.configs.catch_up(partition, version)
        except PosthouseError as error:
            log.warning("configuration.not_loaded", partition=partition, error=str(error))  # the next poll tries again
        finally:
            self._reloading.discard(partition)

    def _configured(self, endpoints: Sequence[Endpoint]) -> None:
        self.backlog.configured(endpoints)
        self.lanes.configure(endpoints)

    def _only(self, app_ids: Collection[AppId], endpoint_ids: Collection[EndpointId]) -> None:
        self.lanes.keep_only(app_ids, endpoint_ids)
        self.backlog.keep_only(app_ids, endpoint_ids)

    async def _hasten(self, app: AppConfig) -> None:
        """An app has lost grants: what it is owed of events that it may no longer have need not wait for its time."""
        try:
            for endpoint in app.endpoints:
                epoch = self.ownership.epochs.get(app.partition)
                if epoch is None:
                    return
                await self._store.hasten_revoked(
                    self._owner, epoch, app.partition, app.app_id, endpoint.id, now=self._clock.now()
                )
            await self._poked([app.partition])
        except StoreUnavailable as error:
            log.warning("revoked.not_hastened", error=str(error))  # they are looked at when they fall due

    async def _poked(self, partitions: Sequence[int]) -> None:
        try:
            await self.backlog.take(partitions)
            await self.effects.take(partitions)  # a late answer may have brought some
            if self.calls is not None:
                await self.calls.take(partitions)
        except StoreUnavailable:
            for partition in partitions:
                self._pokes[partition] = -1

    # Deliveries

    def _dispatch(self, event: Event, epoch: int) -> None:
        self.dispatcher.dispatch(event, epoch)
        self._progress_moved()

    def _progress_moved(self) -> None:
        if self.progress.moved:
            self.journal.moved()

    def _tail_has_room(self) -> bool:
        if self.platform.on and self.effects.pending >= PLATFORM_PENDING_MAX:
            return False  # events that are handed over come faster than they are published
        if self.progress.events >= OUTSTANDING_BUSY_MAX and self.busy():
            return False  # what is read of the log would only wait to be sent, and become rows
        return self.journal.has_room and not self._stopping

    def _may_start(self) -> bool:
        return self.ownership.valid and self.journal.has_room and not self._stopping

    def _room(self) -> None:
        self.lanes.resume()
        self.tails.roomier()
        self.filtering.roomier()
        self.backlog.roomier()

    def _paging_memory(self) -> int:
        return max(PAGED_BYTES_MAX - self.lanes.paged_bytes, 0) if self.journal.has_room else 0

    def _hold(self, partition: int, key: DeliveryKey, rows: int) -> None:
        self.backlog.hold(partition, key)
        if rows:
            self.backlog.count(partition, key[0], rows)

    def _orphaned(self, owed: Owed, event: Event | None, endpoint: Endpoint | None) -> None:
        """A row whose endpoint was deleted, or whose event retention dropped: settle it as given up."""
        self.outcomes.abandon(
            owed, event, endpoint, epoch=self.ownership.epochs[owed.partition],
            reason=EXPIRED if event is None else CANCELLED,
        )  # fmt: skip

    def _written(self, batch: JournalBatch, result: Journalled, released: Released) -> None:
        epochs = self.ownership.epochs
        self.ownership.drop([p for p, epoch in batch.epochs.items() if p not in result.held and epochs.get(p) == epoch])
        # Of a partition that was lost and taken again meanwhile, memory begins anew: what was released is not its own.
        ours = {p for p, epoch in batch.epochs.items() if epochs.get(p) == epoch}
        for partition, key in released:
            if partition in ours:
                self.backlog.release(key)
        for owed in batch.owed:
            if owed.partition in ours and owed.reason is not OwedReason.IN_FLIGHT and not owed.line:
                self.backlog.owe(owed.partition, owed.endpoint_id, owed.due_at)
        for line, due_at in result.lines.items():
            if line[0] in ours:
                self._line_written(line, due_at)
        if batch.effects:
            recorded = [effect for effect in batch.effects if effect.partition in ours]
            self.effects.recorded(recorded)
            if self.calls is not None:
                self.calls.noted(recorded)
        if batch.rollups:
            self._counted(batch.rollups, result.held)
        self.tails.roomier()
        self.filtering.roomier()

    def _line_written(self, line: Line, due_at: float | None) -> None:
        """An ordered line is in order in the store: its first row is due then, or there is none."""
        partition, endpoint_id, number = line
        self.backlog.rewritten(line)
        if due_at is not None:
            self.backlog.owe(partition, endpoint_id, due_at)
        elif self.journal.unwritten_row(line) is None:
            self.lanes.line_emptied(endpoint_id, number)
            self.backlog.emptied(endpoint_id)

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(SWEEP_SECONDS)
            self.lanes.sweep(self._clock.boot())
