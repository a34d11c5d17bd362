"""What the reference model holds, and how its configuration is changed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Protocol

from posthouse.domain.circuit import Health
from posthouse.domain.delivery import Attempt, AttemptOutcome, Effect, Owed, Rollup
from posthouse.domain.endpoint import BLANK, EndpointConfig, Secret, Throttle
from posthouse.domain.errors import StoreRejected
from posthouse.domain.event import Event
from posthouse.domain.grant import Grant
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId, GrantId, ScheduleId, id_beside, uuid7
from posthouse.domain.limits import PARTITIONS
from posthouse.domain.named_keys import KeyVersion
from posthouse.domain.operations import OPERATIONS_APP, OPERATIONS_UID
from posthouse.domain.platform_routes import PLATFORM_APP, PLATFORM_UID
from posthouse.domain.quota import Quotas
from posthouse.domain.schedule import Schedule
from posthouse.domain.verification import Verification, after_change
from posthouse.ports.catalogue import EventTypeEntry

OwedKey = tuple[int, EndpointId, EventId]


class Step(StrEnum):
    """Where in an operation the hook is awaited."""

    READ = "read"  # before something is read
    BEFORE_COMMIT = "before_commit"  # nothing is locked; raise here: nothing was written
    LOCKED = "locked"  # what it locks is locked, and what it reads was read; raise here: nothing was written
    AFTER_COMMIT = "after_commit"  # raise InDoubt here: it was written, and the caller does not know


class Hook(Protocol):
    """Awaited around every operation (the name of the port's method). It may wait, and it may raise."""

    async def __call__(self, operation: str, step: Step) -> None: ...


@dataclass(slots=True)
class PartitionState:
    """A partition: its log, its configuration's counter, and who owns it."""

    head: int = 0
    events: dict[int, Event] = field(default_factory=dict)  # by seq
    config_version: int = 1
    owner: bytes | None = None
    epoch: int = 0
    lease_until: float = float("-inf")
    cursor: int = 0
    cursor_at: float = 0.0
    poke: int = 0
    batch: tuple[int, int] = (0, 0)  # the last one of the journal: its epoch, and its number

    def held_by(self, owner: bytes, epoch: int) -> bool:
        """The fence: whether this owner holds the partition under this epoch."""
        return self.owner == owner and self.epoch == epoch


@dataclass(slots=True)
class AppState:
    id: AppId
    partition: int
    uid: str | None
    config_version: int = 0
    shrunk_version: int = 0
    deleted: bool = False
    quotas: Quotas | None = None


@dataclass(slots=True)
class SecretState:
    secret: Secret
    expires_at: float | None


@dataclass(slots=True)
class EndpointState:
    id: EndpointId
    app_id: AppId
    config: EndpointConfig
    uid: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    revision: int = 1
    enabled: bool = True
    paused: bool = False
    disabled_reason: str | None = None
    deleted: bool = False
    secrets: list[SecretState] = field(default_factory=list)  # oldest first
    keys: list[KeyVersion] = field(default_factory=list)


@dataclass(slots=True)
class KeyState:
    """The last use of an idempotency key."""

    event_id: EventId
    fingerprint: bytes
    created_at: float


@dataclass(slots=True)
class ScheduleState:
    """A schedule, and when it is looked at."""

    schedule: Schedule
    wake_at: float | None


@dataclass(slots=True)
class VerificationState:
    """A verification; what its fields mean is said in migrations/0022_verification.sql."""

    verification: Verification
    wake_at: float | None
    turn: int = 1
    token: bytes | None = None
    asked: int = 0
    asked_at: float = float("-inf")


class Transaction:
    """A write. It locks rows, reads, awaits `commits`, and then changes what it changes without waiting.

    A lock is held from when it was asked for to the end; who asks for several gets them in order. What is read before a lock
    may be another thing afterwards, what is read under it is not.
    """

    def __init__(self, database: MemoryDatabase, operation: str) -> None:
        self._database = database
        self._operation = operation
        self._held: dict[tuple[str, int], asyncio.Lock] = {}

    async def __aenter__(self) -> Transaction:
        await self._database.reached(self._operation, Step.BEFORE_COMMIT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lock in self._held.values():
            lock.release()
        if error is None:
            await self._database.reached(self._operation, Step.AFTER_COMMIT)

    async def lock_heads(self, partitions: Iterable[int]) -> None:
        """Lock the partitions' log heads: `FOR UPDATE`, in order."""
        await self._lock("log_head", partitions)

    async def lock_rows(self, partitions: Iterable[int]) -> None:
        """Lock the partitions' own rows: `FOR NO KEY UPDATE`, in order."""
        await self._lock("partition", partitions)

    async def _lock(self, table: str, numbers: Iterable[int]) -> None:
        for number in sorted(set(numbers)):
            row = (table, number)
            if row not in self._held:
                lock = self._database.locks[row]
                await lock.acquire()
                self._held[row] = lock

    async def commits(self) -> None:
        """Time passes between what was locked and read, and the commit."""
        await self._database.reached(self._operation, Step.LOCKED)


class MemoryDatabase:
    """The state that `MemoryLog`, `MemoryStore` and `MemoryCatalogue` share.

    `clock` is the database's clock in unix seconds: it alone grants and ends leases, and dates events. A read
    is one snapshot; a write is a `Transaction`, whose changes are seen by others all at once.
    """

    def __init__(self, *, clock: Callable[[], float], partitions: int = PARTITIONS, hook: Hook | None = None) -> None:
        self.clock = clock
        self.hook = hook
        self.locks: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)  # by table and partition
        self.partitions = [PartitionState(cursor_at=clock()) for _ in range(partitions)]
        self.lives: Callable[[bytes], bool] = lambda owner: False  # whether somebody seen dead has come back
        self.processes: dict[bytes, float] = {}  # until when each takes part in owning partitions
        self.apps: dict[AppId, AppState] = {
            OPERATIONS_APP: AppState(OPERATIONS_APP, 0, OPERATIONS_UID),
            PLATFORM_APP: AppState(PLATFORM_APP, 0, PLATFORM_UID),
        }
        self.endpoints: dict[EndpointId, EndpointState] = {}
        self.event_types: dict[str, EventTypeEntry] = {}
        self.event_types_version = 1
        self.schemas: dict[tuple[str, int], str | None] = {}  # of versions of event types that are kept
        self.private_types: set[str] = set()
        self.grants: dict[GrantId, Grant] = {}
        self.positions: dict[EventId, list[tuple[int, int]]] = {}  # partition, seq
        self.keys: dict[tuple[AppId | None, str], KeyState] = {}
        self.owed: dict[OwedKey, Owed] = {}
        self.attempts: dict[AttemptId, Attempt] = {}
        self.effects: dict[AttemptId, Effect] = {}
        self.calls: dict[AttemptId, tuple[int, float]] = {}  # of those that failed: how often, and when they are due
        self.health: dict[EndpointId, Health] = {}
        self.throttles: dict[EndpointId, Throttle] = {}
        self.schedules: dict[ScheduleId, ScheduleState] = {}
        self.verifications: dict[EndpointId, VerificationState] = {}
        self.rollups: dict[tuple[int, EndpointId, int], Rollup] = {}

    async def reached(self, operation: str, step: Step) -> None:
        """Call the hook, if there is one."""
        if self.hook is not None:
            await self.hook(operation, step)

    async def reading(self, operation: str) -> None:
        """Precedes every read, which then never waits: a snapshot."""
        await self.reached(operation, Step.READ)

    def transaction(self, operation: str) -> Transaction:
        """Surrounds every write."""
        return Transaction(self, operation)

    def row_is_locked(self, partition: int) -> bool:
        """For who skips locked rows."""
        return self.locks["partition", partition].locked()

    # Configuration: what the use cases of `manage` do, in short

    def put_app(self, app_id: AppId, *, partition: int, uid: str | None = None) -> None:
        """Make an app, or give it another uid. The partition of an app never changes."""
        app = self.apps.setdefault(app_id, AppState(app_id, partition, uid))
        assert app.partition == partition
        app.uid = uid
        self.bump_config(app_id)

    def put_quotas(self, app_id: AppId, quotas: Quotas | None) -> None:
        """Give an app other quotas: intake is told as of the event types."""
        self.apps[app_id].quotas = quotas
        self.event_types_version += 1
        self.bump_config(app_id)

    def delete_app(self, app_id: AppId) -> None:
        self.apps[app_id].deleted = True
        self.grants = {g.id: g for g in self.grants.values() if g.app_id != app_id}
        self.schedules = {id: s for id, s in self.schedules.items() if s.schedule.app_id != app_id}
        for endpoint_id, endpoint in self.endpoints.items():
            if endpoint.app_id == app_id:
                self.verifications.pop(endpoint_id, None)
        self.bump_config(app_id)

    def put_endpoint(
        self,
        endpoint_id: EndpointId,
        app_id: AppId,
        config: EndpointConfig,
        *,
        enabled: bool = True,
        paused: bool = False,
    ) -> None:
        """Make an endpoint, or change it: another configuration is another revision."""
        endpoint = self.endpoints.get(endpoint_id)
        self._verify_anew(endpoint_id, BLANK if endpoint is None else endpoint.config, config)
        if endpoint is None:
            endpoint = self.endpoints[endpoint_id] = EndpointState(endpoint_id, app_id, config)
        elif endpoint.config != config:
            endpoint.config = config
            endpoint.revision += 1
        endpoint.enabled = enabled
        endpoint.paused = paused
        self.bump_config(app_id)

    def delete_endpoint(self, endpoint_id: EndpointId) -> None:
        endpoint = self.endpoints[endpoint_id]
        endpoint.deleted = True
        self.verifications.pop(endpoint_id, None)
        self.bump_config(endpoint.app_id)

    def put_secret(self, endpoint_id: EndpointId, secret: Secret, *, expires_at: float | None = None) -> None:
        """Give an endpoint one more secret, the newest."""
        endpoint = self.endpoints[endpoint_id]
        if endpoint.secrets:
            self._verify_anew(endpoint_id, endpoint.config, endpoint.config, keys=True)
        endpoint.secrets.append(SecretState(secret, expires_at))
        self.bump_config(endpoint.app_id)

    def put_key(self, endpoint_id: EndpointId, name: str, text: str, *, expires_at: float | None = None) -> None:
        """Give an endpoint one more version of a named key, the newest."""
        endpoint = self.endpoints[endpoint_id]
        self._verify_anew(endpoint_id, endpoint.config, endpoint.config, keys=True)
        endpoint.keys.append(KeyVersion(name, len(endpoint.keys) + 1, text, expires_at=expires_at))
        self.bump_config(endpoint.app_id)

    def _verify_anew(
        self, endpoint_id: EndpointId, old: EndpointConfig, new: EndpointConfig, *, keys: bool = False
    ) -> None:
        """What a change means for the endpoint's verification."""
        state = self.verifications.get(endpoint_id)
        if new.handshake is None:
            self.verifications.pop(endpoint_id, None)
            return
        now = self.clock()
        fresh = after_change(None if state is None else state.verification, old, new, keys=keys, now=now)
        if fresh is not None:
            if state is None:
                self.verifications[endpoint_id] = VerificationState(fresh, now)
            else:
                state.verification, state.wake_at = fresh, now
                state.turn += 1
                state.token = None

    def bump_config(self, app_id: AppId) -> None:
        """Every change to an app or its endpoints moves its partition's counter, and stamps the app with it."""
        app = self.apps[app_id]
        self.partitions[app.partition].config_version += 1
        app.config_version = self.partitions[app.partition].config_version

    def put_grant(self, grant: Grant) -> None:
        self.grants[grant.id] = grant

    def remove_grant(self, grant_id: GrantId) -> None:
        grant = self.grants.pop(grant_id)
        self.bump_config(grant.app_id)
        self.apps[grant.app_id].shrunk_version = self.apps[grant.app_id].config_version

    def covered(self, app_id: AppId, event_type: str, subject: str | None) -> bool:
        """Whether a live grant of the app covers an event of this type about this subject."""
        now = self.clock()
        return any(g.app_id == app_id and g.covers(event_type, subject, now=now) for g in self.grants.values())

    def put_event_type(self, entry: EventTypeEntry) -> None:
        self.event_types[entry.name] = entry
        self.event_types_version += 1

    def put_version(self, event_type: str, version: int, schema: str | None) -> None:
        """Keep a version of an event type, for endpoints that pin it. Its schema never changes."""
        self.schemas[event_type, version] = schema

    def forget_version(self, event_type: str, version: int) -> None:
        """As retention does."""
        del self.schemas[event_type, version]

    # What happens outside the engine

    def poke(self, partition: int) -> None:
        """Somebody wrote beside the owner."""
        self.partitions[partition].poke += 1

    def give_up(self, row: Owed, *, now: float, reason: str, error: str | None = None) -> None:
        """End what is owed, beside the owner or for its cap: on record where the endpoint is still known."""
        del self.owed[row.partition, row.endpoint_id, row.event_id]
        state = self.endpoints.get(row.endpoint_id)
        if state is None:
            return
        newest = [attempt.id for attempt in self.attempts.values() if attempt.partition == row.partition]
        attempt_id = AttemptId(id_beside(max(newest, default=None), uuid7(int(now * 1000), len(newest))))
        self.attempts[attempt_id] = Attempt(
            id=attempt_id,
            partition=row.partition,
            app_id=state.app_id,
            endpoint_id=row.endpoint_id,
            event_id=row.event_id,
            seq=row.seq,
            number=row.number,
            kind=row.kind,
            outcome=AttemptOutcome.GAVE_UP,
            reason=reason,
            revision=state.revision,
            url=state.config.url,
            started_at=now,
            sent=False,
            error=error,
        )

    def retire(self, *, before: float) -> None:
        """Retention: forget the events created before a time. What is owed of them stays, without its event."""
        for partition in self.partitions:
            for seq, event in list(partition.events.items()):
                if event.created_at < before:
                    del partition.events[seq]
                    self.positions.pop(event.id, None)


def refuse_nul(texts: Iterable[str | None]) -> None:
    """Raises: StoreRejected. A store of texts has none that hold a NUL."""
    if any(text is not None and "\0" in text for text in texts):
        raise StoreRejected("a text holds a NUL")
