"""Batches: the exact bytes, the size known before, and what an answer says of each event, whatever it is made of."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.wire.test_render import EVENT_ID, HMAC, NOW, endpoint, event, headers_of

from posthouse.domain.endpoint import Format
from posthouse.domain.event import Event
from posthouse.domain.ids import EVENT, EventId, format_id
from posthouse.domain.limits import ERROR_LENGTH_MAX, RESPONSE_READ_BYTES_MAX
from posthouse.wire.batch import FRAME_BYTES, EventResult, added_bytes, batch_body, results_of
from posthouse.wire.cloudevents import cloudevent
from posthouse.wire.render import Renderer
from posthouse_sdk import HmacKey, Webhook

REQUEST_ID = bytes(reversed(range(16)))
YES, NO = EventResult(True), EventResult(False)
IDS = tuple(EventId(bytes([number]) * 16) for number in range(3))
FIRST, SECOND, THIRD = (format_id(EVENT, raw) for raw in IDS)

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@st.composite
def events(draw: st.DrawFn) -> Event:
    plain = draw(st.booleans())
    made = event(
        msgspec.json.encode(draw(words)) if plain else draw(st.binary(max_size=50)),
        "application/json" if plain else draw(st.sampled_from(["image/png", "text", "text/plain; charset=gbk"])),
        draw(words),
    )
    return msgspec.structs.replace(
        made,
        id=EventId(draw(st.binary(min_size=16, max_size=16))),
        created_at=draw(st.floats(0, 4e9)),
        subject=draw(st.none() | words),
        key=draw(st.none() | words),
    )


def test_the_whole_request() -> None:
    other = msgspec.structs.replace(event(b"\x00\xff", "image/png", "logo.changed"), id=IDS[1])
    request = Renderer(endpoint()).render_batch([event(), other], now=NOW, replay=False, request_id=REQUEST_ID)
    assert request.body.decode() == (
        '[{"id":"evt_000g40r40m30e209185gr38e1w","type":"order.created","timestamp":"2026-01-02T03:04:05.678Z","data":{"id":1}},'
        f'{{"id":"{SECOND}","type":"logo.changed","timestamp":"2026-01-02T03:04:05.678Z",'
        '"content_type":"image/png","data_base64":"AP8="}]'
    )
    headers = headers_of(request)
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-id"] == format_id("req", REQUEST_ID)
    assert "webhook-replay" not in headers
    Webhook(HmacKey(HMAC.key).text, clock=lambda: NOW).check(request.body, headers)
    again = Renderer(endpoint()).render_batch([other], now=NOW, replay=True, request_id=REQUEST_ID)
    assert headers_of(again)["webhook-replay"] == "true"


def test_a_batch_of_cloud_events() -> None:
    target = msgspec.structs.replace(endpoint(), format=Format.CLOUDEVENTS)
    request = Renderer(target).render_batch([event(), event()], now=NOW, replay=False, request_id=REQUEST_ID)
    assert request.body == b"[%b,%b]" % (cloudevent(event()), cloudevent(event()))
    headers = headers_of(request)
    assert headers["Content-Type"] == "application/cloudevents-batch+json"
    Webhook(HmacKey(HMAC.key).text, clock=lambda: NOW).check(request.body, headers)


@given(st.lists(events(), min_size=1, max_size=5), st.sampled_from(Format))
def test_the_size_of_a_body_is_known_before_it_is_made(batch: list[Event], format: Format) -> None:
    body = batch_body(batch, format)
    assert len(body) == FRAME_BYTES + sum(added_bytes(each, format) for each in batch)
    assert [each["id"] for each in json.loads(body)] == [format_id(EVENT, each.id) for each in batch]


def test_another_url_of_the_endpoint_gets_its_own_renderer() -> None:
    renderer = Renderer(endpoint(), url="http://127.0.0.1:8001/spare?x=1")
    request = renderer.render(event(), now=NOW, replay=False)
    assert (renderer.target.authority, renderer.target.path) == ("127.0.0.1:8001", "/spare?x=1")
    assert request.head.startswith(b"POST /spare?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8001\r\n")
    assert request.body == Renderer(endpoint()).render(event(), now=NOW, replay=False).body


# What the target says


def told(*results: dict[str, Any], status: int = 200) -> tuple[EventResult, ...]:
    return results_of(status, json.dumps({"results": results}).encode(), IDS)


def test_events_are_confirmed_unless_the_answer_says_otherwise() -> None:
    assert told({"id": SECOND, "confirmed": False, "reason": "no such shop"}) == (
        YES,
        EventResult(False, "no such shop"),
        YES,
    )
    assert told({"id": FIRST, "confirmed": True}, {"id": THIRD.upper().replace("EVT", "evt"), "confirmed": False}) == (
        YES,
        YES,
        NO,
    )
    assert results_of(200, b"", IDS) == results_of(204, b"ok", IDS) == (YES, YES, YES)


@pytest.mark.parametrize("status", [199, 301, 400, 410, 429, 500, 503])
def test_another_status_confirms_none(status: int) -> None:
    assert told({"id": FIRST, "confirmed": True}, status=status) == (NO, NO, NO)


def test_the_last_of_several_results_counts_and_strangers_do_not() -> None:
    assert told({"id": FIRST, "confirmed": False}, {"id": FIRST, "confirmed": True}) == (YES, YES, YES)
    assert told({"id": FIRST, "confirmed": True}, {"id": FIRST, "confirmed": False}) == (NO, YES, YES)
    assert told(
        {"id": format_id(EVENT, EVENT_ID), "confirmed": False},
        {"id": "", "confirmed": False},
        {"id": SECOND.replace("evt", "ep"), "confirmed": False},
    ) == (YES, YES, YES)


def test_a_reason_is_made_short_and_harmless() -> None:
    (result, *_) = told({"id": FIRST, "confirmed": False, "reason": "\x1b[31m\0no\r\n" + "x" * 9_999})
    assert result.reason.startswith("[31m no  x")
    assert len(result.reason) < ERROR_LENGTH_MAX
    assert told({"id": FIRST, "confirmed": False, "reason": {"code": 7}})[0] == NO, "a strange reason is still a no"
    assert told({"id": FIRST, "confirmed": True, "reason": "fine"})[0] == YES


@pytest.mark.parametrize(
    "body",
    [
        b'{"results": {}}',
        b'{"results": [7]}',
        b'{"results": [{"id": 7, "confirmed": false}]}',
        b'{"results": [{"id": "%b", "confirmed": "no"}]}' % FIRST.encode(),
        b'{"results": [{"id": "%b", "confirmed": 0}]}' % FIRST.encode(),
        b'{"results": [{"id": "%b"}]}' % FIRST.encode(),
        b'{"results": [{"id": "%b", "confirmed": false}]' % FIRST.encode(),
        b'[{"id": "%b", "confirmed": false}]' % FIRST.encode(),
        b'{"result": [{"id": "%b", "confirmed": false}]}' % FIRST.encode(),
        b'{"results": [{"id": "%b", "confirmed": false, "reason": "\xff"}]}' % FIRST.encode(),
        b'{"results":' + b"[" * 60_000,
        b'{"x":' * 10_000,
        b"\xef\xbb\xbf{}",
        b"null",
    ],
)
def test_another_shape_says_nothing(body: bytes) -> None:
    assert len(body) <= RESPONSE_READ_BYTES_MAX
    assert results_of(200, body, IDS) == (YES, YES, YES)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.sampled_from([FIRST, SECOND, "results"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "confirmed", "reason", "results", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.integers(100, 599), st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_answer_does_any_harm(status: int, body: bytes) -> None:
    results = results_of(status, body, IDS)
    assert len(results) == len(IDS)
    for result in results:
        assert result.reason.isprintable()
        assert not (result.confirmed and (result.reason or not 200 <= status < 300))
