"""Schedules: events at certain times, as administrators manage them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from posthouse.domain.access import Principal
from posthouse.domain.errors import Conflict, Invalid, NotFound, TooLarge, unsteady
from posthouse.domain.ids import EVENT, SCHEDULE, AppId, EventId, ScheduleId, format_id, parse_id
from posthouse.domain.limits import (
    NAME_LENGTH_MAX,
    SCHEDULE_DATA_BYTES_MAX,
    SCHEDULE_PREVIEW_SECONDS_MAX,
    SCHEDULES_MAX,
)
from posthouse.domain.occurrences import Timing, check_timing, next_after
from posthouse.domain.schedule import CatchUp, Schedule, ScheduleConfig, check_placeholders
from posthouse.intake.observed import ObservedEvents
from posthouse.intake.parse import EventBody
from posthouse.intake.parse import check as check_event
from posthouse.manage.access import (
    TURNS_MAX,
    UID_TAKEN,
    Moved,
    admin_only,
    audit,
    check_uid,
    find_app,
    not_reserved,
    uid_of_path,
)
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Directory
from posthouse.ports.schedules import ScheduleBook
from posthouse.trigger.schedules import draft_of

ScheduleCheck = Callable[[Schedule | None], None]
"""Objects to the schedule as it is at the moment of the change (None: there is none) by raising."""

_SCHEDULE: Final = "schedule"
_TIMING: Final = frozenset({"cron", "every", "timezone", "starts_at", "ends_at"})
_CONFIG: Final = frozenset({"type", "subject", "key", "catch_up"})


class ScheduleChange(msgspec.Struct, frozen=True, kw_only=True):
    """New values of a schedule's fields; what is not set stays as it is. Times are unix seconds, `app` is an id or uid."""

    uid: str | UnsetType | None = UNSET
    name: str | UnsetType = UNSET
    cron: str | UnsetType | None = UNSET
    every: int | UnsetType | None = UNSET
    timezone: str | UnsetType = UNSET
    starts_at: int | UnsetType | None = UNSET
    ends_at: int | UnsetType | None = UNSET
    type: str | UnsetType = UNSET
    app: str | UnsetType | None = UNSET
    subject: str | UnsetType | None = UNSET
    key: str | UnsetType | None = UNSET
    data: Any = UNSET
    catch_up: CatchUp | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET

    def given(self) -> dict[str, Any]:
        return {field: value for field in self.__struct_fields__ if (value := getattr(self, field)) is not UNSET}

    def whole(self) -> ScheduleChange:
        """With the default of whatever is not set. Raises Invalid where a field has none."""
        if self.type is UNSET:
            raise Invalid("this field is missing", path="type")
        return ScheduleChange(**(_DEFAULTS | self.given()))


_DEFAULTS: Final[dict[str, Any]] = {
    "uid": None,
    "name": "",
    "cron": None,
    "every": None,
    "timezone": "UTC",
    "starts_at": None,
    "ends_at": None,
    "app": None,
    "subject": None,
    "key": None,
    "data": {},
    "catch_up": CatchUp.LAST,
    "enabled": True,
}
_BLANK: Final = Schedule(id=ScheduleId(bytes(16)), config=ScheduleConfig(timing=Timing(), type=""))


class Preview(msgspec.Struct, frozen=True):
    """Occurrences ahead. Not `complete`: there may be more than are here, though fewer were asked for."""

    occurrences: tuple[int, ...]
    complete: bool


class Schedules:
    """Administrators manage schedules; the key of an app sees those whose events are for the app alone."""

    def __init__(
        self,
        directory: Directory,
        book: ScheduleBook,
        door: ObservedEvents,
        clock: Clock,
        *,
        woken: Callable[[], None] = lambda: None,
        schedules_max: int = SCHEDULES_MAX,
    ) -> None:
        """`woken` is called when something may be due earlier than was known."""
        self._directory = directory
        self._book = book
        self._door = door
        self._clock = clock
        self._woken = woken
        self._schedules_max = schedules_max

    async def page(self, principal: Principal, app: str | None, *, before: bytes, limit: int) -> list[Schedule]:
        """Newest first, from below an id; of one app, or all that the principal may see. Raises NotFound (the app)."""
        app_id = principal.app_id if app is None else (await find_app(self._directory, principal, app)).id
        return await self._book.page(app_id=app_id, before=before, limit=limit)

    async def get(self, principal: Principal, reference: str) -> Schedule:
        """Raises NotFound."""
        found = await self._book.get(reference)
        if found is None or not _may_see(principal, found):
            raise schedule_not_found(reference)
        return found

    async def preview(self, principal: Principal, reference: str, *, count: int, after: float | None = None) -> Preview:
        """Its next occurrences, from now or from a time on, whether or not it is enabled. Raises NotFound."""
        timing = (await self.get(principal, reference)).config.timing
        return self._ahead(timing, count=count, after=self._clock.now() if after is None else after)

    async def create(self, principal: Principal, change: ScheduleChange) -> Schedule:
        """Raises Invalid, NotFound (its type, its app), Conflict (codes `uid_taken`, `too_many_schedules`), Forbidden."""
        admin_only(principal)
        change = change.whole()
        made = await self._changed(principal, _BLANK, change)
        return await self._create(principal, change, made)

    async def put(
        self, principal: Principal, reference: str, change: ScheduleChange, *, check: ScheduleCheck | None = None
    ) -> tuple[Schedule, bool]:
        """The schedule with this uid made, or replaced as a whole: what is not set takes its default. And whether it was made.

        Of those who put the same new uid at the same time one makes it, and the others replace it. An id of Posthouse's own is
        not made: NotFound. Raises what `create` does, and what `check` does.
        """
        if not principal.admin:
            await self.get(principal, reference)
        admin_only(principal)
        by_id = parse_id(SCHEDULE, reference) is not None
        change = change.whole()
        if not by_id:
            assert change.uid is not UNSET
            change = msgspec.structs.replace(change, uid=uid_of_path(reference, change.uid))
        made = await self._changed(principal, _BLANK, change)

        def replaced(old: Schedule) -> Schedule:
            if not by_id and old.uid != reference:
                raise Moved
            if check is not None:
                check(old)
            return _on_top(old, made, change)

        for _ in range(TURNS_MAX):
            found = await self._book.get(reference)
            if found is not None:
                entry = audit(principal, f"{_SCHEDULE}.replaced", format_id(SCHEDULE, found.id))
                try:
                    stored = await self._book.change(found.id, replaced, entry)
                except Moved:
                    continue
                if stored is not None:
                    self._woken()
                    return stored, False
            elif by_id:
                break
            else:
                if check is not None:
                    check(None)
                try:
                    return await self._create(principal, change, made), True
                except Conflict as error:
                    if error.code != UID_TAKEN:
                        raise
                    continue  # somebody was faster
        raise schedule_not_found(reference) if by_id else unsteady()

    async def change(
        self, principal: Principal, reference: str, change: ScheduleChange, *, check: ScheduleCheck | None = None
    ) -> Schedule:
        """Raises NotFound, Invalid, Conflict (the uid is taken), Forbidden, and what `check` does."""
        found = await self.get(principal, reference)
        admin_only(principal)
        made = await self._changed(principal, found, change)

        def after(old: Schedule) -> Schedule:
            new = _on_top(old, made, change)
            if new.config != made.config:  # others changed it meanwhile
                check_schedule(new, now=self._clock.now())
            return new

        entry = audit(principal, f"{_SCHEDULE}.changed", format_id(SCHEDULE, found.id), fields=sorted(change.given()))
        return await self._change(found, reference, after, entry, check)

    async def pause(self, principal: Principal, reference: str, *, enabled: bool) -> Schedule:
        """Let it rest, or go on: from now, what was not fired meanwhile is not made up for. Raises NotFound, Forbidden."""
        found = await self.get(principal, reference)
        admin_only(principal)
        action = f"{_SCHEDULE}.{'resumed' if enabled else 'paused'}"
        return await self._change(
            found,
            reference,
            lambda old: msgspec.structs.replace(old, enabled=enabled),
            audit(principal, action, format_id(SCHEDULE, found.id)),
        )

    async def delete(self, principal: Principal, reference: str, *, check: ScheduleCheck | None = None) -> None:
        """Raises NotFound, Forbidden, and what `check` does."""
        found = await self.get(principal, reference)
        admin_only(principal)
        entry = audit(principal, f"{_SCHEDULE}.deleted", format_id(SCHEDULE, found.id), uid=found.uid)
        if not await self._book.delete(found.id, entry, check=check):
            raise schedule_not_found(reference)

    async def run(self, principal: Principal, reference: str) -> tuple[EventId, int]:
        """Publish its event now, whether or not it is enabled, beside its occurrences; the event, and the time that it says it
        is for. Raises NotFound, Forbidden, and what publishing does."""
        found = await self.get(principal, reference)
        admin_only(principal)
        now = int(self._clock.now())
        draft = draft_of(found, now, EventId(self._clock.new_id()), idempotency_key=None)
        published = await self._door.publish(draft)
        await self._directory.record(
            audit(
                principal,
                f"{_SCHEDULE}.run",
                format_id(SCHEDULE, found.id),
                event=format_id(EVENT, published.event_id),
            )
        )
        return published.event_id, now

    # What they share

    async def _create(self, principal: Principal, change: ScheduleChange, made: Schedule) -> Schedule:
        schedule = msgspec.structs.replace(made, id=ScheduleId(self._clock.new_id()))
        entry = audit(principal, f"{_SCHEDULE}.created", format_id(SCHEDULE, schedule.id), type=made.config.type)
        stored = await self._book.create(schedule, entry, schedules_max=self._schedules_max)
        if stored is None:
            raise _app_missing(change)
        self._woken()
        return stored

    async def _change(
        self,
        found: Schedule,
        reference: str,
        change: Callable[[Schedule], Schedule],
        entry: Any,
        check: ScheduleCheck | None = None,
    ) -> Schedule:
        def after(old: Schedule) -> Schedule:
            if check is not None:
                check(old)
            return change(old)

        stored = await self._book.change(found.id, after, entry)
        if stored is None:
            raise schedule_not_found(reference)
        self._woken()
        return stored

    async def _changed(self, principal: Principal, old: Schedule, change: ScheduleChange) -> Schedule:
        """The schedule with these fields, if that is a good one. Raises Invalid, NotFound, Forbidden."""
        if change.app is not UNSET:
            app_id: AppId | None = None
            if change.app is not None:
                try:
                    app_id = (await find_app(self._directory, principal, change.app)).id
                except NotFound as error:
                    error.path = "app"
                    raise
                not_reserved(app_id)
            old = msgspec.structs.replace(old, app_id=app_id)
        made = changed_fields(old, change)
        now = self._clock.now()
        check_schedule(made, now=now)
        if change.app is UNSET and change.type is UNSET and change.data is UNSET:
            return made
        try:
            await self._door.check(draft_of(made, int(now), EventId(self._clock.new_id()), idempotency_key=None))
        except NotFound as error:
            error.path = "type" if error.code.startswith("event_type") else "app"
            raise
        return made

    def _ahead(self, timing: Timing, *, count: int, after: float) -> Preview:
        deadline = self._clock.boot() + SCHEDULE_PREVIEW_SECONDS_MAX
        found: list[int] = []
        at: float = after
        while len(found) < count:
            occurrence = next_after(timing, at)
            if occurrence is None:
                break
            found.append(occurrence)
            at = occurrence
            if self._clock.boot() >= deadline:
                return Preview(tuple(found), complete=len(found) == count)
        return Preview(tuple(found), complete=True)


def changed_fields(old: Schedule, change: ScheduleChange) -> Schedule:
    """The schedule with these fields in the place of its own, all but its app. Of cron and every, one that is given alone takes
    the place of the other."""
    given = change.given()
    timing = {name: given[name] for name in _TIMING if name in given}
    if timing.get("cron") is not None and "every" not in given:
        timing["every"] = None
    if timing.get("every") is not None and "cron" not in given:
        timing["cron"] = None
    config = {name: given[name] for name in _CONFIG if name in given}
    if "data" in given:
        config["data"] = msgspec.json.encode(given["data"]).decode()
    top = {name: given[name] for name in ("uid", "name", "enabled") if name in given}
    return msgspec.structs.replace(
        old,
        config=msgspec.structs.replace(
            old.config, timing=msgspec.structs.replace(old.config.timing, **timing), **config
        ),
        **top,
    )


def _on_top(old: Schedule, made: Schedule, change: ScheduleChange) -> Schedule:
    """The same change to the schedule as it is when it is locked; of its app what was found."""
    new = changed_fields(old, change)
    return new if change.app is UNSET else msgspec.structs.replace(new, app_id=made.app_id)


def check_schedule(schedule: Schedule, *, now: float) -> None:
    """What can be said of a schedule without asking anybody. Raises Invalid with the path of what is wrong, TooLarge."""
    config = schedule.config
    check_uid(schedule.uid, prefix=SCHEDULE)
    if len(schedule.name) > NAME_LENGTH_MAX:
        raise Invalid(f"must have at most {NAME_LENGTH_MAX} characters", path="name")
    check_timing(config.timing, now=now)
    size = len(config.data.encode())
    if size > SCHEDULE_DATA_BYTES_MAX:
        raise TooLarge(f"data has at most {SCHEDULE_DATA_BYTES_MAX} bytes as JSON; this has {size}")
    body = EventBody(type=config.type, data=msgspec.Raw(b""), subject=config.subject, key=config.key)
    check_event(body, prefix="")
    check_placeholders(msgspec.json.decode(config.data))


def _may_see(principal: Principal, schedule: Schedule) -> bool:
    return principal.admin or (schedule.app_id is not None and principal.may_see(schedule.app_id))


def schedule_not_found(reference: str) -> NotFound:
    return NotFound(f"there is no schedule {reference[:80]!r}", code="schedule_not_found")


def _app_missing(change: ScheduleChange) -> NotFound:
    return NotFound(f"there is no app {str(change.app)[:80]!r}", code="app_not_found", path="app")
