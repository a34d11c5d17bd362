"""What an endpoint was, and how it has been doing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from posthouse.api.models.common import Answer, Time, optional_time, time_of
from posthouse.api.models.endpoint import ConfigAnswer, config_fields
from posthouse.ports.directory import EndpointRevision
from posthouse.ports.inspect import EndpointStats


class RevisionAnswer(Answer):
    """A revision of an endpoint: what requests were made with from `created_at` on, until the next one."""

    revision: int
    created_at: Time
    config: ConfigAnswer

    @classmethod
    def of(cls, revision: EndpointRevision) -> RevisionAnswer:
        return cls(
            revision=revision.revision,
            created_at=time_of(revision.created_at),
            config=ConfigAnswer(**config_fields(revision.config)),
        )


class RevisionPage(Answer):
    """Revisions, newest first."""

    data: list[RevisionAnswer]
    next: str | None


class StatsAnswer(Answer):
    """What became of an endpoint's attempts in a span of time, and what it is owed now."""

    since: Time
    until: Time
    delivered: int
    failed: Annotated[int, Field(description="Attempts that failed and were, or will be, followed by another one.")]
    gave_up: Annotated[int, Field(description="Deliveries that were given up.")]
    mean_duration_ms: Annotated[float | None, Field(description="Of all attempts together.")]
    owed: Annotated[int, Field(description="Deliveries that wait in the store; counted up to 10000.")]
    next_due_at: Time | None

    @classmethod
    def of(cls, stats: EndpointStats, *, since: float, until: float) -> StatsAnswer:
        attempts = stats.delivered + stats.failed + stats.gave_up
        return cls(
            since=time_of(since),
            until=time_of(until),
            delivered=stats.delivered,
            failed=stats.failed,
            gave_up=stats.gave_up,
            mean_duration_ms=round(stats.total_us / attempts / 1000, 3) if attempts else None,
            owed=stats.owed,
            next_due_at=optional_time(stats.next_due_at),
        )
