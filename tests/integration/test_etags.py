"""ETags and conditions over a real database: nobody's change is lost, and what did not change is not sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.asgi import Client, Reply
from tests.integration.api_world import World, raw, world_over

from posthouse.domain.ids import APP, ENDPOINT

URL = "https://example.com/hooks"
SHOP = "/v1/apps/shop"
MAIN = "/v1/apps/shop/endpoints/main"
THINGS = [(SHOP, {"name": "x"}), (MAIN, {"url": URL, "description": "x"})]


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        await made.app("shop")
        await made.endpoint("shop", uid="main")
        yield made


async def tag(client: Client, url: str) -> str:
    reply = await client.get(url)
    assert reply.status == 200
    return reply.headers["etag"]


def refused(reply: Reply) -> bool:
    return reply.status == 412 and reply.code == "precondition_failed"


@pytest.mark.parametrize(("url", "body"), THINGS)
async def test_every_answer_bears_the_tag_that_a_get_gives(world: World, url: str, body: dict[str, Any]) -> None:
    seen = [await tag(world.admin, url)]
    for change in (
        world.admin.patch(url, body),
        world.admin.put(url, {"url": URL} if "endpoints" in url else {}),
    ):
        reply = await change
        assert reply.headers["etag"] == await tag(world.admin, url)
        seen.append(reply.headers["etag"])
    assert len(set(seen)) == 3
    assert (await world.admin.patch(url, {})).headers["etag"] == seen[-1], "nothing was changed"
    name = url.rpartition("/")[2]
    for made in (
        await world.admin.put(f"{url}-2", {"url": URL} if "endpoints" in url else {}),
        await world.admin.post(
            url.removesuffix(f"/{name}"), {"uid": "third"} | ({"url": URL} if name == "main" else {})
        ),
    ):
        assert made.status == 201
        assert made.headers["etag"] == await tag(world.admin, f"{url.removesuffix(name)}{made.json()['uid']}")


@pytest.mark.parametrize("action", ["pause", "resume"])
async def test_pausing_bears_it_too(world: World, action: str) -> None:
    reply = await world.admin.post(f"{MAIN}/{action}")
    assert reply.headers["etag"] == await tag(world.admin, MAIN)


@pytest.mark.parametrize(("url", "body"), THINGS)
async def test_what_the_client_has_is_not_sent_again(world: World, url: str, body: dict[str, Any]) -> None:
    known = await tag(world.admin, url)
    for header in (known, f"W/{known}", f'"x", {known}', "*"):
        reply = await world.admin.get(url, headers={"If-None-Match": header})
        assert (reply.status, reply.body, reply.headers["etag"]) == (304, b"", known)
    await world.admin.patch(url, body)
    reply = await world.admin.get(url, headers={"If-None-Match": known})
    assert reply.status == 200
    assert refused(await world.admin.get(url, headers={"If-Match": known}))


@pytest.mark.parametrize(("url", "body"), THINGS)
@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_a_change_of_what_has_changed_is_refused(
    world: World, url: str, body: dict[str, Any], method: str
) -> None:
    async def change(**headers: str) -> Reply:
        sent = None if method == "DELETE" else body
        return await world.admin.request(
            method, url, json=sent, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    old = await tag(world.admin, url)
    await world.admin.patch(url, {"metadata": {"by": "another"}})
    current = await tag(world.admin, url)
    audited = await world.audit()
    for headers in (
        {"If_Match": old},
        {"If_Match": f"W/{current}"},
        {"If_None_Match": current},
        {"If_None_Match": "*"},
    ):
        assert refused(await change(**headers)), headers
    for header in ("", "unquoted", '"a" "b"'):
        reply = await change(If_Match=header)
        assert (reply.status, reply.code, reply.path) == (400, "malformed_request", "If-Match")
    assert await tag(world.admin, url) == current
    assert await world.audit() == audited
    assert (await change(If_Match=f'"x", {current}')).status in (200, 204)


@pytest.mark.parametrize(("url", "body"), THINGS)
async def test_star_means_whether_it_is_there(world: World, url: str, body: dict[str, Any]) -> None:
    there, new = url, f"{url}-new"
    assert refused(await world.admin.put(there, body, headers={"If-None-Match": "*"}))
    assert refused(await world.admin.put(new, body, headers={"If-Match": "*"}))
    assert refused(await world.admin.put(new, body, headers={"If-Match": '"x"'}))
    assert (await world.admin.get(new)).status == 404
    assert (await world.admin.put(new, body, headers={"If-None-Match": "*"})).status == 201
    assert (await world.admin.put(there, body, headers={"If-Match": "*"})).status == 200
    # What is not there is not found, whatever else is asked of it.
    for reply in (
        await world.admin.patch(f"{url}-none", body, headers={"If-Match": "*"}),
        await world.admin.delete(f"{url}-none", headers={"If-Match": "*"}),
        await world.admin.get(f"{url}-none", headers={"If-None-Match": "*"}),
    ):
        assert reply.status == 404


@pytest.mark.parametrize(("url", "body"), THINGS)
async def test_of_those_who_change_the_same_state_at_once_one_succeeds(
    world: World, url: str, body: dict[str, Any]
) -> None:
    """Without the condition inside the transaction several would, and all but the last were lost."""
    for turn in range(5):
        current = await tag(world.admin, url)
        replies = await asyncio.gather(
            *(world.admin.patch(url, {"metadata": {"n": [turn, n]}}, headers={"If-Match": current}) for n in range(6)),
            *(
                world.admin.put(url, body | {"metadata": {"n": [turn, n]}}, headers={"If-Match": current})
                for n in range(6, 12)
            ),
        )
        (winner,) = [reply for reply in replies if reply.status == 200]
        assert all(refused(reply) for reply in replies if reply is not winner)
        assert (await world.admin.get(url)).json() == winner.json()


async def test_counting_up_with_conditions_loses_nothing(world: World) -> None:
    await world.admin.patch(SHOP, {"metadata": {"n": 0}})

    async def count(times: int) -> None:
        done = 0
        while done < times:
            reply = await world.admin.get(SHOP)
            metadata = {"n": reply.json()["metadata"]["n"] + 1}
            changed = await world.admin.patch(SHOP, {"metadata": metadata}, headers={"If-Match": reply.headers["etag"]})
            assert changed.status == 200 or refused(changed)
            done += changed.status == 200

    async with asyncio.timeout(60):
        await asyncio.gather(*(count(5) for _ in range(4)))
    assert (await world.admin.get(SHOP)).json()["metadata"] == {"n": 20}


@pytest.mark.parametrize("url", ["/v1/apps/race", "/v1/apps/shop/endpoints/race"])
async def test_of_those_who_make_only_what_is_new_one_does(world: World, url: str) -> None:
    body = {"url": URL} if "endpoints" in url else {}
    replies = await asyncio.gather(*(world.admin.put(url, body, headers={"If-None-Match": "*"}) for _ in range(8)))
    assert sorted(reply.status for reply in replies) == [201] + [412] * 7


async def test_a_delete_and_a_change_of_the_same_state(world: World) -> None:
    for number in range(5):
        await world.endpoint("shop", uid=f"e{number}")
        url = f"/v1/apps/shop/endpoints/e{number}"
        current = {"If-Match": await tag(world.admin, url)}
        deleted, changed = await asyncio.gather(
            world.admin.delete(url, headers=current), world.admin.patch(url, {"concurrency": 3}, headers=current)
        )
        assert (deleted.status, changed.status) in ((204, 404), (412, 200))


async def test_a_change_of_an_endpoint_is_none_of_its_app(world: World) -> None:
    before = await world.admin.get(SHOP)
    await world.admin.patch(MAIN, {"concurrency": 3})
    await world.endpoint("shop")
    after = await world.admin.get(SHOP)
    assert (after.headers["etag"], after.json()) == (before.headers["etag"], before.json())
    assert (await world.admin.patch(SHOP, {"name": "x"}, headers={"If-Match": before.headers["etag"]})).status == 200
    assert (await world.admin.get(SHOP)).json()["updated_at"] >= before.json()["updated_at"]


async def test_what_the_engine_finds_out_is_part_of_the_answer(world: World) -> None:
    before = await tag(world.admin, MAIN)
    endpoint = (await world.admin.get(MAIN)).json()
    await world.query(
        "INSERT INTO endpoint_health (partition, endpoint_id, failing_since)"
        " SELECT partition, $2, to_timestamp(1000) FROM app WHERE id = $1 RETURNING 1",
        raw(APP, endpoint["app"]),
        raw(ENDPOINT, endpoint["id"]),
    )
    assert (await world.admin.get(MAIN, headers={"If-None-Match": before})).json()["failing_since"] is not None


async def test_the_document_tells_of_conditions(world: World) -> None:
    paths = (await world.admin.get("/openapi.json")).json()["paths"]
    for path in ("/v1/apps/{app}", "/v1/apps/{app}/endpoints/{endpoint}"):
        for method in ("get", "put", "patch", "delete"):
            operation = paths[path][method]
            assert {"If-Match", "If-None-Match"} <= {parameter["name"] for parameter in operation["parameters"]}
            assert "412" in operation["responses"]
        for method, status in (("get", "200"), ("get", "304"), ("put", "200"), ("put", "201"), ("patch", "200")):
            assert "ETag" in paths[path][method]["responses"][status]["headers"], (path, method, status)
