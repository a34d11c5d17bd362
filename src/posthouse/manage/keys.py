"""API keys: shown once, kept as a hash."""

from __future__ import annotations

import secrets
from base64 import b32encode
from collections.abc import Callable
from typing import Final

import structlog

from posthouse.domain.access import Principal, Scope
from posthouse.domain.errors import Conflict, Invalid, NotFound, SetupError
from posthouse.domain.ids import APP, KEY, format_id
from posthouse.domain.limits import KEY_LENGTH_MAX, KEY_LENGTH_MIN
from posthouse.manage.access import admin_only, app_not_found, audit, find_app, not_reserved
from posthouse.manage.authenticator import Authenticator, key_hash
from posthouse.ports.clock import Clock
from posthouse.ports.directory import SYSTEM, ApiKey, Audit, Directory

log = structlog.get_logger()

PREFIX: Final = "ph_"
KEY_BYTES: Final = 32


class Keys:
    """Administrators make and revoke keys: of their own kind, of one app, or such as only publish."""

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        authenticator: Authenticator,
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._authenticator = authenticator
        self._random = random

    async def page(self, principal: Principal, *, before: bytes, limit: int) -> list[ApiKey]:
        """Those that work, newest first."""
        admin_only(principal)
        return await self._directory.keys(before=before, limit=limit)

    async def create(self, principal: Principal, *, name: str, scope: str, app: str | None) -> tuple[ApiKey, str]:
        """The key on record, and the key itself, which is told this once. Raises Invalid, NotFound, Forbidden."""
        admin_only(principal)
        kind = Scope(scope)
        if kind is not Scope.PUBLISH and (kind is Scope.APP) != (app is not None):
            raise Invalid("a key of scope app belongs to an app, and one of scope admin to none", path="app")
        app_id = None if app is None else (await find_app(self._directory, principal, app)).id
        if app_id is not None:
            not_reserved(app_id)
        token = self._new_token()
        key = ApiKey(id=self._clock.new_id(), hint=_hint(token), scope=kind, name=name, app_id=app_id)
        told = {} if app_id is None else {"app": format_id(APP, app_id)}
        entry = audit(principal, "key.created", format_id(KEY, key.id), scope=scope, **told)
        stored = await self._directory.create_key(key, key_hash(token), entry)
        if stored is None:
            raise app_not_found(app or "")
        self._authenticator.forget()
        return stored, token

    async def revoke(self, principal: Principal, key_id: bytes) -> None:
        """At once in this process, within seconds in others. Raises NotFound, Conflict (the last one), Forbidden."""
        admin_only(principal)
        entry = audit(principal, "key.revoked", format_id(KEY, key_id))
        revoked = await self._directory.revoke_key(key_id, entry)
        self._authenticator.forget()
        if revoked is None:
            raise NotFound("there is no such key", code="key_not_found")

    async def ensure_first_key(self, given: str | None) -> str | None:
        """See to it that an administrator's key exists: `given` (POSTHOUSE_ADMIN_KEY), or a new one, which is returned to
        be shown once. None where `given` was stored, or a key that works was there.

        Raises SetupError where `given` cannot be a key.
        """
        if given is not None:
            check_given(given)
        token = self._new_token() if given is None else given
        key = ApiKey(id=self._clock.new_id(), hint=_hint(token), scope=Scope.ADMIN, name="first key")
        try:
            stored = await self._directory.create_first_key(
                key, key_hash(token), Audit(SYSTEM, "key.created", format_id(KEY, key.id), {"scope": Scope.ADMIN.value})
            )
        except Conflict:
            raise SetupError("POSTHOUSE_ADMIN_KEY is a key that was revoked; choose another one") from None
        if given is None:
            return token if stored else None
        if not stored and await self._directory.principal(key_hash(given)) is None:
            log.warning("keys.admin_key_ignored", detail="there are other keys, so POSTHOUSE_ADMIN_KEY was not added")
        return None

    def _new_token(self) -> str:
        return PREFIX + b32encode(self._random(KEY_BYTES)).decode("ascii").rstrip("=").lower()


def check_given(token: str) -> None:
    """Raises SetupError for a text that cannot be sent as a bearer token, or is too easily guessed."""
    if (
        not KEY_LENGTH_MIN <= len(token) <= KEY_LENGTH_MAX
        or not token.isascii()
        or not token.isprintable()
        or " " in token
    ):
        raise SetupError(
            f"an admin key that is given has {KEY_LENGTH_MIN} to {KEY_LENGTH_MAX} visible ASCII characters; "
            "make one with: openssl rand -hex 32"
        )


def _hint(token: str) -> str:
    return token[: len(PREFIX) + 4] if token.startswith(PREFIX) else token[:3]
