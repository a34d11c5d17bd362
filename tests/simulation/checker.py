"""The seven invariants of the design, held against everything that happens, as it happens.

The checker keeps a record of its own of what was committed (`committed`), sent (`starts`, `sends`, `ends`), confirmed
(`confirms`) and answered (`accepts`), and looks at each change in the light of it. It believes neither the engine nor the
reference model.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from tests.fakes import EPOCH, Sent
from tests.simulation.audience import Audience
from tests.simulation.faults import Statement
from tests.simulation.memory import too_much
from tests.simulation.stale import Stale
from tests.simulation.waiting import Waiting

from posthouse.adapters.memory import MemoryDatabase
from posthouse.domain.delivery import (
    Attempt,
    AttemptOutcome,
    DeliveryClass,
    DeliveryKey,
    Effect,
    EffectKind,
    Owed,
    OwedReason,
    RowKey,
)
from posthouse.domain.endpoint import Ordering
from posthouse.domain.event import Event
from posthouse.domain.filters import OnFilterError
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId
from posthouse.domain.operations import OPERATIONS_APP
from posthouse.domain.order import UNORDERED, line_of
from posthouse.domain.platform_routes import PLATFORM_APP, PLATFORM_ROUTE, RESERVED_APPS, stand_in, was_handed

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

K = TypeVar("K")
V = TypeVar("V")
FENCED: Final = frozenset({"journal", "recover_in_flight", "hasten_revoked", "expire_oldest"})
PAGED_SECONDS: Final = 0.5  # after a page the next one is there
ON_ITS_WAY_SECONDS: Final = 0.1  # a statement, until it is carried out
OBEYED_SECONDS: Final = 3.0  # a change of configuration, by a process that nothing disturbs
LOOKED_BACK: Final = 50  # events that are compared with what they were, at each commit


class Touched(dict[K, V]):
    """A table that remembers which of its rows were written."""

    def __init__(self, rows: MutableMapping[K, V]) -> None:
        super().__init__(rows)
        self.touched: dict[K, None] = {}

    def __setitem__(self, key: K, value: V) -> None:
        self.touched[key] = None
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        self.touched[key] = None
        super().__delitem__(key)

    def pop(self, key: K, *default: Any) -> Any:
        self.touched[key] = None
        return super().pop(key, *default)

    def setdefault(self, key: K, default: V) -> V:
        self.touched[key] = None
        return super().setdefault(key, default)

    def take(self) -> list[K]:
        keys = list(self.touched)
        self.touched.clear()
        return keys


class Checker:
    """`violations` says what is wrong; a history ends at the first."""

    def __init__(self, world: World, database: MemoryDatabase) -> None:
        self.world = world
        self.database = database
        self.audience = Audience(database)
        self.violations: list[str] = []
        self.digest = 0
        self.tell: Callable[[str], None] | None = None
        self.statements = 0
        self.rows: dict[RowKey, Owed] = {}
        self.marked: dict[RowKey, int] = {}  # under which epoch a row was written, to say that its request runs
        self.lines: defaultdict[tuple[int, EndpointId, int], set[RowKey]] = defaultdict(set)
        self.ends: dict[DeliveryKey, Attempt] = {}  # of live deliveries: how they ended, on record
        self.attempts: dict[AttemptId, Attempt] = {}
        self.done: set[AttemptId] = set()  # follow-ups
        self.follow_ups: dict[AttemptId, Effect] = {}
        self.told = 0
        self.handed = 0
        self.began: dict[EventId, int] = {}  # with how many changes of configuration
        self.keys: dict[tuple[AppId | None, str], EventId] = {}
        self.owners: list[tuple[bytes | None, int, float]] = [
            (p.owner, p.epoch, p.lease_until) for p in database.partitions
        ]
        self.log: dict[tuple[int, int], Event] = {}
        self.heads = [0 for _ in database.partitions]
        self.cursors = [0 for _ in database.partitions]
        self.order: defaultdict[tuple[EndpointId, int], deque[Event]] = defaultdict(deque)
        self.given_up: defaultdict[DeliveryKey, list[Process]] = defaultdict(list)
        self.seen: Counter[DeliveryKey] = Counter()  # requests that reached a target
        self.confirmed: Counter[DeliveryKey] = Counter()
        self.repeatable: Counter[DeliveryKey] = Counter()  # what may be confirmed again, and how often
        self.accepted: dict[EventId, float] = {}
        self.overdue: set[DeliveryKey] = set()  # whose request's answer was put on record after its row had fallen due
        self.changed_at: dict[EndpointId, float] = {}  # when an endpoint was last told to be left alone
        # Whose filter had no value, and what that counted as.
        self.defaulted: set[tuple[DeliveryKey, OnFilterError]] = set()
        self.served: defaultdict[EndpointId, list[tuple[float, float]]] = defaultdict(
            list
        )  # of those that are always well
        self.waiting = Waiting()
        self.stale = Stale()
        database.owed = self._owed = Touched(database.owed)
        database.attempts = self._attempts = Touched(database.attempts)
        database.effects = self._effects = Touched(database.effects)

    def wrong(self, what: str) -> None:
        self.violations.append(f"at {self.world.now():.3f} s: {what}")

    def note(self, *what: object) -> None:
        """Add to the digest of the history: equal ones had equal histories."""
        line = f"{self.world.now():.6f} {' '.join(map(_told, what))}"
        self.digest = zlib.crc32(line.encode(), self.digest)
        if self.tell is not None:
            self.tell(line)

    # What is committed

    def committed(self, statement: Statement) -> None:
        """A statement has changed the database: 1 (one home), 2 (nothing is lost), 4 (a zombie changes nothing)."""
        self.note(statement.operation, None if statement.process is None else statement.process.number)
        self.statements += 1
        self._look_at_log(statement)
        self._look_at_owners(statement)
        recorded = self._look_at_attempts(statement)
        changed = self._look_at_rows(statement, recorded)
        self._look_at_effects(statement)
        self._look_at_cursors(statement)
        for line in changed:
            self._look_at_line(line)
        if statement.operation == "disable_endpoint":
            self.audience.endpoint_changed(statement.arguments[0][0].endpoint_id)
            self.changed_at.setdefault(statement.arguments[0][0].endpoint_id, self.world.now())

    def _look_at_log(self, statement: Statement) -> None:
        appended: set[EventId] = set()
        for number, partition in enumerate(self.database.partitions):
            if partition.head < self.heads[number]:
                self.wrong(f"the head of partition {number} went back")
            for seq in range(max(self.heads[number] - LOOKED_BACK, 0) + 1, self.heads[number] + 1):
                if partition.events[seq] is not self.log[number, seq]:
                    self.wrong(f"{seq} of partition {number} is another event now")
            for seq in range(self.heads[number] + 1, partition.head + 1):
                event = partition.events.get(seq)
                if event is None:
                    self.wrong(f"{seq} of partition {number} is missing from the log")
                    continue
                if event.id in self.began and event.id not in appended:
                    self.wrong(f"{seq} of partition {number} was in the log before")
                appended.add(event.id)
                self.log[number, seq] = event
                self._look_at_event(event, statement)
            self.heads[number] = partition.head
        for event_id in appended:
            key = self.world.keys.get(event_id)
            if key is not None and self.keys.setdefault(key, event_id) != event_id:
                self.wrong("an idempotency key made two events")

    def _look_at_event(self, event: Event, statement: Statement) -> None:
        self.began.setdefault(event.id, statement.changes)
        for wrong in self.audience.appended(event, changes=statement.changes, began_at=EPOCH + statement.began_at):
            self.wrong(wrong)
        for endpoint_id in self.audience.must[event.partition, event.seq]:
            line = line_of(self.database.endpoints[endpoint_id].config.ordering, event.key, DeliveryClass.LIVE)
            if line != UNORDERED:
                self.order[endpoint_id, line].append(event)

    def _look_at_owners(self, statement: Statement) -> None:
        me = statement.process
        for number, partition in enumerate(self.database.partitions):
            owner, epoch, lease_until = self.owners[number]
            now = (partition.owner, partition.epoch, partition.lease_until)
            if now == (owner, epoch, lease_until):
                continue
            self.owners[number] = now
            if partition.owner != owner or partition.epoch != epoch:
                if partition.owner is None:
                    if (
                        statement.operation != "release"
                        or me is None
                        or (owner, epoch) != (me.owner, statement.epochs[number])
                    ):
                        self.wrong(f"partition {number} was released by somebody else")
                    elif me.writing is not None and any(
                        attempt.partition == number and attempt.id not in self.database.attempts
                        for attempt in me.writing.attempts
                    ):
                        self.wrong(f"partition {number} was released before its results were written")
                    if me is not None:
                        self._look_at_marks(number, statement, me)
                    continue
                dead = statement.arguments[1].get("dead", ())
                free = owner is None or owner in dead or lease_until < self.database.clock()
                if statement.operation != "claim" or not free or partition.epoch != epoch + 1:
                    self.wrong(f"partition {number} was taken though it was not free, or kept its epoch")
                self.world.disturbed = self.world.now()
                before = self.world.process(owner)
                if before is not None:
                    self.may_repeat(before.at_risk({number}))
            elif (
                me is None or me.owner != partition.owner or statement.epochs.get(number) not in (None, partition.epoch)
            ):
                self.wrong(f"the lease of partition {number} was extended by somebody else")

    def _look_at_marks(self, partition: int, statement: Statement, process: Process) -> None:
        """Who takes over waits for the answers of what was under way, and of nothing else. What was marked before the
        partition was lost once, and never begun, nobody could take back."""
        epoch = statement.epochs[partition]
        for key, row in self.rows.items():
            marked = key[0] == partition and (row.reason, row.sender) == (OwedReason.IN_FLIGHT, process.owner)
            if not marked or self.marked.get(key) != epoch:
                continue
            if not process.is_under_way(row.key, since=statement.began_at - ON_ITS_WAY_SECONDS):
                self.wrong(f"partition {partition} was released as if {_short(row.key)} was under way")

    def _is_fenced(self, statement: Statement, partition: int) -> bool:
        me = statement.process
        if me is None or statement.operation not in FENCED:
            return True
        state = self.database.partitions[partition]
        return (state.owner, state.epoch) == (me.owner, statement.epochs.get(partition))

    def _look_at_attempts(self, statement: Statement) -> set[DeliveryKey]:
        recorded = set()
        for attempt_id in self._attempts.take():
            attempt = self.database.attempts[attempt_id]
            if attempt_id in self.attempts:
                self.wrong(f"attempt {attempt_id.hex()} was written twice")
                continue
            self.attempts[attempt_id] = attempt
            recorded.add(attempt.key)
            self.note("attempt", *attempt.key, attempt.number, attempt.kind, attempt.outcome, attempt.reason)
            if not self._is_fenced(statement, attempt.partition):
                self.wrong(f"a stale owner recorded an attempt in partition {attempt.partition}")
            if attempt.sent and attempt.number > self.seen[attempt.key]:
                self.wrong(f"attempt {attempt.number} of {_short(attempt.key)} was spent though the target saw fewer")
            if not attempt.outcome.terminal or attempt.kind is DeliveryClass.REPLAY:
                continue
            if attempt.key in self.ends and attempt.key not in self.world.cancelled | self.overdue:
                self.wrong(f"the delivery {_short(attempt.key)} ended twice")
            self.ends[attempt.key] = attempt
            if attempt.reason == PLATFORM_ROUTE:
                self._look_at_handover(attempt)
            elif attempt.outcome is AttemptOutcome.DELIVERED:
                if not self.confirmed[attempt.key]:
                    self.wrong(f"{_short(attempt.key)} is on record as delivered, and was not")
            elif not self.world.may_give_up(attempt):
                self.wrong(f"{_short(attempt.key)} was given up: {attempt.reason} after {attempt.number}")
        return recorded

    def _look_at_handover(self, attempt: Attempt) -> None:
        """An event was handed to the platform routes for an app."""
        position = (attempt.partition, attempt.seq)
        if not self.world.routed or attempt.endpoint_id != stand_in(attempt.app_id):
            self.wrong(f"{attempt.seq} of partition {attempt.partition} was handed to nobody")
        if self.audience.must_of(attempt.app_id, position):
            self.wrong(f"{attempt.seq} of partition {attempt.partition} was handed over though its app listens to it")

    def _look_at_rows(
        self, statement: Statement, recorded: Collection[DeliveryKey]
    ) -> set[tuple[int, EndpointId, int]]:
        lines = set()
        for key in self._owed.take():
            before, after = self.rows.get(key), self.database.owed.get(key)
            if before == after:
                continue
            if after is None:
                self.note("row", *key, "gone")
            else:
                self.note(
                    "row",
                    *key,
                    after.number,
                    after.kind,
                    after.reason,
                    round(after.due_at - EPOCH, 3),
                    after.line % 1000,
                )
            for row in (before, after):
                if row is not None and row.line:
                    lines.add((row.partition, row.endpoint_id, row.line))
            if not self._is_fenced(statement, key[0]):
                self.wrong(f"a stale owner changed a row of partition {key[0]}")
            if statement.operation == "settle_late" and not _is_late_answer(statement, before, after):
                self.wrong(f"a late answer changed a row that it had not marked: {_short(key[1:])}")
            if statement.operation == "settle_late" and before is not None and self._is_overdue(before):
                self.overdue.add(before.key)
            if after is None:
                assert before is not None
                self._row_left(key, before, recorded)
            else:
                if before is None and after.kind is DeliveryClass.LIVE and key[1:] in self.ends:
                    self.wrong(f"{_short(key[1:])} has ended, and is owed")
                self.rows[key] = after
                if after.reason is OwedReason.IN_FLIGHT and _is_written(statement, after):
                    self.marked[key] = statement.epochs[key[0]]
                if after.line:
                    self.lines[after.partition, after.endpoint_id, after.line].add(key)
                was_running = before is not None and before.reason is OwedReason.IN_FLIGHT and self._is_overdue(before)
                if was_running and after.due_at == math.inf:
                    self.may_repeat([key[1:]])  # it goes with those before it in its line, and is not due again
        return lines

    def _is_overdue(self, row: Owed) -> bool:
        """Whether an owner may count the request that a row stands for as lost, by any clock."""
        return row.due_at <= self.database.clock() + 2 * self.world.weather.skew

    def _row_left(self, key: RowKey, row: Owed, recorded: Collection[DeliveryKey]) -> None:
        del self.rows[key]
        self.lines[row.partition, row.endpoint_id, row.line].discard(key)
        if key[1:] not in recorded or (row.kind is DeliveryClass.LIVE and key[1:] not in self.ends):
            self.wrong(f"{_short(key[1:])} is owed no more, and nothing says why")

    def _look_at_line(self, line: tuple[int, EndpointId, int]) -> None:
        rows = sorted(
            (self.rows[key] for key in self.lines[line] if self.rows[key].line == line[2]), key=lambda r: r.seq
        )
        due = [row for row in rows if row.due_at != math.inf]
        if len(due) > 1 or any(row is not rows[0] and row.reason is not OwedReason.IN_FLIGHT for row in due):
            self.wrong(f"in an ordered line of {line[1].hex()[-4:]} more than the first row is due")
        if rows and not due and rows[0].reason is not OwedReason.BLOCKED:
            self.wrong(f"an ordered line of {line[1].hex()[-4:]} waits for nobody")

    def _look_at_effects(self, statement: Statement) -> None:
        emitted = handed = 0
        for effect_id in self._effects.take():
            effect = self.database.effects.get(effect_id)
            if effect is not None:
                if effect_id in self.done:
                    self.wrong("a follow-up that was done is to be done again")
                if not self._is_fenced(statement, effect.partition):
                    self.wrong("a stale owner recorded a follow-up")
                self.follow_ups[effect_id] = effect
            elif effect_id in self.follow_ups and effect_id not in self.done:
                self.done.add(effect_id)
                emitted += self.follow_ups[effect_id].kind is EffectKind.EMIT
                handed += self.follow_ups[effect_id].kind is EffectKind.ROUTE
        told = sum(event.app_id == OPERATIONS_APP for event in self.database.partitions[0].events.values())
        if emitted != told - self.told:
            self.wrong(f"{emitted} follow-ups were done, and {told - self.told} events came of them")
        self.told = told
        copies = sum(event.app_id == PLATFORM_APP for event in self.database.partitions[0].events.values())
        if handed != copies - self.handed:
            self.wrong(f"{handed} events were handed over, and {copies - self.handed} came of them")
        self.handed = copies

    def _look_at_cursors(self, statement: Statement) -> None:
        for number, partition in enumerate(self.database.partitions):
            last = self.cursors[number]
            if partition.cursor == last:
                continue
            if partition.cursor < last or partition.cursor > partition.head:
                self.wrong(f"the cursor of partition {number} went from {last} to {partition.cursor}")
            if not self._is_fenced(statement, number):
                self.wrong(f"a stale owner moved the cursor of partition {number}")
            for seq in range(last + 1, partition.cursor + 1):
                event = partition.events[seq]
                for endpoint_id in self.audience.must[number, seq]:
                    if (number, endpoint_id, event.id) not in self.rows and (endpoint_id, event.id) not in self.ends:
                        self.wrong(
                            f"the cursor passed {seq} of partition {number}, which {endpoint_id.hex()[-4:]} has not got"
                        )
                for app_id in self._without_endpoint(event):
                    if not was_handed(app_id, event, self.ends.keys()):
                        self.wrong(f"the cursor passed {seq} of partition {number}, which was not handed over")
            self.cursors[number] = partition.cursor

    def _without_endpoint(self, event: Event) -> list[AppId]:
        """The apps for which an event must be handed to the platform routes."""
        if not self.world.routed or event.app_id in RESERVED_APPS:
            return []
        if event.app_id is None and not event.audience:
            return [PLATFORM_APP]
        apps = event.audience if event.app_id is None else (event.app_id,)
        return [app_id for app_id in apps if self.audience.never_had_one(app_id)]

    # What is sent

    def starts(self, process: Process, endpoint_id: EndpointId, sent: Sent) -> None:
        """A process begins a request: 4 (no zombie does), 1 (not twice at once)."""
        self.note("starts", process.number, endpoint_id, *sent.event_ids)
        partition = self._partition_of(endpoint_id)
        owner = self.database.partitions[partition].owner
        if owner != process.owner and not process.session_lost:
            self.wrong(f"process {process.number} sends of partition {partition}, which it lost")
        process.begun.update((endpoint_id, event_id) for event_id in sent.event_ids)
        process.requests[endpoint_id] += 1
        if process.requests[endpoint_id] > self.world.concurrency_max:
            self.wrong(f"{process.requests[endpoint_id]} requests to {endpoint_id.hex()[-4:]} at once")
        for event_id in sent.event_ids:
            key = (endpoint_id, event_id)
            process.running[key] += 1
            if process.running[key] > 1:
                self.wrong(f"process {process.number} sends {_short(key)} twice at once")
            row = self.rows.get((partition, *key))
            if row is not None and row.reason is OwedReason.IN_FLIGHT and self._is_overdue(row):
                self.may_repeat([key])
        left_alone = self.changed_at.get(endpoint_id)
        if left_alone is not None and self.world.now() > max(left_alone, process.disturbed_at) + OBEYED_SECONDS:
            self.wrong(f"{endpoint_id.hex()[-4:]} was paused, disabled or deleted long ago")

    def sends(self, process: Process, endpoint_id: EndpointId, sent: Sent) -> None:
        """It is written: 5 (order), and nobody gets what is not meant for them."""
        replay = b"webhook-replay" in sent.request.head
        partition = self._partition_of(endpoint_id)
        mine = self.database.partitions[partition].owner == process.owner or process.session_lost
        ordering = self.database.endpoints[endpoint_id].config.ordering
        for place, event_id in enumerate(sent.event_ids):
            key = (endpoint_id, event_id)
            event = self._event(partition, event_id)
            if event is None or not (
                (key, OnFilterError.DELIVER) in self.defaulted
                or self.audience.may(endpoint_id, event, self.began[event_id])
            ):
                self.wrong(f"{_short(key)} is not meant for it")
                continue
            if not mine and line_of(ordering, event.key, DeliveryClass.LIVE) != UNORDERED:
                self.wrong(
                    f"process {process.number} writes of an ordered line of partition {partition}, which it lost"
                )
            if not replay:
                self._look_at_order(endpoint_id, event, sent.event_ids[:place])
                self._look_at_grant(process, endpoint_id, event)
            if process.session_lost:
                self.repeatable[key] += 1  # its successor may send the same

    def ends_request(self, process: Process, endpoint_id: EndpointId, sent: Sent) -> None:
        process.requests[endpoint_id] -= 1
        for event_id in sent.event_ids:
            process.running[endpoint_id, event_id] -= 1
            process.ended_at[endpoint_id, event_id] = self.world.now()
        if endpoint_id in self.world.canaries:
            self.served[endpoint_id].append((sent.at, self.world.now()))

    def _look_at_order(self, endpoint_id: EndpointId, event: Event, with_it: Collection[EventId]) -> None:
        """On an ordered line an event is not sent before all those before it were confirmed, were given up, or are with it."""
        ordering = self.database.endpoints[endpoint_id].config.ordering
        line = line_of(ordering, event.key, DeliveryClass.LIVE)
        if ordering is Ordering.NONE or line == UNORDERED:
            return
        waiting = self.order[endpoint_id, line]
        while waiting and ((endpoint_id, waiting[0].id) in self.ends or self.confirmed[endpoint_id, waiting[0].id]):
            waiting.popleft()
        for earlier in waiting:
            if earlier.seq >= event.seq:
                break
            key = (endpoint_id, earlier.id)
            if (
                not self.confirmed[key]
                and earlier.id not in with_it
                and endpoint_id in self.audience.must[earlier.partition, earlier.seq]
                and key not in self.ends
                and not any(not process.dead for process in self.given_up.get(key, ()))
            ):
                self.wrong(
                    f"{event.seq} of partition {event.partition} is sent to {endpoint_id.hex()[-4:]} before {earlier.seq}"
                )

    def _look_at_grant(self, process: Process, endpoint_id: EndpointId, event: Event) -> None:
        app_id = self.database.endpoints[endpoint_id].app_id
        if event.app_id is None and not self.database.covered(app_id, event.type, event.subject):
            lost_at = self.world.lost_grant_at(app_id, event)
            if lost_at is None or self.world.now() > max(lost_at - EPOCH, process.disturbed_at) + OBEYED_SECONDS:
                self.wrong(f"{event.seq} of partition {event.partition} is sent though its grant was taken away")

    def marks(self, process: Process, key: DeliveryKey) -> None:
        """A process is to write that its request for a delivery is under way."""
        if key in process.engine.outcomes.late.settling:
            self.wrong(f"process {process.number} says that {_short(key)} is under way, whose answer is there")

    def gives_up(self, process: Process, key: DeliveryKey) -> None:
        """On record it is once the journal is written."""
        self.given_up[key].append(process)

    # What is confirmed and answered

    def reaches(self, keys: Iterable[DeliveryKey]) -> None:
        """A target has seen a request."""
        self.seen.update(keys)

    def confirms(self, key: DeliveryKey) -> None:
        """A target has taken it: 3 (what is repeated was in flight or unwritten), 6 (others' targets do not make it late)."""
        self.note("confirmed", *key)
        self.confirmed[key] += 1
        if self.confirmed[key] > 1 + self.repeatable[key] + self.world.resent[key]:
            self.wrong(f"{_short(key)} is repeated, and nothing explains it")
        accepted_at = self.accepted.get(key[1])
        if self.confirmed[key] == 1 and accepted_at is not None and key[0] in self.world.canaries:
            since = max(accepted_at, self.world.disturbed_at())
            late, most = self.world.now() - since, self.world.canary_seconds
            # Of few sockets each has its share, which may be one: what a stall has piled up goes one by one, and that is not
            # waiting for others.
            if late > most and self._waited(key[0], since) > most / 2:
                self.wrong(f"{_short(key)} came {late:.1f} s late to a target that is well")

    def _waited(self, endpoint_id: EndpointId, since: float) -> float:
        """For how many seconds since then no request to it was under way, of those that have ended. Its own rows come page by
        page: between two of them it waits for nobody."""
        waited, until = 0.0, since
        for began, ended in sorted(self.served[endpoint_id]):
            waited += began - until if began - until > PAGED_SECONDS else 0.0
            until = max(until, ended)
        return waited + self.world.now() - until

    def may_repeat(self, keys: Iterable[DeliveryKey]) -> None:
        """Whoever speaks for these is lost, or not heard."""
        self.repeatable.update(keys)

    def accepts(self, event_id: EventId) -> None:
        """It is answered 202: from here on it must not be lost (2)."""
        if event_id not in self.database.positions:
            self.wrong(f"{event_id.hex()[-6:]} was accepted, and is not in the log")
        self.accepted.setdefault(event_id, self.world.now())

    def looks_at(self, process: Process) -> None:
        """Nothing in memory is unbounded (7), and nothing that is owed is forgotten (2)."""
        for what in too_much(process, self.world.sockets_max):
            self.wrong(f"process {process.number} has {what}")
        lanes = process.engine.lanes
        if lanes.in_flight == self.world.sockets_max < 2 * sum([lane.requests > 0 for lane in lanes._lanes]):
            # Half of the sockets are gone to lanes that have no other one: with so many targets that hang, each waits.
            self.world.disturbed = self.world.now()
        for what in self.waiting.looks_at(process, self.rows, self.marked, self.world.now()):
            self.wrong(f"process {process.number}: {what}")
        for what in self.stale.looks_at(process, self.world.now()):
            self.wrong(f"process {process.number}: {what}")

    def _partition_of(self, endpoint_id: EndpointId) -> int:
        return self.database.apps[self.database.endpoints[endpoint_id].app_id].partition

    def _event(self, partition: int, event_id: EventId) -> Event | None:
        for number, seq in self.database.positions.get(event_id, ()):
            if number == partition:
                return self.database.partitions[number].events[seq]
        return None


def _is_written(statement: Statement, row: Owed) -> bool:
    """Whether a journal says this of the row, rather than put it in its place in its line."""
    return statement.operation == "journal" and any(o.key == row.key for o in statement.arguments[0][0].owed)


def _is_late_answer(statement: Statement, before: Owed | None, after: Owed | None) -> bool:
    """Whether its sender had marked the row; others of a line, even of one request, only change when they are due."""
    assert statement.process is not None
    if before is None:
        return False
    marked = (before.reason, before.sender) == (OwedReason.IN_FLIGHT, statement.process.owner)
    if marked and before.key in {late[0].key for late in statement.arguments[0][0]}:
        return True
    return after is not None and msgspec.structs.replace(after, due_at=before.due_at) == before


def _short(key: DeliveryKey) -> str:
    return f"{key[1].hex()[-6:]} for {key[0].hex()[-4:]}"


def _told(what: object) -> str:
    return what.hex()[-6:] if isinstance(what, bytes) else str(what)
