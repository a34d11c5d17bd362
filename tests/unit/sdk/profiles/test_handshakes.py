"""Handshakes, answered as the platforms' documentation has them: the requests are written by hand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.profiling import NOW

from posthouse_sdk import (
    Decryption,
    DecryptionError,
    MissingHeaderError,
    NoMatchingSignatureError,
    ProfileError,
    ProfileReceiver,
    VerificationError,
)
from posthouse_sdk.encryption.ciphers import encrypt, framed, pad
from posthouse_sdk.encryption.settings import CIPHERS

AES_KEY = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"


def receiver(endpoint: dict[str, Any], keys: dict[str, str], *, now: float = NOW, **receive: Any) -> ProfileReceiver:
    profile = {"name": "test", "endpoint": endpoint, "receive": receive}
    return ProfileReceiver(profile, keys, clock=lambda: now)


def step(**fields: Any) -> dict[str, Any]:
    return {"steps": [{"kind": "request"} | fields]}


def signer(algorithm: str, *parts: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "custom",
        "algorithm": algorithm,
        "key": "hook",
        "parts": list(parts),
        "signature": {"in": "header", "name": "X-Signature"},
    } | more


# Feishu and Lark: "Request URL verification". With an Encrypt Key the challenge comes encrypted.


def feishu(now: float = NOW) -> ProfileReceiver:
    return ProfileReceiver("feishu", {"encrypt_key": "test key", "verification_token": "tok"}, clock=lambda: now)


def feishu_request(content: dict[str, Any], key: str = "test key") -> tuple[dict[str, str], bytes]:
    secret = hashlib.sha256(key.encode()).digest()
    iv, plain = bytes(range(16)), pad(json.dumps(content).encode(), 16)
    ciphertext, _ = encrypt(CIPHERS["aes-256-cbc"], secret, iv, plain)
    body = json.dumps({"encrypt": base64.b64encode(iv + ciphertext).decode()}).encode()
    stamp = str(int(NOW))
    signature = hashlib.sha256(f"{stamp}nonce{key}".encode() + body).hexdigest()
    headers = {
        "X-Lark-Request-Timestamp": stamp,
        "X-Lark-Request-Nonce": "nonce",
        "X-Lark-Signature": signature,
        "Content-Type": "application/json",
    }
    return headers, body


def test_feishu() -> None:
    headers, body = feishu_request({"challenge": "ajls384kdjx98XX", "token": "tok", "type": "url_verification"})
    found = feishu().receive("POST", "/hook", headers, body)
    assert (found.event, found.handshake, found.status) == (None, "url_verification", 200)
    assert json.loads(found.body) == {"challenge": "ajls384kdjx98XX"}
    assert found.headers == {"Content-Type": "application/json"}


def test_feishu_with_the_token_of_another_app() -> None:
    headers, body = feishu_request({"challenge": "c", "token": "other", "type": "url_verification"})
    with pytest.raises(NoMatchingSignatureError, match="verification_token"):
        feishu().receive("POST", "/hook", headers, body)


def test_feishu_without_a_signature() -> None:
    headers, body = feishu_request({"challenge": "c", "token": "tok", "type": "url_verification"})
    del headers["X-Lark-Signature"]
    with pytest.raises(MissingHeaderError, match="X-Lark-Signature"):
        feishu().receive("POST", "/hook", headers, body)
    headers, body = feishu_request({"challenge": "c", "token": "tok", "type": "url_verification"}, "another")
    with pytest.raises(NoMatchingSignatureError):
        feishu().receive("POST", "/hook", headers, body)


def test_what_is_signed_and_does_not_open_is_told() -> None:
    body = b'{"encrypt":"AAAA"}'
    stamp = str(int(NOW))
    signature = hashlib.sha256(f"{stamp}ntest key".encode() + body).hexdigest()
    headers = {"X-Lark-Request-Timestamp": stamp, "X-Lark-Request-Nonce": "n", "X-Lark-Signature": signature}
    with pytest.raises(DecryptionError):
        feishu().receive("POST", "/hook", headers, body)


# Meta: "Getting started", verification requests.


def test_meta() -> None:
    meta = ProfileReceiver("meta", {"app_secret": "s", "verify_token": "meatyhamhock"})
    query = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": "meatyhamhock"}
    found = meta.receive("GET", f"/webhooks?{urlencode(query)}", {}, b"")
    assert (found.status, found.body, found.event) == (200, b"1158201444", None)
    with pytest.raises(NoMatchingSignatureError, match="verify_token"):
        meta.receive("GET", f"/webhooks?{urlencode(query | {'hub.verify_token': 'other'})}", {}, b"")
    for other in ({"hub.mode": "unsubscribe"}, {"hub.challenge": None}):
        changed = {name: value for name, value in (query | other).items() if value is not None}
        with pytest.raises(VerificationError):
            meta.receive("GET", f"/webhooks?{urlencode(changed)}", {}, b"")


# WeCom: the vector of its documentation ("Callback configuration"). The text comes back in the clear.


def test_wecom() -> None:
    keys, settings = {"token": "QDG6eK", "aes_key": AES_KEY}, {"corp_id": "wx5823bf96d3bd56c7"}
    wecom = ProfileReceiver("wecom", keys, settings=settings, clock=lambda: 1409659589.0)
    echo = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="
    url = (
        "/cgi-bin/wxpush?msg_signature=5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3&timestamp=1409659589&nonce=263014780"
        f"&echostr={quote(echo, safe='')}"
    )
    assert wecom.receive("GET", url, {}, b"").body == b"1616140317555161061"
    for changed in (url.replace("nonce=2", "nonce=3"), url.replace("P9n", "P9m")):
        with pytest.raises(NoMatchingSignatureError):
            wecom.receive("GET", changed, {}, b"")
    with pytest.raises(MissingHeaderError, match="the query parameter"):
        wecom.receive("GET", url.replace("msg_signature", "signature"), {}, b"")


# DingTalk: its demo of callbacks that are encrypted. Both the check of the URL and events are answered with an encrypted
# "success", signed.

DINGTALK: dict[str, Any] = {
    "format": {"kind": "json", "body": {"EventType": "{event.type}", "EventId": "{event.id}", "*": "{data}"}},
    "decrypt_answer": "required",
    "encryption": {
        "kind": "envelope",
        "key": "aes_key",
        "key_encoding": "base64",
        "cipher": "aes-256-cbc",
        "iv": "key",
        "padding": 32,
        "frame": {"owner": "suite4xxxxxxxxxxxxxxx"},
        "body": {"kind": "json", "template": {"encrypt": "{ciphertext}"}},
    },
    "signing": [
        {
            "kind": "custom",
            "algorithm": "sha1",
            "key": "token",
            "parts": ["{key}", "{timestamp_ms}", "{nonce}", "{field.encrypt}"],
            "order": "sorted",
            "signature": {"in": "query", "name": "signature"},
            "also": [
                {"in": "query", "name": "timestamp", "value": "{timestamp_ms}"},
                {"in": "query", "name": "nonce", "value": "{nonce}"},
            ],
        }
    ],
    "handshake": step(
        type="check_url",
        format={"kind": "json", "body": {"EventType": "check_url"}},
        expect={"status": [200], "text": "success", "decrypt": True},
    ),
}
DINGTALK_KEYS = {"token": "123456", "aes_key": "4g5j64qlyl3zvetqxz5jiocdr586fn2zvjpa8zls3ij"}
DINGTALK_ANSWER = {
    "kind": "json",
    "template": {
        "msg_signature": "{signature}",
        "timeStamp": "{timestamp_ms}",
        "nonce": "{nonce}",
        "encrypt": "{ciphertext}",
    },
}


def dingtalk(now: float = 1445827045.067) -> ProfileReceiver:
    return receiver(
        DINGTALK, DINGTALK_KEYS, now=now, answer="success", encrypt=True, sealed=DINGTALK_ANSWER, type="json:/EventType"
    )


def dingtalk_opened(body: bytes) -> bytes:
    told = json.loads(body)
    assert list(told) == ["msg_signature", "timeStamp", "nonce", "encrypt"]
    parts = sorted([DINGTALK_KEYS["token"], told["timeStamp"], told["nonce"], told["encrypt"]])
    assert told["msg_signature"] == hashlib.sha1("".join(parts).encode()).hexdigest()
    opens = Decryption(DINGTALK["encryption"], DINGTALK_KEYS["aes_key"], content_type="text/plain")
    return opens(body, {}).body


def dingtalk_request(content: dict[str, Any]) -> tuple[str, bytes]:
    key = base64.b64decode(DINGTALK_KEYS["aes_key"] + "=")
    plain = pad(framed(json.dumps(content).encode(), "suite4xxxxxxxxxxxxxxx", bytes), 32)
    sealed = base64.b64encode(encrypt(CIPHERS["aes-256-cbc"], key, key[:16], plain)[0]).decode()
    parts = sorted([DINGTALK_KEYS["token"], "1445827045067", "nEXhMP4r", sealed])
    signature = hashlib.sha1("".join(parts).encode()).hexdigest()
    url = f"https://isv.example/callback?signature={signature}&timestamp=1445827045067&nonce=nEXhMP4r"
    return url, json.dumps({"encrypt": sealed}).encode()


def test_dingtalk() -> None:
    url, body = dingtalk_request({"EventType": "check_url"})
    found = dingtalk().receive("POST", url, {"Content-Type": "application/json"}, body)
    assert (found.event, found.handshake) == (None, "check_url")
    assert dingtalk_opened(found.body) == b"success"
    url, body = dingtalk_request({"EventType": "user_add_org", "UserId": ["efefef"]})
    found = dingtalk().receive("POST", url, {"Content-Type": "application/json"}, body)
    assert found.event is not None
    assert (found.event.type, found.event.data["UserId"]) == ("user_add_org", ["efefef"])
    assert dingtalk_opened(found.body) == b"success"
    assert found.headers == {"Content-Type": "application/json"}


def test_the_vector_of_dingtalk_itself() -> None:
    encrypted = (
        "1a3NBxmCFwkCJvfoQ7WhJHB+iX3qHPsc9JbaDznE1i03peOk1LaOQoRz3+nlyGNhwmwJ3vDMG+OzrHMeiZI7gTRWVdUBmfxjZ8Ej23JVYa9V"
        "rYeJ5as7XM/ZpulX8NEQis44w53h1qAgnC3PRzM7Zc/D6Ibr0rgUathB6zRHP8PYrfgnNOS9PhSBdHlegK+AGGanfwjXuQ9+0pZcy0w9lQ=="
    )
    url = "/?signature=5a65ceeef9aab2d149439f82dc191dd6c5cbe2c0&timestamp=1445827045067&nonce=nEXhMP4r"
    found = dingtalk().receive("POST", url, {}, json.dumps({"encrypt": encrypted}).encode())
    assert found.event is not None
    assert found.event.type == "check_create_suite_url"
    assert found.event.data["Random"] == "LPIdSnlF"


# Slack, Zoom, Douyin, Microsoft Graph and Discord, each from its documentation.


def slack_signed(body: bytes, algorithm: str = "sha256") -> dict[str, str]:
    stamp = str(int(NOW))
    made = hmac.new(b"secret", f"v0:{stamp}:".encode() + body, algorithm).hexdigest()
    return {"X-Signature": f"v0={made}", "X-Time": stamp, "Content-Type": "application/json"}


SLACK_SIGNER = signer(
    "hmac-sha256",
    "v0:{timestamp}:{body}",
    signature={"in": "header", "name": "X-Signature", "value": "v0={signature}"},
    also=[{"in": "header", "name": "X-Time", "value": "{timestamp}"}],
)


def test_slack_as_it_is_shipped() -> None:
    sent = b'{"challenge":"c","type":"url_verification"}'
    headers = slack_signed(sent)
    headers = {"X-Slack-Signature": headers["X-Signature"], "X-Slack-Request-Timestamp": headers["X-Time"]}
    found = ProfileReceiver("slack", {"signing_secret": "secret"}, clock=lambda: NOW).receive(
        "POST", "/", headers, sent
    )
    assert json.loads(found.body) == {"challenge": "c"}


def test_slack() -> None:
    body = {"type": "url_verification", "challenge": "{challenge}", "token": "{nonce}"}
    slack = receiver(
        {
            "format": "raw",
            "signing": [SLACK_SIGNER],
            "handshake": step(format={"kind": "json", "body": body}, expect={"status": ["2xx"], "text": "{challenge}"}),
        },
        {"hook": "secret"},
    )
    sent = (
        b'{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7",'
        b'"type":"url_verification"}'
    )
    found = slack.receive("POST", "/", slack_signed(sent), sent)
    assert (found.status, found.body) == (200, b"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7")
    other = b'{"type":"event_callback","event":{"type":"app_mention"}}'
    found = slack.receive("POST", "/", slack_signed(other), other)
    assert found.event is not None
    assert found.event.data["event"] == {"type": "app_mention"}
    with pytest.raises(NoMatchingSignatureError):
        slack.receive("POST", "/", slack_signed(b"{}"), sent)


ZOOM_BODY = {"event": "{event.type}", "payload": "{data}", "event_ts": "{event.timestamp_ms:number}"}


def test_zoom_wants_an_hmac_of_its_text() -> None:
    zoom = receiver(
        {
            "format": {"kind": "json", "body": ZOOM_BODY},
            "signing": [SLACK_SIGNER],
            "handshake": step(
                type="endpoint.url_validation",
                data={"plainToken": "{challenge}"},
                key="hook",
                expect={"json": {"/plainToken": "{challenge}", "/encryptedToken": "{challenge.hmac-sha256}"}},
            ),
        },
        {"hook": "secret"},
        type="json:/event",
        timestamp="json:/event_ts",
        data="json:/payload",
    )
    sent = b'{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}'
    found = zoom.receive("POST", "/", slack_signed(sent), sent)
    expected = hmac.new(b"secret", b"qgg8vlvZRS6UYooatFL8Aw", "sha256").hexdigest()
    assert json.loads(found.body) == {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": expected}
    sent = b'{"event":"meeting.started","payload":{"id":1},"event_ts":1626230691572}'
    event = zoom.receive("POST", "/", slack_signed(sent), sent).event
    assert event is not None
    assert (event.type, event.data) == ("meeting.started", {"id": 1})
    assert event.timestamp is not None
    assert event.timestamp.year == 2021


def test_douyin_wants_a_number_back() -> None:
    douyin = receiver(
        {
            "format": {"kind": "json", "body": {"event": "{event.type}", "content": "{data}"}},
            "signing": [signer("sha1", "{key}{body}")],
            "handshake": step(
                type="verify_webhook",
                data={"challenge": "{challenge:number}"},
                expect={"json": {"/challenge": "{challenge:number}"}},
            ),
        },
        {"hook": "secret"},
    )
    sent = b'{"event":"verify_webhook","client_key":"k","content":{"challenge":12345}}'
    headers = {"X-Signature": hashlib.sha1(b"secret" + sent).hexdigest()}
    assert douyin.receive("POST", "/", headers, sent).body == b'{"challenge":12345}'


def test_graph_wants_the_token_of_the_query() -> None:
    graph = receiver(
        {
            "format": "raw",
            "signing": [],
            "handshake": step(
                query={"validationToken": "Validation: {challenge}"},
                expect={"status": [200], "text": "Validation: {challenge}"},
            ),
        },
        {},
    )
    found = graph.receive("POST", "/hook?validationToken=Validation%3a+522a8e7e-096a", {}, b"")
    assert (found.status, found.body) == (200, b"Validation: 522a8e7e-096a")
    assert found.headers == {"Content-Type": "text/plain; charset=utf-8"}
    found = graph.receive("POST", "/hook", {"Content-Type": "application/json"}, b'{"value":[]}')
    assert found.event is not None


def test_discord_pings_and_sends_wrong_signatures() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    discord = receiver(
        {
            "format": {"kind": "json", "body": {"type": 1, "event": {"type": "{event.type}", "data": "{data}"}}},
            "signing": [
                signer(
                    "ed25519", "{timestamp}{body}", also=[{"in": "header", "name": "X-Time", "value": "{timestamp}"}]
                )
            ],
            "handshake": {
                "steps": [
                    {"kind": "refusal", "expect": {"status": [401]}},
                    {"kind": "request", "format": {"kind": "json", "body": {"type": 0}}, "expect": {"status": [204]}},
                ]
            },
        },
        {"hook": key.public_key().public_bytes_raw().hex()},
        status=204,
        type="json:/event/type",
    )
    sent, stamp = b'{"version":1,"application_id":"1","type":0}', str(int(NOW))
    headers = {"X-Signature": key.sign(stamp.encode() + sent).hex(), "X-Time": stamp}
    found = discord.receive("POST", "/", headers, sent)
    assert (found.status, found.body, found.event, found.headers) == (204, b"", None, {})
    with pytest.raises(NoMatchingSignatureError):
        discord.receive("POST", "/", headers | {"X-Signature": "0" * 128}, sent)
    other = b'{"type":1,"event":{"type":"ENTITLEMENT_CREATE"}}'
    headers = {"X-Signature": key.sign(stamp.encode() + other).hex(), "X-Time": stamp}
    event = discord.receive("POST", "/", headers, other).event
    assert event is not None
    assert event.type == "ENTITLEMENT_CREATE"


# CloudEvents, HTTP 1.1 Web Hooks for Event Delivery, section 4; and confirmations as Amazon SNS has them.


def test_cloudevents() -> None:
    endpoint = {
        "format": "cloudevents",
        "signing": [],
        "handshake": {"steps": [{"kind": "options", "origin": "hub.example", "rate": 120}]},
    }
    target = receiver(endpoint, {})
    headers = {
        "WebHook-Request-Origin": "Hub.example",
        "WebHook-Request-Rate": "120",
        "WebHook-Request-Callback": "https://x",
    }
    found = target.receive("OPTIONS", "/", headers, b"")
    assert (found.status, found.handshake, found.event) == (200, "options", None)
    assert found.headers["WebHook-Allowed-Origin"] == "Hub.example"
    assert found.headers["WebHook-Allowed-Rate"] == "120"
    del headers["WebHook-Request-Rate"]
    assert target.receive("OPTIONS", "/", headers, b"").headers["WebHook-Allowed-Rate"] == "*"
    with pytest.raises(VerificationError, match="origin"):
        target.receive("OPTIONS", "/", {"WebHook-Request-Origin": "other.example"}, b"")
    body = {"specversion": "1.0", "id": "1", "type": "a.b", "source": "s", "data": {"a": 1}}
    sent = target.receive("POST", "/", {"Content-Type": "application/cloudevents+json"}, json.dumps(body).encode())
    assert sent.event is not None
    assert (sent.event.id, sent.event.type, sent.event.data) == ("1", "a.b", {"a": 1})


def test_a_confirmation_tells_where_to_go() -> None:
    target = receiver(
        {
            "format": "raw",
            "signing": [],
            "handshake": {
                "steps": [
                    {
                        "kind": "confirm",
                        "type": "SubscriptionConfirmation",
                        "format": {"kind": "json", "body": {"Type": "{event.type}", "SubscribeURL": "{confirm_url}"}},
                    }
                ]
            },
        },
        {},
    )
    body = {"Type": "SubscriptionConfirmation", "SubscribeURL": "https://sns.example/?Token=1", "Message": "…"}
    found = target.receive("POST", "/", {}, json.dumps(body).encode())
    assert (found.status, found.handshake) == (200, "SubscriptionConfirmation")
    assert found.confirm_url == "https://sns.example/?Token=1"
    found = target.receive("POST", "/", {}, json.dumps(body | {"Type": "Notification"}).encode())
    assert found.event is not None


def test_a_step_like_an_event_is_told_by_its_type() -> None:
    target = receiver({"signing": [], "handshake": step(type="ping", data={"zen": "{challenge}"})}, {}, answer="ok")
    body = {"type": "ping", "timestamp": "2026-01-02T03:04:05Z", "data": {"zen": "Keep it simple."}}
    found = target.receive("POST", "/", {"Content-Type": "application/json"}, json.dumps(body).encode())
    assert (found.handshake, found.status, found.body) == ("ping", 200, b"ok")
    found = target.receive(
        "POST", "/", {"Content-Type": "application/json"}, json.dumps(body | {"type": "push"}).encode()
    )
    assert found.event is not None
    assert (found.event.type, found.event.data) == ("push", body["data"])


def test_of_several_right_answers_the_first_is_given() -> None:
    among = [{"json": {"/challenge": "{challenge}"}, "headers": {"X-A": "1"}, "status": [202]}, {"text": "{challenge}"}]
    expect = {"any": among, "headers": {"X-B": "2"}, "json": {"/ok": True}}
    handshake = step(format={"kind": "json", "body": {"challenge": "{challenge}"}}, expect=expect)
    target = receiver({"format": "raw", "signing": [], "handshake": handshake}, {})
    found = target.receive("POST", "/", {}, b'{"challenge":"c"}')
    assert (found.status, json.loads(found.body)) == (202, {"challenge": "c", "ok": True})
    assert found.headers == {"Content-Type": "application/json", "X-A": "1", "X-B": "2"}
    with pytest.raises(ProfileError, match="list of tables"):
        receiver({"signing": [], "handshake": step(expect={"any": ["a"]})}, {})


def test_a_ping_is_told_by_the_header_that_names_the_type() -> None:
    github = signer("hmac-sha256", "{body}", also=[{"in": "header", "name": "X-GitHub-Event", "value": "{event.type}"}])
    handshake = step(type="ping", data={"zen": "Keep it simple."})
    target = receiver({"format": "raw", "signing": [github], "handshake": handshake}, {"hook": "s"})
    sent = b'{"zen":"Keep it simple."}'
    headers = {"X-Signature": hmac.new(b"s", sent, "sha256").hexdigest(), "X-GitHub-Event": "ping"}
    assert target.receive("POST", "/", headers, sent).handshake == "ping"
    found = target.receive("POST", "/", headers | {"X-GitHub-Event": "push"}, sent)
    assert (found.handshake, found.event is not None) == (None, True)


def test_a_step_that_could_be_any_event_is_none() -> None:
    target = receiver({"format": "raw", "signing": [], "handshake": step()}, {})
    assert target.receive("POST", "/", {}, b"{}").event is not None


def test_an_xml_step_and_an_answer_in_xml() -> None:
    sealed = {
        "kind": "xml",
        "elements": {
            "Encrypt": "{ciphertext}",
            "MsgSignature": "{signature}",
            "TimeStamp": "{timestamp}",
            "Nonce": "{nonce}",
        },
    }
    encryption = DINGTALK["encryption"] | {"body": {"kind": "xml", "elements": {"Encrypt": "{ciphertext}"}}}
    signing = [DINGTALK["signing"][0] | {"parts": ["{key}", "{timestamp_ms}", "{nonce}", "{field.Encrypt}"]}]
    handshake = step(
        format={"kind": "xml", "root": "xml", "body": {"InfoType": "verify", "Ticket": "{challenge}"}},
        encrypted=False,
        signing=[],
        expect={"text": "{challenge}", "decrypt": True},
    )
    endpoint = {"format": "xml", "encryption": encryption, "signing": signing, "handshake": handshake}
    target = receiver(endpoint, DINGTALK_KEYS, sealed=sealed)
    sent = "<xml><InfoType><![CDATA[verify]]></InfoType><Ticket>ticket-1</Ticket></xml>"
    found = target.receive("POST", "/", {"Content-Type": "text/xml"}, sent)
    assert found.headers == {"Content-Type": "text/xml; charset=utf-8"}
    opens = Decryption(encryption, DINGTALK_KEYS["aes_key"], content_type="text/plain")
    assert opens(found.body, {}).body.decode() == "ticket-1"


@pytest.mark.parametrize(
    ("handshake", "said"),
    [
        (step(format={"kind": "json", "body": {"t": "{key}"}}), "say which it is"),
        (step(key="other"), "takes the key other"),
        (step(expect={"text": "{color}"}), "there is no {color}"),
        (step(expect={"text": "{challenge}"}), "there is no {challenge}"),
        (step(format={"kind": "form", "body": {"e": "{challenge.encrypted}"}}), "no encryption"),
        (step(kind="dance"), "one of request, confirm"),
        ({"steps": [{"kind": "request"}] * 9}, "at most 8"),
    ],
)
def test_what_is_configured_wrongly_is_told_when_a_receiver_is_made(handshake: dict[str, Any], said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        receiver({"handshake": handshake, "signing": []}, {})


def test_texts_that_no_charset_can_write_are_refused_with_a_cause() -> None:
    body = {"challenge": "{challenge}", "token": "{key}"}
    handshake = step(key="hook", format={"kind": "json", "body": body}, expect={"json": {"/c": "{challenge}"}})
    target = receiver({"format": "raw", "signing": [], "handshake": handshake}, {"hook": "s"})
    with pytest.raises(VerificationError, match="look like a challenge"):
        target.receive("POST", "/", {}, b'{"challenge":"\\ud800","token":"s"}')
    with pytest.raises(NoMatchingSignatureError):
        target.receive("POST", "/", {}, b'{"challenge":"c","token":"\\ud800"}')


# What a challenge looks like: an event that was captured is not opened for whoever sends it as one.


def test_an_event_sent_as_a_challenge_is_not_opened() -> None:
    wecom = ProfileReceiver("wecom", {"token": "t", "aes_key": AES_KEY}, settings={"corp_id": "c"}, clock=lambda: NOW)
    encryption = wecom.profile.endpoint["encryption"]

    def query(plain: bytes) -> tuple[str, dict[str, str]]:
        ciphertext = Decryption(encryption, AES_KEY, content_type="text/xml").encrypted(plain)["ciphertext"]
        stamp = str(int(NOW))
        signature = hashlib.sha1("".join(sorted(["t", stamp, "n", ciphertext])).encode()).hexdigest()
        return ciphertext, {"msg_signature": signature, "timestamp": stamp, "nonce": "n"}

    ciphertext, signed = query(b"<xml><MsgType>event</MsgType><Event>pay</Event><EventId>1</EventId></xml>")
    body = f"<xml><ToUserName>c</ToUserName><AgentID>1000002</AgentID><Encrypt>{ciphertext}</Encrypt></xml>"
    assert wecom.receive("POST", f"/?{urlencode(signed)}", {"Content-Type": "text/xml"}, body).event is not None
    with pytest.raises(VerificationError, match="does not look like a challenge") as refused:
        wecom.receive("GET", f"/?{urlencode(signed | {'echostr': ciphertext})}", {}, b"")
    assert "pay" not in str(refused.value)
    ciphertext, signed = query(b"1616140317555161061")
    assert wecom.receive("GET", f"/?{urlencode(signed | {'echostr': ciphertext})}", {}, b"").body == (
        b"1616140317555161061"
    )


@pytest.mark.parametrize(
    ("challenge", "fits", "others"),
    [
        ("digits", ("1", "01", "1616140317555161061", "9" * 20), ("9" * 21, "1.5", "-1", "\u0661", "1\n", "")),
        *(
            (
                each,
                (
                    "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P",
                    "ajls384kdjx98XX",
                    "a-b_c.d~e+f/g==",
                    "x" * 126,
                ),
                (
                    '{"a":1}',
                    "[1]",
                    "<a/>",
                    "a=1",
                    "a=1&b=2",
                    "a b",
                    "a\n",
                    "\u9a7f",
                    "x" * 129,
                    f"{'x' * 127}==",
                    '"a"',
                    "",
                    "===",
                ),
            )
            for each in ("hex", "letters", "uuid")
        ),
    ],
)
def test_what_a_challenge_looks_like(challenge: str, fits: tuple[str, ...], others: tuple[str, ...]) -> None:
    format = {"kind": "json", "body": {"type": "hello", "challenge": "{challenge}"}}
    for expect in (
        {"text": "{challenge}"},
        {"json": {"/c": "{challenge:number}"}},
        {"headers": {"X-Hello": "{challenge}"}},
        {"json": {"/c": "{challenge.hmac-sha256}"}},
    ):
        handshake = step(challenge=challenge, format=format, key="hook", expect=expect)
        target = receiver({"signing": [], "handshake": handshake}, {"hook": "s"})

        def received(text: str, target: ProfileReceiver = target) -> str | None:
            body = json.dumps({"type": "hello", "challenge": text})
            return target.receive("POST", "/", {"Content-Type": "application/json"}, body).handshake

        for text in fits:
            assert received(text) == "endpoint.verification", text
        for text in others:
            with pytest.raises(VerificationError, match="does not look like a challenge"):
                received(text)


def test_a_step_is_taken_with_its_own_method_alone() -> None:
    format = {"kind": "form", "body": {"hello": "{challenge}"}}
    handshake = step(method="put", format=format, expect={"text": "{challenge}"})
    target = receiver({"format": "raw", "signing": [], "handshake": handshake}, {})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert target.receive("PUT", "/", headers, b"hello=1").body == b"1"
    assert target.receive("POST", "/", headers, b"hello=1").handshake is None
    with pytest.raises(VerificationError, match="the method PATCH; the profile's events come with POST"):
        target.receive("PATCH", "/", headers, b"hello=1")
