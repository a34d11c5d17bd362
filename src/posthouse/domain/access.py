"""Who is asking."""

from __future__ import annotations

import msgspec

from posthouse.domain.ids import AppId


class Principal(msgspec.Struct, frozen=True):
    """The holder of an API key: an administrator of the platform, or one app, to which nothing else exists."""

    key_id: bytes
    app_id: AppId | None = None  # None: admin
    name: str = ""

    @property
    def admin(self) -> bool:
        return self.app_id is None

    def may_see(self, app_id: AppId) -> bool:
        return self.app_id is None or self.app_id == app_id
