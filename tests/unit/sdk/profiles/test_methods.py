"""Requests that say one thing here and something else there: another method, a body beside a query, a name twice."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from tests.profiling import NOW

from posthouse_sdk import (
    Decryption,
    MalformedBodyError,
    MalformedHeaderError,
    NoMatchingSignatureError,
    ProfileError,
    ProfileReceiver,
    VerificationError,
    profile,
)

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def receiver(endpoint: dict[str, Any], **receive: str) -> ProfileReceiver:
    return ProfileReceiver({"name": "own", "endpoint": endpoint, "receive": receive}, {"k": "s"}, clock=lambda: NOW)


def signer(*parts: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "custom",
        "algorithm": "hmac-sha256",
        "key": "k",
        "parts": list(parts),
        "signature": {"in": "header", "name": "X-Signature"},
    } | more


def sign(content: str) -> dict[str, str]:
    return {"X-Signature": hmac.new(b"s", content.encode(), "sha256").hexdigest()}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "post-it"])
@pytest.mark.parametrize("name", ["github", "meta", "slack", "adyen", "dingtalk"])
def test_an_event_is_taken_with_the_endpoints_method_alone(name: str, method: str) -> None:
    """Before anything of it is verified: it is refused whatever it says."""
    keys = {each.name: "s" for each in profile(name, {"owner_key": "o"} if name == "dingtalk" else {}).keys}
    keys |= {"hmac_key": "00" * 32} if name == "adyen" else {}
    keys |= {"aes_key": base64.b64encode(bytes(32)).decode().rstrip("=")} if name == "dingtalk" else {}
    there = ProfileReceiver(profile(name, {"owner_key": "o"} if name == "dingtalk" else {}), keys)
    with pytest.raises(VerificationError, match=f"the method {method.upper()}; the profile's events come with POST"):
        there.receive(method, "/", JSON, b"")


def test_a_signed_body_sent_with_another_method() -> None:
    github = ProfileReceiver("github", {"secret": "s"})
    body = b'{"amount":1}'
    headers = JSON | {
        "X-Hub-Signature-256": f"sha256={hmac.new(b's', body, 'sha256').hexdigest()}",
        "X-Hub-Signature": f"sha1={hmac.new(b's', body, 'sha1').hexdigest()}",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "d",
    }
    found = github.receive("post", "/?amount=999", headers, body).event
    assert found is not None
    assert found.data == {"amount": 1}
    for method in ("GET", "DELETE"):
        with pytest.raises(VerificationError):
            github.receive(method, "/?amount=999", headers, body)


def test_fields_that_are_signed_in_the_query_vouch_for_no_body() -> None:
    key = bytes(range(32))
    adyen = ProfileReceiver("adyen", {"hmac_key": key.hex()})
    item = {"pspReference": "P1", "merchantAccountCode": "M", "amount": {"value": 1, "currency": "EUR"}}
    item |= {"eventCode": "AUTHORISATION", "success": "false"}
    mac = hmac.digest(key, b"P1::M::1:EUR:AUTHORISATION:false", "sha256")
    signed = item | {"additionalData": {"hmacSignature": base64.b64encode(mac).decode()}}

    def body(item: dict[str, Any]) -> str:
        return json.dumps({"notificationItems": [{"NotificationRequestItem": item}]})

    assert adyen.receive("POST", "/", JSON, body(signed)).event is not None
    query = quote(json.dumps([{"NotificationRequestItem": signed}]))
    for sent in (body(signed | {"success": "true"}), ""):
        with pytest.raises(VerificationError):
            adyen.receive("GET", f"/?notificationItems={query}", JSON, sent)


def test_a_ciphertext_that_is_signed_in_the_query_vouches_for_none_in_the_body() -> None:
    aes_key = base64.b64encode(bytes(range(32))).decode().rstrip("=")
    dingtalk = ProfileReceiver("dingtalk", {"token": "t", "aes_key": aes_key}, settings={"owner_key": "o"})
    seal = Decryption(dingtalk.profile.endpoint["encryption"], aes_key)
    older, fresh = (
        seal.encrypted(json.dumps({"EventType": each, "EventId": each}).encode())["ciphertext"] for each in ("a", "b")
    )
    there = ProfileReceiver(dingtalk.profile, {"token": "t", "aes_key": aes_key}, clock=lambda: NOW)
    stamp = str(int(NOW * 1000))
    signature = hashlib.sha1("".join(sorted(["t", stamp, "n", fresh])).encode()).hexdigest()
    query = {"timestamp": stamp, "nonce": "n", "signature": signature, "msg_signature": signature}
    assert there.receive("POST", f"/?{urlencode(query)}", JSON, json.dumps({"encrypt": fresh})).event is not None
    for body in (json.dumps({"encrypt": older}), ""):
        with pytest.raises(VerificationError):
            there.receive("GET", f"/?{urlencode(query | {'encrypt': fresh})}", JSON, body)
    twice = f'{{"encrypt":"{fresh}","encrypt":"{older}"}}'
    for each in (twice, f'{{"encrypt":"{older}","encrypt":"{fresh}"}}'):
        with pytest.raises(MalformedBodyError, match="encrypt is there twice"):
            there.receive("POST", f"/?{urlencode(query)}", JSON, each)
    with pytest.raises(MalformedHeaderError, match="nonce came twice"):
        there.receive("POST", f"/?{urlencode(query)}&nonce=m", JSON, json.dumps({"encrypt": fresh}))


GET = {"method": "GET", "format": "form", "signing": [signer("{field.a}")]}


def test_under_get_all_is_in_the_query() -> None:
    there = receiver(GET, data="body")
    found = there.receive("GET", "/?a=1", sign("1"), b"").event
    assert found is not None
    assert found.data == {"a": "1"}
    with pytest.raises(VerificationError, match="this one brings a body"):
        there.receive("GET", "/?a=1", FORM | sign("1"), b"a=2")
    with pytest.raises(VerificationError, match="the method POST; the profile's events come with GET"):
        there.receive("POST", "/?a=1", FORM | sign("1"), b"a=1")
    with pytest.raises(MalformedBodyError, match="a is there twice"):
        there.receive("GET", "/?a=1&a=2", sign("1"), b"")


def test_a_key_that_is_shown_under_get_is_in_the_query() -> None:
    auth = {"kind": "api_key", "key": "k", "in": "field", "name": "token"}
    there = receiver({"method": "GET", "format": "form", "signing": [], "auth": auth}, id="form:id")
    found = there.receive("GET", "/?token=s&id=7", {}, b"").event
    assert found is not None
    assert found.id == "7"
    with pytest.raises(MalformedBodyError, match="token is there twice"):
        there.receive("GET", "/?token=x&token=s", {}, b"")
    with pytest.raises(MalformedHeaderError, match="id came twice"):
        there.receive("GET", "/?token=s&id=7&id=8", {}, b"")


@pytest.mark.parametrize("place", ["json:/a", "xml:/a", "sent:/a"])
def test_under_get_nothing_is_read_from_a_body(place: str) -> None:
    for name in ("id", "type", "timestamp", "data"):
        with pytest.raises(ProfileError, match=f"receive.{name}: a GET has no body"):
            receiver(GET, **{name: place})
    with pytest.raises(ProfileError, match=r"endpoint\.method: a GET carries its data in the query"):
        receiver(GET | {"format": "json"})


@pytest.mark.parametrize(
    ("kind", "headers", "once", "twice"),
    [
        ("json", JSON, '{"a":{"b":"1"}}', '{"a":{"b":"1"},"a":{"b":"1"}}'),
        ("json", JSON, '{"a":{"b":"1"}}', '{"a":{"b":"1","b":"2"}}'),
        ("form", FORM, "a=%7B%22b%22:%221%22%7D", "a=%7B%22b%22:%221%22%7D&a=2"),
        ("xml", {}, "<xml><a><b>1</b></a></xml>", '<xml type="array"><a>{"b":"1"}</a><a>2</a></xml>'),
    ],
)
def test_a_field_that_is_signed_and_there_twice_is_refused(
    kind: str, headers: dict[str, str], once: str, twice: str
) -> None:
    there = receiver({"format": kind, "signing": [signer("{field./a/b}")]}, data="body")
    assert there.receive("POST", "/", headers | sign("1"), once).event is not None
    with pytest.raises(MalformedBodyError, match=r"[ab] is there twice"):
        there.receive("POST", "/", headers | sign("1"), twice)


@pytest.mark.parametrize(
    ("pairs", "url", "body"),
    [({}, "/", "a=1&a=2"), ({}, "/", "a=1&a="), ({"of": "query"}, "/?a=1&a=2", ""), ({"of": "query"}, "/?a=1&a=", "")],
)
def test_pairs_that_are_signed_have_each_name_once(pairs: dict[str, str], url: str, body: str) -> None:
    endpoint = {"format": "form", "signing": [signer("{pairs}", pairs=pairs)]}
    for content in ("a=1&a=2", "a=1"):
        with pytest.raises(NoMatchingSignatureError, match="a is there twice"):
            receiver(endpoint, data="body").receive("POST", url, FORM | sign(content), body)
