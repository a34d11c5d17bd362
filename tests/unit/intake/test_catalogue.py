"""What intake knows of apps and types: never older than a second, and never missing what was just made."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.fakes import FakeClock, virtual_time

from posthouse.adapters.memory import MemoryCatalogue, MemoryDatabase
from posthouse.domain.cache_use import CacheFacts
from posthouse.domain.errors import Invalid, NotFound
from posthouse.domain.ids import APP, AppId, format_id, uuid7
from posthouse.domain.quota import Quotas
from posthouse.intake import catalogue as catalogue_module
from posthouse.intake.catalogue import CatalogueCache, compile_schema, faults_of
from posthouse.ports.catalogue import AppEntry, EventTypeEntry

SCHEMA = '{"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}}}'


class Catalogue(MemoryCatalogue):
    """Counts, and waits where the test says."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.asked: list[str] = []
        self.slow = asyncio.Event()
        self.slow.set()

    async def find_app(self, reference: str) -> AppEntry | None:
        self.asked.append(reference)
        slow = self.slow
        found = await super().find_app(reference)
        await slow.wait()
        return found

    async def event_type(self, name: str) -> EventTypeEntry | None:
        self.asked.append(name)
        slow = self.slow
        found = await super().event_type(name)
        await slow.wait()
        return found

    async def version(self) -> int:
        self.asked.append("version")
        return await super().version()


class Desk:
    def __init__(self, *, auto_create: bool = False) -> None:
        self.database = MemoryDatabase(clock=FakeClock().now, partitions=4)
        self.catalogue = Catalogue(self.database)
        self.cache = CatalogueCache(self.catalogue, FakeClock(), auto_create=auto_create)

    def put(self, schema: str | None = None, *, archived: bool = False) -> None:
        self.database.put_event_type(EventTypeEntry("order.created", schema, archived))

    async def check(self, payload: bytes | None = b"{}") -> None:
        await self.cache.check("order.created", payload, path="data")


@virtual_time
async def test_an_app_is_asked_for_once() -> None:
    desk = Desk()
    app_id = AppId(uuid7(1, 1))
    desk.database.put_app(app_id, partition=2, uid="acme")
    for _ in range(3):
        assert await desk.cache.app("acme") == AppEntry(app_id, 2, "acme")
        assert (await desk.cache.app(format_id(APP, app_id))).id == app_id
    assert len(desk.catalogue.asked) == 2
    assert desk.cache.known_app("acme") is not None
    assert desk.cache.known_app("other") is None  # nobody looked for it yet
    assert desk.cache.apps_cached == CacheFacts(entries=2, hits=5, misses=2)


@virtual_time
async def test_what_is_asked_of_types_is_counted() -> None:
    desk = Desk()
    desk.put()
    assert not desk.cache.passes("order.created", b"{}")  # not known without a look, which `check` then takes
    await desk.check()
    await desk.check()
    assert desk.cache.passes("order.created", b"{}")
    assert desk.cache.types_cached == CacheFacts(entries=1, hits=2, misses=1)


@virtual_time
async def test_an_app_that_is_not_there_is_asked_for_each_time() -> None:
    desk = Desk()
    with pytest.raises(NotFound) as refused:
        await desk.cache.app("acme")
    assert refused.value.code == "app_not_found"
    desk.database.put_app(AppId(uuid7(1, 1)), partition=0, uid="acme")
    await desk.cache.app("acme")


@virtual_time
async def test_an_app_that_the_log_did_not_find_is_forgotten() -> None:
    desk = Desk()
    desk.database.put_app(AppId(uuid7(1, 1)), partition=0, uid="acme")
    await desk.cache.app("acme")
    desk.database.delete_app(AppId(uuid7(1, 1)))
    desk.cache.forget_app("acme")
    with pytest.raises(NotFound):
        await desk.cache.app("acme")


@virtual_time
async def test_another_history_of_the_store_is_asked_anew_though_its_version_is_the_same() -> None:
    desk = Desk()
    desk.put()
    desk.database.put_app(AppId(uuid7(1, 1)), partition=0, uid="acme")
    await desk.cache.app("acme")
    await desk.check()
    desk.catalogue.asked.clear()
    desk.cache.forget()
    await desk.cache.app("acme")
    await desk.check()
    assert desk.catalogue.asked == ["acme", "version", "order.created"]


@virtual_time
async def test_an_app_without_quotas_costs_no_look_at_the_version() -> None:
    desk = Desk()
    desk.database.put_app(AppId(uuid7(1, 1)), partition=0, uid="acme")
    for _ in range(100):
        assert (await desk.cache.app("acme")).quotas is None
        await asyncio.sleep(1)
    assert desk.catalogue.asked == ["acme"]


@virtual_time
async def test_other_quotas_are_noticed_within_a_second() -> None:
    desk = Desk()
    app_id = AppId(uuid7(1, 1))
    desk.database.put_app(app_id, partition=0, uid="acme")
    desk.put()
    await desk.cache.app("acme")
    await desk.check()
    desk.database.put_quotas(app_id, Quotas(endpoints_max=1))
    await asyncio.sleep(1)
    await desk.check()  # the first ones come with the look that any event brings
    assert (await desk.cache.app("acme")).quotas == Quotas(endpoints_max=1)
    desk.database.put_quotas(app_id, Quotas(endpoints_max=2))
    await asyncio.sleep(1)
    assert (await desk.cache.app("acme")).quotas == Quotas(endpoints_max=2)
    desk.database.put_quotas(app_id, None)
    await asyncio.sleep(1)
    assert (await desk.cache.app("acme")).quotas is None


@virtual_time
async def test_quotas_that_change_while_an_app_is_loaded_are_not_missed() -> None:
    desk = Desk()
    app_id = AppId(uuid7(1, 1))
    desk.database.put_app(app_id, partition=0, uid="acme")
    desk.put()
    await desk.check()
    desk.catalogue.slow.clear()
    load = asyncio.create_task(desk.cache.app("acme"))
    await asyncio.sleep(0.1)
    # They change after the load has read them, and another request notices before the load is back.
    desk.database.put_quotas(app_id, Quotas(endpoints_max=1))
    await asyncio.sleep(1)
    slow, desk.catalogue.slow = desk.catalogue.slow, asyncio.Event()
    desk.catalogue.slow.set()
    await desk.check()
    slow.set()
    assert (await load).quotas is None
    assert (await desk.cache.app("acme")).quotas == Quotas(endpoints_max=1)


@virtual_time
async def test_an_unknown_and_an_archived_type_are_refused() -> None:
    desk = Desk()
    with pytest.raises(NotFound, match="auto-create"):
        await desk.check()
    desk.put(archived=True)
    await asyncio.sleep(1)
    with pytest.raises(NotFound) as refused:
        await desk.check()
    assert refused.value.code == "event_type_archived"


@virtual_time
async def test_a_type_is_made_where_that_is_wanted() -> None:
    desk = Desk(auto_create=True)
    await desk.check()
    assert "order.created" in desk.database.event_types
    await desk.check(None)


@virtual_time
async def test_data_that_do_not_fit_are_refused_with_their_place() -> None:
    desk = Desk()
    desk.put(SCHEMA)
    await desk.check(b'{"sku": "a"}')
    await desk.check(None)
    with pytest.raises(Invalid) as refused:
        await desk.check(b'{"sku": "a", "n": "many"}')
    assert (refused.value.path, refused.value.code) == ("data.n", "schema_mismatch")
    with pytest.raises(Invalid) as refused:
        await desk.cache.check("order.created", b"[]", path="[3].data")
    assert refused.value.path == "[3].data"


@virtual_time
async def test_a_change_is_noticed_within_a_second_and_looked_for_no_oftener() -> None:
    desk = Desk()
    desk.put()
    for _ in range(100):
        await desk.check()
    assert desk.catalogue.asked == ["version", "order.created"]
    desk.put(SCHEMA)
    await asyncio.sleep(1)
    with pytest.raises(Invalid):
        await desk.check()


@virtual_time
async def test_a_change_during_a_load_is_not_missed() -> None:
    desk = Desk()
    desk.put()
    await desk.check()
    desk.put()
    await asyncio.sleep(1)
    desk.catalogue.slow.clear()
    load = asyncio.create_task(desk.check())
    await asyncio.sleep(0.1)
    # The type changes after the load has read it, and another request notices before the load is back.
    desk.put(SCHEMA)
    await asyncio.sleep(1)
    slow, desk.catalogue.slow = desk.catalogue.slow, asyncio.Event()
    desk.catalogue.slow.set()
    await desk.cache.check("order.created", None, path="data")
    slow.set()
    await load
    with pytest.raises(Invalid):
        await desk.check()


@virtual_time
async def test_names_from_outside_do_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_module, "TYPES_CACHED_MAX", 10)
    monkeypatch.setattr(catalogue_module, "APPS_CACHED_MAX", 10)
    desk = Desk(auto_create=True)
    for n in range(100):
        await desk.cache.check(f"t{n}", None, path="")
        desk.database.put_app(AppId(uuid7(1, n)), partition=0, uid=f"a{n}")
        await desk.cache.app(f"a{n}")
    assert len(desk.cache._types) <= 10
    assert len(desk.cache._apps) <= 10


@pytest.mark.parametrize("text", ["1e400", '{"a":1e400}', "[" * 900 + "]" * 900, "[" * 2000 + "]" * 2000])
def test_what_no_schema_can_judge_does_not_fit(text: str) -> None:
    validator = compile_schema('{"type": ["object", "number"], "properties": {"a": {"maximum": 5}}}')
    (found,) = faults_of(validator, text.encode(), most=3)
    assert (found.place, found.told[:25]) == ("", "no schema can judge them ")
    assert faults_of(validator, b'{"a":5}', most=3) == []
    assert faults_of(validator, b'{"a":6}', most=3)[0].place == ".a"


@virtual_time
async def test_patterns_take_linear_time_those_of_before_too() -> None:
    slow = json.dumps({"properties": {"a": {"pattern": "(?<=(a|aa)+)b"}}})
    with pytest.raises(ValueError, match="regex"):
        compile_schema(slow)
    desk = Desk()
    desk.put(slow)
    await desk.cache.check("order.created", b'{"a":"ab"}', path="data")
    with pytest.raises(Invalid):
        await desk.cache.check("order.created", b'{"a":"b"}', path="data")


def test_a_schema_is_followed_nowhere() -> None:
    with pytest.raises(ValueError, match="only refer to itself"):
        compile_schema('{"$ref": "https://example.com/schema.json"}')
    validator = compile_schema('{"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}')
    assert validator.is_valid(1)
    assert not validator.is_valid("1")
