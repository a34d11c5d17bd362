"""Grants."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictStr

from posthouse.api.models.common import Answer, Body, Instant, Time, Uid, optional_time, time_of
from posthouse.domain.grant import Grant
from posthouse.domain.ids import APP, GRANT, format_id
from posthouse.domain.limits import EVENT_PATTERNS_MAX, GRANT_SUBJECTS_MAX
from posthouse.manage.grants import GrantFields


class GrantPut(Body):
    """What the app may hear of: any of these types about any of these subjects."""

    types: Annotated[
        list[StrictStr],
        Field(
            description=f"Event types, prefixes (`order.*`) or `*`; 1 to {EVENT_PATTERNS_MAX}.", examples=[["order.*"]]
        ),
    ]
    subjects: Annotated[
        list[StrictStr],
        Field(
            description=(
                f"Subjects, prefixes up to a colon (`shop:*`) or `*`, which alone covers events without a subject; 1 to "
                f"{GRANT_SUBJECTS_MAX}."
            ),
            examples=[["shop:42"]],
        ),
    ]
    expires_at: Annotated[Instant | None, Field(description="When it ends by itself; null: never.")] = None

    def fields(self, uid: str | None = None) -> GrantFields:
        return GrantFields(
            types=tuple(self.types),
            subjects=tuple(self.subjects),
            expires_at=None if self.expires_at is None else self.expires_at.timestamp(),
            uid=uid,
        )


class GrantCreate(GrantPut):
    """A new grant."""

    uid: Uid = None


class GrantAnswer(Answer):
    """A grant."""

    id: Annotated[str, Field(examples=["grant_06b1v8k3m5x7q2n9r4t6w8y0aa"])]
    uid: str | None
    app: Annotated[str, Field(description="Id of its app.")]
    types: list[str]
    subjects: list[str]
    expires_at: Time | None
    created_at: Time

    @classmethod
    def of(cls, grant: Grant) -> GrantAnswer:
        return cls(
            id=format_id(GRANT, grant.id),
            uid=grant.uid,
            app=format_id(APP, grant.app_id),
            types=list(grant.types),
            subjects=list(grant.subjects),
            expires_at=optional_time(grant.expires_at),
            created_at=time_of(grant.created_at),
        )


class GrantPage(Answer):
    """Grants, newest first."""

    data: list[GrantAnswer]
    next: str | None
