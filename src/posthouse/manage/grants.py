"""Grants: what each app may hear of, about whom."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from posthouse.domain.access import Principal
from posthouse.domain.errors import Invalid, NotFound
from posthouse.domain.grant import Grant, is_subject_pattern, is_type_pattern
from posthouse.domain.ids import GRANT, GrantId, format_id, parse_id
from posthouse.domain.limits import (
    EVENT_PATTERNS_MAX,
    GRANT_ENTRIES_MAX,
    GRANT_SUBJECTS_MAX,
    NAME_LENGTH_MAX,
    PATTERN_LEVELS_MAX,
)
from posthouse.manage.access import admin_only, app_not_found, audit, check_uid, find_app, not_reserved
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Directory
from posthouse.ports.grants import Grants

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class GrantFields(msgspec.Struct, frozen=True, kw_only=True):
    """A grant as it is asked for. `expires_at` is unix seconds."""

    types: tuple[str, ...]
    subjects: tuple[str, ...]
    expires_at: float | None = None
    uid: str | None = None


class GrantBook:
    """Administrators grant; an app reads what it was granted."""

    def __init__(self, directory: Directory, grants: Grants, clock: Clock) -> None:
        self._directory = directory
        self._grants = grants
        self._clock = clock

    async def page(
        self,
        principal: Principal,
        app: str | None,
        *,
        before: bytes,
        limit: int,
        event_type: str | None,
        subject: str | None,
    ) -> list[Grant]:
        """Of one app, or of all that the principal may see. Filters keep what covers a type or a subject. Raises NotFound."""
        app_id = principal.app_id if app is None else (await find_app(self._directory, principal, app)).id
        return await self._grants.page(
            app_id=app_id, before=before, limit=limit, event_type=event_type, subject=subject
        )

    async def get(self, principal: Principal, app: str, reference: str) -> Grant:
        """Raises NotFound."""
        found = await self._grants.get((await find_app(self._directory, principal, app)).id, reference)
        if found is None:
            raise _not_found(reference)
        return found

    async def create(self, principal: Principal, app: str, fields: GrantFields) -> Grant:
        """Raises Invalid, NotFound, Forbidden, Conflict (the uid is taken)."""
        grant = await self._made(principal, app, fields)
        entry = audit(principal, "grant.created", format_id(GRANT, grant.id), **_told(grant))
        created = await self._grants.create(grant, entry)
        if created is None:
            raise app_not_found(app)
        return created

    async def put(self, principal: Principal, app: str, reference: str, fields: GrantFields) -> tuple[Grant, bool]:
        """The grant with this id or uid becomes this one; with a new uid it is made. And whether it was made.

        Raises Invalid, NotFound, Forbidden.
        """
        if parse_id(GRANT, reference) is None:
            known = None
            grant = await self._made(principal, app, msgspec.structs.replace(fields, uid=reference))
        else:
            known = await self.get(principal, app, reference)
            made = await self._made(principal, app, msgspec.structs.replace(fields, uid=known.uid))
            grant = msgspec.structs.replace(made, id=known.id)
        entry = audit(principal, "grant.put", grant.uid or reference, **_told(grant))
        replaced = await self._grants.replace(grant, entry, make=known is None)
        if replaced is None:
            raise app_not_found(app) if known is None else _not_found(reference)
        return replaced

    async def delete(self, principal: Principal, app: str, reference: str) -> None:
        """Raises NotFound, Forbidden."""
        found = await self.get(principal, app, reference)
        admin_only(principal)
        entry = audit(principal, "grant.deleted", format_id(GRANT, found.id), **_told(found))
        if not await self._grants.delete(found.app_id, found.id, entry):
            raise _not_found(reference)

    async def _made(self, principal: Principal, app: str, fields: GrantFields) -> Grant:
        found = await find_app(self._directory, principal, app)
        admin_only(principal)
        not_reserved(found.id)
        check_grant(fields, now=self._clock.now())
        return Grant(
            id=GrantId(self._clock.new_id()),
            app_id=found.id,
            types=tuple(dict.fromkeys(fields.types)),
            subjects=tuple(dict.fromkeys(fields.subjects)),
            uid=fields.uid,
            expires_at=fields.expires_at,
            created_at=self._clock.now(),
        )


def check_grant(fields: GrantFields, *, now: float) -> None:
    """Raises Invalid with the path of what is wrong."""
    check_uid(fields.uid, prefix=GRANT)
    _check_count("types", fields.types, EVENT_PATTERNS_MAX)
    _check_count("subjects", fields.subjects, GRANT_SUBJECTS_MAX)
    pairs = len(fields.types) * len(fields.subjects)
    if pairs > GRANT_ENTRIES_MAX:
        raise Invalid(
            f"types times subjects are at most {GRANT_ENTRIES_MAX}, these are {pairs}; make several grants",
            path="subjects",
        )
    for index, pattern in enumerate(fields.types):
        if not is_type_pattern(pattern):
            raise Invalid(
                "a type pattern is an event type such as order.created, a prefix such as order.* (of at most "
                f"{PATTERN_LEVELS_MAX} words), or * for all",
                path=f"types[{index}]",
            )
    for index, pattern in enumerate(fields.subjects):
        if not is_subject_pattern(pattern) or _CONTROL.search(pattern) is not None:
            raise Invalid(
                f"a subject pattern is a subject such as shop:42 (at most {NAME_LENGTH_MAX * 2} characters, none of them "
                f"control characters), a prefix such as shop:* (of at most {PATTERN_LEVELS_MAX} words), or * for all",
                path=f"subjects[{index}]",
            )
    if fields.expires_at is not None and fields.expires_at <= now:
        raise Invalid("must be in the future; to take a grant away, delete it", path="expires_at")


def _check_count(path: str, patterns: tuple[str, ...], count_max: int) -> None:
    if not 1 <= len(patterns) <= count_max:
        raise Invalid(f"must have 1 to {count_max} patterns, has {len(patterns)}", path=path)


def _told(grant: Grant) -> dict[str, object]:
    """What the audit keeps of a grant: the first of its patterns, for there may be many."""
    return {"types": list(grant.types[:10]), "subjects": list(grant.subjects[:10]), "expires_at": grant.expires_at}


def _not_found(reference: str) -> NotFound:
    return NotFound(f"there is no grant {reference[:80]!r}", code="grant_not_found")
