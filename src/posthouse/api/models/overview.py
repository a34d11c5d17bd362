"""What went on over a time, what needs somebody, and the installation as a whole."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from posthouse.api.models.common import Answer, Time, optional_time, time_of
from posthouse.api.models.system import Caution
from posthouse.domain.ids import APP, ENDPOINT, PROCESS, TRIGGER, format_id
from posthouse.domain.latency import quantile_ms
from posthouse.manage.overview import Attention, SystemFacts
from posthouse.manage.traffic import Chart, Row, Rows
from posthouse.ports.overview import Concern, PartitionFacts, ServerFacts
from posthouse.ports.traffic import Point

_BOUND = "within a quarter of the true value, or 0.3 ms; null where nothing was sent."

P50 = Annotated[float | None, Field(description=f"Milliseconds that half of the requests took at most: {_BOUND}")]
P99 = Annotated[float | None, Field(description=f"Milliseconds that 99 of 100 requests took at most: {_BOUND}")]
Step = Annotated[int, Field(description="Seconds from one point to the next.", examples=[600])]
Failed = Annotated[int, Field(description="Attempts after which another one follows.")]
GaveUp = Annotated[int, Field(description="Deliveries that were given up.")]


class TrafficPoint(Answer):
    """What went on from a time on, until the next point."""

    at: Time
    published: Annotated[int | None, Field(description="Events; null for an app or an endpoint.")]
    delivered: int
    failed: Failed
    gave_up: GaveUp
    owed: Annotated[
        int | None,
        Field(
            description=(
                "The most that was owed then: counted up to 10,000, estimated beyond. Null where nobody looked, and for an app."
            )
        ),
    ]
    p50_ms: P50
    p99_ms: P99

    @classmethod
    def of(cls, point: Point, at: int, *, whole: bool) -> TrafficPoint:
        return cls(
            at=time_of(at),
            published=point.published if whole else None,
            delivered=point.delivered,
            failed=point.failed,
            gave_up=point.gave_up,
            owed=point.owed,
            p50_ms=quantile_ms(point.latency, 0.5),
            p99_ms=quantile_ms(point.latency, 0.99),
        )


class TrafficTotals(Answer):
    """All of it together."""

    published: Annotated[int | None, Field(description="Events; null for an app or an endpoint.")]
    delivered: int
    failed: Failed
    gave_up: GaveUp
    p50_ms: P50
    p99_ms: P99

    @classmethod
    def of(cls, point: Point, *, whole: bool) -> TrafficTotals:
        return cls(
            published=point.published if whole else None,
            delivered=point.delivered,
            failed=point.failed,
            gave_up=point.gave_up,
            p50_ms=quantile_ms(point.latency, 0.5),
            p99_ms=quantile_ms(point.latency, 0.99),
        )


class TrafficAnswer(Answer):
    """What went on, by points of time. It begins and ends with whole steps, so that it holds the time asked for."""

    since: Time
    until: Time
    step_seconds: Step
    data: list[TrafficPoint]
    totals: TrafficTotals

    @classmethod
    def of(cls, chart: Chart) -> TrafficAnswer:
        grid = chart.grid
        return cls(
            since=time_of(grid.since),
            until=time_of(grid.until),
            step_seconds=grid.step,
            data=[
                TrafficPoint.of(point, at, whole=chart.whole)
                for point, at in zip(chart.points, grid.times(), strict=True)
            ],
            totals=TrafficTotals.of(chart.total(), whole=chart.whole),
        )


class SeriesAnswer(Answer):
    """The same by points of time, from `since` on."""

    step_seconds: Step
    delivered: list[int]
    failed: list[int]
    gave_up: list[int]

    @classmethod
    def of(cls, points: list[Point], step: int) -> SeriesAnswer:
        return cls(
            step_seconds=step,
            delivered=[point.delivered for point in points],
            failed=[point.failed for point in points],
            gave_up=[point.gave_up for point in points],
        )


class AppTraffic(Answer):
    """What went on with an app."""

    app: Annotated[str, Field(examples=["app_06b1v8k3m5x7q2n9r4t6w8y0aa"])]
    app_uid: str | None
    app_name: str
    delivered: int
    failed: Failed
    gave_up: GaveUp
    p50_ms: P50
    p99_ms: P99
    series: SeriesAnswer

    @classmethod
    def of(cls, row: Row, step: int) -> AppTraffic:
        return cls(
            app=format_id(APP, row.scope.app_id),
            app_uid=row.scope.app_uid,
            app_name=row.scope.app_name,
            delivered=row.total.delivered,
            failed=row.total.failed,
            gave_up=row.total.gave_up,
            p50_ms=quantile_ms(row.total.latency, 0.5),
            p99_ms=quantile_ms(row.total.latency, 0.99),
            series=SeriesAnswer.of(row.points, step),
        )


class EndpointTraffic(AppTraffic):
    """What went on with an endpoint."""

    endpoint: Annotated[str, Field(examples=["ep_06b1v8k3m5x7q2n9r4t6w8y0aa"])]
    uid: str | None
    url: str | None

    @classmethod
    def of(cls, row: Row, step: int) -> EndpointTraffic:
        return cls(
            **AppTraffic.of(row, step).model_dump(),
            endpoint=format_id(ENDPOINT, row.scope.id),
            uid=row.scope.uid,
            url=row.scope.url,
        )


class EndpointTrafficList(Answer):
    """Endpoints with what went on, in the order asked for."""

    since: Time
    until: Time
    data: list[EndpointTraffic]

    @classmethod
    def of(cls, rows: Rows) -> EndpointTrafficList:
        return cls(
            since=time_of(rows.grid.since),
            until=time_of(rows.grid.until),
            data=[EndpointTraffic.of(row, rows.grid.step) for row in rows.rows],
        )


class AppTrafficList(Answer):
    """Apps with what went on, in the order asked for."""

    since: Time
    until: Time
    data: list[AppTraffic]

    @classmethod
    def of(cls, rows: Rows) -> AppTrafficList:
        return cls(
            since=time_of(rows.grid.since),
            until=time_of(rows.grid.until),
            data=[AppTraffic.of(row, rows.grid.step) for row in rows.rows],
        )


class ConcernAnswer(Answer):
    """Something that needs somebody."""

    kind: Literal["endpoint_disabled", "endpoint_unverified", "circuit_open", "backlog", "trigger_failing"]
    app: str | None
    app_uid: str | None
    app_name: str
    endpoint: str | None
    trigger: str | None
    name: Annotated[str, Field(description="The endpoint's URL, or what the trigger is called.")]
    since: Annotated[Time | None, Field(description="Since when; of a backlog: when its oldest event was published.")]
    reason: Annotated[str | None, Field(examples=["gone", "failing_for_days", "open"])]
    owed: Annotated[
        int | None, Field(description="What the endpoint is owed now, counted up to 10,000; null for a trigger.")
    ]

    @classmethod
    def of(cls, concern: Concern) -> ConcernAnswer:
        return cls(
            kind=concern.kind.value,
            app=None if concern.app_id is None else format_id(APP, concern.app_id),
            app_uid=concern.app_uid,
            app_name=concern.app_name,
            endpoint=None if concern.endpoint_id is None else format_id(ENDPOINT, concern.endpoint_id),
            trigger=None if concern.trigger_id is None else format_id(TRIGGER, concern.trigger_id),
            name=concern.name,
            since=optional_time(concern.since),
            reason=concern.reason,
            owed=concern.owed,
        )


class AttentionAnswer(Answer):
    """What needs somebody: endpoints that were disabled, though not by hand, whose circuit is open, whose backlog grows or that
    are not verified, and triggers that fail. Each endpoint is told of once."""

    data: list[ConcernAnswer]
    more: Annotated[list[str], Field(description="The kinds of which there are more than are told.")]

    @classmethod
    def of(cls, attention: Attention) -> AttentionAnswer:
        return cls(
            data=[ConcernAnswer.of(concern) for concern in attention.concerns],
            more=[kind.value for kind in attention.more],
        )


class ProcessAnswer(Answer):
    """A process that serves. Of one of an earlier version it is known only that it owns partitions."""

    id: Annotated[str, Field(examples=["proc_06b1v8k3m5x7q2n9r4t6w8y0aa"])]
    self: Annotated[bool, Field(description="It is the one that answers this.")]
    host: str | None
    pid: int | None
    role: Annotated[str | None, Field(examples=["all"])]
    version: str | None
    started_at: Time | None
    seen_at: Annotated[Time | None, Field(description="When it last said that it is there.")]
    live_until: Annotated[Time | None, Field(description="Until when it takes part in owning partitions.")]
    partitions: Annotated[int, Field(description="How many it owns.")]

    @classmethod
    def of(cls, server: ServerFacts, asked: bytes) -> ProcessAnswer:
        return cls(
            id=format_id(PROCESS, server.id),
            self=server.id == asked,
            host=server.host,
            pid=server.pid,
            role=server.role,
            version=server.version,
            started_at=optional_time(server.started_at),
            seen_at=optional_time(server.seen_at),
            live_until=optional_time(server.live_until),
            partitions=server.partitions,
        )


class PartitionAnswer(Answer):
    """A partition of the log, and who delivers its events."""

    id: int
    owner: Annotated[str | None, Field(description="Id of the process; null: nobody at this moment.")]
    epoch: int
    lease_until: Time | None
    head: Annotated[int, Field(description="The last position handed out.")]
    cursor: Annotated[int, Field(description="Everything up to it is dispatched.")]
    behind: Annotated[int, Field(description="Events after the cursor.")]
    age_seconds: Annotated[
        float, Field(description="How long ago the event at the cursor was published; 0 where none is behind.")
    ]

    @classmethod
    def of(cls, partition: PartitionFacts) -> PartitionAnswer:
        return cls(
            id=partition.id,
            owner=None if partition.owner is None else format_id(PROCESS, partition.owner),
            epoch=partition.epoch,
            lease_until=optional_time(partition.lease_until),
            head=partition.head,
            cursor=partition.cursor,
            behind=partition.behind,
            age_seconds=round(partition.age_seconds, 3),
        )


class DatabaseAnswer(Answer):
    """PostgreSQL."""

    version: Annotated[str, Field(examples=["18.1"])]
    size_bytes: int
    started_at: Time
    migration: Annotated[int, Field(description="Number of the last migration that was applied.")]
    connections: int
    connections_max: int


class SystemAnswer(Answer):
    """The installation: the process that answers, all processes, the partitions and the database."""

    version: Annotated[str, Field(description="Of the process that answers.")]
    process: Annotated[str, Field(description="Id of the process that answers.")]
    processes: list[ProcessAnswer]
    partitions: list[PartitionAnswer]
    behind: Annotated[int, Field(description="Events that are not dispatched yet, of all partitions.")]
    database: DatabaseAnswer
    settings: Annotated[
        dict[str, str | int | float | bool | None],
        Field(description="Settings of the process that answers, as far as they are no secret."),
    ]
    warnings: Annotated[list[Caution], Field(description="As /readyz tells them.")]
    echo_url: Annotated[
        str | None,
        Field(
            description=(
                "A target of the server itself, which confirms what comes and keeps nothing of it: for a first event. Null "
                "where events may not go to this machine."
            )
        ),
    ]

    @classmethod
    def of(cls, facts: SystemFacts, warnings: list[Caution]) -> SystemAnswer:
        database = facts.database
        return cls(
            version=facts.version,
            process=format_id(PROCESS, facts.process),
            processes=[ProcessAnswer.of(server, facts.process) for server in facts.servers],
            partitions=[PartitionAnswer.of(partition) for partition in facts.partitions],
            behind=sum(partition.behind for partition in facts.partitions),
            database=DatabaseAnswer(
                version=database.version,
                size_bytes=database.size_bytes,
                started_at=time_of(database.started_at),
                migration=database.migration,
                connections=database.connections,
                connections_max=database.connections_max,
            ),
            settings=dict(facts.settings),
            warnings=warnings,
            echo_url=facts.echo_url,
        )
