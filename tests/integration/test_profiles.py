"""Profiles over the API: listed, named by endpoints, with the keys that they ask for."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from tests.integration.api_world import World, raw, world_over

from posthouse.domain.ids import APP, AppId
from posthouse.manage.profiles import Profiles, load, shipped

AT = "/v1/apps/shop/endpoints"
URL = "https://example.com/hooks"
ACME = """
name = "acme"
title = "Acme"
about = "As Acme sends."

[[keys]]
name = "token"
about = "The token that signs."
make = "letters"

[[keys]]
name = "certificate"
about = "The target's certificate."

[[settings]]
name = "shop"
about = "The shop's number."

[endpoint]
format = "raw"
headers = { X-Shop = "${shop}" }
ack = "response.body.code == 0"

[[endpoint.signing]]
kind = "custom"
algorithm = "hmac-sha256"
key = "token"
parts = ["{body}"]
signature = { in = "header", name = "X-Acme" }
"""
MAKES = """
name = "makes"
title = "Makes"
about = "Every kind of key."
""" + "\n".join(
    f'[[keys]]\nname = "{how}"\nabout = "{how}"\nmake = "{how}"\n'
    for how in ("letters", "hex", "base64", "aes-key", "ed25519", "rsa")
)
WHOLE = {
    "url": URL,
    "uid": "main",
    "profile": "acme",
    "profile_settings": {"shop": "42"},
    "keys": {"certificate": "PEM"},
}


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database, profiles=Profiles(shipped(), [load(ACME), load(MAKES)])) as made:
        await made.app("shop")
        yield made


async def keys_of(world: World) -> Mapping[str, tuple[str, ...]]:
    """As the engine gets them."""
    app_id = AppId(raw(APP, (await world.admin.get("/v1/apps/shop")).json()["id"]))
    (config,) = await world.store.apps([app_id])
    return config.endpoints[0].keys


async def test_all_are_listed_for_everybody_and_read_by_name(world: World) -> None:
    client = await world.client_of("shop")
    listed = (await client.get("/v1/profiles")).json()["data"]
    names = [profile["name"] for profile in listed]
    assert names == sorted(names)
    assert {"acme", *(profile.name for profile in shipped())} <= set(names)
    acme = (await client.get("/v1/profiles/acme")).json()
    assert acme in listed
    assert acme["endpoint"]["headers"] == {"X-Shop": "${shop}"}
    assert [(key["name"], key["make"]) for key in acme["keys"]] == [("token", "letters"), ("certificate", None)]
    assert (await client.get("/v1/profiles/schema")).json()["$ref"] == "#/$defs/Profile"
    missing = await client.get("/v1/profiles/acne")
    assert (missing.status, missing.json()["code"]) == (404, "profile_not_found")


async def test_an_endpoint_is_what_its_profile_says_and_gets_the_keys(world: World) -> None:
    made = await world.admin.post(AT, WHOLE)
    assert made.status == 201, made.body
    body = made.json()
    assert (body["profile"], body["profile_settings"]) == ("acme", {"shop": "42"})
    assert (body["format"], body["headers"]) == ("raw", {"X-Shop": "42"})
    assert body["ack"] == {"when": "response.body.code == 0"}
    assert list(body["made_keys"]) == ["token"], "what was given is not shown"
    assert dict(await keys_of(world)) == {"certificate": ("PEM",), "token": (body["made_keys"]["token"],)}
    shown = (await world.admin.get(f"{AT}/main")).json()
    assert shown == {name: value for name, value in body.items() if name in shown}
    assert "made_keys" not in shown
    for path in (f"{AT}/main", f"{AT}/main/revisions", "/v1/audit"):
        assert body["made_keys"]["token"].encode() not in (await world.admin.get(path)).body


async def test_every_kind_of_key_is_made_so_that_it_can_be_used(world: World) -> None:
    made = (await world.admin.post(AT, {"url": URL, "profile": "makes"})).json()["made_keys"]
    keys = {name: text for name, (text,) in (await keys_of(world)).items()}
    assert keys.keys() == made.keys()
    for same in ("letters", "hex", "base64", "aes-key"):
        assert made[same] == keys[same]
    assert len(made["letters"]) == 32
    assert made["letters"].isalnum()
    assert len(bytes.fromhex(made["hex"])) == len(base64.b64decode(made["base64"])) == 32
    assert len(made["aes-key"]) == 43
    assert len(base64.b64decode(made["aes-key"] + "=", validate=True)) == 32
    seed = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(keys["ed25519"]))
    assert seed.public_key().public_bytes_raw().hex() == made["ed25519"]
    private = load_pem_private_key(keys["rsa"].encode(), None)
    assert isinstance(private, RSAPrivateKey)
    assert load_pem_public_key(made["rsa"].encode()) == private.public_key()
    again = (await world.admin.post(AT, {"url": URL, "profile": "makes"})).json()["made_keys"]
    assert not set(again.values()) & set(made.values())


@pytest.mark.parametrize(
    ("change", "path", "told"),
    [
        ({"profile": "acne"}, "profile", "there are: acme"),
        ({"profile_settings": {}}, "profile_settings.shop", "The shop's number"),
        ({"profile_settings": {"shop": "a b", "x": "y"}}, "profile_settings.x", "no such setting"),
        ({"keys": {}}, "keys.certificate", "The target's certificate."),
        ({"format": {"kind": "cloudevents", "mode": "batched"}, "method": "GET"}, "method", "GET"),
        ({"profile": None}, "profile_settings", "there is none"),
    ],
)
async def test_what_does_not_go_together_is_refused_with_the_reason(
    world: World, change: dict[str, object], path: str, told: str
) -> None:
    refused = await world.admin.post(AT, WHOLE | change)
    assert refused.status == 422, refused.body
    error = refused.json()
    assert told in error["detail"], error
    assert error["path"].startswith(path)
    assert (await world.admin.get(AT)).json()["data"] == []


async def test_a_field_of_the_profile_that_cannot_be_is_said_to_be_its(world: World) -> None:
    refused = await world.admin.post(AT, WHOLE | {"query": {"a": "{b}"}})
    assert "the profile acme" not in refused.json()["detail"], "it was given"
    refused = await world.admin.patch(f"{AT}/none", {"profile": "acme"})
    assert refused.status == 404
    await world.endpoint("shop", uid="main")
    refused = await world.admin.patch(f"{AT}/main", {"profile": "acme", "profile_settings": {"shop": "42"}})
    error = refused.json()
    assert error["detail"].startswith("the profile acme cannot be used so: "), error
    assert error["path"] == "signing[0].key"
    chinese = await world.admin.patch(
        f"{AT}/main",
        {"profile": "acme", "profile_settings": {"shop": "42"}},
        headers={"Accept-Language": "zh-CN"},
    )
    assert chinese.json()["detail"].startswith("配置预设 acme 不能这样使用：")
    assert "endpoint" not in chinese.json()["detail"], "the inner text is translated too"


async def test_a_put_keeps_the_keys_and_brings_the_profiles_values_back(world: World) -> None:
    made = await world.admin.put(f"{AT}/main", WHOLE | {"headers": {"X": "1"}})
    assert made.status == 201
    keys = await keys_of(world)
    again = await world.admin.put(f"{AT}/main", WHOLE)
    assert (again.status, again.json()["headers"]) == (200, {"X-Shop": "42"})
    assert await keys_of(world) == keys
    lacking = await world.admin.put(f"{AT}/main", {"url": URL, "profile": "makes"})
    assert (lacking.status, lacking.json()["path"]) == (422, "keys.letters"), "nobody would be shown what was made"
    plain = await world.admin.put(f"{AT}/main", {"url": URL})
    assert (plain.json()["profile"], plain.json()["signing"], plain.json()["ack"]) == (None, None, None)


async def test_a_patch_goes_from_one_profile_to_another_and_keeps_what_was_set(world: World) -> None:
    await world.admin.put(f"{AT}/main", WHOLE | {"concurrency": 3})
    changed = (await world.admin.patch(f"{AT}/main", {"profile": "makes"})).json()
    assert (changed["profile"], changed["profile_settings"]) == ("makes", {})
    assert (changed["format"], changed["headers"], changed["ack"], changed["concurrency"]) == ("json", {}, None, 3)


async def test_the_expressions_of_a_profile_that_an_app_names_are_its(world: World) -> None:
    """Which are then evaluated in a limited process."""
    client = await world.client_of("shop")
    assert (await client.post(AT, WHOLE)).status == 201
    app_id = AppId(raw(APP, (await world.admin.get("/v1/apps/shop")).json()["id"]))
    (config,) = await world.store.apps([app_id])
    assert config.endpoints[0].by_app == ("ack",)


async def test_profiles_are_described_in_the_language_that_is_asked_for(world: World) -> None:
    chinese = {"Accept-Language": "zh-CN"}
    english = {one["name"]: one for one in (await world.admin.get("/v1/profiles")).json()["data"]}
    reply = await world.admin.get("/v1/profiles", headers=chinese)
    assert (reply.headers["content-language"], reply.headers["vary"]) == ("zh-CN", "Accept-Language")
    told = {one["name"]: one for one in reply.json()["data"]}
    assert told["acme"] == english["acme"], "what an operator wrote stays"
    stripe = told["stripe"]
    assert (stripe["title"], stripe["about"]) == ("Stripe", "Stripe 信封中的事件，带时间戳签名；每个有效的密钥都签名。")
    assert stripe["keys"][0]["about"] == "端点的签名密钥（whsec_…），按字面使用，不是 base64。"
    assert stripe["settings"][0]["about"] == "载荷所用的 API 版本。"
    assert stripe["endpoint"] == english["stripe"]["endpoint"]
    assert (await world.admin.get("/v1/profiles/stripe", headers=chinese)).json() == stripe
    assert told["alipay"]["title"] == "支付宝"
    schema = (await world.admin.get("/v1/profiles/schema", headers=chinese)).json()
    assert schema["$defs"]["Made"]["description"] == "没有给出的密钥怎样生成。"
