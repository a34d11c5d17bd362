"""Triggers: what is watched elsewhere and becomes events, as administrators manage them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog
from msgspec import UNSET

from posthouse.domain.access import Principal
from posthouse.domain.errors import Conflict, Invalid, NotFound, PosthouseError, unsteady
from posthouse.domain.ids import TRIGGER, TriggerId, format_id, parse_id
from posthouse.domain.limits import (
    TRIGGER_HOLD_SECONDS,
    TRIGGER_QUIET_SECONDS_MAX,
    TRIGGERS_MAX,
)
from posthouse.domain.trigger import Standing, Trigger, opened
from posthouse.manage.access import (
    UID_TAKEN,
    admin_only,
    audit,
    uid_of_path,
)
from posthouse.manage.trigger_change import BLANK, TriggerChange, TriggerChecks, of_settings, on_top
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Audit
from posthouse.ports.sources import Plan, Spec, TriggerKind
from posthouse.ports.triggers import TriggerBook
from posthouse.trigger.specs import spec_of

log = structlog.get_logger()

TriggerCheck = Callable[[Trigger | None], None]
"""Objects to the trigger as it is at the moment of the change (None: there is none) by raising."""

Change = Callable[[Trigger], Trigger]

QUIET_LOOK_SECONDS: Final = 0.05

_TRIGGER: Final = "trigger"


class Triggers:
    """Administrators manage triggers; nobody else sees them.

    What is watched lies elsewhere, so that a change is several steps: while what is watched is changed the trigger is held, and
    nobody works on it. Should this process die meanwhile, it goes on after a while; `resume` makes ready whatever is missing.
    """

    def __init__(
        self,
        book: TriggerBook,
        checks: TriggerChecks,
        clock: Clock,
        *,
        woken: Callable[[], None] = lambda: None,
        triggers_max: int = TRIGGERS_MAX,
        quiet_seconds: float = TRIGGER_QUIET_SECONDS_MAX,
    ) -> None:
        """`woken` is called when there may be something to do for those who work on triggers."""
        self._book = book
        self._checks = checks
        self._clock = clock
        self._woken = woken
        self._triggers_max = triggers_max
        self._quiet_seconds = quiet_seconds

    def kinds(self, principal: Principal) -> list[TriggerKind]:
        """The kinds that there are here, by name. Raises Forbidden."""
        admin_only(principal)
        return [self._checks.kinds[name] for name in sorted(self._checks.kinds)]

    def shown(self, trigger: Trigger) -> dict[str, Any]:
        """The settings of a trigger as they may be shown; of a kind that is not there, none, and none where they do not
        open."""
        kind = self._checks.kinds.get(trigger.config.kind)
        return {} if kind is None or trigger.unreadable else kind.shown(msgspec.json.decode(trigger.config.settings))

    async def page(self, principal: Principal, *, before: bytes, limit: int) -> list[Trigger]:
        """Newest first, from below an id. Raises Forbidden."""
        admin_only(principal)
        return await self._book.page(before=before, limit=limit)

    async def get(self, principal: Principal, reference: str) -> Trigger:
        """Raises NotFound, Forbidden."""
        admin_only(principal)
        found = await self._book.get(reference)
        if found is None:
            raise trigger_not_found(reference)
        return found

    async def plan(self, principal: Principal, change: TriggerChange) -> Plan:
        """What making such a trigger would do where it watches; its id would be another one. Raises what `create` does."""
        admin_only(principal)
        made = await self._checks.changed(principal, BLANK, change.whole())
        with of_settings():
            return await self._checks.kind(made).plan(
                spec_of(msgspec.structs.replace(made, id=TriggerId(self._clock.new_id())))
            )

    async def plan_of(self, principal: Principal, reference: str) -> Plan:
        """The same of a trigger that there is. Raises NotFound, Conflict (code `settings_unreadable`), SourceRefused,
        SourceUnavailable, Invalid."""
        found = await self.get(principal, reference)
        with of_settings():
            return await self._checks.kind(found).plan(spec_of(found))

    async def create(self, principal: Principal, change: TriggerChange) -> Trigger:
        """Raises Invalid, NotFound (its type, its app), Conflict (codes `uid_taken`, `too_many_triggers`), Forbidden, and
        SourceRefused and SourceUnavailable, where what is to be watched cannot be made ready: then there is no trigger."""
        admin_only(principal)
        change = change.whole()
        made = await self._checks.changed(principal, BLANK, change)
        made = msgspec.structs.replace(made, id=TriggerId(self._clock.new_id()))
        kind, spec = self._checks.kind(made), spec_of(made)
        with of_settings():
            await kind.plan(spec)  # what is wrong there is said before anything is stored
        entry = audit(
            principal, f"{_TRIGGER}.created", format_id(TRIGGER, made.id), kind=made.config.kind, type=made.config.type
        )
        stored = await self._book.create(
            msgspec.structs.replace(made, enabled=False), entry, triggers_max=self._triggers_max
        )
        if stored is None:
            raise NotFound(f"there is no app {change.app!r}", code="app_not_found", path="app")

        async def installed() -> Change:
            try:
                with of_settings():
                    await kind.install(spec)
            except PosthouseError as error:
                await self._take_back(kind, spec, stored, error)
                raise
            return lambda old: msgspec.structs.replace(old, enabled=made.enabled)

        return await self._held(stored, installed, None, quiet=False)

    async def put(
        self, principal: Principal, reference: str, change: TriggerChange, *, check: TriggerCheck | None = None
    ) -> tuple[Trigger, bool]:
        """The trigger with this uid made, or replaced as a whole: what is not set takes its default. And whether it was made.

        An id of Posthouse's own is not made: NotFound. Where the settings that it had do not open, what they needed stays where
        they watched. Raises what `create` does, and what `check` does.
        """
        admin_only(principal)
        by_id = parse_id(TRIGGER, reference) is not None
        change = change.whole()
        if not by_id:
            assert change.uid is not UNSET
            change = msgspec.structs.replace(change, uid=uid_of_path(reference, change.uid))
        found = await self._book.get(reference)
        if found is None:
            if by_id:
                raise trigger_not_found(reference)
            if check is not None:
                check(None)
            try:
                return await self.create(principal, change), True
            except Conflict as error:
                found = await self._book.get(reference)
                if error.code != UID_TAKEN or found is None:
                    raise
        config = msgspec.structs.replace(found.config, settings="{}")
        blank = msgspec.structs.replace(found, config=config, unreadable=None)
        return await self._change(principal, found, blank, change, f"{_TRIGGER}.replaced", check), False

    async def change(
        self, principal: Principal, reference: str, change: TriggerChange, *, check: TriggerCheck | None = None
    ) -> Trigger:
        """Raises NotFound, Invalid, Conflict, Forbidden, SourceRefused, SourceUnavailable, and what `check` does."""
        found = await self.get(principal, reference)
        if change.settings is not UNSET or change.kind not in (UNSET, found.config.kind):
            opened(found)  # what is not given is to stay as it is, and nobody knows how that is
        return await self._change(principal, found, found, change, f"{_TRIGGER}.changed", check)

    async def pause(self, principal: Principal, reference: str) -> Trigger:
        """Publish nothing more of it until it is resumed; what happens meanwhile is published then. Raises NotFound."""
        found = await self.get(principal, reference)
        entry = audit(principal, f"{_TRIGGER}.paused", format_id(TRIGGER, found.id))
        return await self._store(found, lambda old: msgspec.structs.replace(old, enabled=False), entry)

    async def resume(self, principal: Principal, reference: str) -> Trigger:
        """Let it go on, from where it was; what is missing where it watches is made anew. Raises NotFound, Invalid, Conflict,
        SourceRefused, SourceUnavailable."""
        found = await self.get(principal, reference)
        spec = spec_of(found)
        entry = audit(principal, f"{_TRIGGER}.resumed", spec.id)

        async def installed() -> Change:
            with of_settings():
                await self._checks.kind(found).install(spec)
            return lambda old: _afresh(msgspec.structs.replace(old, enabled=True))

        return await self._held(found, installed, entry, quiet=False)

    async def rewind(self, principal: Principal, reference: str, to: float | None) -> Trigger:
        """Publish again everything since a time (unix seconds), or everything there is (None), as new events. Raises NotFound,
        Invalid where its kind cannot, Conflict, SourceRefused, SourceUnavailable."""
        found = await self.get(principal, reference)
        spec = msgspec.structs.replace(spec_of(found), generation=found.generation + 1)

        async def rewound() -> Change:
            position = await self._checks.kind(found).rewind(spec, to)
            return lambda old: _afresh(msgspec.structs.replace(old, generation=spec.generation, position=position))

        return await self._held(found, rewound, audit(principal, f"{_TRIGGER}.rewound", spec.id, to=to))

    async def delete(
        self, principal: Principal, reference: str, *, force: bool = False, check: TriggerCheck | None = None
    ) -> None:
        """Remove it, and all traces of it where it watches. `force`: though these cannot be removed. Raises NotFound, Conflict,
        SourceRefused, SourceUnavailable, and what `check` does."""
        found = await self.get(principal, reference)
        if check is not None:
            check(found)
        entry = audit(principal, f"{_TRIGGER}.deleted", format_id(TRIGGER, found.id), uid=found.uid, force=force)

        async def removed() -> None:
            try:
                await self._checks.kind(found).remove(spec_of(found))
            except PosthouseError:
                if not force:
                    raise
            if not await self._book.delete(found.id, entry):
                raise trigger_not_found(reference)

        await self._held(found, removed, None)

    # What they share

    async def _change(
        self,
        principal: Principal,
        found: Trigger,
        base: Trigger,
        change: TriggerChange,
        action: str,
        check: TriggerCheck | None,
    ) -> Trigger:
        made = await self._checks.changed(principal, base, change)
        if made.config.kind != found.config.kind:
            raise Invalid(f"a trigger stays of its kind, {found.config.kind!r}; make another one", path="kind")
        entry = audit(principal, action, format_id(TRIGGER, found.id), fields=sorted(change.given()))

        if made.config.settings == found.config.settings and (found.enabled or not made.enabled):

            def after(old: Trigger) -> Trigger:
                if check is not None:
                    check(old)
                if change.settings is not UNSET and old.version != found.version:
                    raise unsteady()
                return _afresh(on_top(old, made, change))

            return await self._store(found, after, entry)
        if check is not None:
            check(found)

        spec, before = spec_of(made), None if found.unreadable else spec_of(found)

        async def installed() -> Change:
            with of_settings():
                await self._checks.kind(made).install(spec, before=before)
            return lambda old: _afresh(on_top(old, made, change))

        return await self._held(found, installed, entry)

    async def _held(
        self,
        found: Trigger,
        work: Callable[[], Awaitable[Change | None]],
        entry: Audit | None,
        *,
        quiet: bool = True,
    ) -> Trigger:
        """Do something while nobody else does, and (`quiet`) nobody works on the trigger; then it is changed as that says, on
        top of what was changed meanwhile (None: it is gone). Whatever goes wrong, it goes on as it was. Raises Conflict where
        it is held already, or is another than was found."""
        holder = self._clock.new_id()
        version = await self._book.hold(found.id, holder, seconds=TRIGGER_HOLD_SECONDS)
        if version is None:
            raise trigger_not_found(found.reference)
        self._woken()
        try:
            if version != found.version:
                raise unsteady()
            if quiet:
                await self._until_quiet(found)
            change = await work()
            return found if change is None else await self._store(found, change, entry, holder=holder)
        finally:
            await self._let_go(found, holder)

    async def _let_go(self, trigger: Trigger, holder: bytes) -> None:
        try:
            await self._book.let_go(trigger.id, holder)
        except PosthouseError as error:
            log.warning("trigger.still_held", trigger=trigger.reference, error=str(error))  # it ends by itself
        self._woken()

    async def _until_quiet(self, trigger: Trigger) -> None:
        deadline = self._clock.boot() + self._quiet_seconds
        while not await self._book.quiet(trigger.id):
            if self._clock.boot() >= deadline:
                raise Conflict(
                    "another process still works on this trigger; try again in a moment", code="trigger_busy"
                )
            await self._clock.sleep(QUIET_LOOK_SECONDS)

    async def _store(
        self,
        found: Trigger,
        change: Callable[[Trigger], Trigger],
        entry: Audit | None,
        *,
        holder: bytes | None = None,
    ) -> Trigger:
        stored = await self._book.change(found.id, change, entry, holder=holder)
        if stored is None:
            raise trigger_not_found(found.reference)
        self._woken()
        return stored

    async def _take_back(self, kind: TriggerKind, spec: Spec, stored: Trigger, error: PosthouseError) -> None:
        """A trigger that could not be made ready is not there."""
        try:
            await kind.remove(spec)
        except PosthouseError as other:
            error.add_note(f"what was made of it could not be removed: {other}")
        await self._book.delete(stored.id, None)


def trigger_not_found(reference: str) -> NotFound:
    return NotFound(f"there is no trigger {reference[:80]!r}", code="trigger_not_found")


def _afresh(trigger: Trigger) -> Trigger:
    """Somebody changed something: what was wrong may be right now, and is tried at once."""
    counted = trigger.standing
    return msgspec.structs.replace(
        trigger,
        standing=Standing(
            published=counted.published,
            repeated=counted.repeated,
            left_out=counted.left_out,
            set_aside=counted.set_aside,
            unverified=counted.unverified,
            published_at=counted.published_at,
        ),
    )
