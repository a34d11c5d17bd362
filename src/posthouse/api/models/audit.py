"""The audit."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from posthouse.api.models.common import Answer, Time, time_of
from posthouse.ports.directory import AuditEntry


class Actor(Answer):
    """Who did it."""

    id: Annotated[str, Field(description="The API key, or system.", examples=["key_06b1v8k3m5x7q2n9r4t6w8y0aa"])]
    name: Annotated[str, Field(description="The key's name.")]


class AuditAnswer(Answer):
    """Something that was changed, or a secret that was looked at."""

    id: int
    at: Time
    actor: Actor
    action: Annotated[str, Field(examples=["endpoint.created"])]
    object: Annotated[str, Field(description="Id or name of what it was done to.")]
    detail: dict[str, Any]

    @classmethod
    def of(cls, entry: AuditEntry) -> AuditAnswer:
        return cls(
            id=entry.id,
            at=time_of(entry.at_us / 1_000_000),
            actor=Actor(id=entry.actor, name=entry.actor_name),
            action=entry.action,
            object=entry.object,
            detail=entry.detail,
        )


class AuditPage(Answer):
    """Audit entries, newest first."""

    data: list[AuditAnswer]
    next: str | None
