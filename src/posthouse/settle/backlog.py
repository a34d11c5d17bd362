"""The backlog: which endpoints are owed something, when it is due, and paging it in as their lanes have room.

Memory holds one entry an endpoint, never one a row: when its next row is due. The rows stay in the table until their
result is journalled; those that memory speaks for meanwhile are `held`, so that none is paged in twice.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

import structlog

from posthouse.domain.delivery import Delivery, DeliveryKey, Line, Owed, OwedReason
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import PosthouseError
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId, EndpointId, EventId
from posthouse.ports.clock import Clock, set_or_over
from posthouse.ports.store import Page, Store, Want
from posthouse.settle.backlog_line import BacklogLine

log = structlog.get_logger()

PAGE_ENDPOINTS_MAX: Final = 100
PAGE_BYTES_MAX: Final = 16 * 1024 * 1024
POLL_SECONDS: Final = 1.0
SPACING_SECONDS: Final = 0.02  # between two pages
SMALL_PAGE_ROWS: Final = 64
SMALL_SPACING_SECONDS: Final = 0.1  # after a page of fewer: the more is due by then, the less each row costs the store
ORPHANS_PER_PAGE: Final = 500
LANES_PER_TURN: Final = 8  # of the event loop
OUT_OF_TURN_SECONDS: Final = 0.05


class Backlog:
    """Pages owed rows into lanes.

    `find` gives the current endpoints for ids (None: deleted); `room` how many rows an endpoint's lane takes (0: closed or
    full; the lanes call `drained` when that changes); `memory` how many bytes of rows may be paged in at all, nothing
    while it is 0; `page_in` hands rows over; `orphaned` settles rows that can never be sent: their endpoint or their event
    is gone. `in_turn` says whether what the store says of a row of an ordered line is the last word: nothing that comes
    before it is on its way into the store. `many` is told an endpoint whose rows have become more, and how
    many they are.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        epochs: dict[int, int],
        find: Callable[[Sequence[EndpointId]], Awaitable[Mapping[EndpointId, Endpoint | None]]],
        room: Callable[[Endpoint], int],
        memory: Callable[[], int],
        page_in: Callable[[Endpoint, list[Delivery]], None],
        orphaned: Callable[[Owed, Event | None, Endpoint | None], None],
        in_turn: Callable[[Owed, Endpoint], bool] = lambda owed, endpoint: True,
        many: Callable[[int, EndpointId, int], None] = lambda partition, endpoint_id, rows: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._epochs = epochs
        self._find = find
        self._room = room
        self._memory = memory
        self._page_in = page_in
        self._orphaned = orphaned
        self._in_turn = in_turn
        self._many = many
        self._lines: dict[EndpointId, BacklogLine] = {}
        self._held: dict[EndpointId, set[EventId]] = {}
        self._by_app: dict[AppId, set[EndpointId]] = {}
        self._heap: list[tuple[float, EndpointId]] = []  # a line's entry is the one at its `due_at`; others are stale
        self._wake = asyncio.Event()
        self._ahead = -math.inf  # of the clock that cannot be set
        self._full = False
        self._rewritten: set[Line] = set()  # ordered lines, while a page is read
        self._asked: dict[EndpointId, Endpoint | None] = {}  # those of this page, as they are now
        self.still = asyncio.Lock()  # held while rows are paged in; who holds it may rely on `held`

    async def take(self, partitions: Sequence[int]) -> None:
        """Learn what is owed in partitions that were just claimed, or poked from outside."""
        for partition, endpoint_id, due_at in await self._store.owed_endpoints(partitions):
            if partition in self._epochs:
                # Rows that all wait for each other are looked at, too: their endpoint may be gone.
                self.owe(partition, endpoint_id, min(due_at, self._clock.now()) if due_at == math.inf else due_at)
                # A delivery may have ended, and been sent again, before memory hears that its end is written: until then it
                # speaks for the row that is gone, and no page brings the new one.
                self._lines[endpoint_id].doubted = set(self._held.get(endpoint_id, ())) or None

    def drop(self, partitions: Collection[int]) -> None:
        """Forget partitions that are no longer ours."""
        for endpoint_id in [e for e, line in self._lines.items() if line.partition in partitions]:
            self._forget(endpoint_id, self._lines.pop(endpoint_id))
            self._held.pop(endpoint_id, None)

    def owe(self, partition: int, endpoint_id: EndpointId, due_at: float) -> None:
        """A row of this endpoint is due at `due_at`."""
        line = self._line(partition, endpoint_id)
        if line.due_at is None or due_at < line.due_at:
            self._schedule(endpoint_id, line, due_at)

    def drained(self, endpoint_id: EndpointId) -> None:
        """The endpoint's lane has room again, or was opened."""
        line = self._lines.get(endpoint_id)
        if line is not None and line.waits:
            line.waits = False
            if line.due_at is not None:
                self._schedule(endpoint_id, line, line.due_at)
        self.roomier()

    def configured(self, endpoints: Sequence[Endpoint]) -> None:
        """Endpoints as they are now: those that a page is made for are found as such."""
        self._asked.update([(endpoint.id, endpoint) for endpoint in endpoints if endpoint.id in self._asked])

    def keep_only(self, app_ids: Collection[AppId], endpoint_ids: Collection[EndpointId]) -> None:
        """These are all the endpoints that the apps have: the rows of others need no room to be settled."""
        for endpoint in [endpoint for endpoint in self._asked.values() if endpoint is not None]:
            if endpoint.app_id in app_ids and endpoint.id not in endpoint_ids:
                self._asked[endpoint.id] = None
        for app_id in app_ids:
            for endpoint_id in [e for e in self._by_app.get(app_id, ()) if e not in endpoint_ids]:
                line = self._lines[endpoint_id]
                line.waits = False
                self._schedule(endpoint_id, line, self._clock.now())

    def roomier(self) -> None:
        """There may be memory again."""
        if self._full and self._memory() > 0:
            self._wake.set()

    def hold(self, partition: int, key: DeliveryKey) -> None:
        """Memory speaks for this row: do not page it in."""
        endpoint_id, event_id = key
        self._line(partition, endpoint_id)
        self._held.setdefault(endpoint_id, set()).add(event_id)

    def release(self, key: DeliveryKey) -> None:
        endpoint_id, event_id = key
        held = self._held.get(endpoint_id)
        if held is not None:
            held.discard(event_id)
            line = self._lines.get(endpoint_id)
            if line is not None and line.doubted is not None and event_id in line.doubted:
                line.doubted.discard(event_id)
                self.owe(line.partition, endpoint_id, self._clock.now())
            if not held:
                del self._held[endpoint_id]
                self._tidy(endpoint_id)

    def held(self, endpoint_id: EndpointId) -> list[EventId]:
        """The rows of an endpoint that memory speaks for."""
        return list(self._held.get(endpoint_id, ()))

    def app_of(self, endpoint_id: EndpointId) -> AppId | None:
        """The app of an endpoint that has rows, if they were looked at yet."""
        line = self._lines.get(endpoint_id)
        return None if line is None else line.app_id

    def count(self, partition: int, endpoint_id: EndpointId, by: int) -> None:
        """Rows of an endpoint came or went."""
        line = self._line(partition, endpoint_id)
        line.rows += by
        if by > 0:
            self._many(partition, endpoint_id, line.rows)

    def counted(self, partitions: Collection[int], counts: Mapping[EndpointId, int]) -> None:
        """The store has counted the rows of these partitions."""
        for endpoint_id, line in self._lines.items():
            if line.partition in partitions:
                line.rows = counts.get(endpoint_id, 0)
                self._many(line.partition, endpoint_id, line.rows)

    def leave(self, partition: int, key: DeliveryKey) -> None:
        """Memory speaks no more for this row, which is as it was: it may be due."""
        self.release(key)
        if partition in self._epochs:
            self.owe(partition, key[0], self._clock.now())

    def emptied(self, endpoint_id: EndpointId) -> None:
        """A line of the endpoint has no row left; perhaps the endpoint has none."""
        line = self._lines.get(endpoint_id)
        if line is not None and line.due_at == math.inf:
            self._schedule(endpoint_id, line, self._clock.now())

    def rewritten(self, line: Line) -> None:
        """An ordered line was put in order in the store: what a page that was asked for before says of it may be past."""
        if self.still.locked():
            self._rewritten.add(line)

    def owes(self, endpoint_id: EndpointId) -> bool:
        """Whether the endpoint has rows, or may have."""
        return endpoint_id in self._lines

    def most_owed(self, count: int, *, rows_min: int) -> dict[EndpointId, tuple[int, AppId, int]]:
        """Those that are owed most, and so many rows at least, about: (partition, app, rows) of each."""
        known = [(x.rows, e, x) for e, x in self._lines.items() if x.rows >= rows_min and x.app_id is not None]
        most = heapq.nlargest(count, known, key=lambda each: each[:2])
        return {e: (line.partition, line.app_id, rows) for rows, e, line in most if line.app_id is not None}

    @property
    def endpoints(self) -> int:
        """How many endpoints are owed something."""
        return len(self._lines)

    def _line(self, partition: int, endpoint_id: EndpointId) -> BacklogLine:
        line = self._lines.get(endpoint_id)
        if line is None:
            line = self._lines[endpoint_id] = BacklogLine(partition)
        return line

    def _belongs(self, endpoint_id: EndpointId, line: BacklogLine, app_id: AppId) -> None:
        if line.app_id is None:
            line.app_id = app_id
            self._by_app.setdefault(app_id, set()).add(endpoint_id)

    def _forget(self, endpoint_id: EndpointId, line: BacklogLine) -> None:
        if line.app_id is not None:
            endpoints = self._by_app[line.app_id]
            endpoints.discard(endpoint_id)
            if not endpoints:
                del self._by_app[line.app_id]

    def _tidy(self, endpoint_id: EndpointId) -> None:
        line = self._lines.get(endpoint_id)
        if line is not None and line.due_at is None and line.rows <= 0 and endpoint_id not in self._held:
            self._forget(endpoint_id, self._lines.pop(endpoint_id))

    def _schedule(self, endpoint_id: EndpointId, line: BacklogLine, due_at: float) -> None:
        line.due_at = due_at
        if line.waits:
            return
        if len(self._heap) > 2 * len(self._lines) + PAGE_ENDPOINTS_MAX:
            # Mostly stale entries, of lines that became due earlier than they had been.
            self._heap = [(x.due_at, e) for e, x in self._lines.items() if x.due_at is not None and not x.waits]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (due_at, endpoint_id))
        self._wake.set()

    # Paging

    async def run(self) -> None:
        """Page until cancelled."""
        while True:
            await self._wait()
            try:
                if not self._full:
                    async with self.still:
                        rows = await self._tick()
                    if rows is not None:
                        await self._clock.sleep(SPACING_SECONDS if rows >= SMALL_PAGE_ROWS else SMALL_SPACING_SECONDS)
            except PosthouseError as error:
                log.warning("backlog.failed", error=str(error))
                await self._clock.sleep(POLL_SECONDS)

    async def _wait(self) -> None:
        self._wake.clear()
        self._full = self._memory() <= 0
        delay = POLL_SECONDS
        if self._heap and not self._full:
            delay = min(delay, self._heap[0][0] - self._clock.now())
        if delay > 0:
            await set_or_over(self._wake, delay)

    def _pop_due(self) -> dict[EndpointId, BacklogLine]:
        """Endpoints with something due, earliest first."""
        now = self._clock.now()
        ahead = now - self._clock.boot()
        was, self._ahead = now + self._ahead - ahead, ahead
        if was - now > POLL_SECONDS:
            # The clock was set back: what was due by it is due. The store has the rows' own times, and they may be past.
            for endpoint_id, owed in self._lines.items():
                if owed.due_at is not None and now < owed.due_at <= was:
                    self._schedule(endpoint_id, owed, now)
        ready: dict[EndpointId, BacklogLine] = {}
        while self._heap and self._heap[0][0] <= now and len(ready) < PAGE_ENDPOINTS_MAX:
            due_at, endpoint_id = heapq.heappop(self._heap)
            line = self._lines.get(endpoint_id)
            if line is not None and line.due_at == due_at and not line.waits:
                ready[endpoint_id] = line
        return ready

    async def _tick(self) -> int | None:
        """Page in what is due; how many rows the store had. None: it was not asked for anything."""
        ready = self._pop_due()
        if not ready:
            return None
        try:
            endpoints = self._asked = dict(await self._find(list(ready)))
            rooms = await self._rooms(ready, endpoints)
            epochs = dict(self._epochs)
            self._rewritten.clear()
            lines = {e: ready[e] for e in rooms if self._lines.get(e) is ready[e]}  # others were lost meanwhile
            # Whatever is owed from here on schedules itself anew; what the page says must not override it. What is held is
            # noted in the same breath: of a row that is let go of between the two, nobody would hear again.
            wants = [
                Want(line.partition, e, rooms[e], tuple(self.held(e)), every=endpoints[e] is None)
                for e, line in lines.items()
            ]
            if not wants:
                return 0
            was_due = {e: line.due_at for e, line in lines.items()}
            for line in lines.values():
                line.due_at = None
            bytes_max = min(PAGE_BYTES_MAX, max(self._memory(), 1))
            pages = await self._store.page(wants, now=self._clock.now(), bytes_max=bytes_max)
        except BaseException:
            for endpoint_id, lost in ready.items():
                if lost.partition in self._epochs:
                    line = self._line(lost.partition, endpoint_id)
                    self._schedule(endpoint_id, line, self._clock.now() if line.due_at is None else line.due_at)
            raise
        finally:
            self._asked = {}
        for want, page in zip(wants, pages, strict=True):
            if self._epochs.get(want.partition) == epochs.get(want.partition) is not None:
                self._deliver(want, page, endpoints[want.endpoint_id], epochs[want.partition])
                self._follow(want, page, was_due[want.endpoint_id])
        return sum(len(page.rows) for page in pages)

    async def _rooms(
        self, ready: Mapping[EndpointId, BacklogLine], endpoints: Mapping[EndpointId, Endpoint | None]
    ) -> dict[EndpointId, int]:
        """How many rows are wanted of each; those of which none are wait."""
        rooms = {}
        orphans = ORPHANS_PER_PAGE
        for number, (endpoint_id, line) in enumerate(ready.items(), start=1):
            if number % LANES_PER_TURN == 0:
                await self._clock.sleep(0)  # each may be the first of its lane, which is then made
            if self._lines.get(endpoint_id) is not line:
                continue  # its partition was lost; if it came back, the endpoint was found before that
            endpoint = endpoints[endpoint_id]
            if endpoint is not None:
                self._belongs(endpoint_id, line, endpoint.app_id)
            room = orphans if endpoint is None else self._room(endpoint)
            if room > 0:
                rooms[endpoint_id] = room
                orphans -= room if endpoint is None else 0
            elif endpoint is None:
                self._schedule(endpoint_id, line, self._clock.now())  # at the next page
            else:
                line.waits = True
        return rooms

    def _deliver(self, want: Want, page: Page, endpoint: Endpoint | None, epoch: int) -> None:
        deliveries = []
        stopped: set[int] = set()  # lines whose rows, from some on, are not to be sent yet
        for owed, event in page.rows:
            if owed.line in stopped:
                continue
            if owed.event_id in self._held.get(want.endpoint_id, ()):
                # Memory took it while the page was being read, or it is not the first of its line.
                if owed.line:
                    stopped.add(owed.line)
                continue
            if endpoint is None and owed.reason is OwedReason.IN_FLIGHT and owed.due_at > self._clock.now():
                # Whoever handed it over still sends it, and puts on record what comes of that. By then it has.
                self.owe(want.partition, want.endpoint_id, owed.due_at)
                continue
            whole = (want.partition, want.endpoint_id, owed.line)
            if owed.line and endpoint is not None and (whole in self._rewritten or not self._in_turn(owed, endpoint)):
                stopped.add(owed.line)
                self.owe(want.partition, want.endpoint_id, self._clock.now() + OUT_OF_TURN_SECONDS)
                continue
            self.hold(want.partition, owed.key)
            if endpoint is None or event is None:
                self._orphaned(owed, event, endpoint)
            else:
                deliveries.append(
                    Delivery(
                        event=event,
                        epoch=epoch,
                        endpoint_id=want.endpoint_id,
                        number=owed.number,
                        kind=owed.kind,
                        offered_at=self._clock.boot(),
                        fresh=False,
                        row=True,
                        line=owed.line,
                        replayed=owed.reason is OwedReason.REPLAYED,
                    )
                )
        if deliveries and endpoint is not None:
            self._page_in(endpoint, deliveries)

    def _follow(self, want: Want, page: Page, was_due: float | None) -> None:
        """When the endpoint is asked for again. Those for which a page had no room come before those that got some."""
        if page.next_due is not None:
            now = self._clock.now()
            behind = now if page.rows or was_due is None else was_due
            self.owe(want.partition, want.endpoint_id, page.next_due if page.next_due > now else behind)
        else:
            if not page.rows and (line := self._lines.get(want.endpoint_id)) is not None:
                line.rows = len(self._held.get(want.endpoint_id, ()))  # the store has no others
            self._tidy(want.endpoint_id)
