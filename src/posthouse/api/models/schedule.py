"""Schedules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET
from pydantic import BaseModel, ConfigDict, Field

from posthouse.api.models.common import Answer, Body, Instant, Time, Uid, optional_time, time_of
from posthouse.api.texts.reading import Said
from posthouse.domain.ids import APP, EVENT, SCHEDULE, EventId, format_id
from posthouse.domain.limits import (
    CRON_LENGTH_MAX,
    NAME_LENGTH_MAX,
    SCHEDULE_CAUGHT_UP_MAX,
    SCHEDULE_DATA_BYTES_MAX,
    SCHEDULE_EVERY_SECONDS_MAX,
    SCHEDULE_PREVIEW_MAX,
)
from posthouse.domain.schedule import PLACEHOLDERS, CatchUp, Schedule
from posthouse.manage.schedules import Preview, ScheduleChange

_TIMES = ("starts_at", "ends_at")


class SchedulePatch(Body):
    """What changes of a schedule: fields that are left out stay as they are, null brings a field's default back."""

    uid: Uid = None
    name: Annotated[str | None, Field(description="What people call it.", max_length=NAME_LENGTH_MAX)] = None
    cron: Annotated[
        str | None,
        Field(
            description=(
                "When, in five fields: minute, hour, day of the month, month, day of the week, with names (MON, JAN), ranges, "
                "lists, steps, L and #; or @hourly, @daily, @weekly, @monthly, @yearly. This or `every`."
            ),
            json_schema_extra={"maxLength": CRON_LENGTH_MAX},
            examples=["30 6 * * MON-FRI"],
        ),
    ] = None
    every: Annotated[
        int | None,
        Field(
            description="How often, in seconds, counted from `starts_at`, or from when it was made. This or `cron`.",
            json_schema_extra={"minimum": 1, "maximum": SCHEDULE_EVERY_SECONDS_MAX},
        ),
    ] = None
    timezone: Annotated[
        str | None,
        Field(
            description="In which time zone `cron` counts: a name of the IANA database. Default: UTC.",
            examples=["Asia/Shanghai"],
        ),
    ] = None
    starts_at: Annotated[Instant | None, Field(description="Not before this time.")] = None
    ends_at: Annotated[Instant | None, Field(description="Only before this time.")] = None
    type: Annotated[str | None, Field(description="The event's type.", examples=["report.due"])] = None
    app: Annotated[
        str | None,
        Field(description="The app that the events are for: id or uid. Default: every app that a grant covers."),
    ] = None
    subject: Annotated[str | None, Field(description="The event's subject.", examples=["shop:42"])] = None
    key: Annotated[str | None, Field(description="The event's key, by which endpoints may keep order.")] = None
    data: Annotated[
        Any,
        Field(
            description=(
                f"The event's data, at most {SCHEDULE_DATA_BYTES_MAX} bytes; default {{}}. In its texts these stand for the "
                f"occurrence: {', '.join(f'{{{{{name}}}}}' for name in PLACEHOLDERS)}."
            ),
            examples=[{"day": "{{local_date}}"}],
        ),
    ] = None
    catch_up: Annotated[
        Literal["none", "last", "all"] | None,
        Field(
            description=(
                "What becomes of occurrences that were missed by over a minute, as no server ran: none is made up for; the "
                f"last one (default); or all, the oldest first, at most {SCHEDULE_CAUGHT_UP_MAX} in a row."
            )
        ),
    ] = None
    enabled: Annotated[bool | None, Field(description="false: it rests. Default: true.")] = None

    def change(self) -> ScheduleChange:
        given: dict[str, Any] = {}
        for name in self.model_fields_set:
            value = getattr(self, name)
            if name in _TIMES and value is not None:
                value = int(value.timestamp())
            elif name == "catch_up" and value is not None:
                value = CatchUp(value)
            elif value is None and name in _NULL_IS:
                value = _NULL_IS[name]
            given[name] = value
        return ScheduleChange(**given)


_NULL_IS: dict[str, Any] = {
    "name": "",
    "timezone": "UTC",
    "type": UNSET,
    "data": {},
    "catch_up": CatchUp.LAST,
    "enabled": True,
}


class ScheduleFields(SchedulePatch):
    """A schedule."""

    type: Annotated[str, Field(description="The event's type.", examples=["report.due"])]


class FiringAnswer(Answer):
    """An occurrence that was fired."""

    scheduled_at: Annotated[Time, Field(description="When it was due.")]
    fired_at: Annotated[Time, Field(description="When its event was in the log.")]
    event: Annotated[str, Field(description="Id of the event.", examples=["evt_06b1v8k3m5x7q2n9r4t6w8y0aa"])]


class RefusalAnswer(Answer):
    """Why what is due is not published. It is tried again until it is, or the next occurrence takes its place."""

    code: Annotated[str, Field(examples=["schema_mismatch", "event_type_not_found"])]
    detail: Said
    at: Annotated[Time, Field(description="When it was tried last.")]
    times: Annotated[int, Field(description="How often in a row.")]
    retry_at: Time | None


class SkipAnswer(Answer):
    """Occurrences from one time on and before another that were missed and are not made up for."""

    since: Time
    until: Time


class ScheduleAnswer(Answer):
    """A schedule, and how it goes."""

    id: Annotated[str, Field(examples=["sch_06b1v8k3m5x7q2n9r4t6w8y0aa"])]
    uid: str | None
    name: str
    cron: str | None
    every: int | None
    timezone: str
    starts_at: Time | None
    ends_at: Time | None
    type: str
    app: Annotated[str | None, Field(description="Id of the app; null: for every app that a grant covers.")]
    subject: str | None
    key: str | None
    data: Any
    catch_up: Literal["none", "last", "all"]
    enabled: bool
    state: Annotated[
        Literal["active", "paused", "ended", "failing"],
        Field(description="ended: nothing comes any more; failing: what is due was refused, see `refusal`."),
    ]
    next_at: Annotated[Time | None, Field(description="The occurrence that comes next, or is due.")]
    last_firing: FiringAnswer | None
    fired: Annotated[int, Field(description="How many occurrences were fired.")]
    refusal: RefusalAnswer | None
    last_skip: SkipAnswer | None
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, schedule: Schedule) -> ScheduleAnswer:
        config, progress = schedule.config, schedule.progress
        timing = config.timing
        last = progress.last
        return cls(
            id=format_id(SCHEDULE, schedule.id),
            uid=schedule.uid,
            name=schedule.name,
            cron=timing.cron,
            every=timing.every,
            timezone=timing.timezone,
            starts_at=optional_time(timing.starts_at),
            ends_at=optional_time(timing.ends_at),
            type=config.type,
            app=None if schedule.app_id is None else format_id(APP, schedule.app_id),
            subject=config.subject,
            key=config.key,
            data=msgspec.json.decode(config.data),
            catch_up=config.catch_up.value,
            enabled=schedule.enabled,
            state=_state(schedule),
            next_at=optional_time(progress.due_at),
            last_firing=None
            if last is None
            else FiringAnswer(
                scheduled_at=time_of(last.scheduled_at),
                fired_at=time_of(last.fired_at),
                event=format_id(EVENT, last.event_id),
            ),
            fired=progress.fired,
            refusal=_refusal(schedule),
            last_skip=None
            if progress.skipped_from is None or progress.skipped_until is None
            else SkipAnswer(since=time_of(progress.skipped_from), until=time_of(progress.skipped_until)),
            created_at=time_of(schedule.created_at),
            updated_at=time_of(schedule.updated_at),
        )


def _refusal(schedule: Schedule) -> RefusalAnswer | None:
    progress = schedule.progress
    if progress.failure is None or progress.failure_code is None or progress.failed_at is None:
        return None
    return RefusalAnswer(
        code=progress.failure_code,
        detail=progress.failure,
        at=time_of(progress.failed_at),
        times=progress.failures,
        retry_at=optional_time(progress.retry_at),
    )


def _state(schedule: Schedule) -> Literal["active", "paused", "ended", "failing"]:
    if not schedule.enabled:
        return "paused"
    if schedule.progress.due_at is None:
        return "ended"
    return "failing" if schedule.progress.failures else "active"


class SchedulePage(Answer):
    """Schedules, newest first."""

    data: list[ScheduleAnswer]
    next: str | None


class NextQuery(BaseModel):
    """How many, and from when on."""

    model_config = ConfigDict(extra="forbid")

    count: Annotated[int, Field(ge=1, le=SCHEDULE_PREVIEW_MAX, description="How many at most.")] = 10
    after: Annotated[Instant | None, Field(description="After this time, instead of now.")] = None


class NextAnswer(Answer):
    """Occurrences ahead, in order."""

    data: list[Time]
    complete: Annotated[
        bool, Field(description="false: there are more than these, which it would take too long to find.")
    ]

    @classmethod
    def of(cls, preview: Preview) -> NextAnswer:
        return cls(data=[time_of(at) for at in preview.occurrences], complete=preview.complete)


class RunAnswer(Answer):
    """The event of a schedule that was asked for by hand."""

    event: Annotated[str, Field(description="Id of the event.", examples=["evt_06b1v8k3m5x7q2n9r4t6w8y0aa"])]
    scheduled_at: Annotated[Time, Field(description="The time that the event says it is for: now.")]

    @classmethod
    def of(cls, event_id: EventId, scheduled_at: int) -> RunAnswer:
        return cls(event=format_id(EVENT, event_id), scheduled_at=time_of(scheduled_at))
