"""The handshake of each profile, before receivers that answer as their platforms document, some by their own libraries."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gidgethub.sansio import Event as GithubEvent
from tests.fakes import answer
from tests.messages import NOW, Received
from tests.profiles.libraries import DingTalkCrypto, EventDispatcherHandler, RawRequest
from tests.profiles.speaking import config_of, endpoint_of, shipped
from tests.published import slack_verifier
from wechatpy.enterprise.crypto import WeChatCrypto as WeComCrypto
from wechatpy.utils import check_signature

from posthouse.domain.exchange import Answer
from posthouse.domain.ids import EventId
from posthouse.domain.verification import Reason
from posthouse.wire.consent import Passed
from posthouse.wire.handshake import compile_step

AES_KEY = "4g5j64qlyl3zvetqxz5jiocdr586fn2zvjpa8zls3ij"
SEED = bytes(range(32))
KEYS = {
    "secret": "s3cr3t",
    "signing_secret": "s3cr3t",
    "secret_token": "s3cr3t",
    "app_secret": "s3cr3t",
    "verify_token": "v3rify",
    "private_key": SEED.hex(),
    "client_state": "s3cr3t state",
    "encrypt_key": "s3cr3t",
    "verification_token": "v3rify",
    "token": "123456",
    "aes_key": AES_KEY,
    "client_secret": "s3cr3t",
}
SETTINGS = {"dingtalk": {"owner_key": "suite4"}, "wechat": {"app_id": "wx1"}, "wecom": {"corp_id": "ww1"}}


def said(value: object, status: int = 200) -> Answer:
    """An answer in JSON."""
    return answer(status, (b"content-type", b"application/json"), body=json.dumps(value).encode())


def text(value: str) -> Answer:
    return answer(200, (b"content-type", b"text/plain"), body=value.encode())


def github(asked: Received) -> Answer:
    headers = {name.lower(): value for name, value in asked.headers.items()}
    assert GithubEvent.from_http(headers, asked.body, secret="s3cr3t").event == "ping"
    return answer(202)


def slack(asked: Received) -> Answer:
    assert slack_verifier("s3cr3t").is_valid_request(asked.body, asked.headers)
    told = json.loads(asked.body)
    assert told["type"] == "url_verification"
    return said({"challenge": told["challenge"]})


def slack_in_text(asked: Received) -> Answer:
    return text(json.loads(asked.body)["challenge"])


def slack_in_a_form(asked: Received) -> Answer:
    return text(f"challenge={json.loads(asked.body)['challenge']}")


def zoom(asked: Received) -> Answer:
    told = json.loads(asked.body)
    assert (told["event"], told["event_ts"]) == ("endpoint.url_validation", int(NOW * 1000))
    plain = told["payload"]["plainToken"]
    return said({"plainToken": plain, "encryptedToken": hmac.digest(b"s3cr3t", plain.encode(), "sha256").hex()})


def meta(asked: Received) -> Answer:
    assert asked.method == "GET"
    assert (asked.query["hub.mode"], asked.query["hub.verify_token"]) == ("subscribe", "v3rify")
    assert asked.query["hub.challenge"].isdecimal()
    return text(asked.query["hub.challenge"])


def discord(asked: Received) -> Answer:
    content = asked.headers["X-Signature-Timestamp"].encode() + asked.body
    try:
        Ed25519PrivateKey.from_private_bytes(SEED).public_key().verify(
            bytes.fromhex(asked.headers["X-Signature-Ed25519"]), content
        )
    except InvalidSignature:
        return answer(401)
    assert json.loads(asked.body)["type"] == 0
    return answer(204)


def graph(asked: Received) -> Answer:
    assert asked.method == "POST"
    assert b"s3cr3t" not in asked.body
    assert asked.headers["Content-Type"] == "text/plain; charset=utf-8"
    (token,) = parse_qs(urlsplit(asked.url).query)["validationToken"]
    return text(token)


def feishu(asked: Received) -> Answer:
    """By lark-oapi."""
    request = RawRequest()
    request.uri, request.body, request.headers = "/hook", asked.body, asked.headers
    handled = EventDispatcherHandler.builder("s3cr3t", "v3rify").build().do(request)
    return answer(handled.status_code, (b"content-type", b"application/json"), body=handled.content)


def dingtalk(asked: Received) -> Answer:
    """By dingtalk-sdk."""
    crypto, query = DingTalkCrypto("123456", AES_KEY, "suite4"), asked.query
    told = json.loads(crypto.decrypt_message(asked.body, query["signature"], query["timestamp"], query["nonce"]))
    assert told == {"EventType": "check_url"}
    return said(crypto.encrypt_message("success"))


def wechat(asked: Received) -> Answer:
    """By wechatpy."""
    assert asked.method == "GET"
    check_signature("123456", asked.query["signature"], asked.query["timestamp"], asked.query["nonce"])
    return text(asked.query["echostr"])


def wecom(asked: Received) -> Answer:
    """By wechatpy."""
    crypto, query = WeComCrypto("123456", AES_KEY, "ww1"), asked.query
    assert asked.method == "GET"
    return text(crypto.check_signature(query["msg_signature"], query["timestamp"], query["nonce"], query["echostr"]))


def douyin(asked: Received) -> Answer:
    assert asked.headers["X-Douyin-Signature"] == hashlib.sha1(b"s3cr3t" + asked.body).hexdigest()
    told = json.loads(asked.body)
    assert told["event"] == "verify_webhook"
    assert isinstance(told["content"]["challenge"], int)
    return said({"challenge": told["content"]["challenge"]})


class Platform(NamedTuple):
    profile: str
    right: Callable[[Received], Answer]
    wrong: Answer
    reason: Reason = Reason.WRONG_ANSWER


PLATFORMS = [
    Platform("github", github, answer(500), Reason.WRONG_STATUS),
    Platform("slack", slack, said({"challenge": "another"})),
    Platform("slack", slack_in_text, text("another")),
    Platform("slack", slack_in_a_form, text("challenge=another")),
    Platform("zoom", zoom, said({"plainToken": "x", "encryptedToken": "y"})),
    Platform("meta", meta, text("0")),
    Platform("discord", discord, answer(200), Reason.WRONG_STATUS),
    Platform("graph", graph, text("another")),
    Platform("feishu", feishu, said({"challenge": "another"})),
    Platform("dingtalk", dingtalk, text("success")),
    Platform("wechat", wechat, text("another")),
    Platform("wecom", wecom, text("another")),
    Platform("douyin", douyin, said({"challenge": 12345})),
]


def asked_of(name: str, place: int) -> tuple[Any, Received]:
    endpoint = endpoint_of(config_of(shipped(name), SETTINGS.get(name)), KEYS)
    handshake = config_of(shipped(name), SETTINGS.get(name)).handshake
    assert handshake is not None
    step = compile_step(
        endpoint,
        handshake.steps[place],
        url=endpoint.url,
        now=NOW,
        random=os.urandom,
        event_id=EventId(bytes(16)),
        confirm_url="https://hooks.example.com/confirm",
        path=f"handshake.steps[{place}]",
    )
    return step, Received(step.render())


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda each: each.right.__name__)
def test_a_receiver_that_answers_as_documented_passes(platform: Platform) -> None:
    steps = shipped(platform.profile).endpoint["handshake"]["steps"]
    for place in range(len(steps)):
        step, asked = asked_of(platform.profile, place)
        assert step.judge(platform.right(asked)) == Passed()
    step, _ = asked_of(platform.profile, 0)
    assert step.judge(platform.wrong) is platform.reason
    assert step.judge(answer(404)) is Reason.WRONG_STATUS


def test_who_accepts_any_signature_does_not_pass_at_discord() -> None:
    step, asked = asked_of("discord", 1)
    assert discord(asked).status == 401
    assert step.judge(answer(204)) is Reason.BAD_SIGNATURE_ACCEPTED


def test_cloudevents_want_consent_in_a_header() -> None:
    step, asked = asked_of("cloudevents", 0)
    assert (asked.method, asked.headers["WebHook-Request-Origin"]) == ("OPTIONS", "posthouse")
    assert step.judge(answer(200)) is Reason.NO_CONSENT
    assert step.judge(answer(200, (b"webhook-allowed-origin", b"posthouse"))) == Passed()


def test_the_client_state_is_not_shown_to_who_has_not_passed() -> None:
    for name in ("graph", "feishu"):
        _, asked = asked_of(name, 0)
        assert b"s3cr3t" not in asked.body
