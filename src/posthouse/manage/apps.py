"""Apps: the consumers of the platform."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from posthouse.domain.access import Principal
from posthouse.domain.ids import APP, AppId, format_id
from posthouse.manage.access import admin_only, app_not_found, audit, check_metadata, check_uid, find_app
from posthouse.manage.authenticator import Authenticator
from posthouse.ports.clock import Clock
from posthouse.ports.directory import App, Directory


class AppChange(msgspec.Struct, frozen=True, kw_only=True):
    """New values of an app."""

    uid: str | UnsetType | None = UNSET
    name: str | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class Apps:
    """An app may look at itself; only administrators make, change and delete apps: a uid is the platform's word."""

    def __init__(self, directory: Directory, clock: Clock, authenticator: Authenticator) -> None:
        self._directory = directory
        self._clock = clock
        self._authenticator = authenticator

    async def page(self, principal: Principal, *, before: bytes, limit: int) -> list[App]:
        admin_only(principal)
        return await self._directory.apps(before=before, limit=limit)

    async def get(self, principal: Principal, reference: str) -> App:
        return await find_app(self._directory, principal, reference)

    async def create(self, principal: Principal, change: AppChange) -> App:
        """Raises Invalid, Conflict (the uid is taken), Forbidden."""
        admin_only(principal)
        _check(change)
        app = _changed(App(id=AppId(self._clock.new_id())), change)
        return await self._directory.create_app(app, audit(principal, "app.created", format_id(APP, app.id)))

    async def change(self, principal: Principal, reference: str, change: AppChange) -> App:
        """Raises Invalid, NotFound, Conflict (the uid is taken), Forbidden."""
        app = await find_app(self._directory, principal, reference)
        admin_only(principal)
        _check(change)
        fields = [field for field in change.__struct_fields__ if getattr(change, field) is not UNSET]
        entry = audit(principal, "app.changed", format_id(APP, app.id), fields=fields)
        changed = await self._directory.change_app(app.id, lambda old: _changed(old, change), entry)
        if changed is None:
            raise app_not_found(reference)
        return changed

    async def delete(self, principal: Principal, reference: str) -> None:
        """With its endpoints and its keys. Raises NotFound, Forbidden."""
        app = await find_app(self._directory, principal, reference)
        admin_only(principal)
        deleted = await self._directory.delete_app(app.id, audit(principal, "app.deleted", format_id(APP, app.id)))
        self._authenticator.forget()
        if not deleted:
            raise app_not_found(reference)


def _check(change: AppChange) -> None:
    if change.uid is not UNSET:
        check_uid(change.uid, prefix=APP)
    if change.metadata is not UNSET:
        check_metadata(change.metadata)


def _changed(old: App, change: AppChange) -> App:
    given = {field: value for field in change.__struct_fields__ if (value := getattr(change, field)) is not UNSET}
    return msgspec.structs.replace(old, **given)
