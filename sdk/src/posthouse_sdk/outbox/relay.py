"""The relay: takes what was committed to an outbox to the server, in order, and removes it after the server's 202.

One relay works at a time, and any number of others stand by: whoever has the lease works. Published order is therefore the
order of the rows' ids, among those that are committed; for one key that is the order in which its transactions went, if they
went one after the other. What is in doubt (an answer that was lost, a relay that died before it removed) is sent again, and
each row's idempotency key makes that the same event: for 24 hours, which is how long the server remembers keys.

A round: read the first rows, publish them app by app (those of one app in their order, one request after the other), remove
what was accepted. What the server refuses for good is looked for by sending parts, and set aside with the reason. What it does
not take now waits with a growing pause: a row that fails holds its key and nothing else, an app over its quota itself, and a
server that is down everything.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from posthouse_sdk.outbox.errors import DatabaseError, NotInstalledError, OutboxError
from posthouse_sdk.outbox.group import Group
from posthouse_sdk.outbox.pauses import Pauses, Stopped, Waits
from posthouse_sdk.outbox.publisher import REQUESTS_MAX, Publisher
from posthouse_sdk.outbox.row import Row
from posthouse_sdk.outbox.store import Backlog, Store

log = logging.getLogger("posthouse.relay")

ROWS_MAX: Final = 1_000  # in one request and one round; the server takes no more
BYTES_MAX: Final = 4 * 1024 * 1024
LEASE_SECONDS: Final = 5.0
BACKOFF_SECONDS_MAX: Final = 30.0
POLL_SECONDS: Final = 0.005  # of a busy relay
POLLING_FROM: Final = 100  # rows a second; below, it waits to be woken
POLLING_UNTIL: Final = 50
COUNT_SECONDS: Final = 5.0
SKEW_SECONDS_MAX: Final = 60.0
UNHEALTHY_SECONDS: Final = 30.0


@dataclass(frozen=True)
class RelaySettings:
    """How a relay works. `poll_seconds` is how often it looks while nothing happens (None: as suits the database)."""

    rows_max: int = ROWS_MAX
    bytes_max: int = BYTES_MAX
    lease_seconds: float = LEASE_SECONDS
    poll_seconds: float | None = None
    backoff_seconds_max: float = BACKOFF_SECONDS_MAX


@dataclass
class Gauges:
    """What a relay tells of itself: plain numbers, which somebody else may show."""

    published: int = 0
    refused: int = 0
    held: int = 0
    failures: int = 0  # rounds that ended because the server or the database did not answer
    working: bool = False
    pending: int = 0
    dead: int = 0
    oldest_seconds: float = 0.0
    skew_seconds: float = 0.0
    failing_since: float | None = None  # by the monotonic clock
    reason: str = ""
    published_at: float = 0.0  # unix seconds; 0: never

    def why_unhealthy(self, now: float) -> str | None:
        """What is wrong for some time now, if anything is."""
        if self.failing_since is not None and now - self.failing_since >= UNHEALTHY_SECONDS:
            return self.reason
        return None


class Relay:
    """Works until `stop`, whatever comes. `run` raises OutboxError only for what is wrong as it starts.

    `now` is a monotonic clock that counts while the machine sleeps, where there is one.
    """

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        settings: RelaySettings | None = None,
        *,
        owner: str | None = None,
        draw: Callable[[], float] = random.random,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._store = store
        self.publisher = publisher
        self._settings = settings or RelaySettings()
        self._now = now or boot_clock
        self.owner = owner or f"{socket.gethostname()[:40]}-{secrets.token_hex(6)}"
        self.gauges = Gauges()
        self._stopping = asyncio.Event()
        self._leased_until = 0.0
        self._working = asyncio.Event()
        self.pauses = Pauses(self._now, draw, self._settings.backoff_seconds_max)
        self._polling = False
        self._rate = _Rate()
        self._counted_at = float("-inf")
        self._skew_told = float("-inf")

    def stop(self) -> None:
        """End after the request that is under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Relay until `stop`. Raises OutboxError where the outbox cannot be used as it is: nothing mends that by waiting."""
        await self._open()
        renewing = asyncio.create_task(self._renew())
        failures = 0
        try:
            while not self._stopping.is_set():
                try:
                    pause = await self._round()
                    failures = 0
                    self._well()
                except Stopped as error:
                    failures += 1
                    pause = self._failed(str(error), failures, error.seconds, refused=error.refused)
                except (DatabaseError, NotInstalledError) as error:
                    failures += 1
                    pause = self._failed(str(error), failures, None, refused=False)
                    await self._sleep(pause)
                    continue
                if pause > 0:
                    await self._pause(pause)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with suppress(OutboxError):
                async with asyncio.timeout(5):
                    await self._store.release(self.owner)
            log.info("relay ended: %d published, %d set aside", self.gauges.published, self.gauges.refused)

    # The start, and the lease

    async def _open(self) -> None:
        failures = 0
        while True:
            try:
                await self._store.open()
                skew = await self._store.clock() - time.time()
            except DatabaseError as error:
                if error.refused:
                    raise
                failures += 1
                await self._sleep(self._failed(str(error), failures, None))
                if self._stopping.is_set():
                    return
            else:
                break
        self._tell_skew(skew, "the database of the outbox")
        log.info("relay %s begins", self.owner)

    async def _renew(self) -> None:
        """Hold the lease while working, beside whatever the work waits for; a relay that stands by asks for it, too."""
        seconds = self._settings.lease_seconds
        while True:
            with suppress(DatabaseError, NotInstalledError):
                await self._claim()
            await asyncio.sleep(seconds / 3 if self._holds() else min(seconds / 3, 1.0))

    async def _claim(self) -> None:
        seconds = self._settings.lease_seconds
        asked = self._now()
        if await self._store.claim(self.owner, seconds):
            self._leased_until = asked + seconds * 0.8  # less than the database counts
        else:
            self._leased_until = 0.0
        if self._holds() != self.gauges.working:
            self.gauges.working = self._holds()
            self._polling = False
            (self._working.set if self.gauges.working else self._working.clear)()
            log.info("relay %s %s", self.owner, "works" if self.gauges.working else "stands by: another one works")

    def _holds(self) -> bool:
        return self._now() < self._leased_until

    # Rounds

    async def _round(self) -> float:
        """Publish the first rows. How long to pause before the next round; 0 where there may be more."""
        if not self._holds():
            await self._claim()
            if not self._holds():
                await self._either(self._working.wait())
                return 0.0
        held = self.pauses.held()
        self.gauges.held = len(held.ids) + len(held.apps) + len(held.lines)
        rows = await self._store.fetch(self._settings.rows_max, self._settings.bytes_max, held)
        if rows:
            await self._publish(rows)
        await self._count()
        self._rate.add(len(rows), self._now())
        await self._choose_polling()
        if len(rows) >= self._settings.rows_max // 2:
            return 0.0
        if self._polling:
            return POLL_SECONDS
        return 0.0 if rows else self._idle_seconds()

    async def _publish(self, rows: Sequence[Row]) -> None:
        """Publish a round's rows and remove those that were accepted, whatever stops the others."""
        done: list[int] = []
        apps: dict[str | None, list[Row]] = {}
        for row in rows:
            apps.setdefault(row.app, []).append(row)
        works = [Group(self, app, done).publish(group) for app, group in apps.items()]
        limit = asyncio.Semaphore(REQUESTS_MAX)

        async def limited(index: int) -> None:
            async with limit:
                await works[index]

        ended = await asyncio.gather(*(limited(index) for index in range(len(works))), return_exceptions=True)
        if done:
            await self._remove(done)
            self.gauges.published += len(done)
            self.gauges.published_at = time.time()
        for error in ended:
            if isinstance(error, BaseException) and not isinstance(error, Waits):
                raise error

    async def _remove(self, ids: Sequence[int]) -> None:
        """Once more, where the database fails: what is not removed is only published again, but at some cost."""
        try:
            await self._store.remove(ids)
        except DatabaseError as error:
            log.warning("what was published could not be removed, trying again: %s", error)
            await self._store.remove(ids)

    def may_send(self) -> None:
        """Asked right before each request. Raises Stopped: another relay may be at work."""
        if self._stopping.is_set() or not self._holds():
            raise Stopped("the lease of this relay ran out" if not self._stopping.is_set() else "the relay ends", 0.0)

    async def refuse(self, row: Row, reason: str) -> None:
        """Set a row aside."""
        log.error("set aside %s (row %d): %s", row.type, row.id, reason)
        await self._store.set_aside(row.id, reason)
        self.gauges.refused += 1

    # Pauses

    def _idle_seconds(self) -> float:
        """Until the next look where nothing is there: the usual, or until something that waits is due."""
        usual = self._settings.poll_seconds or self._store.poll_seconds
        due = self.pauses.next_seconds()
        return usual if due is None else max(min(usual, due), 0.001)

    async def _choose_polling(self) -> None:
        """Busy, a relay looks by itself, so that the application's commits need not wake it (`schema.py` says why)."""
        rate = self._rate.per_second(self._now())
        wanted = rate >= (POLLING_UNTIL if self._polling else POLLING_FROM)
        if wanted != self._polling:
            await self._store.poll(self.owner, wanted)
            self._polling = wanted

    def _failed(self, reason: str, failures: int, seconds: float | None, *, refused: bool = False) -> float:
        pause = seconds if seconds is not None else self.pauses.backoff(failures)
        gauges = self.gauges
        gauges.failures += 1
        if self._stopping.is_set() or (seconds == 0.0 and not refused):
            return pause
        if gauges.failing_since is None:
            gauges.failing_since = self._now()
        if reason != gauges.reason:
            (log.error if refused else log.warning)("%s; trying again", reason)
        gauges.reason = reason
        return pause

    def _well(self) -> None:
        if self.gauges.failing_since is not None:
            log.info("relay %s goes on", self.owner)
        self.gauges.failing_since, self.gauges.reason = None, ""

    async def _pause(self, seconds: float) -> None:
        """Until woken, told to stop, or the time is over."""
        if self.gauges.failing_since is not None or self._polling:
            await self._sleep(seconds)
            return
        await self._either(self._store.wait(seconds))

    async def _either(self, fact: Coroutine[Any, Any, Any]) -> None:
        """Wait for a fact, or for `stop`."""
        waiting = asyncio.ensure_future(fact)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (waiting, stopping):
                task.cancel()
            await asyncio.gather(waiting, stopping, return_exceptions=True)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    # What is told

    async def _count(self) -> None:
        now = self._now()
        if now - self._counted_at < COUNT_SECONDS:
            return
        self._counted_at = now
        backlog: Backlog = await self._store.backlog()
        self.gauges.pending, self.gauges.dead, self.gauges.oldest_seconds = backlog

    def accepted(self, at: float) -> None:
        self._tell_skew(at - time.time(), "the server")

    def _tell_skew(self, skew: float, whose: str) -> None:
        self.gauges.skew_seconds = skew
        now = self._now()
        if abs(skew) > SKEW_SECONDS_MAX and now - self._skew_told > 3_600:
            self._skew_told = now
            log.warning(
                "the clock of %s is %.0f s %s this machine's; set both by NTP: an event's expires_at means the server's time, "
                "and receivers refuse signatures that are minutes off",
                whose,
                abs(skew),
                "ahead of" if skew > 0 else "behind",
            )


class _Rate:
    """Rows a second, over the last two."""

    def __init__(self) -> None:
        self._second = 0
        self._counts = (0, 0)

    def add(self, rows: int, now: float) -> None:
        self._move(now)
        self._counts = (self._counts[0], self._counts[1] + rows)

    def per_second(self, now: float) -> float:
        self._move(now)
        return max(self._counts)

    def _move(self, now: float) -> None:
        passed = int(now) - self._second
        if passed == 1:
            self._counts = (self._counts[1], 0)
        elif passed:
            self._counts = (0, 0)
        self._second = int(now)


def boot_clock() -> float:
    """Seconds that also pass while the machine sleeps, where the system counts them."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
