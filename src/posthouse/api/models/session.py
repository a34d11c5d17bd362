"""Signing in to the console."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from posthouse.api.models.common import Answer, Body, Time, time_of
from posthouse.domain.access import Principal
from posthouse.domain.ids import KEY, format_id
from posthouse.domain.limits import KEY_LENGTH_MAX
from posthouse.manage.sessions import signed_in


class SignIn(Body):
    """One of the two."""

    key: Annotated[
        str | None, Field(description="An administrator's API key.", json_schema_extra={"maxLength": KEY_LENGTH_MAX})
    ] = None
    code: Annotated[
        str | None,
        Field(
            description="What follows `code=` in a link that `posthouse open` or `posthouse serve` printed.",
            json_schema_extra={"maxLength": KEY_LENGTH_MAX},
        ),
    ] = None


class SessionAnswer(Answer):
    """Who is signed in."""

    key: Annotated[str, Field(description="The API key that was signed in with: the audit names it.")]
    name: Annotated[str, Field(description="That key's name.")]
    expires_at: Annotated[
        Time, Field(description="When it is over, unless it ends before: with its key, or by signing out.")
    ]

    @classmethod
    def of(cls, principal: Principal) -> SessionAnswer:
        return cls(
            key=format_id(KEY, principal.key_id),
            name=principal.name,
            expires_at=time_of(signed_in(principal).expires_at),
        )


class LinkCreated(Answer):
    """A link that signs in to the console, once."""

    url: Annotated[str, Field(description="What is to be opened. The code stands behind `#`, which no server is sent.")]
    expires_at: Time
