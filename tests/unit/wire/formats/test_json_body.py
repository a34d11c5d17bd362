"""JSON in other shapes than the standard one, and payloads as they were published."""

import json
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from tests.unit.wire.formatting import ID, Received, body, formatter, message, request
from tests.unit.wire.test_render import event

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import MADE_BODY_BYTES_MAX
from posthouse.wire.message import Unsendable
from posthouse.wire.standard import envelope

PAYLOAD = b'{ "id": 1.50, "type": "own", "a": [1] }'


def test_the_standard_envelope() -> None:
    assert body("json", PAYLOAD) == envelope(event(PAYLOAD))
    made = message(of=event(PAYLOAD))
    made.document.put("sign", "s")
    assert made.document.encoded() == (
        b'{"type":"order.created","timestamp":"2026-01-02T03:04:05.678Z",'
        b'"data":{ "id": 1.50, "type": "own", "a": [1] },"sign":"s"}'
    )


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({"thin": True}, f'{{"id":"{ID}","type":"order.created"}}'),
        (
            {"time": {"form": "seconds"}},
            '{"type":"order.created","timestamp":1767323045,"data":{ "id": 1.50, "type": "own", "a": [1] }}',
        ),
        (
            {"time": {"form": "%Y", "zone": "Asia/Tokyo"}},
            '{"type":"order.created","timestamp":"2026","data":{ "id": 1.50, "type": "own", "a": [1] }}',
        ),
        ({"body": "{data}"}, PAYLOAD.decode()),
        ({"body": {"*": "{data}"}}, '{"id":1.50,"type":"own","a":[1]}'),
        (
            {"body": {"type": "{event.type}", "*": "{data}", "a": None}},
            '{"type":"order.created","id":1.50,"a":null}',
        ),
        ({"body": {}}, "{}"),
        (
            {
                "body": {
                    "h": {"ts": "{timestamp:number}", "n": "{event.timestamp_ms:number}"},
                    "l": ["{data}", 1, 2.5, True, "{{x}}"],
                }
            },
            '{"h":{"ts":1767323050,"n":1767323045678},"l":[{ "id": 1.50, "type": "own", "a": [1] },1,2.5,true,"{x}"]}',
        ),
        (
            {"time": {"form": "milliseconds"}, "body": {"t": "{time}", "n": "{event.time:number}"}},
            '{"t":"1767323050900","n":1767323045678}',
        ),
    ],
)
def test_shapes(options: dict[str, Any], made: str) -> None:
    assert body({"kind": "json", **options}, PAYLOAD).decode() == made


def test_a_large_number_of_the_description() -> None:
    assert body({"kind": "json", "body": {"n": 2**70, "f": 1e300}}) == b'{"n":1180591620717411303424,"f":1e300}'


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({}, b"\0\xff"),
        ({"time": {"form": "seconds"}}, b"\0\xff"),
        ({"body": "{data}"}, b"\0\xff"),
        ({"thin": True}, f'{{"id":"{ID}","type":"order.created"}}'.encode()),
        ({"body": {"x": "{data}", "y": 1}}, b'{"content_type":"image/png","x_base64":"AP8=","y":1}'),
    ],
)
def test_what_is_not_published_as_json(options: dict[str, Any], made: bytes) -> None:
    received = Received(
        request({"kind": "json", "content_type": "text/json", **options}, of=event(b"\0\xff", "image/png"))
    )
    assert received.body == made
    assert received.headers["content-type"] == ("image/png" if made == b"\0\xff" else "text/json")


def test_fields_of_what_is_no_object() -> None:
    for payload, content_type in ((b"[1]", "application/json"), (b"{}", "image/png")):
        with pytest.raises(Unsendable, match="no JSON object"):
            message({"kind": "json", "body": {"*": "{data}"}}, of=event(payload, content_type))


@pytest.mark.parametrize(
    ("described", "path", "said"),
    [
        ("{event.id}", "format.body", "or the payload alone"),
        ("", "format.body", "or the payload alone"),
        ({"a": {"b": ["{c}"]}}, "format.body.a.b[0]", "there is no {c}"),
        ({"a": "x {data}"}, "format.body.a", "a value and no text"),
        ({"*": "{event.id}"}, "format.body.*", "and for nothing else"),
        ({"a": "{event.id:number}"}, "format.body.a", "no number"),
        ({"a": "{time:number}"}, "format.body.a", "no number"),
        ({"a": "x{timestamp:number}"}, "format.body.a", "there is no {timestamp:number}"),
        ({"": "a"}, "format.body.", "1 to 128 characters"),
        ({"a" * 129: "a"}, "format.body." + "a" * 128, "1 to 128 characters"),
        ({"a": "b\x01"}, "format.body.a", "no control characters"),
        ({"a": "b" * 1_025}, "format.body.a", "at most 1024"),
        ({str(number): 1 for number in range(101)}, "format.body.100", "at most 100 fields"),
        ({"a": [1] * 100}, "format.body.a", "at most 100 fields"),
        ({"a": [[[[[[[1]]]]]]]}, "format.body.a[0][0][0][0][0][0][0]", "at most 8 levels"),
    ],
)
def test_descriptions_that_are_refused(described: Any, path: str, said: str) -> None:
    with pytest.raises(Invalid) as error:
        formatter({"kind": "json", "body": described})
    assert error.value.path == path
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [
        (PAYLOAD, "application/json"),
        (b"\0\xff", "image/png"),
        ("文".encode("gbk"), "text/plain; charset=gbk"),
        (b"", "a/b"),
    ],
)
def test_raw(payload: bytes, content_type: str) -> None:
    received = Received(request("raw", of=event(payload, content_type)))
    assert (received.body, received.headers["content-type"]) == (payload, content_type)


def test_signatures_go_into_raw_json() -> None:
    made = message("raw", of=event(PAYLOAD, "application/vnd.shop+json; v=1"))
    assert made.document.pairs() == [("id", "1.50"), ("type", "own"), ("a", "[1]")]
    made.document.put("type", "s")
    assert made.document.encoded() == b'{"id":1.50,"type":"s","a":[1]}'
    with pytest.raises(Invalid, match="no fields"):
        message("raw", of=event(b"x", "text/plain")).document.pairs()


def test_a_content_type_that_cannot_be_sent() -> None:
    assert Received(request("raw", of=event(b"x", "a\r\nb"))).headers["content-type"] == "application/octet-stream"


def test_the_payload_as_a_text() -> None:
    described = {"msg": "{data:json}", "url": "{data:urlencoded}"}
    payload = '{"名":"驿站 & a+b","n":1.50}'.encode()
    for kind in ("json", "form"):
        body = Received(request({"kind": kind, "body": described}, of=event(payload))).body
        fields = json.loads(body) if kind == "json" else dict(parse_qsl(body.decode(), strict_parsing=True))
        assert fields == {"msg": payload.decode(), "url": quote(payload.decode(), safe="")}
    binary = Received(request({"kind": "json", "body": {"msg": "{data:json}"}}, of=event(b"\0\xff", "image/png")))
    assert json.loads(binary.body) == {"content_type": "image/png", "msg_base64": "AP8="}
    large = b'"%b"' % ("驿".encode() * (MADE_BODY_BYTES_MAX // 9 + 1))
    with pytest.raises(Unsendable, match="a text of more than"):
        request({"kind": "json", "body": {"url": "{data:urlencoded}"}}, of=event(large))


def test_what_is_no_json_in_an_array() -> None:
    described = {"list": ["{data}", "{event.type}"]}
    image = event(b"\0\xff", "image/png")
    assert body({"kind": "json", "body": described}, image.payload, image.content_type) == (
        b'{"list":["AP8=","order.created"]}'
    )
    assert Received(request({"kind": "form", "body": described}, of=image)).body == (
        b"list%5B0%5D=AP8%3D&list%5B1%5D=order.created"
    )
