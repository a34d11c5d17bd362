"""Who is asking."""

from __future__ import annotations

from typing import Literal

import msgspec

from posthouse.domain.ids import AppId

Page = Literal["console", "portal"]
"""What somebody is signed in to: the operators' page, or that of an app."""


class Session(msgspec.Struct, frozen=True):
    """A browser in which somebody is signed in, until `expires_at` (unix seconds) at the latest; or a link that may become one
    until then."""

    id: bytes
    expires_at: float


class Principal(msgspec.Struct, frozen=True):
    """The holder of an API key: an administrator of the platform, or one app, to which nothing else exists. `session` is there
    where no key was sent: somebody signed in with it before."""

    key_id: bytes
    app_id: AppId | None = None  # None: admin
    name: str = ""
    session: Session | None = None

    @property
    def admin(self) -> bool:
        return self.app_id is None

    @property
    def in_portal(self) -> bool:
        """Whether somebody is signed in to the portal of the app: no key of an app signs in to the console."""
        return self.app_id is not None and self.session is not None

    def may_see(self, app_id: AppId) -> bool:
        return self.app_id is None or self.app_id == app_id
