"""Who is asking."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from posthouse.domain.ids import AppId

Page = Literal["console", "portal"]
"""What somebody is signed in to: the operators' page, or that of an app."""


class Scope(StrEnum):
    """What an API key may do: everything; look after one app; or publish events (of one app, or of all) and nothing else."""

    ADMIN = "admin"
    APP = "app"
    PUBLISH = "publish"


class Session(msgspec.Struct, frozen=True):
    """A browser in which somebody is signed in, until `expires_at` (unix seconds) at the latest; or a link that may become one
    until then."""

    id: bytes
    expires_at: float


class Principal(msgspec.Struct, frozen=True):
    """The holder of an API key. With an app it is bound to that one, to whom nothing else exists: always with scope `app`,
    never with `admin`. `session` is there where no key was sent: somebody signed in with it before."""

    key_id: bytes
    scope: Scope
    app_id: AppId | None = None
    name: str = ""
    session: Session | None = None

    @property
    def admin(self) -> bool:
        return self.scope is Scope.ADMIN

    @property
    def in_portal(self) -> bool:
        """Whether somebody is signed in to the portal of the app: no key of an app signs in to the console."""
        return self.scope is Scope.APP and self.session is not None

    def may_see(self, app_id: AppId) -> bool:
        return self.app_id is None or self.app_id == app_id

    def may_publish(self, app_id: AppId | None) -> bool:
        """Whether it publishes events of this app; None: those for whoever is granted them."""
        return self.scope is not Scope.APP and self.app_id in (None, app_id)
