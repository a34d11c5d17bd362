"""Schedules: what is due is published, by whichever process comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, assert_never

import msgspec
import structlog

from posthouse.domain.event import Draft
from posthouse.domain.ids import EventId
from posthouse.domain.limits import (
    SCHEDULE_FIRED_AT_ONCE_MAX,
    SCHEDULE_LEASE_SECONDS,
    TRIGGER_AGAIN_SECONDS,
    TRIGGER_LOOK_SECONDS,
)
from posthouse.domain.schedule import Schedule, idempotency_key_of, payload_of, utc_time
from posthouse.domain.verdict import Postponed, Published, Refused, Verdict
from posthouse.intake.observed import ObservedEvents
from posthouse.ports.clock import Clock
from posthouse.ports.schedules import Claim, ScheduleQueue
from posthouse.ports.telemetry import Telemetry

log = structlog.get_logger()

SCHEDULED_TIME: Final = "scheduledtime"
"""The attribute that tells when an event was due; a name as CloudEvents wants it."""


def draft_of(schedule: Schedule, occurrence: float, event_id: EventId, *, idempotency_key: str | None) -> Draft:
    """The event of an occurrence. Whatever was changed of the schedule meanwhile, the same key means the same event."""
    config = schedule.config
    return Draft(
        id=event_id,
        app_id=schedule.app_id,
        type=config.type,
        payload=payload_of(schedule, occurrence),
        subject=config.subject,
        key=config.key,
        attributes=msgspec.json.encode({"schedule": schedule.reference, SCHEDULED_TIME: utc_time(occurrence)}),
        idempotency_key=idempotency_key,
    )


class ScheduledEvents:
    """`trigger.runner.Turns`: every process looks for schedules that are due, and takes those that nobody has taken.

    What makes an occurrence one event: its id is on record before it is published, and is looked for in the log by whoever
    takes it after a crash, however much later; and its idempotency key, by which two that publish at the same time collapse.
    The log takes no id that is minutes old, so a process that was stopped longer than that publishes nothing afterwards.

    `failing` is told the first refusal in a row of a schedule, with the occurrence.
    """

    kind: Final = "schedules"

    def __init__(
        self,
        queue: ScheduleQueue,
        door: ObservedEvents,
        clock: Clock,
        telemetry: Telemetry,
        *,
        failing: Callable[[Schedule, float, Refused], None] = lambda _schedule, _occurrence, _refusal: None,
    ) -> None:
        self._queue = queue
        self._door = door
        self._failing = failing
        self._clock = clock
        self._telemetry = telemetry
        self.refusals = 0
        self.skips = 0

    async def turn(self) -> float:
        """What is due, published; what is taken at once goes to the log in its order and in one commit, mostly."""
        began = self._clock.boot()
        found = await self._queue.claim(
            self._clock.new_id, limit=SCHEDULE_FIRED_AT_ONCE_MAX, lease_seconds=SCHEDULE_LEASE_SECONDS
        )
        self.skips += found.skips
        if not found.taken:
            wait = TRIGGER_LOOK_SECONDS
            if found.next_at is not None:
                wait = found.next_at - found.now - (self._clock.boot() - began)
            return min(max(wait, 0.0), TRIGGER_LOOK_SECONDS)
        verdicts = await asyncio.gather(*(self._door.judged(_draft(claim)) for claim in found.taken))
        results = list(zip(found.taken, verdicts, strict=True))
        await self._queue.settle(results, again_seconds=TRIGGER_AGAIN_SECONDS)
        for claim, verdict in results:
            self._tell(claim, verdict, found.now - claim.occurrence)
        return 0.0  # they may be due again by now

    def _tell(self, claim: Claim, verdict: Verdict, late_seconds: float) -> None:
        match verdict:
            case Published():
                self._telemetry.schedule_fired(late_seconds)
            case Refused(code=code, reason=reason):
                self.refusals += 1
                log.warning("schedule.refused", schedule=claim.schedule.reference, code=code, reason=reason)
                if claim.schedule.progress.failures == 0:
                    self._failing(claim.schedule, claim.occurrence, verdict)
            case Postponed(reason=reason):
                log.warning("schedule.postponed", schedule=claim.schedule.reference, reason=reason)
            case _:
                assert_never(verdict)


def _draft(claim: Claim) -> Draft:
    key = idempotency_key_of(claim.schedule.id, claim.occurrence)
    return draft_of(claim.schedule, claim.occurrence, claim.event_id, idempotency_key=key)
