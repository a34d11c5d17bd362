"""Handshakes on the wire: what each step sends, and what every kind of answer comes to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import posthouse_sdk
from posthouse.domain.configuration import read
from posthouse.domain.endpoint import Endpoint, EndpointConfig, Secret
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import NO_TIMINGS, Answer, Request
from posthouse.domain.formats import format_of
from posthouse.domain.handshake import Handshake, Step
from posthouse.domain.ids import AppId, EndpointId, EventId
from posthouse.domain.named_keys import NamedKeys
from posthouse.domain.profile import Profile, filled
from posthouse.domain.verification import Reason
from posthouse.wire.consent import Passed, Waits
from posthouse.wire.handshake import StepRequest, compile_step
from posthouse_sdk import Webhook
from posthouse_sdk.decryption import Decryption
from posthouse_sdk.errors import VerificationError

URL: Final = "https://example.com/hooks?shop=1"
CONFIRM: Final = "https://hooks.example.com/v1/confirm/abc"
AES_KEY: Final = base64.b64encode(bytes(range(32))).decode().rstrip("=")
KEYS: Final = {
    "token": ("a{b}%c",),
    "aes_key": (AES_KEY,),
    "encrypt_key": ("secret of feishu",),
    "verification_token": ("vt",),
    "app_secret": ("s",),
    "verify_token": ("{data}",),
    "jwt": ("j" * 32,),
    "ed": (base64.b64encode(bytes(range(32))).decode(),),
}
ENVELOPE: Final = {"kind": "envelope", "key": "aes_key", "key_encoding": "base64", "cipher": "aes-256-cbc"}


def endpoint_of(step: dict[str, Any], **fields: Any) -> Endpoint:
    config = read({"url": URL, "handshake": {"steps": [step]}} | fields, EndpointConfig, "endpoint")
    endpoint: Endpoint = config.endpoint(
        id=EndpointId(bytes(16)),
        app_id=AppId(bytes(16)),
        partition=0,
        revision=1,
        secrets=(Secret("v1", bytes(range(24))),),
        keys=NamedKeys(KEYS),
    )
    return endpoint


def made(step: dict[str, Any], **fields: Any) -> StepRequest:
    endpoint = endpoint_of(step, **fields)
    assert endpoint.handshake is not None
    return made_of(endpoint, endpoint.handshake.steps[0])


def made_of(endpoint: Endpoint, step: Step) -> StepRequest:
    return compile_step(
        endpoint,
        step,
        url=endpoint.url,
        now=1_700_000_000.0,
        random=os.urandom,
        event_id=EventId(bytes(16)),
        confirm_url=CONFIRM,
        path="handshake.steps[0]",
    )


def answer(body: object = b"", status: int = 200, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return Answer(status, lines, content, NO_TIMINGS)


def headers_of(request: Request) -> dict[str, str]:
    lines = request.head.decode("latin-1").split("\r\n")[1:-2]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def query_of(request: Request) -> dict[str, str]:
    target = request.head.decode().split(" ")[1]
    return {name: values[0] for name, values in parse_qs(urlsplit(target).query, keep_blank_values=True).items()}


ECHO: Final = {
    "kind": "request",
    "format": {"kind": "json", "body": {"challenge": "{challenge}"}},
    "expect": {"json": {"/challenge": "{challenge}"}},
}


@pytest.mark.parametrize(
    ("answered", "verdict"),
    [
        (lambda c: answer({"challenge": c}), Passed()),
        (lambda c: answer({"challenge": c, "more": [1]}, 201), Passed()),
        (lambda c: answer({"challenge": c}, 302), Reason.WRONG_STATUS),
        (lambda c: answer({"challenge": c}, 500), Reason.WRONG_STATUS),
        (lambda c: answer({"challenge": c[:-1]}), Reason.WRONG_ANSWER),
        (lambda c: answer({"challenge": c.upper() + "x"}), Reason.WRONG_ANSWER),
        (lambda c: answer({"challenge": [c]}), Reason.WRONG_ANSWER),
        (lambda c: answer({"other": c}), Reason.WRONG_ANSWER),
        (lambda c: answer(b"<html>" + c.encode()), Reason.WRONG_ANSWER),
        (lambda c: answer(b""), Reason.WRONG_ANSWER),
        (lambda c: answer(b'{"challenge":' * 100_000), Reason.WRONG_ANSWER),
        (lambda c: answer(b"[" * 60_000), Reason.WRONG_ANSWER),
        (
            lambda c: msgspec.structs.replace(answer({"challenge": c}), truncated=True),
            Reason.WRONG_ANSWER,
        ),
    ],
)
def test_a_challenge_comes_back_in_json(answered: Callable[[str], Answer], verdict: object) -> None:
    step = made(ECHO)
    challenge = json.loads(step.render().body)["challenge"]
    assert step.judge(answered(challenge)) == verdict


def test_every_challenge_is_another_one_of_its_kind() -> None:
    seen = set()
    for kind, fits in (
        ("hex", lambda c: len(c) == 32 and int(c, 16) >= 0),
        ("letters", lambda c: len(c) == 32 and c.isalnum()),
        ("digits", lambda c: len(c) == 10 and c.isdecimal() and c[0] != "0"),
        ("uuid", lambda c: len(c) == 36 and c[14] == "4"),
    ):
        for _ in range(5):
            body = json.loads(made(ECHO | {"challenge": kind}).render().body)
            assert fits(body["challenge"])
            seen.add(body["challenge"])
    assert len(seen) == 20


def test_a_number_is_one() -> None:
    step = made(
        {
            "kind": "request",
            "challenge": "digits",
            "format": {"kind": "json", "body": {"n": "{challenge:number}"}},
            "expect": {"json": {"/n": "{challenge:number}", "/deep/0/~1": [True, None, 1.5, "{{x}}"]}},
        }
    )
    body = step.render().body
    number = json.loads(body)["n"]
    assert isinstance(number, int)
    assert step.judge(answer({"n": number, "deep": [{"/": [True, None, 1.5, "{x}"]}]})) == Passed()
    assert step.judge(answer({"n": str(number), "deep": [{"/": [True, None, 1.5, "{x}"]}]})) is Reason.WRONG_ANSWER
    assert step.judge(answer({"n": number, "deep": [{"/": [1, None, 1.5, "{x}"]}]})) is Reason.WRONG_ANSWER


def test_zoom_hashes_the_plain_token() -> None:
    step = made(
        {
            "kind": "request",
            "type": "endpoint.url_validation",
            "key": "token",
            "format": {"kind": "json", "body": {"payload": {"plainToken": "{challenge}"}, "event": "{event.type}"}},
            "expect": {
                "status": [200],
                "json": {"/plainToken": "{challenge}", "/encryptedToken": "{challenge.hmac-sha256}"},
            },
        }
    )
    body = json.loads(step.render().body)
    assert body["event"] == "endpoint.url_validation"
    plain = body["payload"]["plainToken"]
    right = hmac.new(b"a{b}%c", plain.encode(), hashlib.sha256).hexdigest()
    assert step.judge(answer({"plainToken": plain, "encryptedToken": right})) == Passed()
    assert step.judge(answer({"plainToken": plain, "encryptedToken": plain})) is Reason.WRONG_ANSWER


def profile(name: str) -> Endpoint:
    path = Path(posthouse_sdk.__file__).parent / "profiles" / f"{name}.toml"
    known = read(tomllib.loads(path.read_text("utf-8")), Profile, name)
    fields = filled(known, {"corp_id": "wx5823bf96d3bd56c7"} if name == "wecom" else {})
    kept = {key: fields[key] for key in ("signing", "encryption", "handshake") if key in fields}
    config = read({"url": URL} | kept, EndpointConfig, "endpoint")
    config = msgspec.structs.replace(config, format=format_of(fields["format"]))
    endpoint: Endpoint = config.endpoint(
        id=EndpointId(bytes(16)), app_id=AppId(bytes(16)), partition=0, revision=1, keys=NamedKeys(KEYS)
    )
    return endpoint


def test_wecom_sends_an_encrypted_text_and_wants_it_in_the_clear() -> None:
    endpoint = profile("wecom")
    assert endpoint.handshake is not None
    step = made_of(endpoint, endpoint.handshake.steps[0])
    request = step.render()
    query = query_of(request)
    assert request.head.startswith(b"GET /hooks?shop=1&echostr=")
    signed = sorted([KEYS["token"][0], query["timestamp"], query["nonce"], query["echostr"]])
    assert query["msg_signature"] == hashlib.sha1("".join(signed).encode(), usedforsecurity=False).hexdigest()
    opened = Decryption(msgspec.to_builtins(endpoint.encryption), AES_KEY)
    body = f"<xml><ToUserName>t</ToUserName><AgentID>1</AgentID><Encrypt>{query['echostr']}</Encrypt></xml>"
    plain = opened.decrypted(body.encode(), {}).body
    assert plain.isdigit()
    assert step.judge(answer(plain)) == Passed()
    assert step.judge(answer(b" \n" + plain + b"\r\n")) == Passed()
    assert step.judge(answer(query["echostr"].encode())) is Reason.WRONG_ANSWER
    assert step.judge(answer(b'"' + plain + b'"')) is Reason.WRONG_ANSWER


def test_feishu_encrypts_the_whole_request() -> None:
    endpoint = profile("feishu")
    assert endpoint.handshake is not None
    step = made_of(endpoint, endpoint.handshake.steps[0])
    opened = Decryption(msgspec.to_builtins(endpoint.encryption), KEYS["encrypt_key"][0])
    plain = json.loads(opened.decrypted(step.render().body, {}).body)
    assert (plain["type"], plain["token"]) == ("url_verification", "vt")
    assert step.judge(answer({"challenge": plain["challenge"]})) == Passed()


def test_meta_asks_by_get_and_no_value_is_read_as_a_template() -> None:
    endpoint = profile("meta")
    assert endpoint.handshake is not None
    step = made_of(endpoint, endpoint.handshake.steps[0])
    query = query_of(step.render())
    assert (query["hub.mode"], query["hub.verify_token"]) == ("subscribe", "{data}")
    assert step.judge(answer(query["hub.challenge"].encode())) == Passed()


def test_an_answer_may_be_encrypted() -> None:
    body = {"kind": "json", "template": {"encrypt": "{ciphertext}"}}
    encryption = ENVELOPE | {"body": body}
    step = made(ECHO | {"expect": ECHO["expect"] | {"decrypt": True}}, encryption=encryption)  # type: ignore[operator]
    both = Decryption(encryption, AES_KEY)
    challenge = json.loads(both.decrypted(step.render().body, {}).body)["challenge"]
    plain = json.dumps({"challenge": challenge}).encode()
    assert step.judge(answer({"encrypt": both.encrypted(plain)["ciphertext"]})) == Passed()
    assert step.judge(answer(plain)) is Reason.WRONG_ANSWER
    assert step.judge(answer({"encrypt": "AAAA"})) is Reason.WRONG_ANSWER
    assert step.judge(answer(b'{"encrypt":' * 20_000)) is Reason.WRONG_ANSWER


def test_headers_and_the_query_carry_it_too() -> None:
    step = made(
        {
            "kind": "request",
            "key": "token",
            "format": "raw",
            "data": {"validationCode": "{challenge}", "literal": "{{x}}", "n": [1]},
            "headers": {"X-Hook-Secret": "{challenge}", "X-Key": "{key}", "X-Event": "{event.type}"},
            "query": {"validationToken": "{challenge}"},
            "expect": {"headers": {"x-hook-secret": "{challenge}"}, "status": ["2xx", 304]},
        },
        headers={"X-Shop": "7"},
    )
    request = step.render()
    sent, challenge = headers_of(request), query_of(request)["validationToken"]
    assert (sent["x-hook-secret"], sent["x-key"], sent["x-event"]) == (challenge, "a{b}%c", "endpoint.verification")
    assert "x-shop" not in sent, "headers that are set are all of them"
    assert json.loads(request.body) == {"validationCode": challenge, "literal": "{x}", "n": [1]}
    assert step.judge(answer(X_Hook_Secret=challenge)) is Reason.WRONG_ANSWER, "names come in lower case"
    assert step.judge(answer(x_hook_secret=challenge)) == Passed()
    assert step.judge(answer(status=304, x_hook_secret=challenge)) == Passed()
    assert step.judge(answer(x_hook_secret="other")) is Reason.WRONG_ANSWER


def test_by_default_it_is_an_event_like_any_other() -> None:
    step = made({"kind": "request"}, headers={"X-Shop": "7"})
    request = step.render()
    sent = headers_of(request)
    assert sent["x-shop"] == "7"
    event = Webhook("whsec_" + base64.b64encode(bytes(range(24))).decode(), tolerance=10**10).verify(request.body, sent)
    assert (event["type"], event["data"]) == ("endpoint.verification", {})
    assert step.judge(answer(status=204)) == Passed()


STANDARD: Final = {"kind": "standard"}
CUSTOM: Final = {
    "kind": "custom",
    "algorithm": "hmac-sha256",
    "key": "token",
    "parts": ["{body}"],
    "signature": {"in": "header", "name": "X-Sig"},
}
JWT: Final = {
    "kind": "jwt",
    "algorithm": "HS256",
    "key": "jwt",
    "token": {"in": "header", "name": "X-Jwt", "value": "{token}"},
}
HTTP: Final = {
    "kind": "http",
    "algorithm": "ed25519",
    "key": "ed",
    "key_encoding": "base64",
    "components": ["content-digest"],
}


def test_a_refusal_is_asked_for_with_signatures_that_are_wrong() -> None:
    step = made({"kind": "refusal"}, signing=[STANDARD, CUSTOM, JWT])
    request = step.render()
    sent = headers_of(request)
    verifier = Webhook("whsec_" + base64.b64encode(bytes(range(24))).decode(), tolerance=10**10)
    with pytest.raises(VerificationError):
        verifier.verify(request.body, sent)
    right = hmac.new(b"a{b}%c", request.body, hashlib.sha256).digest()
    wrong = bytes.fromhex(sent["x-sig"])
    assert (len(wrong), wrong[:-1], wrong[-1]) == (32, right[:-1], right[-1] ^ 1)
    head, claims, signature = sent["x-jwt"].split(".")
    right = hmac.new(b"j" * 32, f"{head}.{claims}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=") != right
    assert step.judge(answer(status=401)) == Passed()
    assert step.judge(answer(status=404)) == Passed()
    assert step.judge(answer(status=200)) is Reason.BAD_SIGNATURE_ACCEPTED
    assert step.judge(answer(status=500)) is Reason.WRONG_STATUS
    assert step.judge(answer(status=302)) is Reason.WRONG_STATUS
    soft = made({"kind": "refusal", "expect": {"status": [200], "json": {"/code": 401}}})
    assert soft.judge(answer({"code": 401})) == Passed()
    assert soft.judge(answer({"code": 0})) is Reason.BAD_SIGNATURE_ACCEPTED


def test_so_of_http_message_signatures() -> None:
    seed = base64.b64decode(KEYS["ed"][0])
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    for kind, verifies in (("request", True), ("refusal", False)):
        sent = headers_of(made({"kind": kind}, signing=[HTTP]).render())
        parameters = sent["signature-input"].partition("=")[2]
        base = f'"content-digest": {sent["content-digest"]}\n"@signature-params": {parameters}'.encode()
        signature = base64.b64decode(sent["signature"].partition("=")[2].strip(":"))
        try:
            public.verify(signature, base)
            found = True
        except Exception:
            found = False
        assert found is verifies


def test_somebody_has_to_follow_a_url() -> None:
    step = made(
        {
            "kind": "confirm",
            "within": 600,
            "format": {"kind": "json", "body": {"SubscribeURL": "{confirm_url}", "text": "go to {confirm_url}"}},
        }
    )
    assert json.loads(step.render().body) == {"SubscribeURL": CONFIRM, "text": f"go to {CONFIRM}"}
    assert step.judge(answer()) == Waits(600)
    assert step.judge(answer(status=500)) is Reason.WRONG_STATUS


OPTIONS: Final = {"kind": "options", "origin": "events.example.com"}


def test_consent_is_asked_for_by_options() -> None:
    step = made(
        OPTIONS | {"rate": 120, "callback": True},
        auth={"kind": "api_key", "in": "header", "name": "X-Api-Key", "key": "token"},
    )
    request = step.render()
    sent = headers_of(request)
    assert request.head.startswith(b"OPTIONS /hooks?shop=1 HTTP/1.1\r\n")
    assert request.body == b""
    assert sent["webhook-request-origin"] == "events.example.com"
    assert (sent["webhook-request-rate"], sent["webhook-request-callback"]) == ("120", CONFIRM)
    assert sent["x-api-key"] == "a{b}%c"
    assert "content-type" not in sent
    assert "content-length" not in sent


@pytest.mark.parametrize(
    ("asks", "told", "verdict"),
    [
        ({}, {"webhook-allowed-origin": "events.example.com"}, Passed()),
        ({}, {"webhook-allowed-origin": "Events.Example.com", "webhook-allowed-rate": "*"}, Passed()),
        ({}, {"webhook-allowed-origin": "*", "webhook-allowed-rate": "120"}, Passed(2.0)),
        ({"rate": 60}, {"webhook-allowed-origin": "*", "webhook-allowed-rate": "30"}, Passed(0.5)),
        ({"rate": 60}, {"webhook-allowed-origin": "*"}, Reason.NO_CONSENT),
        ({}, {"webhook-allowed-origin": "*", "webhook-allowed-rate": "0"}, Reason.NO_CONSENT),
        ({}, {"webhook-allowed-origin": "*", "webhook-allowed-rate": "-5"}, Reason.NO_CONSENT),
        ({}, {"webhook-allowed-origin": "*", "webhook-allowed-rate": "many"}, Reason.NO_CONSENT),
        ({}, {"webhook-allowed-origin": "other.example.com"}, Reason.NO_CONSENT),
        ({}, {"webhook-allowed-origin": ""}, Reason.NO_CONSENT),
        ({}, {"allow": "POST"}, Reason.NO_CONSENT),
        ({}, {}, Reason.NO_CONSENT),
        ({"callback": True}, {}, Waits(259_200.0)),
        ({"callback": True}, {"webhook-allowed-origin": "other.example.com"}, Reason.NO_CONSENT),
    ],
)
def test_headers_alone_consent(asks: dict[str, Any], told: dict[str, str], verdict: object) -> None:
    for status in (200, 405, 500):
        reply = Answer(status, tuple((k.encode(), v.encode()) for k, v in told.items()), b"", NO_TIMINGS)
        assert made(OPTIONS | asks).judge(reply) == verdict


@pytest.mark.parametrize(
    ("step", "path", "says"),
    [
        (ECHO | {"key": "nobody"}, "key", "no key named"),
        (ECHO | {"data": {"a": ["{challange}"]}}, "data.a[0]", "there is no {challange}"),
        (ECHO | {"headers": {"X-A": "{key}"}}, "headers.X-A", "names no key"),
        (ECHO | {"headers": {"X-A": "{challenge"}}, "headers.X-A", "brace stands alone"),
        (ECHO | {"query": {"a": "{challenge.encrypted}"}}, "query.a", "kind envelope"),
        (ECHO | {"query": {"a": "{confirm_url}"}}, "query.a", "kind confirm"),
        (ECHO | {"query": {"a": "x{challenge:number}"}}, "query.a", "stands alone"),
        (ECHO | {"format": {"kind": "json", "body": {"a": "{nothing}"}}}, "format.body.a", "there is no {nothing}"),
        (ECHO | {"format": {"kind": "json", "body": {"a": "{challenge:number}"}}}, "format.body.a", "kind digits"),
        (ECHO | {"format": "csv"}, "format", "the format is one of"),
        (ECHO | {"method": "GET", "format": "json"}, "method", "format form"),
        (ECHO | {"method": "GET"}, "method", "format form"),
        (ECHO | {"signing": [CUSTOM | {"key": "nobody"}]}, "signing[0].key", "no key named"),
        (ECHO | {"expect": {"json": {"challenge": 1}}}, "expect.json.challenge", "JSON pointers"),
        (ECHO | {"expect": {"json": {"/a": "{x}"}}}, "expect.json./a", "there is no {x}"),
        (ECHO | {"expect": {"status": [99]}}, "expect.status[0]", "from 100 to 599"),
        (ECHO | {"expect": {"status": ["20x"]}}, "expect.status[0]", "class"),
        (ECHO | {"expect": {"headers": {"a b": "c"}}}, "expect.headers", "no name of a header"),
        (ECHO | {"expect": {"text": "a", "decrypt": True}}, "expect.decrypt", "no encryption"),
        (ECHO | {"expect": {"decrypt": True}}, "expect.decrypt", "nothing is expected"),
        ({"kind": "confirm"}, "", "brings the {confirm_url}"),
        ({"kind": "refusal", "signing": []}, "signing", "nothing signs"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(step: dict[str, Any], path: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        made(step)
    assert refused.value.path == ("handshake.steps[0]." + path).rstrip(".")
    assert says in str(refused.value)
    assert not any(text in str(refused.value) for texts in KEYS.values() for text in texts if len(text) > 3)


def test_a_get_with_an_encrypted_endpoint_has_to_say_so() -> None:
    form = {"kind": "form", "body": {"e": "{challenge.encrypted}"}}
    step = {"kind": "request", "method": "GET", "format": form}
    encryption = ENVELOPE | {"body": {"kind": "json", "template": {"e": "{ciphertext}"}}}
    with pytest.raises(Invalid) as refused:
        made(step, encryption=encryption)
    assert refused.value.path == "handshake.steps[0].encrypted"
    assert made(step | {"encrypted": False}, encryption=encryption).render().head.startswith(b"GET ")


def test_the_structs_read_what_is_written() -> None:
    read({"steps": [ECHO, OPTIONS, {"kind": "refusal"}], "every": 60}, Handshake, "handshake")
