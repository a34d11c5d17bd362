"""Robots in group chats: what their profiles make of events, read as the platforms' documentation says.

Nothing of ours is in the receivers: each has the request as bytes, and the secret of its robot.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import tomllib
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import h11
import msgspec
import pytest
from markdown_it import MarkdownIt
from tests.fakes import EPOCH, an_event
from tests.tidy.tree import ROOT

from posthouse.domain.acknowledgement import Ack
from posthouse.domain.callback import RetryAt, decide
from posthouse.domain.endpoint import Endpoint, EndpointConfig
from posthouse.domain.event import Event
from posthouse.domain.exchange import NO_TIMINGS, Answer
from posthouse.domain.expression import Facts
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.named_keys import NamedKeys
from posthouse.domain.operations import TYPES
from posthouse.domain.profile import Profile, filled
from posthouse.domain.reaction import RetryRule, ThrottleRule
from posthouse.domain.rules import expressions_in
from posthouse.manage.endpoint_change import EndpointChange, changed, check_change
from posthouse.ports.directory import StoredEndpoint
from posthouse.send.judge import Judge
from posthouse.wire.renderer import renderer_of

PROFILES: Final = ROOT / "sdk" / "src" / "posthouse_sdk" / "profiles"
ROBOTS: Final = ("dingtalk-robot", "feishu-robot", "wecom-robot", "slack-incoming")
URLS: Final = {
    "dingtalk-robot": "https://oapi.dingtalk.com/robot/send?access_token=f0e1",
    "feishu-robot": "https://open.feishu.cn/open-apis/bot/v2/hook/f0e1",
    "wecom-robot": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=f0e1",
    "slack-incoming": "https://hooks.slack.com/services/T000/B000/XXX",
}
SECRET: Final = "SECdemo"
NOW: Final = 1_599_360_473.25

DISABLED: Final = an_event(
    type="endpoint.disabled",
    key="ep_06b1v8k3m5x7q2n9r4t6w8y0aa",
    created_at=1_599_360_470.0,
    payload=json.dumps(
        {
            "app": "app_06b1v8k3m5x7q2n9r4t6w8y0aa",
            "endpoint": "ep_06b1v8k3m5x7q2n9r4t6w8y0aa",
            "reason": "failing_for_days",
            "status": None,
            "at": "2020-09-06T02:47:50Z",
        }
    ).encode(),
)
ORDER: Final = an_event(
    type="order.paid",
    subject="shop:42",
    created_at=1_599_360_470.0,
    payload=json.dumps(
        {
            "id": 7,
            "total": 12.50,
            "buyer": {"name": "王小明", "vip": True},
            "items": [{"sku": "a-1", "count": 2}, {"sku": "b-2", "count": 1}],
            "tags": ["new", "blue"],
            "note": "leave it\nat the door",
            "coupon": None,
        },
        ensure_ascii=False,
    ).encode(),
)
HOSTILE: Final = an_event(
    type="order.paid",
    subject="[pay](http://evil.example)",
    payload=json.dumps(
        {
            "note": '<!channel> <at user_id="all"></at> <@all> [pay here](http://evil.example) **now** `x`\n# big',
            "**x**": "![](http://evil.example/p.png)",
            "long": "驿" * 5000,
        }
    ).encode(),
)


def profile(name: str) -> Profile:
    return msgspec.convert(tomllib.loads((PROFILES / f"{name}.toml").read_text("utf-8")), Profile)


def config_of(name: str, **settings: str) -> EndpointConfig:
    """As it is written into an endpoint, and comes back from the store."""
    fields = filled(profile(name), settings) | {"url": URLS[name]}
    config = msgspec.convert(fields, EndpointConfig)
    assert msgspec.json.decode(msgspec.json.encode(config), type=EndpointConfig) == config
    return config


def endpoint_of(name: str, **settings: str) -> Endpoint:
    return config_of(name, **settings).endpoint(
        id=EndpointId(bytes(16)),
        app_id=AppId(bytes(16)),
        partition=0,
        revision=1,
        keys=NamedKeys({key.name: (SECRET,) for key in profile(name).keys}),
    )


class Received:
    def __init__(self, name: str, event: Event, **settings: str) -> None:
        renderer = renderer_of(endpoint_of(name, **settings), random=bytes)
        request = renderer.render(event, now=NOW, replay=False)
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(request.head + request.body)
        head, data = connection.next_event(), connection.next_event()
        assert isinstance(head, h11.Request)
        assert isinstance(data, h11.Data)
        self.method = head.method.decode()
        self.path = head.target.decode()
        self.query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        self.headers = {key.decode().lower(): value.decode() for key, value in head.headers}
        self.raw = bytes(data.data)
        self.body: Any = json.loads(self.raw)


def base64_mac(key: str, message: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), message.encode(), hashlib.sha256).digest()).decode()


# What the platforms' receivers do, from their documentation


def dingtalk_reads(received: Received) -> tuple[str, str]:
    """`sign` is of the time in milliseconds and the secret, no more than an hour ago. The title and the text."""
    assert (received.method, urlsplit(received.path).path) == ("POST", "/robot/send")
    assert received.query["access_token"] == "f0e1"
    timestamp = received.query["timestamp"]
    assert abs(int(timestamp) / 1000 - NOW) < 3600
    assert received.query["sign"] == base64_mac(SECRET, f"{timestamp}\n{SECRET}")
    assert set(received.body) == {"msgtype", "markdown"}
    assert received.body["msgtype"] == "markdown"
    assert set(received.body["markdown"]) == {"title", "text"}
    assert len(received.raw) < 20_000
    return received.body["markdown"]["title"], received.body["markdown"]["text"]


def feishu_reads(received: Received) -> tuple[str, str]:
    """`sign` is of nothing, with the time in seconds and the secret as its key."""
    body = received.body
    assert abs(int(body["timestamp"]) - NOW) < 3600
    assert body["sign"] == base64_mac(f"{body['timestamp']}\n{SECRET}", "")
    assert set(body) == {"timestamp", "sign", "msg_type", "content"}
    assert body["msg_type"] == "post"
    post = body["content"]["post"]["zh_cn"]
    assert [element["tag"] for line in post["content"] for element in line] == ["text"]
    assert len(received.raw) < 20_000
    return post["title"], post["content"][0][0]["text"]


def wecom_reads(received: Received) -> tuple[str, str]:
    """At most 4,096 bytes of Markdown."""
    assert received.query == {"key": "f0e1"}
    assert received.body["msgtype"] == "markdown"
    content = received.body["markdown"]["content"]
    assert len(content.encode()) <= 4096
    return "", content


def slack_reads(received: Received) -> tuple[str, str]:
    """A section has 1 to 3,000 characters, and what is plain text in it is not looked at for anything."""
    (block,) = received.body["blocks"]
    assert (block["type"], block["text"]["type"]) == ("section", "plain_text")
    assert 1 <= len(block["text"]["text"]) <= 3000
    return received.body["text"], block["text"]["text"]


READERS: Final = {
    "dingtalk-robot": dingtalk_reads,
    "feishu-robot": feishu_reads,
    "wecom-robot": wecom_reads,
    "slack-incoming": slack_reads,
}


def read(name: str, event: Event, **settings: str) -> tuple[str, str]:
    received = Received(name, event, **settings)
    assert received.headers["content-type"].startswith("application/json")
    assert not any(header.startswith("webhook-") for header in received.headers), "nothing that nobody asked for"
    return READERS[name](received)


# What people read

DISABLED_LIST: Final = """- **app**: app_06b1v8k3m5x7q2n9r4t6w8y0aa
- **endpoint**: ep_06b1v8k3m5x7q2n9r4t6w8y0aa
- **reason**: failing_for_days
- **at**: 2020-09-06T02:47:50Z"""
DISABLED_LINES: Final = DISABLED_LIST.replace("- **", "").replace("**", "")
ORDER_LIST: Final = """- **id**: 7
- **total**: 12.5
- **buyer.name**: 王小明
- **buyer.vip**: true
- **items.0.sku**: a-1
- **items.0.count**: 2
- **items.1.sku**: b-2
- **items.1.count**: 1
- **tags**: new, blue
- **note**: leave it at the door"""
ORDER_LINES: Final = ORDER_LIST.replace("- **", "").replace("**", "")


@pytest.mark.parametrize(
    ("name", "event", "title", "text"),
    [
        (
            "dingtalk-robot",
            DISABLED,
            "Posthouse: endpoint.disabled",
            f"#### Posthouse: endpoint.disabled\n\n{DISABLED_LIST}\n\n> 2020-09-06 10:47:50 ",
        ),
        (
            "dingtalk-robot",
            ORDER,
            "Posthouse: order.paid",
            f"#### Posthouse: order.paid\n\n{ORDER_LIST}\n\n> 2020-09-06 10:47:50 shop:42",
        ),
        ("feishu-robot", DISABLED, "Posthouse: endpoint.disabled", f"{DISABLED_LINES}\n2020-09-06 10:47:50 "),
        ("feishu-robot", ORDER, "Posthouse: order.paid", f"{ORDER_LINES}\n2020-09-06 10:47:50 shop:42"),
        (
            "wecom-robot",
            DISABLED,
            "",
            f"**Posthouse: endpoint.disabled**\n{DISABLED_LIST}\n> 2020-09-06 10:47:50 ",
        ),
        ("wecom-robot", ORDER, "", f"**Posthouse: order.paid**\n{ORDER_LIST}\n> 2020-09-06 10:47:50 shop:42"),
        (
            "slack-incoming",
            DISABLED,
            "Posthouse: endpoint.disabled",
            f"Posthouse: endpoint.disabled\n{DISABLED_LINES}\n2020-09-06 02:47:50 +00:00 ",
        ),
        (
            "slack-incoming",
            ORDER,
            "Posthouse: order.paid",
            f"Posthouse: order.paid\n{ORDER_LINES}\n2020-09-06 02:47:50 +00:00 shop:42",
        ),
    ],
)
def test_what_people_read(name: str, event: Event, title: str, text: str) -> None:
    assert read(name, event) == (title, text)


@pytest.mark.parametrize("name", ROBOTS)
def test_settings_are_told(name: str) -> None:
    title, text = read(name, ORDER, title="驿站 prod", time_zone="Europe/Berlin")
    assert "驿站 prod: order.paid" in title + text
    assert "2020-09-06 04:47:50" in text


@pytest.mark.parametrize("name", ROBOTS)
def test_data_are_no_more_than_text(name: str) -> None:
    _, text = read(name, HOSTILE)
    assert "\n# big" not in text
    if name in ("dingtalk-robot", "wecom-robot"):
        assert "\\[pay here\\](http" in text
        assert "!\\[\\](http" in text
        assert "- **\\*\\*x\\*\\***: " in text
        assert "\\<@all>" in text
        assert text.rstrip().endswith("\\[pay\\](http://evil.example)")
        tokens = [inner.type for token in MarkdownIt().parse(text) for inner in token.children or [token]]
        assert not {"link_open", "image", "em_open", "code_inline", "html_inline", "html_block"} & set(tokens)
        assert tokens.count("strong_open") == len(json.loads(HOSTILE.payload)) + (name == "wecom-robot")
    assert "驿" * 300 + "…" in text


@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize(
    ("payload", "content_type"),
    [
        (b"{}", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'"\\ud800"', "application/json"),
        (b"[" * 200 + b"]" * 200, "application/json"),
        (json.dumps({f"field {n}": "x" * 290 for n in range(500)}).encode(), "application/json"),
        (json.dumps({"a" * 5000: {"b" * 5000: ["驿" * 5000, {}]}}).encode(), "application/json"),
        (json.dumps({"<" * 5000: "[" * 5000, "`" * 300: "*" * 300}).encode(), "application/json"),
        (b"\x00\xff" * 5000, "application/octet-stream"),
        ("驿站".encode() * 5000, "text/plain"),
        (b"\xff\xfe", "text/plain"),
    ],
)
def test_whatever_comes_is_a_message_of_a_size_that_is_taken(name: str, payload: bytes, content_type: str) -> None:
    event = an_event(type="a" * 128, subject="驿" * 256, payload=payload, content_type=content_type, created_at=EPOCH)
    title, text = read(name, event, title="驿" * 100)
    assert title + text


# What the platforms answer


def answer(body: object, status: int = 200) -> Answer:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Answer(status, ((b"content-type", b"application/json"),), raw, NO_TIMINGS)


DINGTALK_LIMIT: Final = {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"}
ANSWERS: Final = [
    ("dingtalk-robot", {"errcode": 0, "errmsg": "ok"}, "confirmed", None),
    ("dingtalk-robot", DINGTALK_LIMIT, "rule_retry", 600.0),
    ("dingtalk-robot", {"errcode": 410100, "errmsg": "发送速度太快而限流"}, "rule_retry", 600.0),
    ("dingtalk-robot", {"errcode": 310000, "errmsg": "sign not match"}, "not_acknowledged", None),
    ("dingtalk-robot", "<html>", "ack_failed", None),
    ("feishu-robot", {"code": 0, "msg": "success", "data": {}, "StatusCode": 0}, "confirmed", None),
    ("feishu-robot", {"StatusCode": 0, "StatusMessage": "success"}, "confirmed", None),
    ("feishu-robot", {"code": 9499, "msg": "too many request"}, "rule_retry", 60.0),
    (
        "feishu-robot",
        {"code": 11232, "msg": "frequency limited psm[lark.oapi.app_platform_runtime]"},
        "rule_retry",
        60.0,
    ),
    ("feishu-robot", {"code": 19021, "msg": "sign match fail"}, "not_acknowledged", None),
    ("wecom-robot", {"errcode": 0, "errmsg": "ok"}, "confirmed", None),
    ("wecom-robot", {"errcode": 45009, "errmsg": "api freq out of limit"}, "rule_retry", 60.0),
    ("wecom-robot", {"errcode": 93000, "errmsg": "invalid webhook url"}, "not_acknowledged", None),
    ("slack-incoming", "ok", "confirmed", None),
    ("slack-incoming", "no_text", "not_acknowledged", None),
]


@pytest.mark.parametrize(("name", "body", "reason", "after"), ANSWERS)
async def test_what_an_answer_means(name: str, body: object, reason: str, after: float | None) -> None:
    from posthouse.adapters.cel.expressions import CelExpressions, CelLimits

    expressions = CelExpressions(CelLimits(workers=1))
    try:
        endpoint = endpoint_of(name)
        judgement = await Judge(expressions).judge(endpoint, ORDER, answer(body), 1)
    finally:
        await expressions.close()
    assert judgement.reason == reason
    if after is None:
        assert judgement.rule is None
        return
    assert isinstance(judgement.rule, RetryRule)
    assert [type(effect) for effect in judgement.rule.also] == [ThrottleRule], "others wait, too"
    decision = decide(
        answer(body),
        endpoint.retry,
        number=1,
        failing_since=None,
        now=EPOCH,
        draw=0.5,
        reason=reason,
        rule=judgement.rule,
    )
    assert decision == RetryAt(EPOCH + after, "rule_retry")


# What may be stored


@pytest.mark.parametrize("name", ROBOTS)
def test_a_profile_is_an_endpoint_that_is_taken(name: str) -> None:
    config = config_of(name)
    fields = {field: getattr(config, field) for field in filled(profile(name), {})}
    change = EndpointChange(url=URLS[name], **fields)
    check_change(change)
    stored = StoredEndpoint(
        id=EndpointId(bytes(16)), app_id=AppId(bytes(16)), revision=1, config=EndpointConfig(url=URLS[name])
    )
    assert changed(stored, change, now=EPOCH).config == config


@pytest.mark.parametrize("name", ROBOTS)
async def test_its_expressions_are_such(name: str) -> None:
    from posthouse.adapters.cel.expressions import CelExpressions, CelLimits

    expressions = CelExpressions(CelLimits(workers=1))
    try:
        found = list(expressions_in(config_of(name)))
        for path, expression in found:
            expressions.check(expression, path=path)
        if name != "slack-incoming":
            facts = Facts(event=ORDER, endpoint=endpoint_of(name), answer=answer({"errcode": 0, "code": 0}), number=1)
            assert expressions.at_once([expression for _, expression in found], facts) is not None, "and quick"
    finally:
        await expressions.close()


@pytest.mark.parametrize(
    ("name", "seconds", "most"),
    [
        ("dingtalk-robot", 60, 20),
        ("wecom-robot", 60, 20),
        ("feishu-robot", 60, 100),
        ("feishu-robot", 1, 5),
        ("slack-incoming", 1, 2),
    ],
)
def test_never_more_requests_than_the_platform_takes(name: str, seconds: float, most: int) -> None:
    limit = config_of(name).rate_limit
    assert limit is not None
    assert math.floor(limit.per_second * seconds + limit.capacity) <= most


@pytest.mark.parametrize("name", ROBOTS)
def test_every_operational_event_reads_well(name: str) -> None:
    """A line for each of its fields that says something."""
    for event_type in TYPES:
        data = {"app": "app_1", "at": "2026-01-02T03:04:05Z", "reason": "why", "limit": 7}
        title, text = read(name, an_event(type=event_type, payload=json.dumps(data).encode()))
        assert all(value in title + text for value in (event_type, "app_1", "why", "7"))
        assert "null" not in text


def test_what_the_receiving_side_answers_is_what_confirms() -> None:
    assert config_of("slack-incoming").ack == Ack(text="ok")
    assert [profile(name).receive.answer for name in ROBOTS] == [
        '{"errcode":0,"errmsg":"ok"}',
        '{"code":0,"msg":"success","data":{}}',
        '{"errcode":0,"errmsg":"ok"}',
        "ok",
    ]
