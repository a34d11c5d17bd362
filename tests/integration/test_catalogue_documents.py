"""AsyncAPI, and OpenAPI's webhooks: made of the catalogue, for who may see it, and only when it changed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import jsonschema_rs
import pytest
from tests.asgi import Client
from tests.integration.api_world import World, world_over

from posthouse.api.catalogue_documents import CatalogueDocuments
from posthouse.domain import limits
from posthouse.domain.cache_use import CacheFacts
from posthouse.domain.errors import StoreUnavailable
from posthouse.manage import catalogue

ASYNCAPI = "/v1/asyncapi.json"
TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"below": {"type": "array", "items": {"$ref": "#"}}, "kind": {"$ref": "#/$defs/kind"}},
    "$defs": {"kind": {"enum": ["leaf", "branch"]}},
}


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


async def make(world: World, *types: dict[str, Any]) -> None:
    for body in types:
        assert (await world.admin.post("/v1/event-types", body)).status == 201, body


async def asyncapi(client: Client) -> dict[str, Any]:
    reply = await client.get(ASYNCAPI)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    document: dict[str, Any] = reply.json()
    return document


async def until_told(client: Client, path: str, key: str, name: str) -> dict[str, Any]:
    """What a stranger gets, once it tells of the type: a second later at most."""
    async with asyncio.timeout(20):
        while True:
            document: dict[str, Any] = (await client.get(path)).json()
            if name in document.get(key, {}):
                return document
            await asyncio.sleep(0.05)


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    if isinstance(node, list):
        return [found for value in node for found in references(value)]
    return []


def resolved(document: dict[str, Any], reference: str) -> Any:
    node: Any = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def check_asyncapi(document: dict[str, Any]) -> None:
    """The rules of AsyncAPI 3.0 that concern what is used here."""
    assert set(document) == {"asyncapi", "info", "defaultContentType", "channels", "operations", "components"}
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(document["info"])
    for name, channel in document["channels"].items():
        assert set(channel) == {"address", "title", "description", "messages"}
        assert channel["address"] is None
        assert channel["messages"] == {name: {"$ref": f"#/components/messages/{name}"}}
    assert set(document["info"]) <= {"title", "version", "description", "x-truncated"}
    for operation in document["operations"].values():
        assert set(operation) <= {"action", "title", "channel", "messages", "bindings"}
        assert operation["action"] in ("send", "receive")
        assert operation["channel"]["$ref"].startswith("#/channels/")
        # Messages of an operation point into its channel, never to components.
        assert all(m["$ref"].startswith(operation["channel"]["$ref"] + "/messages/") for m in operation["messages"])
    for kind in document["components"].values():
        for name in kind:
            assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    trait = document["components"]["messageTraits"]["webhook"]
    assert trait["headers"]["type"] == "object"
    assert set(trait) <= {"contentType", "headers"}, "anything of a message but payload and traits"
    for message in document["components"]["messages"].values():
        assert {name for name in message if not name.startswith("x-")} <= {
            "name", "title", "description", "traits", "contentType", "payload", "examples",
        }  # fmt: skip
        assert message["payload"]["$ref"].startswith("#/components/schemas/webhook.")
        for example in message.get("examples", ()):
            assert {"payload"} <= set(example) <= {"name", "payload"}
            validator_of(document, message["payload"]["$ref"]).validate(example["payload"])
    found = references(document)
    assert found
    for reference in found:
        assert resolved(document, reference) is not None


def validator_of(document: dict[str, Any], reference: str) -> Any:
    return jsonschema_rs.validator_for({"$ref": reference, "components": document["components"]}, validate_formats=True)


async def test_asyncapi_tells_of_every_type(world: World) -> None:
    await make(
        world,
        {"name": "tree.grown", "schema": TREE, "examples": [{"below": [{"kind": "leaf"}]}], "description": "It grew."},
        {"name": "user_register"},
        {"name": "order-x.created", "visibility": "private"},
    )
    document = await asyncapi(world.admin)
    check_asyncapi(document)
    assert list(document["channels"]) == ["order-x.created", "tree.grown", "user_register"]
    body = validator_of(document, "#/components/schemas/webhook.tree.grown")
    envelope = {"type": "tree.grown", "timestamp": "2026-01-02T03:04:05.678Z"}
    assert body.is_valid(envelope | {"data": {"below": [{"below": [{"kind": "branch"}]}]}})
    for wrong in (
        envelope,
        envelope | {"data": {"below": [{"below": [{"kind": "root"}]}]}},
        envelope | {"data": {}, "type": "user_register"},
        envelope | {"data": {}, "timestamp": "yesterday"},
    ):
        assert not body.is_valid(wrong)
    assert validator_of(document, "#/components/schemas/webhook.user_register").is_valid(
        envelope | {"type": "user_register", "data": None}
    )
    assert document["components"]["messages"]["tree.grown"]["description"] == "It grew."
    headers = document["components"]["messageTraits"]["webhook"]["headers"]
    assert headers["required"] == ["webhook-id", "webhook-timestamp", "webhook-signature"]
    updated = (await world.admin.get("/v1/event-types/order-x.created")).json()["updated_at"]
    assert document["info"]["version"] == updated


async def test_an_empty_catalogue_has_a_document_too(world: World) -> None:
    document = await asyncapi(world.admin)
    assert document["channels"] == {} == document["operations"]
    assert document["info"]["version"] == "1970-01-01T00:00:00.000Z"


async def test_each_caller_is_told_of_what_it_sees(world: World) -> None:
    await world.app("mine")
    await world.app("other")
    mine, other, stranger = await world.client_of("mine"), await world.client_of("other"), world.admin.with_key(None)
    await make(
        world,
        {"name": "a.public"},
        {"name": "b.granted", "visibility": "granted"},
        {"name": "c.private", "visibility": "private"},
        {"name": "d.archived"},
    )
    await world.admin.delete("/v1/event-types/d.archived")

    async def told(client: Client) -> list[str]:
        document = await asyncapi(client)
        check_asyncapi(document)
        return list(document["channels"])

    await until_told(stranger, ASYNCAPI, "channels", "a.public")
    assert await told(stranger) == ["a.public"]
    assert await told(world.admin) == ["a.public", "b.granted", "c.private"]
    assert await told(mine) == await told(other) == ["a.public"]
    grant = (await world.admin.post("/v1/apps/mine/grants", {"types": ["b.*"], "subjects": ["shop:1"]})).json()["id"]
    assert await told(mine) == ["a.public", "b.granted"]
    assert await told(other) == ["a.public"]
    await world.admin.delete(f"/v1/apps/mine/grants/{grant}")
    assert await told(mine) == ["a.public"]
    unknown = await world.admin.with_key("ph_unknown").get(ASYNCAPI)
    assert (unknown.status, unknown.code) == (401, "unauthorised")
    assert (await stranger.get("/v1/event-types")).status == 401


async def test_openapi_has_what_is_public_as_webhooks(world: World) -> None:
    stranger = world.admin.with_key(None)
    assert (await stranger.get("/openapi.json")).json().get("webhooks") == {}
    await make(
        world,
        {"name": "secret", "visibility": "granted"},
        {"name": "tree.grown", "schema": TREE, "examples": [{"kind": "leaf"}, {}]},
    )
    document = await until_told(stranger, "/openapi.json", "webhooks", "tree.grown")
    assert list(document["webhooks"]) == ["tree.grown"]
    operation = document["webhooks"]["tree.grown"]["post"]
    assert [parameter["name"] for parameter in operation["parameters"] if parameter["required"]] == [
        "webhook-id", "webhook-timestamp", "webhook-signature",
    ]  # fmt: skip
    assert operation["responses"]
    content = operation["requestBody"]["content"]["application/json"]
    body = validator_of(document, content["schema"]["$ref"])
    for example in content["examples"].values():
        body.validate(example["value"])
    assert not body.is_valid({"type": "tree.grown", "timestamp": "2026-01-02T03:04:05.678Z", "data": {"kind": "root"}})
    for reference in references(document):
        assert resolved(document, reference) is not None
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    names = [each["operationId"] for each in [*operations, operation]]
    assert len(names) == len(set(names))
    assert "secret" not in document["components"]["schemas"]


async def test_a_document_is_made_once_for_each_state_of_the_catalogue(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.app("one")
    await world.app("two")
    clients = [await world.client_of("one"), await world.client_of("two")]
    await make(world, {"name": "a"}, {"name": "b", "visibility": "granted"})
    read: list[list[str]] = []
    described = catalogue.EventTypes.described

    async def counting(event_types: catalogue.EventTypes, names: list[str]) -> Any:
        read.append(names)
        return await described(event_types, names)

    monkeypatch.setattr(catalogue.EventTypes, "described", counting)
    replies = await asyncio.gather(*(client.get(ASYNCAPI) for client in clients * 5))
    assert len({reply.body for reply in replies}) == 1
    assert read == [["a"]], "apps that see the same share one"
    await make(world, {"name": "c"})
    await asyncio.gather(*(client.get(ASYNCAPI) for client in clients * 5))
    assert read == [["a"], ["a", "c"]]
    for _ in range(3):
        await world.admin.get(ASYNCAPI)
    assert read == [["a"], ["a", "c"], ["a", "b", "c"]]


async def test_a_large_catalogue_is_cut_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "DOCUMENT_TYPES_MAX", 2)
    await make(world, {"name": "a"}, {"name": "b"})
    document = await asyncapi(world.admin)
    assert "x-truncated" not in document["info"]
    await make(world, {"name": "c"})
    document = await asyncapi(world.admin)
    check_asyncapi(document)
    assert list(document["channels"]) == ["a", "b"]
    assert document["info"]["x-truncated"] is True
    assert str(limits.DOCUMENT_TYPES_MAX) in document["info"]["description"]
    openapi = await until_told(world.admin.with_key(None), "/openapi.json", "webhooks", "b")
    assert list(openapi["webhooks"]) == ["a", "b"]
    assert openapi["info"]["x-webhooks-truncated"] is True


async def test_it_is_cut_where_schemas_are_large(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "DOCUMENT_BYTES_MAX", 5_000)
    await make(world, *({"name": name, "schema": {"description": "x" * 2_000}} for name in "abc"))
    document = await asyncapi(world.admin)
    assert list(document["channels"]) == ["a", "b"]
    assert document["info"]["x-truncated"] is True


async def test_the_document_of_the_routes_is_made_once_and_not_before_somebody_asks(world: World) -> None:
    made: list[dict[str, Any]] = []

    def routes() -> dict[str, Any]:
        made.append({"components": {"schemas": {}}, "info": {}})
        return made[-1]

    documents = CatalogueDocuments(world.services.event_types, world.clock, routes)
    await documents.asyncapi(None)
    assert made == []
    await asyncio.gather(*(documents.openapi() for _ in range(3)), documents.routes())
    assert len(made) == 1


async def test_documents_are_kept_up_to_a_bound(world: World) -> None:
    documents = CatalogueDocuments(world.services.event_types, world.clock, dict)
    for number in range(limits.DOCUMENTS_CACHED_MAX + 5):
        await make(world, {"name": f"a{number}"})
        await documents.asyncapi(None)
        documents._looked_at = -limits.DOCUMENT_LOOKED_AT_SECONDS
    await documents.asyncapi(None)
    made = limits.DOCUMENTS_CACHED_MAX + 5
    assert documents.cached == CacheFacts(entries=limits.DOCUMENTS_CACHED_MAX, hits=1, misses=made)


def same_but_for_descriptions(english: Any, chinese: Any, path: str = "") -> int:
    """How many texts differ; all that do are descriptions and summaries, in Chinese in the second document."""
    if isinstance(english, dict):
        assert list(english) == list(chinese), path
        return sum(same_but_for_descriptions(value, chinese[name], f"{path}/{name}") for name, value in english.items())
    if isinstance(english, list):
        assert len(english) == len(chinese), path
        pairs = enumerate(zip(english, chinese, strict=True))
        return sum(same_but_for_descriptions(*pair, f"{path}/{number}") for number, pair in pairs)
    if english == chinese:
        return 0
    assert path.endswith(("/description", "/summary")), path
    assert re.search(r"[\u4e00-\u9fff]", chinese) is not None, path
    return 1


async def test_documents_come_in_the_language_that_is_asked_for(world: World) -> None:
    own = "A tree grew."  # what somebody said of their own event type, and of its data
    schema = {"type": "object", "description": "An event type.", "properties": {"description": {"type": "string"}}}
    await make(world, {"name": "tree.grown", "description": own, "schema": schema}, {"name": "tree.felled"})
    await until_told(world.admin.with_key(None), "/openapi.json", "webhooks", "tree.felled")
    for path in ("/openapi.json", ASYNCAPI):
        unasked = await world.admin.get(path)
        english = await world.admin.get(path, headers={"Accept-Language": "en"})
        chinese = await world.admin.get(path, headers={"Accept-Language": "zh-CN,zh;q=0.9"})
        assert (unasked.body, unasked.headers["content-language"]) == (english.body, "en"), path
        assert chinese.headers["content-language"] == "zh-CN"
        assert {reply.headers["vary"] for reply in (unasked, chinese)} == {"Accept-Language"}
        assert (await world.admin.get(path)).body == english.body, "each language has a document of its own"
        told = chinese.json()
        assert same_but_for_descriptions(english.json(), told) >= (900 if path == "/openapi.json" else 6)
        assert own.encode() in chinese.body
        assert told["components"]["schemas"]["event.tree.grown"]["description"] == "An event type.", "not of ours"
        assert "类型为 tree.felled 的事件。".encode() in chinese.body
    assert references(told) != []


async def test_without_a_database_the_routes_are_told_in_chinese_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_self: object, _viewer: object) -> tuple[list[str], bool]:
        raise StoreUnavailable("it is away")

    monkeypatch.setattr(catalogue.EventTypes, "visible", away)
    english = await world.admin.get("/openapi.json")
    chinese = await world.admin.get("/openapi.json", headers={"Accept-Language": "zh-CN"})
    assert same_but_for_descriptions(english.json(), chinese.json()) > 900
