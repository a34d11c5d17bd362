"""Events of a profile's endpoint, made by the server and received: verified, unpacked, opened, read and answered."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.profiling import NOW, PAYLOAD, Sent, event, sent_by

from posthouse_sdk import (
    BodyTooLargeError,
    DecryptionError,
    MalformedBodyError,
    MissingHeaderError,
    NoMatchingSignatureError,
    ParsedBodyError,
    Profile,
    ProfileError,
    ProfileReceiver,
    Received,
    ReceivedEvent,
    SeveralEventsError,
    VerificationError,
    profile,
    profile_names,
    profiles,
    unwrap,
)
from posthouse_sdk.testing import signed_request

DATA = json.loads(PAYLOAD)
EVENT = "evt_000g40r40m30e209185gr38e1w"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEYS: dict[str, dict[str, str]] = {
    "feishu": {"encrypt_key": "test key", "verification_token": "tok"},
    "meta": {"app_secret": "s", "verify_token": "t"},
    "wecom": {"token": "QDG6eK", "aes_key": "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"},
}
SETTINGS: dict[str, dict[str, str]] = {"wecom": {"corp_id": "wx5823bf96d3bd56c7"}}


def receiver(
    source: Any, keys: Mapping[str, Any], settings: Mapping[str, str] | None = None, **options: Any
) -> ProfileReceiver:
    return ProfileReceiver(source, keys, settings=settings, **({"clock": lambda: NOW} | options))


def the_event(found: Received) -> ReceivedEvent[Any]:
    assert found.event is not None
    return found.event


@pytest.mark.parametrize("name", KEYS)
def test_what_a_profile_is_sent_is_received(name: str) -> None:
    settings = SETTINGS.get(name)
    there = receiver(name, KEYS[name], settings)
    found = the_event(there.receive(*sent_by(name, KEYS[name], settings)))
    assert (found.id, found.type, found.message_id) == (EVENT, "order.created", EVENT)
    assert found.timestamp is not None
    assert int(found.timestamp.timestamp()) == 1767323045
    assert int(found.signed_at.timestamp()) == 1767323050
    assert {"order": "A-1", "name": "驿站"}.items() <= found.data.items()


@pytest.mark.parametrize(
    ("name", "status", "body"), [("feishu", 200, b"{}"), ("meta", 200, b""), ("wecom", 200, b"success")]
)
def test_what_confirms_is_answered(name: str, status: int, body: bytes) -> None:
    settings = SETTINGS.get(name)
    found = receiver(name, KEYS[name], settings).receive(*sent_by(name, KEYS[name], settings))
    assert (found.status, found.body) == (status, body)


@pytest.mark.parametrize("name", KEYS)
@hypothesis_settings(deadline=None)
@given(st.data())
def test_whatever_comes_is_refused_with_a_cause(name: str, data: st.DataObject) -> None:
    came, there = _once(name)
    text = st.text(max_size=30)
    headers = {each: data.draw(st.one_of(st.just(value), text)) for each, value in came.headers.items()}
    query = data.draw(st.one_of(st.just(came.url.partition("?")[2]), text))
    body = data.draw(st.one_of(st.just(came.body), st.binary(max_size=50)))
    changed = Sent(data.draw(st.sampled_from(["POST", "GET", "OPTIONS"])), f"/hook?{query}", headers, body)
    try:
        found = there.receive(*changed)
    except VerificationError:
        return
    assert found.event is not None
    assert changed.body == came.body


@cache
def _once(name: str) -> tuple[Sent, ProfileReceiver]:
    settings = SETTINGS.get(name)
    return sent_by(name, KEYS[name], settings), receiver(name, KEYS[name], settings)


PREFIX = """
name = "shop"
title = "Shop"
about = "A test."
[[keys]]
name = "hook"
about = "The shop's key."
[[keys]]
name = "aes"
about = "What encrypts."
[[settings]]
name = "shop"
about = "Whose events these are."
default = "seven"
[endpoint]
"""
SIGNED = """
[[endpoint.signing]]
kind = "custom"
algorithm = "hmac-sha256"
key = "hook"
parts = ["{message.id}.{body}"]
signature = { in = "header", name = "X-Signature" }
also = [{ in = "header", name = "X-Id", value = "{message.id}" }]
"""
SIGNED_FORM = SIGNED.replace("{message.id}.{body}", "{message.id}.{pairs}") + "pairs = { of = 'query' }\n"
ENCRYPTED = """
[endpoint.encryption]
kind = "envelope"
key = "aes"
derive = "sha256"
"""
READ = """
[receive]
id = "{kind}id"
type = "{kind}type"
timestamp = "{kind}at"
data = "{kind}data"
"""
SHOP: dict[str, tuple[str, Any]] = {
    "json": (
        'format = { kind = "json", body = { id = "{event.id}", type = "{event.type}", at = "{event.time}", data = "{data}" } }'
        + SIGNED
        + READ.replace("{kind}", "json:/"),
        DATA,
    ),
    "xml": (
        'format = { kind = "xml", charset = "gbk", body = { id = "{event.id}", type = "{event.type}", '
        'at = "{event.timestamp:number}", data = "{data}" } }' + SIGNED + READ.replace("{kind}", "xml:/"),
        DATA,
    ),
    "form": (
        'format = { kind = "form", charset = "gbk", nesting = "json", body = { id = "{event.id}", type = "{event.type}", '
        'at = "{event.timestamp_ms}", data = "{data}" } }' + SIGNED + READ.replace("{kind}", "form:"),
        PAYLOAD.decode(),
    ),
    "get": (
        'method = "GET"\nformat = { kind = "form", nesting = "json", body = { id = "{event.id}", type = "{event.type}", '
        'at = "{event.timestamp_ms}", data = "{data}" } }' + SIGNED_FORM + READ.replace("{kind}", "form:"),
        PAYLOAD.decode(),
    ),
    "headers": (
        'format = "raw"\nquery = { type = "{event.type}", shop = "${shop}" }\nheaders = { X-At = "{event.timestamp}" }'
        + SIGNED
        + '[receive]\nid = "header:x-id"\ntype = "query:type"\ntimestamp = "header:x-at"\n',
        DATA,
    ),
    "encrypted": (
        'compress = "gzip"\nformat = { kind = "json", body = { id = "{event.id}", type = "{event.type}", '
        'at = "{event.timestamp_ms:number}", data = "{data}", m = "%s", n = "%s", o = "%s" } }'
        % (("x" * 1000,) * 3)
        + SIGNED
        + ENCRYPTED
        + READ.replace("{kind}", "json:/"),
        DATA,
    ),
    "encrypted fields": (
        'format = { kind = "json", body = { id = "{event.id}", type = "{event.type}", at = "{event.time}", data = "{data}" } }'
        + SIGNED
        + ENCRYPTED
        + 'fields = ["/data"]\ncipher = "aes-256-gcm"\niv = "beside"\n'
        'body = { kind = "json", template = { ciphertext = "{ciphertext}", nonce = "{iv}" } }\n'
        + READ.replace("{kind}", "json:/"),
        DATA,
    ),
    "encrypted XML": (
        'format = { kind = "xml", body = { id = "{event.id}", type = "{event.type}", at = "{event.time}", data = "{data}" } }'
        + SIGNED.replace("{message.id}.{body}", "{field.Encrypt}{message.id}")
        + ENCRYPTED
        + 'cipher = "aes-256-cbc"\nbody = { kind = "xml", elements = { Encrypt = "{ciphertext}" } }\n'
        + READ.replace("{kind}", "xml:/"),
        DATA,
    ),
    "signed in the clear": (
        'format = { kind = "json", body = { id = "{event.id}", type = "{event.type}", at = "{event.time}", data = "{data}" } }'
        + SIGNED.replace("{body}", "{plain.sha256}")
        + ENCRYPTED
        + READ.replace("{kind}", "json:/"),
        DATA,
    ),
}
SHOP_KEYS = {"hook": "h", "aes": "a"}


@pytest.mark.parametrize("name", SHOP)
def test_an_operators_own_profile(name: str, tmp_path: Path) -> None:
    toml, data = PREFIX + SHOP[name][0], SHOP[name][1]
    (tmp_path / "shop.toml").write_text(toml)
    came = sent_by(toml, SHOP_KEYS)
    there = receiver(tmp_path / "shop.toml", SHOP_KEYS)
    found = the_event(there.receive(*came))
    assert (found.id, found.type, found.data) == (EVENT, "order.created", data)
    assert found.timestamp is not None
    assert int(found.timestamp.timestamp()) == 1767323045
    if "encrypted" in name or name == "signed in the clear":
        assert b"A-1" not in came.body
        other = receiver(tmp_path / "shop.toml", SHOP_KEYS | {"aes": "other"})
        with pytest.raises(NoMatchingSignatureError if "clear" in name else DecryptionError):
            other.receive(*came)
        assert the_event(receiver(there.profile, SHOP_KEYS | {"aes": ["other", "a"]}).receive(*came)).data == data
    with pytest.raises(VerificationError):
        receiver(there.profile, SHOP_KEYS | {"hook": "other"}).receive(*came)


def test_a_body_is_unpacked_to_a_bound() -> None:
    toml = PREFIX + SHOP["encrypted"][0]
    came = sent_by(toml, SHOP_KEYS)
    assert came.headers["Content-Encoding"] == "gzip"
    there = receiver(tomllib.loads(toml), SHOP_KEYS, unpacked_bytes_max=3000)
    with pytest.raises(BodyTooLargeError):
        there.receive(*came)


def test_a_profile_without_anything_is_the_standard_one() -> None:
    plain = {"name": "plain"}
    request = signed_request("order.created", {"a": 1}, secret=SECRET)
    found = ProfileReceiver(plain, {"secret": SECRET}).receive("POST", "/", request.headers, request.body)
    assert (the_event(found).type, the_event(found).data) == ("order.created", {"a": 1})
    assert the_event(found).id == request.headers["webhook-id"]
    with pytest.raises(MissingHeaderError, match="webhook-signature"):
        ProfileReceiver(plain, {"secret": SECRET}).receive(
            "POST", "/", {**request.headers, "webhook-signature": ""}, b""
        )


def test_batches_are_told() -> None:
    body = b'[{"id":"1","type":"a.b","data":1},{"id":"2","type":"a.b","data":2}]'
    with pytest.raises(SeveralEventsError):
        receiver({"name": "plain", "endpoint": {"signing": []}}, {}).receive(
            "POST", "/", {"Content-Type": "application/json"}, body
        )


AUTHENTICATED = {
    "bearer": ({"kind": "bearer", "key": "hook"}, {"Authorization": "Bearer s3"}, "/"),
    "basic": ({"kind": "basic", "username": "u", "key": "hook"}, {"Authorization": "Basic dTpzMw=="}, "/"),
    "header": ({"kind": "api_key", "key": "hook", "name": "X-Gitlab-Token"}, {"x-gitlab-token": "s3"}, "/"),
    "query": ({"kind": "api_key", "key": "hook", "name": "t", "in": "query", "prefix": "k-"}, {}, "/?t=k-s3"),
}


@pytest.mark.parametrize("name", AUTHENTICATED)
def test_what_a_request_shows_is_compared(name: str) -> None:
    auth, headers, url = AUTHENTICATED[name]
    profile = {"name": "shown", "endpoint": {"signing": [], "auth": auth, "format": "raw"}}
    there = receiver(profile, {"hook": ["new", "s3"]})
    assert the_event(there.receive("POST", url, headers, b"{}")).data == {}
    with pytest.raises(NoMatchingSignatureError):
        receiver(profile, {"hook": "s4"}).receive("POST", url, headers, b"{}")
    with pytest.raises(MissingHeaderError):
        there.receive("POST", "/", {}, b"{}")


def test_an_asymmetric_encryption_is_opened_with_the_private_key() -> None:
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for encryption in ('kind = "jwe"\nalgorithm = "RSA-OAEP-256"', 'kind = "hybrid"'):
        toml = f'{PREFIX}format = "raw"{SIGNED}[endpoint.encryption]\n{encryption}\nkey = "aes"\n'
        came = sent_by(toml, {"hook": "h", "aes": public})
        there = receiver(tomllib.loads(toml), {"hook": "h", "aes": private})
        found = the_event(there.receive(*came)).data
        assert found in (DATA, PAYLOAD)


def test_a_payload_that_is_no_json_comes_as_bytes() -> None:
    toml = f'{PREFIX}format = "raw"{SIGNED}'
    came = sent_by(toml, {"hook": "h"}, of=event(payload=b"\x00\xff", content_type="image/png"))
    found = the_event(receiver(tomllib.loads(toml), {"hook": "h"}).receive(*came))
    assert (found.data, found.content_type) == (b"\x00\xff", "image/png")


def test_one_request_alone() -> None:
    came = sent_by("meta", KEYS["meta"])
    found = unwrap(profile="meta", keys=KEYS["meta"], headers=came.headers, body=came.body)
    assert the_event(found).data == DATA
    with pytest.raises(ParsedBodyError):
        unwrap(profile="meta", keys=KEYS["meta"], headers=came.headers, body={})  # type: ignore[arg-type]


def test_profiles_are_found_by_name() -> None:
    assert {"feishu", "meta", "wecom"} <= set(profile_names())
    for name in profile_names():
        settings = {each.name: "x" for each in profile_settings(name)}
        assert profile(name, settings).name == name


def profile_settings(name: str) -> Any:
    document = tomllib.loads((Path(profiles.__file__).parent / f"{name}.toml").read_text())
    return [Profile(each["name"], "", "") for each in document.get("settings", ()) if "default" not in each]


@pytest.mark.parametrize(
    ("source", "settings", "said"),
    [
        ("nobody", {}, "there is no profile nobody; there are .*feishu"),
        ("./nobody.toml", {}, "cannot be read: No such file"),
        ("wecom", {}, "settings.corp_id: the profile wecom needs this: The corp id"),
        ("wecom", {"corp_id": "a", "color": "red"}, "no such setting; it has: corp_id"),
        ("wecom", {"corp_id": "<a>"}, "1 to 256 letters"),
        ({"name": "a", "colour": 1}, {}, "colour: there is no such field"),
        ({"name": "a", "endpoint": {"signing": []}, "receive": {"id": "cookie:a"}}, {}, "receive.id: a place is"),
        ({"name": "a", "endpoint": {"signing": []}, "receive": {"encrypt": True}}, {}, "no encryption to answer with"),
        ({"name": "a", "endpoint": {"headers": {"X": "${color}"}}}, {}, "has no setting 'color'"),
        ({"name": "a"}, {}, "takes the key secret"),
        (
            {"name": "a", "endpoint": {"format": {"kind": "raw", "time": {"form": "%H", "zone": "Moon/Base"}}}},
            {},
            "pip install tzdata",
        ),
        ({}, {}, "name: this is needed"),
    ],
)
def test_what_cannot_be_used_is_told(source: Any, settings: dict[str, str], said: str) -> None:
    keys = {"token": "t", "aes_key": KEYS["wecom"]["aes_key"]} if source == "wecom" else {}
    with pytest.raises(ProfileError, match=said):
        ProfileReceiver(source, keys, settings=settings)


def test_keys_are_those_of_the_profile() -> None:
    with pytest.raises(ProfileError, match=r"takes the key verify_token, which is not given: The verify token"):
        ProfileReceiver("meta", {"app_secret": "s"})
    with pytest.raises(ProfileError, match="has no key other; it has: app_secret, verify_token"):
        ProfileReceiver("meta", {"other": "s"})
    with pytest.raises(ProfileError, match="is a text, or 1 to 16"):
        ProfileReceiver("meta", {"app_secret": [], "verify_token": "t"})


def test_broken_files_are_told(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    for content, said in ((b"\xff", "cannot be read"), (b"a =", "is not TOML"), (b"#" * 70_000, "more than 65536")):
        file.write_bytes(content)
        with pytest.raises(ProfileError, match=said):
            profile(str(file))


def test_bodies_that_are_not_what_they_should_be() -> None:
    for kind, bodies in (
        ("xml", [b"<a", b"<a>" * 100, b"<!DOCTYPE a><a/>", b"<a>\xff</a>", b""]),
        ("json", [b"{", b"nul", b"[" * 100_000]),
        ("form", [b"a=1&" * 2000, b"\xff"]),
    ):
        place = {"xml": "xml:/b", "json": "json:/b", "form": "form:b"}[kind]
        there = receiver({"name": "a", "endpoint": {"format": kind, "signing": []}, "receive": {"id": place}}, {})
        for body in bodies:
            with pytest.raises(MalformedBodyError):
                there.receive("POST", "/", {}, body)


def test_light(tmp_path: Path) -> None:
    """Shared secrets need nothing but the standard library."""
    code = (
        "import sys\n"
        "from posthouse_sdk import ProfileReceiver\n"
        "r = ProfileReceiver('meta', {'app_secret': 's', 'verify_token': 't'})\n"
        "r.receive('GET', '/?hub.mode=subscribe&hub.challenge=1&hub.verify_token=t', {}, b'')\n"
        "print(sorted({'cryptography', 'joserfc', 'msgspec', 'posthouse'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert told.stdout.strip() == "[]"
