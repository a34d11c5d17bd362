"""Signing in to the console and to the portal."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from posthouse.api.models.common import Answer, Body, Time, time_of
from posthouse.domain.access import Principal
from posthouse.domain.ids import APP, KEY, format_id
from posthouse.domain.limits import KEY_LENGTH_MAX, PORTAL_LINK_SECONDS, PORTAL_LINK_SECONDS_MAX
from posthouse.manage.signing_in import signed_in
from posthouse.ports.directory import App


class SignIn(Body):
    """One of the two."""

    key: Annotated[
        str | None, Field(description="An administrator's API key.", json_schema_extra={"maxLength": KEY_LENGTH_MAX})
    ] = None
    code: Annotated[
        str | None,
        Field(
            description="What follows `code=` in a link: to the console, as `posthouse open` or `posthouse serve` print them, "
            "or to the portal.",
            json_schema_extra={"maxLength": KEY_LENGTH_MAX},
        ),
    ] = None


class SessionApp(Answer):
    """Whose portal it is."""

    id: str
    uid: str | None
    name: str


class SessionAnswer(Answer):
    """Who is signed in."""

    key: Annotated[
        str,
        Field(description="The API key that was signed in with, or that the link was made with: the audit names it."),
    ]
    name: Annotated[str, Field(description="That key's name.")]
    expires_at: Annotated[
        Time, Field(description="When it is over, unless it ends before: with its key, or by signing out.")
    ]

    app: Annotated[SessionApp | None, Field(description="Whose portal it is; null in the console.")]
    platform: Annotated[str, Field(description="What third parties know the platform as: POSTHOUSE_PLATFORM_NAME.")]

    @classmethod
    def of(cls, principal: Principal, app: App | None, platform: str) -> SessionAnswer:
        return cls(
            key=format_id(KEY, principal.key_id),
            name=principal.name,
            expires_at=time_of(signed_in(principal).expires_at),
            app=None if app is None else SessionApp(id=format_id(APP, app.id), uid=app.uid, name=app.name),
            platform=platform,
        )


class NewPortalLink(Body):
    """How long the link waits for somebody to use it."""

    seconds: Annotated[
        int,
        Field(
            ge=10,
            le=PORTAL_LINK_SECONDS_MAX,
            description="Until it is over, if nobody used it. Ten minutes are enough for a redirect; a link that is sent by "
            "mail needs more.",
        ),
    ] = PORTAL_LINK_SECONDS


class PortalLink(Answer):
    """A link that signs in to the portal of an app, once."""

    url: Annotated[
        str, Field(description="Where to send somebody. The code stands behind `#`, which no server is sent.")
    ]
    expires_at: Time


class LinkCreated(Answer):
    """A link that signs in to the console, once."""

    url: Annotated[str, Field(description="What is to be opened. The code stands behind `#`, which no server is sent.")]
    expires_at: Time
