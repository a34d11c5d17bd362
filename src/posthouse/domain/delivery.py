"""Deliveries and what is written of them: the obligation, the attempt on record, and the journal's batch."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from posthouse.domain.circuit import Health
from posthouse.domain.event import Event
from posthouse.domain.exchange import NO_TIMINGS, Timings
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId

DeliveryKey = tuple[EndpointId, EventId]
RowKey = tuple[int, EndpointId, EventId]
"""(partition, endpoint, event): a row of `delivery`."""


class DeliveryClass(StrEnum):
    """Which line a delivery stands in: live ones (first tries and their retries) or sent again on request."""

    LIVE = "live"
    REPLAY = "replay"


class OwedReason(StrEnum):
    """Why a delivery is a row rather than in its owner's memory alone."""

    FAILED = "failed"  # an attempt failed; the next one is due later
    LANE_FULL = "lane_full"
    WAITED = "waited"  # in its lane for too long
    IN_FLIGHT = "in_flight"  # its request runs, and the cursor has passed it
    PAUSED = "paused"
    UNVERIFIED = "unverified"  # its endpoint has not passed its handshake
    RESENT = "resent"
    RECOVERED = "recovered"  # its owner died while the request ran
    OUR_FAULT = "our_fault"  # something broke on our side; no attempt was spent
    DISABLED = "disabled"
    RATE_LIMITED = "rate_limited"  # in its lane for too long, which its rate limit holds back
    HELD = "held"  # the target asked to be left alone for a while
    CIRCUIT_OPEN = "circuit_open"
    BEHIND = "behind"  # another delivery of its line comes first
    BLOCKED = "blocked"  # the first of its line, without an attempt left; the line stands
    REPLAYED = "replayed"  # a replay asks for it


class Delivery(msgspec.Struct, gc=False):
    """The obligation to bring one event to one endpoint, in its owner's memory.

    `number` is the attempt to be made next, from 1. `offered_at` is on the boot clock. `row` says that `delivery` has, or is
    about to have, a row for it, and `marked` that this row says that its request runs. `fresh` says that the partition's
    cursor still waits for it. `epoch` is the one under which it was taken on: what is recorded under another is not written.
    Deliveries of the same `line` go one after the other, in the order of their events; those of line 0 wait for nobody.
    `tried` has a bit for each of the endpoint's URLs that this attempt was already made at. `renewed` says that this attempt
    goes with a token that came after a 401, `anew` that it goes over a new connection, as a kept one died with it. `replayed`
    says that a replay put it in and nobody tried it yet: no filter was asked about it.
    """

    event: Event
    epoch: int
    endpoint_id: EndpointId
    number: int
    kind: DeliveryClass
    offered_at: float
    fresh: bool
    row: bool
    line: int = 0
    tried: int = 0
    renewed: bool = False
    anew: bool = False
    replayed: bool = False
    marked: bool = False

    @property
    def key(self) -> DeliveryKey:
        return (self.endpoint_id, self.event.id)


class Owed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A row of `delivery`: what is owed and not on the fast path."""

    partition: int
    endpoint_id: EndpointId
    event_id: EventId
    seq: int
    number: int  # the attempt to be made next, from 1
    due_at: float  # unix seconds; infinity: when those before it in its line are settled
    reason: OwedReason
    kind: DeliveryClass = DeliveryClass.LIVE
    line: int = 0  # 0: it waits for nobody
    sender: bytes | None = None  # the process whose request runs, where the reason is in_flight
    expires_at: float | None = None
    payload_bytes: int = 0
    known: bool = False  # it changes a row that is there: should that be gone by then, it stays gone

    @property
    def key(self) -> DeliveryKey:
        return (self.endpoint_id, self.event_id)


class Fate(StrEnum):
    """What became of a delivery that was sent, as far as its lane is concerned."""

    SETTLED = "settled"  # nothing is owed any more
    OWED = "owed"  # it is a row now
    AGAIN = "again"  # at once: at another of its URLs, or with another token


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    DELIVERED = "delivered"
    FAILED = "failed"  # another attempt follows
    GAVE_UP = "gave_up"  # none follows: exhausted, gone, cancelled, expired, … (`reason`)

    @property
    def terminal(self) -> bool:
        return self is not AttemptOutcome.FAILED


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One attempt on record. `sent` is False for a delivery given up without a request.

    Where one is made for each request it is made by position: Python calls with more than 15 keywords take 3 µs more.
    """

    id: AttemptId
    partition: int
    app_id: AppId
    endpoint_id: EndpointId
    event_id: EventId
    seq: int
    number: int
    kind: DeliveryClass
    outcome: AttemptOutcome
    reason: str
    revision: int
    url: str
    started_at: float  # unix seconds
    sent: bool = True
    status: int | None = None
    address: str = ""
    timings: Timings = NO_TIMINGS
    response_headers: bytes | None = None  # as an HTTP head: "name: value\r\n" lines
    response_body: bytes | None = None  # at most RESPONSE_STORED_BYTES_MAX
    error: str | None = None
    request_id: bytes | None = None  # of the request, where several events shared it
    reaction: str | None = None  # which response rule counted, and what it did (`domain/chaining.py`): JSON

    @property
    def key(self) -> DeliveryKey:
        return (self.endpoint_id, self.event_id)


class EffectKind(StrEnum):
    """Follow-ups of a callback, recorded with the attempt that caused them and done once."""

    DISABLE_ENDPOINT = "disable_endpoint"
    EMIT = "emit"  # publish an operational event: `reason` is its type, `data` its payload
    PUBLISH = "publish"  # publish an event in an app: `reason` is its type, `data` a `chaining.Publication`
    SET = "set"  # merge into the endpoint's metadata: `data` is a `chaining.Values`
    THROTTLE = "throttle"  # a rate for a while: `data` is an `endpoint.Throttle`
    ROUTE = "route"  # hand an event to the platform routes: `reason` is its type, `data` a `platform_routes.Handover`
    CALL = "call"  # call the handlers in Python for an event: `reason` is its type, `data` a `calling.CallData`


class Effect(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A follow-up. Its id is derived from the attempt's (`ids.effect_id`), so that it is recorded once."""

    id: AttemptId
    partition: int
    endpoint_id: EndpointId
    kind: EffectKind
    reason: str
    data: bytes | None = None  # JSON


class HealthTurn(msgspec.Struct, frozen=True, gc=False):
    """An endpoint's health turned into this."""

    partition: int
    endpoint_id: EndpointId
    health: Health


Line = tuple[int, EndpointId, int]
"""(partition, endpoint, line): deliveries that go one after the other."""


class Rollup(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Counters of one endpoint in one minute; they are added to what the row holds."""

    partition: int
    minute: int  # unix minutes
    app_id: AppId
    endpoint_id: EndpointId
    delivered: int = 0
    failed: int = 0
    gave_up: int = 0
    total_us: int = 0  # summed over attempts
    latency: tuple[int, ...] = ()  # of those that were sent (`domain/latency.py`), without the zeros at the end


class Cursor(msgspec.Struct, frozen=True, gc=False):
    """Everything up to `seq` has a row, a terminal attempt, or nobody to go to. `at`: when that event was created."""

    partition: int
    seq: int
    at: float


class JournalBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What one journal transaction writes. Each key occurs at most once over `owed` and `settled` together."""

    owner: bytes
    epochs: dict[int, int]  # partition -> epoch under which this was done
    number: int = 0  # among those of its owner, from 1 on; 0: it has none, and is written as often as it comes
    attempts: tuple[Attempt, ...] = ()
    owed: tuple[Owed, ...] = ()
    settled: tuple[tuple[int, EndpointId, EventId], ...] = ()  # rows that are no longer owed
    cursors: tuple[Cursor, ...] = ()
    effects: tuple[Effect, ...] = ()
    health: tuple[HealthTurn, ...] = ()
    lines: tuple[Line, ...] = ()  # ordered lines that this batch changes
    rollups: tuple[Rollup, ...] = ()
