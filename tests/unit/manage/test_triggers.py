"""Changing what a trigger watches, and winding it back, while others do something with it too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
import pytest
from structlog.testing import capture_logs
from tests.fakes import FakeClock, virtual_time
from tests.shelf import Shelf

from posthouse.domain.access import Principal, Scope
from posthouse.domain.errors import Conflict, StoreUnavailable
from posthouse.domain.ids import TriggerId
from posthouse.domain.limits import TRIGGER_HOLD_SECONDS
from posthouse.domain.trigger import Trigger, TriggerConfig, trigger_busy
from posthouse.manage.trigger_change import TriggerChange, TriggerChecks
from posthouse.manage.triggers import Triggers
from posthouse.ports.directory import Audit
from posthouse.ports.expressions import NO_EXPRESSIONS
from posthouse.ports.sources import Spec
from posthouse.ports.triggers import TriggerBook

ADMIN = Principal(b"k" * 16, Scope.ADMIN)
QUIET_SECONDS = 1.0

Meanwhile = list[Callable[[], Awaitable[object]]]
"""What others do at that moment, each once."""


async def others(meanwhile: Meanwhile) -> None:
    if meanwhile:
        await meanwhile.pop()()


class Book:
    """`TriggerBook` of one trigger, on which somebody works until a second after it is paused or held. `fails` is what changes
    that are on record raise, `keeps` what letting go does."""

    def __init__(self, clock: FakeClock) -> None:
        config = TriggerConfig(kind="shelf", type="row.{op}", settings='{"label":"first"}')
        self.trigger = Trigger(id=TriggerId(b"t" * 16), config=config, uid="s")
        self.clock = clock
        self.holder: bytes | None = None
        self.held_until = 0.0
        self.idle_since: float | None = None
        self.as_it_is_read: Meanwhile = []
        self.fails: Exception | None = None
        self.keeps: Exception | None = None

    @property
    def held(self) -> bool:
        return self.holder is not None and self.clock.boot() < self.held_until

    async def get(self, reference: str) -> Trigger:
        found = self.trigger
        await others(self.as_it_is_read)
        return found

    async def quiet(self, trigger_id: TriggerId) -> bool:
        return self.idle_since is not None and self.clock.boot() >= self.idle_since + QUIET_SECONDS

    async def change(
        self,
        trigger_id: TriggerId,
        change: Callable[[Trigger], Trigger],
        audit: Audit | None,
        *,
        holder: bytes | None = None,
    ) -> Trigger:
        if audit is not None and self.fails is not None:
            raise self.fails
        if holder is not None and not (self.held and holder == self.holder):
            raise trigger_busy()
        new = change(self.trigger)
        if new != self.trigger:
            self.trigger = msgspec.structs.replace(new, version=self.trigger.version + 1)
        self._noticed()
        return self.trigger

    async def hold(self, trigger_id: TriggerId, holder: bytes, *, seconds: float) -> int:
        if self.held:
            raise trigger_busy()
        self.holder, self.held_until = holder, self.clock.boot() + seconds
        self._noticed()
        return self.trigger.version

    async def let_go(self, trigger_id: TriggerId, holder: bytes) -> None:
        if self.keeps is not None:
            raise self.keeps
        if holder == self.holder:
            self.holder = None
        self._noticed()

    def _noticed(self) -> None:
        works = self.trigger.enabled and not self.held
        if works:
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = self.clock.boot()


class SlowShelf(Shelf):
    """A shelf that takes a while to wind back, or to make ready."""

    def __init__(self) -> None:
        super().__init__()
        self.as_it_changes: Meanwhile = []

    async def rewind(self, spec: Spec, to: float | None) -> str | None:
        await others(self.as_it_changes)
        return await super().rewind(spec, to)

    async def install(self, spec: Spec, *, before: Spec | None = None) -> None:
        await others(self.as_it_changes)
        await super().install(spec, before=before)


def rename_of(world: World) -> Callable[[], Awaitable[object]]:
    async def rename() -> None:
        world.book.trigger = msgspec.structs.replace(world.book.trigger, name="Theirs", version=9)

    return rename


class World:
    def __init__(self) -> None:
        clock = FakeClock()
        self.book = Book(clock)
        self.shelf = SlowShelf()
        checks = TriggerChecks(cast(Any, None), {"shelf": self.shelf}, cast(Any, None), NO_EXPRESSIONS)
        self.triggers = Triggers(cast("TriggerBook", self.book), checks, clock)

    async def pause(self) -> None:
        assert not (await self.triggers.pause(ADMIN, "s")).enabled

    async def rewind(self) -> Trigger:
        return await self.triggers.rewind(ADMIN, "s", None)

    async def change(self, **fields: Any) -> Trigger:
        return await self.triggers.change(ADMIN, "s", TriggerChange(**fields))

    @property
    def goes_on(self) -> bool:
        return self.book.trigger.enabled and not self.book.held


@virtual_time
async def test_one_that_is_wound_back_goes_on() -> None:
    world = World()
    stored = await world.rewind()
    assert (stored.enabled, stored.generation) == (True, 1)
    assert world.goes_on


@virtual_time
async def test_a_pause_during_a_rewind_stays() -> None:
    world = World()
    world.shelf.as_it_changes = [world.pause]
    stored = await world.rewind()
    assert (stored.enabled, stored.generation, world.book.held) == (False, 1, False)


@virtual_time
async def test_a_pause_while_other_settings_are_made_ready_stays() -> None:
    world = World()
    world.shelf.as_it_changes = [world.pause]
    stored = await world.change(settings={"label": "second"})
    assert (stored.enabled, stored.config.settings, world.book.held) == (False, '{"label":"second"}', False)


@virtual_time
async def test_what_others_change_meanwhile_stays() -> None:
    world = World()

    async def rename() -> None:
        await world.change(name="A shelf")

    world.shelf.as_it_changes = [rename]
    stored = await world.change(settings={"label": "second"}, key="{data.id}")
    assert (stored.name, stored.config.key, stored.config.settings) == ("A shelf", "{data.id}", '{"label":"second"}')


@virtual_time
async def test_a_change_of_something_else_brings_no_old_settings_back() -> None:
    world = World()

    async def other_settings() -> None:
        await world.change(settings={"label": "second"}, type="other.{op}")

    world.book.as_it_is_read = [other_settings]
    stored = await world.change(name="A shelf")
    assert (stored.name, stored.config.type, stored.config.settings) == ("A shelf", "other.{op}", '{"label":"second"}')
    # Who says what the settings are to be says so of those that were read.
    world.book.as_it_is_read = [rename_of(world)]
    with pytest.raises(Conflict):
        await world.change(settings={"label": "second"}, name="Mine")


@virtual_time
async def test_while_it_is_resumed_nobody_deletes_it_or_changes_its_settings() -> None:
    """What is made ready would be left behind, or take the place of what the new settings need."""
    world = World()
    await world.pause()
    refused: list[str] = []

    async def others_come() -> None:
        for work in (
            world.triggers.delete(ADMIN, "s"),
            world.change(settings={"label": "second"}),
            world.triggers.resume(ADMIN, "s"),
        ):
            with pytest.raises(Conflict) as error:
                await work
            refused.append(error.value.code)

    world.shelf.as_it_changes = [others_come]
    assert (await world.triggers.resume(ADMIN, "s")).enabled
    assert refused == ["trigger_busy"] * 3


@virtual_time
async def test_who_enables_it_by_a_change_makes_ready_what_it_needs() -> None:
    world = World()
    await world.pause()
    made_ready: list[bool] = []

    async def noted() -> None:
        made_ready.append(True)

    world.shelf.as_it_changes = [noted]
    assert (await world.change(enabled=True)).enabled
    assert made_ready


@virtual_time
async def test_of_two_rewinds_at_once_the_second_is_refused() -> None:
    world = World()

    async def again() -> None:
        with pytest.raises(Conflict) as refused:
            await world.rewind()
        assert refused.value.code == "trigger_busy"

    world.shelf.as_it_changes = [again]
    assert (await world.rewind()).generation == 1
    assert world.goes_on


@virtual_time
async def test_where_the_store_fails_in_the_end_it_goes_on_as_it_was() -> None:
    world = World()
    world.book.fails = StoreUnavailable("away for a moment")
    with pytest.raises(StoreUnavailable):
        await world.rewind()
    assert world.book.trigger.generation == 0
    assert world.goes_on


@virtual_time
async def test_where_nobody_can_let_go_it_goes_on_later() -> None:
    world = World()
    world.book.keeps = StoreUnavailable("away for a while")
    with capture_logs() as logs:
        assert (await world.rewind()).generation == 1
    assert [entry["event"] for entry in logs] == ["trigger.still_held"]
    assert not world.goes_on
    await asyncio.sleep(TRIGGER_HOLD_SECONDS)
    assert world.goes_on


@virtual_time
async def test_a_change_of_something_else_does_not_resume_it() -> None:
    """It is read, somebody pauses it, and then what was read is changed."""
    world = World()
    world.book.as_it_is_read = [world.pause]
    stored = await world.change(name="A shelf")
    assert (stored.name, stored.enabled) == ("A shelf", False)
    assert (await world.change(enabled=True)).enabled


@virtual_time
async def test_new_settings_and_a_pause_in_one_change() -> None:
    world = World()
    stored = await world.change(settings={"label": "second"}, enabled=False)
    assert (stored.enabled, stored.config.settings) == (False, '{"label":"second"}')
    assert (await world.change(settings={"label": "third"}, enabled=True)).enabled
    assert world.goes_on
