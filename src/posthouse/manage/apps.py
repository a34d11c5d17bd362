"""Apps: the consumers of the platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from posthouse.domain.access import Principal
from posthouse.domain.errors import Conflict, unsteady
from posthouse.domain.ids import APP, AppId, format_id, parse_id
from posthouse.domain.quota import UNLIMITED, Quotas, check_quotas
from posthouse.manage.access import (
    TURNS_MAX,
    UID_TAKEN,
    Moved,
    admin_only,
    app_not_found,
    audit,
    check_metadata,
    check_uid,
    find_app,
    not_reserved,
    uid_of_path,
)
from posthouse.manage.authenticator import Authenticator
from posthouse.ports.clock import Clock
from posthouse.ports.directory import App, Directory

AppCheck = Callable[[App | None], None]
"""Objects to the app as it is at the moment of the change (None: there is none) by raising."""

_APP: Final = "app"


class AppChange(msgspec.Struct, frozen=True, kw_only=True):
    """New values of an app, each whole; what is not set stays as it is."""

    uid: str | UnsetType | None = UNSET
    name: str | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    quotas: Quotas | UnsetType = UNSET


_DEFAULTS: Final[dict[str, Any]] = {"uid": None, "name": "", "metadata": {}, "quotas": UNLIMITED}


class Apps:
    """An app may look at itself; only administrators make, change and delete apps: a uid is the platform's word."""

    def __init__(self, directory: Directory, clock: Clock, authenticator: Authenticator) -> None:
        self._directory = directory
        self._clock = clock
        self._authenticator = authenticator

    async def page(self, principal: Principal, *, before: bytes, limit: int, text: str | None = None) -> list[App]:
        """What is found by a text comes at once, whatever `before` is: one page of it. Raises Forbidden."""
        admin_only(principal)
        if text is not None:
            return await self._directory.find_apps(text, limit=limit)
        return await self._directory.apps(before=before, limit=limit)

    async def get(self, principal: Principal, reference: str) -> App:
        return await find_app(self._directory, principal, reference)

    async def create(self, principal: Principal, change: AppChange) -> App:
        """Raises Invalid, Conflict (the uid is taken), Forbidden."""
        admin_only(principal)
        _check(change)
        return await self._create(principal, change)

    async def put(
        self, principal: Principal, reference: str, change: AppChange, *, check: AppCheck | None = None
    ) -> tuple[App, bool]:
        """The app with this uid made, or replaced as a whole: what is not set takes its default. And whether it was made.

        Of those who put the same new uid at the same time one makes the app, and the others replace it. An id of
        Posthouse's own is not made: NotFound. Raises Invalid, Conflict, Forbidden, and what `check` does.
        """
        if not principal.admin:
            await find_app(self._directory, principal, reference)
        admin_only(principal)
        by_id = parse_id(APP, reference) is not None
        whole = AppChange(**(_DEFAULTS | _given(change)))
        if not by_id:
            assert whole.uid is not UNSET
            whole = msgspec.structs.replace(whole, uid=uid_of_path(reference, whole.uid))
        _check(whole)

        def replaced(old: App) -> App:
            if not by_id and old.uid != reference:
                raise Moved
            if check is not None:
                check(old)
            return _changed(old, whole)

        for _ in range(TURNS_MAX):
            found = await self._directory.get_app(reference)
            if found is not None:
                entry = audit(principal, f"{_APP}.replaced", format_id(APP, found.id))
                try:
                    stored = await self._directory.change_app(found.id, replaced, entry)
                except Moved:
                    continue
                if stored is not None:
                    return stored, False
            elif by_id:
                break
            else:
                if check is not None:
                    check(None)
                try:
                    return await self._create(principal, whole), True
                except Conflict as error:
                    if error.code != UID_TAKEN:
                        raise
                    continue  # somebody was faster
        raise app_not_found(reference) if by_id else unsteady()

    async def change(
        self, principal: Principal, reference: str, change: AppChange, *, check: AppCheck | None = None
    ) -> App:
        """Raises Invalid, NotFound, Conflict (the uid is taken), Forbidden, and what `check` does."""
        app = await find_app(self._directory, principal, reference)
        admin_only(principal)
        _check(change)
        entry = audit(principal, f"{_APP}.changed", format_id(APP, app.id), fields=list(_given(change)))

        def changed(old: App) -> App:
            if check is not None:
                check(old)
            return _changed(old, change)

        stored = await self._directory.change_app(app.id, changed, entry)
        if stored is None:
            raise app_not_found(reference)
        return stored

    async def delete(self, principal: Principal, reference: str, *, check: AppCheck | None = None) -> None:
        """With what it has. Raises NotFound, Forbidden, Conflict (triggers publish to it), and what `check` does."""
        app = await find_app(self._directory, principal, reference)
        admin_only(principal)
        not_reserved(app.id)
        entry = audit(principal, f"{_APP}.deleted", format_id(APP, app.id))
        deleted = await self._directory.delete_app(app.id, entry, check=check)
        self._authenticator.forget()
        if not deleted:
            raise app_not_found(reference)

    async def _create(self, principal: Principal, change: AppChange) -> App:
        app = _changed(App(id=AppId(self._clock.new_id())), change)
        return await self._directory.create_app(app, audit(principal, f"{_APP}.created", format_id(APP, app.id)))


def _check(change: AppChange) -> None:
    if change.uid is not UNSET:
        check_uid(change.uid, prefix=APP)
    if change.metadata is not UNSET:
        check_metadata(change.metadata)
    if change.quotas is not UNSET:
        check_quotas(change.quotas)


def _given(change: AppChange) -> dict[str, Any]:
    return {field: value for field in change.__struct_fields__ if (value := getattr(change, field)) is not UNSET}


def _changed(old: App, change: AppChange) -> App:
    """Raises Forbidden (a reserved app gets another uid)."""
    new = msgspec.structs.replace(old, **_given(change))
    if new.uid != old.uid:
        not_reserved(old.id)
    return new
