"""What all profiles have in common, and what is wrong with one that cannot be used."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import timedelta
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import jsonschema_rs
import msgspec
import pytest
from tests.profiles.speaking import CREATED, DATA, ID, TYPE, config_of, read, sent, shipped

from posthouse.domain.errors import Invalid
from posthouse.domain.profile import Profile
from posthouse.manage.profile_check import check_profile
from posthouse.manage.profile_keys import made_keys
from posthouse.manage.profiles import schema
from posthouse_sdk import Decryption

FILES = {
    file.name.removesuffix(".toml"): file.read_text("utf-8")
    for file in resources.files("posthouse_sdk.profiles").iterdir()
    if file.name.endswith(".toml")
}
NAMES = [
    "standard",
    "cloudevents",
    "github",
    "stripe",
    "slack",
    "shopify",
    "square",
    "twilio",
    "zoom",
    "meta",
    "discord",
    "adyen",
    "graph",
    "feishu",
    "dingtalk",
    "wechat",
    "wecom",
    "alipay",
    "wechatpay",
    "douyin",
    "youzan",
]
SETTINGS = {"owner_key": "suite4", "app_id": "app-1", "corp_id": "corp-1", "client_id": "c1"}


def settings_of(profile: Profile) -> dict[str, str]:
    return {each.name: SETTINGS[each.name] for each in profile.settings if each.default is None}


def keys_of(profile: Profile) -> dict[str, str]:
    made = made_keys(profile, (), lambda count: bytes(range(7, 7 + count)))
    return made.texts


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_sound(name: str) -> None:
    profile = check_profile(FILES[name], name=name)
    assert profile.source.startswith("https://")
    assert profile.about.endswith(".")
    assert all(key.make is not None and key.about.endswith(".") for key in profile.keys)
    assert all(setting.about.endswith(".") for setting in profile.settings)


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_knows_a_profile(name: str) -> None:
    jsonschema_rs.validator_for(schema()).validate(tomllib.loads(FILES[name]))


# Where the receiving side is told to look, there is what was sent.


@pytest.mark.parametrize("name", NAMES)
def test_what_a_receiver_is_told_to_read_is_there(name: str) -> None:
    profile = shipped(name)
    keys = keys_of(profile)
    received = sent(profile, keys=keys, settings=settings_of(profile), secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = received.body
    encryption = config_of(profile, settings_of(profile)).encryption
    if encryption is not None:
        body = Decryption(msgspec.to_builtins(encryption), [keys[encryption.key]], content_type="text/plain")(
            body, {}
        ).body

    def found(place: str) -> Any:
        kind, _, where = place.partition(":")
        match kind:
            case "header":
                return received.headers[where]
            case "form":
                return dict(parse_qsl(body.decode()))[where]
            case "xml":
                return ElementTree.fromstring(body).findtext(where[1:])
            case "json" | "sent":
                value = read(body if kind == "json" else received.body)
                for step in where[1:].split("/"):
                    value = value[int(step)] if isinstance(value, list) else value[step]
                return value
            case _:
                return body

    reading = profile.receive
    if reading.id:
        assert found(reading.id) == ID
    if reading.type:
        assert found(reading.type) == TYPE
    if reading.timestamp:
        text = str(found(reading.timestamp))
        assert re.match(r"1614265(200|320)(250)?$|2021-02-2[56][ T]", text) or int(text) // 10 == int(CREATED) // 10
    data = found(reading.data)
    told = (
        data
        if isinstance(data, str)
        else json.dumps(data, default=str)
        if not isinstance(data, bytes)
        else data.decode()
    )
    assert DATA["items"][0]["sku"][0] in told


# When it is tried again

SPANS = {
    "slack": timedelta(minutes=6, seconds=1),
    "shopify": timedelta(hours=4),
    "square": timedelta(hours=72),
    "zoom": timedelta(minutes=85),
    "meta": timedelta(hours=36),
    "discord": timedelta(minutes=10),
    "adyen": timedelta(days=30),
    "graph": timedelta(hours=4),
    "feishu": timedelta(hours=7, minutes=5, seconds=15),
    "wechat": timedelta(seconds=3),
    "wecom": timedelta(seconds=3),
    "alipay": timedelta(hours=24, minutes=24),
    "wechatpay": timedelta(hours=24, minutes=4),
    "douyin": timedelta(minutes=6, seconds=10),
}


@pytest.mark.parametrize(("name", "span"), SPANS.items())
def test_retries_go_on_for_as_long_as_the_platforms(name: str, span: timedelta) -> None:
    profile = shipped(name)
    seconds = sum(config_of(profile, settings_of(profile)).retry.policy().schedule)
    assert 0.84 * span.total_seconds() <= seconds <= span.total_seconds()


def test_handshakes() -> None:
    with_one = {name: shipped(name).endpoint["handshake"] for name in NAMES if "handshake" in shipped(name).endpoint}
    steps = {name: [step["kind"] for step in each["steps"]] for name, each in with_one.items()}
    one = ["request"]
    assert steps == {
        "cloudevents": ["options"],
        "discord": ["request", "refusal"],
        **dict.fromkeys(
            ["github", "slack", "zoom", "meta", "graph", "feishu", "dingtalk", "wechat", "wecom", "douyin"], one
        ),
    }
    assert with_one["zoom"]["every"] == timedelta(hours=72).total_seconds()


# What is wrong, and where

GOOD = """
name = "shop"
title = "Shop"
about = "As a shop sends."

[[keys]]
name = "hook"
about = "It signs."
make = "letters"

[[settings]]
name = "shop"
about = "The shop's number."
default = "42"

[endpoint]
headers = { X-Shop = "${shop}" }

[[endpoint.signing]]
kind = "custom"
algorithm = "hmac-sha256"
key = "hook"
parts = ["{body}"]
signature = { in = "header", name = "X-Signature" }

[receive]
id = "json:/id"
"""


def test_a_good_one() -> None:
    assert check_profile(GOOD, name="shop").name == "shop"


@pytest.mark.parametrize(
    ("old", "new", "path", "said"),
    [
        ('title = "Shop"', 'title = "Shop', "", r"not TOML: .*line 3"),
        ('title = "Shop"', "", "", "missing required field title"),
        ('name = "shop"\ntitle', 'name = "Shop"\ntitle', "name", "small letters"),
        ('make = "letters"', 'make = "letter"', "keys[0].make", "one of: letters, hex"),
        ('default = "42"', 'defaults = "42"', "settings[0].defaults", "unknown field"),
        ("${shop}", "${shops}", "endpoint.headers.X-Shop", "no setting 'shops'"),
        ('X-Shop = "${shop}"', 'X-Shop = "1"', "settings[0].name", "nothing of the endpoint names this setting"),
        ('key = "hook"', 'key = "hooks"', "endpoint.signing[0].key", "no such key; it has: hook"),
        ('name = "hook"\n', 'name = "hook"\nabout = "x"\n[[keys]]\nname = "more"\n', "keys[1].name", "names this key"),
        ("hmac-sha256", "hmac-sha255", "endpoint.signing[0].algorithm", "one of: hmac-sha1"),
        ("{body}", "{bodi}", "endpoint.signing[0].parts[0]", "there is no {bodi}"),
        ("hmac-sha256", "rsa-sha256", "endpoint.signing[0].key", "not a private key as PEM"),
        ("[endpoint]", '[endpoint]\nurl = "https://example.com"', "endpoint.url", "no such field"),
        ("[endpoint]", "[endpoint]\nack = { status = [900] }", "endpoint.ack.status[0]", "200 to 599"),
        ("[endpoint]", '[endpoint]\nformat = { kind = "xml", root = "a b" }', "endpoint.format.root", "name"),
        ("[endpoint]", '[endpoint]\nmethod = "GET"', "endpoint.method", "needs the format form"),
        ("[endpoint]", '[endpoint]\ndecrypt_answer = "required"', "endpoint.decrypt_answer", "and there is none"),
        (
            "[endpoint]",
            '[endpoint]\nhandshake = { steps = [{ kind = "request", expect = { text = "{nobody}" } }] }',
            "endpoint.handshake.steps[0].expect.text",
            "there is no {nobody}",
        ),
        ("json:/id", "jsn:/id", "receive.id", "a place is header:Name"),
    ],
)
def test_what_is_wrong(old: str, new: str, path: str, said: str) -> None:
    assert GOOD.count(old) >= 1
    with pytest.raises(Invalid, match=said) as caught:
        check_profile(GOOD.replace(old, new, 1), name="shop")
    assert caught.value.path == path


def test_a_profile_whose_key_must_be_given_is_not_tried() -> None:
    given = GOOD.replace('make = "letters"\n', "").replace("hmac-sha256", "rsa-sha256")
    assert check_profile(given).keys[0].make is None
