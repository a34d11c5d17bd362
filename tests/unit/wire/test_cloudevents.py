"""CloudEvents that are sent: the exact bytes, and that intake would take them for what they were."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.wire.test_render import HMAC, NOW, endpoint, event, headers_of

from posthouse.domain.cloudevent import CloudEvent, check
from posthouse.domain.endpoint import Format
from posthouse.wire.cloudevents import cloudevent
from posthouse.wire.render import Renderer
from posthouse_sdk import HmacKey, Webhook

CLOUD = msgspec.structs.replace(endpoint(), format=Format.CLOUDEVENTS)
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


def test_an_event_with_everything() -> None:
    full = msgspec.structs.replace(event(), subject='shop:"42"', key="驿站")
    assert cloudevent(full).decode() == (
        '{"specversion":"1.0","id":"evt_000g40r40m30e209185gr38e1w","source":"posthouse","type":"order.created",'
        '"time":"2026-01-02T03:04:05.678Z","subject":"shop:\\"42\\"","partitionkey":"驿站",'
        '"datacontenttype":"application/json","data":{"id":1}}'
    )


def test_what_is_not_json_is_base64() -> None:
    assert cloudevent(event(b"\x00\xff<x/>", "application/xml; charset=gbk")).decode() == (
        '{"specversion":"1.0","id":"evt_000g40r40m30e209185gr38e1w","source":"posthouse","type":"order.created",'
        '"time":"2026-01-02T03:04:05.678Z","datacontenttype":"application/xml; charset=gbk","data_base64":"AP88eC8+"}'
    )


def test_a_content_type_that_cannot_be_told_is_not() -> None:
    assert (
        json.loads(cloudevent(event(b"x", "text/plain\r\nX-Evil: 1")))["datacontenttype"] == "application/octet-stream"
    )


@given(
    type=words, subject=st.none() | words, key=st.none() | words, payload=st.binary(max_size=50), is_json=st.booleans()
)
def test_it_is_always_json_and_loses_nothing(
    type: str, subject: str | None, key: str | None, payload: bytes, is_json: bool
) -> None:
    data = msgspec.json.encode(payload.hex()) if is_json else payload
    content_type = "application/json" if is_json else "image/png"
    full = msgspec.structs.replace(event(data, content_type, type), subject=subject, key=key)
    read = json.loads(cloudevent(full))
    assert (read["type"], read.get("subject"), read.get("partitionkey")) == (type, subject, key)
    assert (read["data"] == payload.hex()) if is_json else (base64.b64decode(read["data_base64"]) == payload)
    assert ("data" in read) is is_json


def test_it_is_a_cloud_event_by_our_own_rules() -> None:
    read = json.loads(cloudevent(msgspec.structs.replace(event(), subject="shop:42", key="7")))
    check(
        CloudEvent(
            type=read["type"],
            source=read["source"],
            id=read["id"],
            subject=read["subject"],
            time=read["time"],
            payload=b"",
            extensions={"partitionkey": read["partitionkey"]},
        ),
        prefix="",
    )


@pytest.mark.parametrize("content_type", ["application/json", "text/csv"])
def test_the_request_is_structured_and_signed(content_type: str) -> None:
    request = Renderer(CLOUD).render(event(b"1", content_type), now=NOW, replay=True)
    headers = headers_of(request)
    assert headers["Content-Type"] == "application/cloudevents+json"
    assert headers["webhook-id"] == json.loads(request.body)["id"]
    assert headers["webhook-replay"] == "true"
    Webhook(HmacKey(HMAC.key).text, clock=lambda: NOW).check(request.body, headers)


def test_a_body_made_before_gives_the_same_request() -> None:
    renderer = Renderer(CLOUD)
    assert renderer.render(event(), now=NOW, replay=False, body=cloudevent(event())) == renderer.render(
        event(), now=NOW, replay=False
    )
