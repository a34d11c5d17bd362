"""Work on one trigger: read what its source sees, publish it, put on record how far that is, acknowledge; again and again.

In this order, so that whatever dies when, nothing is lost: what is read is not acknowledged before its position is on record,
and that not before all of it is in the log or set aside. What is seen again is the same event, by its idempotency key; and what
is behind the position on record is not seen again by a source that goes by positions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from posthouse.domain.errors import PosthouseError, StoreUnavailable
from posthouse.domain.event import Draft
from posthouse.domain.ids import RefusalId
from posthouse.domain.limits import (
    ERROR_LENGTH_MAX,
    TRIGGER_BACKOFF_SECONDS,
    TRIGGER_FAILURES_TOLD,
    TRIGGER_LAG_SECONDS,
    TRIGGER_LOOK_SECONDS,
    TRIGGER_READ_EVENTS_MAX,
    TRIGGER_SET_ASIDE_MAX,
    TRIGGER_TOLD_SECONDS,
)
from posthouse.domain.trigger import Standing, Trigger, TriggerState
from posthouse.domain.verdict import Postponed, Published, Refused
from posthouse.intake.observed import ObservedEvents
from posthouse.ports.clock import Clock
from posthouse.ports.sources import Observation, Source
from posthouse.ports.triggers import Progress, Refusal, Taken, TriggerQueue
from posthouse.trigger.mapping import LeftOut, Mapping

log = structlog.get_logger()

CLOSE_SECONDS_MAX: Final = 5.0


class Lost(Exception):
    """The trigger is another process's now, or was changed: this work on it is over."""


class Postponement(PosthouseError):
    """Something of our own does not take what was seen, now."""

    code = "postponed"


class Work:
    """What one process does for a trigger that it took. `may_go_on` says whether its lease still holds; `failing` is told once
    when it has failed several times in a row."""

    def __init__(
        self,
        taken: Taken,
        source: Callable[[], Source],
        mapping: Mapping,
        door: ObservedEvents,
        queue: TriggerQueue,
        clock: Clock,
        *,
        may_go_on: Callable[[], bool],
        failing: Callable[[Trigger, Standing], None] = lambda _trigger, _standing: None,
        set_aside_max: int = TRIGGER_SET_ASIDE_MAX,
    ) -> None:
        self.taken = taken
        self.trigger = taken.trigger
        self.standing: Standing = taken.trigger.standing
        self._source = source
        self._mapping = mapping
        self._door = door
        self._queue = queue
        self._clock = clock
        self._may_go_on = may_go_on
        self._failing = failing
        self._set_aside_max = set_aside_max
        self._position = taken.trigger.position
        self._told: Standing | None = None
        self._refusals: Sequence[Refusal] = ()
        self._told_at = -TRIGGER_TOLD_SECONDS
        self._lag_at = -TRIGGER_LAG_SECONDS

    async def run(self) -> None:
        """Until cancelled, or until it is another's."""
        with suppress(Lost):
            while True:
                try:
                    await self._session()
                except PosthouseError as error:
                    await self._failed(error)
                except Lost:
                    raise
                except Exception as error:
                    log.exception("trigger.broke", trigger=self.trigger.reference)
                    await self._failed(PosthouseError(f"a fault in its source: {type(error).__name__}: {error}"))

    async def _session(self) -> None:
        """From opening the source until something fails."""
        await self._room_to_set_aside()
        source = self._source()
        try:
            self._refusals = ()  # whoever was refused and is not on record is read again
            await source.open(self._position)
            while True:
                self._check_lease()
                reading = await source.read(limit=TRIGGER_READ_EVENTS_MAX, wait_seconds=TRIGGER_LOOK_SECONDS)
                if reading.observations:
                    await self._dispose(reading.observations)
                if reading.observations or reading.position not in (None, self._position):
                    await self._record(self.standing, position=reading.position)
                await source.acknowledge(reading)
                if self.standing.set_aside >= self._set_aside_max:
                    raise TooManySetAside(self.standing.set_aside)
                await self._measure(source)
                if reading.wait_seconds > 0:
                    await self._clock.sleep(min(reading.wait_seconds, TRIGGER_LOOK_SECONDS))
        finally:
            await _closed(source)

    # What was read

    async def _dispose(self, observations: Sequence[Observation]) -> None:
        """Bring all of them into the log, or set them aside. Raises Postponement where that cannot be done now: then all of the
        reading is read again, and what was published of it collapses."""
        drafts: list[Draft] = []
        drafted: list[int] = []
        refused: dict[int, Refused] = {}
        left_out = 0
        for index, observation in enumerate(observations):
            match await self._mapping.draft_of(observation):
                case Draft() as draft:
                    drafts.append(draft)
                    drafted.append(index)
                case LeftOut():
                    left_out += 1
                case Refused() as refusal:
                    refused[index] = refusal
                case Postponed(reason=reason):
                    raise Postponement(reason)
        self._check_lease()
        published = repeated = 0
        for index, verdict in zip(drafted, await self._door.in_order(drafts) if drafts else (), strict=True):
            match verdict:
                case Published(repeated=again):
                    published += 1
                    repeated += again
                case Refused() as refusal:
                    refused[index] = refusal
                case Postponed(reason=reason):
                    raise Postponement(reason)
        refusals = [self._refusal(observations[index], refused[index]) for index in sorted(refused)]
        if refusals:
            first = refusals[0]
            log.warning(
                "trigger.set_aside",
                trigger=self.trigger.reference,
                count=len(refusals),
                code=first.code,
                reason=first.reason,
            )
        self.standing = msgspec.structs.replace(
            self.standing,
            published=self.standing.published + published - repeated,
            repeated=self.standing.repeated + repeated,
            left_out=self.standing.left_out + left_out,
            published_at=self._clock.now() if published else self.standing.published_at,
        )
        self._refusals = refusals

    def _refusal(self, observation: Observation, why: Refused) -> Refusal:
        return Refusal(
            id=RefusalId(self._clock.new_id()),
            observation=observation,
            code=why.code,
            reason=why.reason[:ERROR_LENGTH_MAX],
        )

    async def _record(self, standing: Standing, *, position: str | None = None) -> None:
        """Put on record how it is, with what was set aside meanwhile. Raises Lost."""
        standing = msgspec.structs.replace(standing, told_at=self._clock.now())
        progress = Progress(standing=standing, position=position, refusals=self._refusals)
        count = await self._queue.record(self.taken, progress)
        if count is None:
            raise Lost
        self._refusals = ()
        self._position = self._position if position is None else position
        self.standing = self._told = msgspec.structs.replace(standing, set_aside=count)
        self._told_at = self._clock.boot()

    async def _measure(self, source: Source) -> None:
        """Put on record, now and then, that it is well, and how far behind the source is."""
        now = self._clock.boot()
        standing = _well(self.standing)
        if now - self._lag_at >= TRIGGER_LAG_SECONDS:
            self._lag_at = now
            lag = await source.lag()
            standing = msgspec.structs.replace(
                standing,
                pending=lag.pending,
                lag_seconds=lag.seconds,
                retained_bytes=lag.retained_bytes,
                alarm=None if lag.alarm is None else lag.alarm[:ERROR_LENGTH_MAX],
            )
            if standing.alarm is not None and standing.alarm != self.standing.alarm:
                log.warning("trigger.alarm", trigger=self.trigger.reference, alarm=standing.alarm)
        if standing.state is not self.standing.state or (
            standing != self._told and now - self._told_at >= TRIGGER_TOLD_SECONDS
        ):
            await self._record(standing)
        else:
            self.standing = standing

    # What goes wrong

    def _check_lease(self) -> None:
        if not self._may_go_on():
            raise Lost

    async def _room_to_set_aside(self) -> None:
        """Raises TooManySetAside where somebody has to look first."""
        if self.standing.state is TriggerState.STOPPED:
            await self._record(self.standing)
            if self.standing.set_aside >= self._set_aside_max:
                raise TooManySetAside(self.standing.set_aside)

    async def _failed(self, error: PosthouseError) -> None:
        """Remember why, and wait a while: longer the more often it failed in a row. Raises Lost."""
        failures = self.standing.failures + 1
        seconds = TRIGGER_BACKOFF_SECONDS[min(failures, len(TRIGGER_BACKOFF_SECONDS)) - 1]
        now = self._clock.now()
        told = str(error)[:ERROR_LENGTH_MAX]
        if failures == 1 or told != self.standing.error:
            log.warning("trigger.failing", trigger=self.trigger.reference, code=error.code, error=told)
        self.standing = msgspec.structs.replace(
            self.standing,
            state=TriggerState.STOPPED if isinstance(error, TooManySetAside) else TriggerState.FAILING,
            error=told,
            error_code=error.code,
            failing_since=self.standing.failing_since or now,
            failures=failures,
            retry_at=now + seconds,
        )
        if failures == TRIGGER_FAILURES_TOLD or (failures == 1 and self.standing.state is TriggerState.STOPPED):
            self._failing(self.trigger, self.standing)
        with suppress(StoreUnavailable):
            await self._record(self.standing)
        await self._clock.sleep(seconds)


class TooManySetAside(PosthouseError):
    """So much was set aside that going on would be throwing away."""

    code = "too_many_set_aside"

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} were set aside: look why (`posthouse triggers refused …`), then try them again or let them be; the "
            "trigger goes on by itself"
        )


def _well(standing: Standing) -> Standing:
    """As it is where nothing is wrong."""
    return msgspec.structs.replace(
        standing,
        state=TriggerState.ACTIVE,
        error=None,
        error_code=None,
        failing_since=None,
        failures=0,
        retry_at=None,
    )


async def _closed(source: Source) -> None:
    """Close it, whatever it says to that."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            await source.close()
    except (TimeoutError, PosthouseError, OSError) as error:
        log.warning("trigger.not_closed", error=str(error) or type(error).__name__)
