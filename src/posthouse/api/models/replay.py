"""Replays."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StrictStr

from posthouse.api.models.common import Answer, Body, Time, optional_time, time_of
from posthouse.domain.ids import APP, ENDPOINT, REPLAY, format_id
from posthouse.domain.limits import EVENT_PATTERNS_MAX, REPLAY_COUNTED_MAX
from posthouse.domain.replay import Select
from posthouse.manage.replays import Count, ReplayFields, ReplayView

SelectName = Annotated[
    Literal["failed", "all", "missing"],
    Field(
        description="failed: those whose last attempt here gave up; missing: those that the endpoint matches and was never "
        "tried with; all: those that it matches or was tried with. What is owed already is left alone."
    ),
]


class ReplayCreate(Body):
    """What is to be sent again."""

    endpoint: Annotated[str, Field(description="To this endpoint: id or uid.")]
    since: Annotated[AwareDatetime, Field(strict=False, description="Events from this time on.")]
    until: Annotated[
        AwareDatetime | None,
        Field(
            strict=False, description="Events before this time; by default, and where it is in the future, up to now."
        ),
    ] = None
    select: SelectName
    types: Annotated[
        list[StrictStr] | None,
        Field(
            description=f"Of these event types: patterns as in `events`, at most {EVENT_PATTERNS_MAX}; by default all.",
            examples=[["order.*"]],
        ),
    ] = None

    def fields(self) -> ReplayFields:
        return ReplayFields(
            endpoint=self.endpoint,
            since=self.since.timestamp(),
            until=None if self.until is None else self.until.timestamp(),
            select=Select(self.select),
            types=tuple(self.types or ()),
        )


class ReplayProgress(Answer):
    """How far it is, counted in events."""

    scanned: Annotated[int, Field(description="Events of the app that were looked at.")]
    selected: Annotated[int, Field(description="Of those, that are sent again.")]
    sent: Annotated[int, Field(description="Of those, that were tried at least once, whatever came of it.")]
    total: Annotated[
        int | None,
        Field(description="How many it will have selected in the end: an estimate until everything was looked at."),
    ]


class ReplayAnswer(Answer):
    """A replay."""

    id: Annotated[str, Field(examples=["rpl_06b1v8k3m5x7q2n9r4t6w8y0aa"])]
    app: Annotated[str, Field(description="Id of the app.")]
    endpoint: Annotated[str, Field(description="Id of the endpoint.")]
    select: SelectName
    since: Time
    until: Time
    types: list[str]
    state: Literal["pending", "running", "paused", "finished", "cancelled", "failed"]
    progress: ReplayProgress
    eta_seconds: Annotated[
        float | None,
        Field(
            description="An estimate of the seconds until everything was tried, from the endpoint's recent attempts and its "
            "concurrency. null where there is no saying."
        ),
    ]
    reason: Annotated[
        str | None,
        Field(
            description="Why it waits or failed: behind_another (of the same endpoint), endpoint_disabled, endpoint_deleted."
        ),
    ]
    created_at: Time
    updated_at: Time
    finished_at: Annotated[Time | None, Field(description="When it ended, however.")]

    @classmethod
    def of(cls, view: ReplayView) -> ReplayAnswer:
        replay, wanted = view.replay, view.replay.wanted
        return cls(
            id=format_id(REPLAY, replay.id),
            app=format_id(APP, wanted.app_id),
            endpoint=format_id(ENDPOINT, wanted.endpoint_id),
            select=wanted.select.value,
            since=time_of(wanted.since),
            until=time_of(wanted.until),
            types=list(wanted.types),
            state=replay.state.value,
            progress=ReplayProgress(
                scanned=replay.scanned, selected=replay.selected, sent=replay.sent, total=replay.total
            ),
            eta_seconds=None if view.eta_seconds is None else round(view.eta_seconds, 3),
            reason=replay.reason,
            created_at=time_of(replay.created_at),
            updated_at=time_of(replay.updated_at),
            finished_at=optional_time(replay.finished_at),
        )


class ReplayPage(Answer):
    """Replays, newest first."""

    data: list[ReplayAnswer]
    next: str | None


class ReplayCount(Answer):
    """What a replay would select if it began now. Nothing was changed."""

    dry_run: Literal[True]
    selected: Annotated[
        int,
        Field(
            description=f"How many events would be sent again, counted up to about {REPLAY_COUNTED_MAX} and for a few seconds."
        ),
    ]
    exact: Annotated[bool, Field(description="false: there are at least so many.")]
    scanned: Annotated[int, Field(description="Events of the app that were looked at.")]
    since: Time
    until: Time

    @classmethod
    def of(cls, count: Count) -> ReplayCount:
        return cls(
            dry_run=True,
            selected=count.selected,
            exact=count.exact,
            scanned=count.scanned,
            since=time_of(count.wanted.since),
            until=time_of(count.wanted.until),
        )
