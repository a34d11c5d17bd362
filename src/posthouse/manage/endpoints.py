"""Endpoints: where an app's events go."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from posthouse.domain.access import Principal
from posthouse.domain.egress import AllowedEgress
from posthouse.domain.endpoint import BLANK, EndpointConfig, Secret
from posthouse.domain.errors import Conflict, Invalid, QuotaExceeded, unsteady
from posthouse.domain.ids import ENDPOINT, AppId, EndpointId, format_id, parse_id
from posthouse.domain.limits import ENDPOINTS_PER_APP_MAX
from posthouse.domain.profile import Profile
from posthouse.manage.access import (
    TURNS_MAX,
    UID_TAKEN,
    Moved,
    admin_only,
    app_not_found,
    audit,
    endpoint_not_found,
    find_app,
    find_endpoint,
    uid_of_path,
)
from posthouse.manage.endpoint_change import EndpointChange, NewTarget, changed, check_change, judged_urls
from posthouse.manage.endpoint_secrets import new_secret
from posthouse.manage.handshake_check import check_confirmable
from posthouse.manage.key_change import keys_given
from posthouse.manage.pins import check_pinnable
from posthouse.manage.profile_keys import NO_MADE_KEYS, MadeKeys, check_keys_there, made_keys
from posthouse.manage.profiles import Profiles, blaming
from posthouse.manage.rules_check import check_given, written_by
from posthouse.manage.secret_change import check_same, secret_of
from posthouse.manage.speaking import check_egress
from posthouse.ports.clock import Clock
from posthouse.ports.directory import App, ChangeKeys, Directory, EndpointFilter, EndpointRevision, StoredEndpoint
from posthouse.ports.expressions import NO_EXPRESSIONS, Expressions

CheckTarget = Callable[[str, int], Awaitable[str | None]]
"""(host, port) -> why it is refused; None where it may be spoken to, or does not resolve now."""

EndpointCheck = Callable[[StoredEndpoint | None], None]
"""Objects to the endpoint as it is at the moment of the change (None: there is none) by raising."""

_ENDPOINT: Final = "endpoint"
NOTHING_ALLOWED: Final = AllowedEgress()
NO_PROFILES: Final = Profiles()


class Written(msgspec.Struct, frozen=True):
    """An endpoint that was made, with its signing secret and the keys that its profile asked for and nobody gave; or one that
    was replaced, and keeps what it has."""

    endpoint: StoredEndpoint
    secret: Secret | None = None
    made: MadeKeys = NO_MADE_KEYS


class Endpoints:
    """An administrator, or the app itself, manages its endpoints. `quota_refused` is told where a quota forbids one more.
    `egress` is what the operator lets endpoints ask for, `profiles` are those that they may name; `public_url` is where this
    installation is reached from outside, empty where that is not known; `unverified` is told that there may be something to
    verify."""

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        *,
        check_target: CheckTarget,
        random: Callable[[int], bytes] = secrets.token_bytes,
        endpoints_max: int = ENDPOINTS_PER_APP_MAX,
        quota_refused: Callable[[AppId, QuotaExceeded], None] = lambda _app, _refusal: None,
        egress: AllowedEgress = NOTHING_ALLOWED,
        expressions: Expressions = NO_EXPRESSIONS,
        profiles: Profiles = NO_PROFILES,
        public_url: str = "",
        unverified: Callable[[], object] = lambda: None,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._profiles = profiles
        self._check_target = check_target
        self._random = random
        self._endpoints_max = endpoints_max
        self._quota_refused = quota_refused
        self._egress = egress
        self._expressions = expressions
        self._public_url = public_url
        self._unverified = unverified

    async def page(
        self, principal: Principal, app: str, *, before: bytes, limit: int, which: EndpointFilter
    ) -> list[StoredEndpoint]:
        found = await find_app(self._directory, principal, app)
        return await self._directory.endpoints(found.id, before=before, limit=limit, which=which)

    async def page_of_all(
        self, principal: Principal, *, app: str | None, before: bytes, limit: int, which: EndpointFilter
    ) -> list[StoredEndpoint]:
        """Of every app, or of one. Raises Forbidden, NotFound (the app)."""
        admin_only(principal)
        if app is None:
            return await self._directory.all_endpoints(before=before, limit=limit, which=which)
        return await self.page(principal, app, before=before, limit=limit, which=which)

    async def revisions(
        self, principal: Principal, app: str, reference: str, *, before: int, limit: int
    ) -> list[EndpointRevision]:
        """Newest first, from below the revision `before`. Raises NotFound."""
        owner, endpoint = await find_endpoint(self._directory, principal, app, reference)
        return await self._directory.endpoint_revisions(owner.id, endpoint.id, before=before, limit=limit)

    async def get(self, principal: Principal, app: str, reference: str) -> StoredEndpoint:
        return (await find_endpoint(self._directory, principal, app, reference))[1]

    async def create(
        self,
        principal: Principal,
        app: str,
        change: EndpointChange,
        secret: str | None,
        keys: Mapping[str, str] | None = None,
    ) -> Written:
        """The endpoint, with these named keys, and its signing secret: the one given, or a new one.

        Raises Invalid, NotFound, Conflict, QuotaExceeded.
        """
        owner = await find_app(self._directory, principal, app)
        if change.url is UNSET:
            raise Invalid("this field is missing", path="url")
        profile = self._profiles.named(change, BLANK)
        with blaming(change, profile):
            whole = self._profiles.expanded(BLANK, change)
            targets = check_change(whole)
            key = new_secret(self._random) if secret is None else secret_of(secret)
            made = await self._made(profile, keys or {})
            change_keys = keys_given({**made.texts, **(keys or {})}, now=self._clock.now())
            await self._check(targets)
            await self._check_pins(principal, whole)
            await check_given(principal, whole.given(), None, self._expressions)
            stored = await self._create(principal, owner, app, whole, key, change_keys, _named(keys))
        return Written(stored, key, made)

    async def put(
        self,
        principal: Principal,
        app: str,
        reference: str,
        change: EndpointChange,
        secret: str | None,
        keys: Mapping[str, str] | None = None,
        *,
        check: EndpointCheck | None = None,
    ) -> Written:
        """The endpoint with this uid made, or replaced as a whole: what is not set takes its default. It has its signing
        secret where it was made.

        One that is replaced keeps its secrets, and the one that signs may be given again; it keeps its named keys, and those
        that are given are rotated where they are others. Of those who put the same new uid at
        the same time one makes the endpoint, and the others replace it. An id of Posthouse's own is not made: NotFound.
        Raises Invalid, Conflict, QuotaExceeded, and what `check` does.
        """
        owner = await find_app(self._directory, principal, app)
        by_id = parse_id(ENDPOINT, reference) is not None
        whole = change.whole()
        if not by_id:
            assert whole.uid is not UNSET
            whole = msgspec.structs.replace(whole, uid=uid_of_path(reference, whole.uid))
        given = None if secret is None else secret_of(secret)
        profile = self._profiles.named(whole, BLANK)
        with blaming(change, profile):
            for _ in range(TURNS_MAX):
                found = await self._directory.get_endpoint(owner.id, reference)
                if found is None and by_id:
                    break
                written = await self._put(
                    principal, owner, app, reference, found, whole, profile, given, keys or {}, check=check
                )
                if written is not None:
                    return written
        raise endpoint_not_found(reference) if by_id else unsteady()

    async def _put(
        self,
        principal: Principal,
        owner: App,
        app: str,
        reference: str,
        found: StoredEndpoint | None,
        whole: EndpointChange,
        profile: Profile | None,
        given: Secret | None,
        keys: Mapping[str, str],
        *,
        check: EndpointCheck | None,
    ) -> Written | None:
        """Make or replace the endpoint that was `found` a moment ago. None: it was changed by somebody else meanwhile."""
        known = None if found is None else found.config
        full = await self._checked(principal, known, whole)
        now = self._clock.now()
        if found is None:
            if check is not None:
                check(None)
            made = await self._made(profile, keys)
            change_keys = keys_given(made.texts | dict(keys), now=now)
            key = given or new_secret(self._random)
            try:
                stored = await self._create(principal, owner, app, full, key, change_keys, _named(keys))
            except Conflict as error:
                if error.code != UID_TAKEN:
                    raise
                return None  # somebody was faster
            return Written(stored, key, made)

        if profile is not None:
            check_keys_there(profile, {*keys, *found.keys})

        def replaced(old: StoredEndpoint) -> StoredEndpoint:
            if parse_id(ENDPOINT, reference) is None and old.uid != reference:
                raise Moved
            if check is not None:
                check(old)
            return self._changed(principal, old, whole, now=now)

        try:
            changed = await self._directory.change_endpoint(
                owner.id,
                found.id,
                replaced,
                audit(principal, f"{_ENDPOINT}.replaced", format_id(ENDPOINT, found.id), **_named(keys)),
                check_secrets=None if given is None else lambda kept: check_same(kept, given),
                change_keys=keys_given(keys, now=now),
            )
        except Moved:
            return None
        if changed is None:
            return None
        self._unverified()
        return Written(changed)

    async def change(
        self,
        principal: Principal,
        app: str,
        reference: str,
        change: EndpointChange,
        *,
        check: EndpointCheck | None = None,
    ) -> StoredEndpoint:
        """Raises Invalid, NotFound, Conflict (the uid is taken), and what `check` does. Its named keys stay."""
        owner, endpoint = await find_endpoint(self._directory, principal, app, reference)
        with blaming(change, self._profiles.named(change, endpoint.config) if change.names_profile else None):
            await self._checked(principal, endpoint.config, change)
            return await self._change(principal, owner, endpoint, reference, change, check=check)

    async def changed(
        self, principal: Principal, app: str, reference: str, change: EndpointChange
    ) -> tuple[EndpointConfig, Profile | None]:
        """What it would be after a change, and the profile that is named. Raises Invalid, NotFound."""
        _, endpoint = await find_endpoint(self._directory, principal, app, reference)
        profile = self._profiles.named(change, endpoint.config) if change.names_profile else None
        with blaming(change, profile):
            await self._checked(principal, endpoint.config, change)
            return self._changed(principal, endpoint, change, now=self._clock.now()).config, profile

    async def _checked(
        self, principal: Principal, known: EndpointConfig | None, change: EndpointChange
    ) -> EndpointChange:
        """A change of one that is there, or (None) of a new one, with what its profile makes of it. Raises Invalid."""
        full = self._profiles.expanded(known or BLANK, change)
        await self._check(check_change(full), known=() if known is None else judged_urls(known))
        await self._check_pins(principal, full, known=known)
        await check_given(principal, full.given(), known, self._expressions)
        return full

    async def _change(
        self,
        principal: Principal,
        owner: App,
        endpoint: StoredEndpoint,
        reference: str,
        change: EndpointChange,
        *,
        check: EndpointCheck | None,
    ) -> StoredEndpoint:
        now = self._clock.now()
        entry = audit(
            principal, f"{_ENDPOINT}.changed", format_id(ENDPOINT, endpoint.id), fields=sorted(change.given())
        )

        def after(old: StoredEndpoint) -> StoredEndpoint:
            if check is not None:
                check(old)
            return self._changed(principal, old, change, now=now)

        stored = await self._directory.change_endpoint(
            owner.id, endpoint.id, after, entry, change_keys=keys_given(None, now=now)
        )
        self._unverified()
        return self._there(stored, reference)

    async def pause(self, principal: Principal, app: str, reference: str, *, paused: bool) -> StoredEndpoint:
        """Hold deliveries back, or let them go on. Nothing is lost meanwhile. Raises NotFound."""
        owner, endpoint = await find_endpoint(self._directory, principal, app, reference)
        entry = audit(principal, f"{_ENDPOINT}.{'paused' if paused else 'resumed'}", format_id(ENDPOINT, endpoint.id))
        return self._there(
            await self._directory.change_endpoint(
                owner.id, endpoint.id, lambda old: msgspec.structs.replace(old, paused=paused), entry
            ),
            reference,
        )

    async def delete(
        self, principal: Principal, app: str, reference: str, *, check: EndpointCheck | None = None
    ) -> None:
        """What it is owed is cancelled. Raises NotFound, and what `check` does."""
        owner, endpoint = await find_endpoint(self._directory, principal, app, reference)
        entry = audit(principal, f"{_ENDPOINT}.deleted", format_id(ENDPOINT, endpoint.id))
        if not await self._directory.delete_endpoint(owner.id, endpoint.id, entry, check=check):
            raise endpoint_not_found(reference)

    async def _create(
        self,
        principal: Principal,
        owner: App,
        app: str,
        change: EndpointChange,
        key: Secret,
        change_keys: ChangeKeys,
        detail: dict[str, Any],
    ) -> StoredEndpoint:
        endpoint_id = EndpointId(self._clock.new_id())
        blank = StoredEndpoint(id=endpoint_id, app_id=owner.id, config=BLANK)
        new = self._changed(principal, blank, change, now=self._clock.now())
        endpoint = msgspec.structs.replace(new, revision=1)
        entry = audit(principal, f"{_ENDPOINT}.created", format_id(ENDPOINT, endpoint_id), **detail)
        try:
            stored = await self._directory.create_endpoint(
                endpoint, key, entry, endpoints_max=self._endpoints_max, change_keys=change_keys
            )
        except QuotaExceeded as refusal:
            self._quota_refused(owner.id, refusal)
            raise
        if stored is None:
            raise app_not_found(app)
        self._unverified()
        return stored

    def _changed(
        self, principal: Principal, old: StoredEndpoint, change: EndpointChange, *, now: float
    ) -> StoredEndpoint:
        """Raises Invalid."""
        new = changed(old, self._profiles.expanded(old.config, change), now=now)
        check_egress(old.config, new.config, principal, self._egress)
        check_confirmable(old.config, new.config, self._public_url)
        return msgspec.structs.replace(new, config=written_by(principal, old.config, new.config))

    def _there(self, endpoint: StoredEndpoint | None, reference: str) -> StoredEndpoint:
        if endpoint is None:
            raise endpoint_not_found(reference)
        return endpoint

    async def _check(self, targets: Sequence[NewTarget], *, known: Collection[str] = ()) -> None:
        """Judge the addresses of all that are not known already. Raises Invalid for the first that is refused."""
        new = [each for each in targets if each.url not in known]
        verdicts = await asyncio.gather(*(self._check_target(each.target.host, each.target.port) for each in new))
        for each, refused in zip(new, verdicts, strict=True):
            if refused is not None:
                raise Invalid(refused, path=each.path, code="target_refused")

    async def _check_pins(
        self, principal: Principal, change: EndpointChange, *, known: EndpointConfig | None = None
    ) -> None:
        """What was pinned before is not judged again. Raises Invalid."""
        if change.payload_versions:
            before = {} if known is None else known.payload_versions
            now = self._clock.now()
            await check_pinnable(self._directory, principal, change.payload_versions, known=before, now=now)

    async def _made(self, profile: Profile | None, there: Collection[str]) -> MadeKeys:
        """Raises Invalid."""
        if profile is None or all(key.name in there for key in profile.keys):
            return NO_MADE_KEYS
        return await asyncio.to_thread(made_keys, profile, there, self._random)


def _named(keys: Mapping[str, str] | None) -> dict[str, Any]:
    """What the audit tells of keys that were given."""
    return {"keys": sorted(keys)} if keys else {}
