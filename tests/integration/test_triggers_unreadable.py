"""A trigger whose settings were sealed with a master key that is not loaded: it hides no other, and is not in the way."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.test_triggers import MASTER_KEY, SHELF, World, rows, server_with
from tests.serving import call, serving
from tests.shelf import Shelf

LOST_KEY = base64.b64encode(b"l" * 32).decode()
UNREADABLE = "settings_unreadable"


class OtherWorld(World):
    """Another master key is in use than the one that the settings of trigger `s` were sealed with. `made` is as it was."""

    made: Any


@pytest.fixture
async def world(database: str) -> AsyncIterator[OtherWorld]:
    shelf = Shelf()
    async with serving(database, kind=server_with(shelf), master_key=LOST_KEY) as server:
        await call(server.port, "POST", "/v1/event-types", {"name": "row.insert"})
        before = World(server.port, shelf)
        await before.create(name="Orders")
        shelf.put(*rows(0, 1))
        made = await before.counted(published=1)
    async with serving(database, kind=server_with(shelf), master_key=MASTER_KEY) as server:
        world = OtherWorld(server.port, shelf)
        world.made = made
        yield world


async def test_it_hides_no_other_and_says_what_is_wrong(world: OtherWorld) -> None:
    other = await world.create(uid="other")
    listed = await call(world.port, "GET", "/v1/triggers")
    assert [one["id"] for one in listed["data"]] == [other["id"], world.made["id"]]
    assert (listed["data"][0]["failure"], listed["data"][0]["settings"]) == (None, {"label": "first"})
    found = listed["data"][1]
    assert found == await world.get() == await world.get(world.made["id"])
    assert (found["state"], found["enabled"], found["settings"]) == ("failing", True, {})
    kept = {"uid", "name", "kind", "type", "app", "counts", "position", "created_at", "updated_at"}
    assert {name: found[name] for name in kept} == {name: world.made[name] for name in kept}
    failure = found["failure"]
    assert failure["code"] == UNREADABLE
    assert "master key" in failure["detail"]
    assert "PUT" in failure["detail"]
    assert found["updated_at"] <= failure["since"]
    assert (failure["times"], failure["retry_at"]) == (1, None)


async def test_it_rests_and_what_is_not_its_settings_may_be_changed(world: OtherWorld) -> None:
    paused = await call(world.port, "POST", "/v1/triggers/s/pause")
    assert (paused["state"], paused["failure"]["code"]) == ("paused", UNREADABLE)
    tag = (await world.ask("GET", "/s")).headers["etag"]
    reply = await world.ask("PATCH", "/s", {"name": "Theirs"}, headers={"If-Match": tag})
    assert (reply.status, reply.body["name"], reply.body["failure"]["code"]) == (200, "Theirs", UNREADABLE)
    assert (await call(world.port, "GET", "/v1/triggers/s/refusals"))["data"] == []
    assert (await world.ask("PATCH", "/s", {"kind": "table"})).body["code"] == UNREADABLE


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/s/plan", None),
        ("POST", "/s/resume", None),
        ("POST", "/s/rewind", {}),
        ("PATCH", "/s", {"settings": {"label": "second"}}),
        ("PATCH", "/s", {"enabled": True}),
        ("DELETE", "/s", None),
    ],
)
async def test_what_needs_its_settings_says_what_to_do(world: OtherWorld, method: str, path: str, body: Any) -> None:
    await call(world.port, "POST", "/v1/triggers/s/pause")
    reply = await world.ask(method, path, body)
    assert (reply.status, reply.body["code"]) == (409, UNREADABLE)
    assert "posthouse doctor" in reply.body["detail"]
    assert list(world.shelf.made) == [world.made["id"]]
    assert (await world.get())["state"] == "paused"


async def test_it_is_deleted_by_force_and_what_was_made_stays(world: OtherWorld) -> None:
    assert (await world.ask("DELETE", "/s?force=true")).status == 204
    assert (await call(world.port, "GET", "/v1/triggers"))["data"] == []
    assert list(world.shelf.made) == [world.made["id"]]
    again = await world.create()
    assert again["uid"] == "s"


@pytest.mark.parametrize("settings", [{"label": "second", "password": "new"}, {}])
async def test_with_all_of_its_settings_anew_it_goes_on_from_where_it_was(
    world: OtherWorld, settings: dict[str, Any]
) -> None:
    reply = await world.ask("PUT", "/s", SHELF | {"settings": settings})
    assert (reply.status, reply.body["failure"]) == (200, None)
    assert reply.body["settings"] == {"label": settings.get("label", "first")}
    world.shelf.put(*rows(1, 1))
    await world.counted(published=2)
    found = await world.in_state("active")
    assert (found["id"], found["counts"]["repeated"]) == (world.made["id"], 0)


async def test_it_goes_on_with_the_key_that_it_was_sealed_with(database: str) -> None:
    shelf = Shelf()
    async with serving(database, kind=server_with(shelf), master_key=LOST_KEY) as server:
        await call(server.port, "POST", "/v1/event-types", {"name": "row.insert"})
        await World(server.port, shelf).create()
    async with serving(database, kind=server_with(shelf), master_key=MASTER_KEY) as server:
        await call(server.port, "POST", "/v1/triggers/s/pause")
        await call(server.port, "PATCH", "/v1/triggers/s", {"name": "Theirs"})
    async with serving(database, kind=server_with(shelf), master_key=f"{MASTER_KEY},{LOST_KEY}") as server:
        world = World(server.port, shelf)
        assert (await call(server.port, "POST", "/v1/triggers/s/resume"))["failure"] is None
        shelf.put(*rows(0, 1))
        found = await world.counted(published=1)
    assert (found["name"], found["settings"], found["failure"]) == ("Theirs", {"label": "first"}, None)
