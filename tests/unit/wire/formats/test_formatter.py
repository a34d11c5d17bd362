"""Methods, templates in headers and in the query, batches, and what is refused when an endpoint is written."""

from typing import Any

import msgspec
import pytest
from tests.unit.wire.formatting import ID, Received, counted, formatter, message, request
from tests.unit.wire.test_render import EVENT_ID, NOW, event

from posthouse.domain.endpoint import Format, Timeouts
from posthouse.domain.errors import Invalid
from posthouse.domain.event import Event
from posthouse.domain.formats import Method
from posthouse.domain.ids import REQUEST, EventId, format_id
from posthouse.domain.limits import HEADER_BYTES_MAX
from posthouse.wire.assemble import assemble
from posthouse.wire.batch import batch_body
from posthouse.wire.message import Unsendable

ABOUT = msgspec.structs.replace(event(), subject="shop:42", key="k 1")


def of(event: Event, **changes: Any) -> Event:
    return msgspec.structs.replace(event, **changes)


def test_every_value_there_is() -> None:
    names = [
        *("event.id", "event.type", "event.subject", "event.key", "event.content_type"),
        *("event.time", "event.timestamp", "event.timestamp_ms"),
        *("message.id", "timestamp", "timestamp_ms", "time", "nonce", "replay", "app.id", "endpoint.id"),
    ]
    format = {"kind": "json", "time": {"form": "%Y-%m-%d %H:%M:%S", "zone": "Asia/Shanghai"}}
    made = message(format, of=ABOUT, headers={"X-All": "|".join(f"{{{name}}}" for name in names)})
    assert made.headers == [
        (
            "X-All",
            f"{ID}|order.created|shop:42|k 1|application/json|2026-01-02 11:04:05|1767323045|1767323045678|"
            f"{ID}|1767323050|1767323050900|2026-01-02 11:04:10|000102030405060708090a0b0c0d0e0f|false|app_1|ep_1",
        )
    ]
    assert set(made.values) == set(names)
    assert (made.id, made.nonce, made.now) == (ID, "000102030405060708090a0b0c0d0e0f", NOW)


@pytest.mark.parametrize("method", Method)
def test_methods(method: Method) -> None:
    received = Received(request("form", method=method, query={"v": "1"}))
    fields = "type=order.created&timestamp=2026-01-02T03%3A04%3A05.678Z&data%5Bid%5D=1"
    assert received.method == method
    if method is Method.GET:
        assert received.target == f"/hooks?v=1&{fields}"
    else:
        assert (received.target, received.body.decode()) == ("/hooks?v=1", fields)


def test_signatures_of_a_get_are_put_into_its_query() -> None:
    made = message("form", method=Method.GET, url="https://example.com/hooks?own=1")
    assert [name for name, _ in made.document.pairs()] == ["type", "timestamp", "data[id]"]
    made.document.put("sign", "a+b")
    assert Received(assemble(made, Timeouts())).target.endswith("&data%5Bid%5D=1&sign=a%2Bb")


def test_a_get_whose_payload_is_too_long() -> None:
    made = message("form", of=event(b'{"a":"%b"}' % (b"x" * 3_000)), method=Method.GET)
    with pytest.raises(Unsendable, match="the URL with its query has 30"):
        assemble(made, Timeouts())


def test_a_get_in_another_charset() -> None:
    made = request(
        {"kind": "form", "charset": "gbk", "body": {"*": "{data}"}},
        of=event('{"店":"é😀"}'.encode()),
        method=Method.GET,
    )
    assert Received(made).target == "/hooks?%B5%EA=%A8%A6%26%23128512%3B"


@pytest.mark.parametrize(
    ("subject", "sent"),
    [
        ("plain: text", "plain: text"),
        ("100%", "100%25"),
        ("a\r\nX-Evil: b", "a%0D%0AX-Evil: b"),
        ("店\x7f\x85\0", "%E5%BA%97%7F%C2%85%00"),
        (" padded ", "%20padded%20"),
        ("  ", "%20%20"),
        ("\t", "%09"),
        (None, ""),
    ],
)
def test_texts_of_events_in_headers_are_percent_encoded(subject: str | None, sent: str) -> None:
    received = Received(request(of=of(ABOUT, subject=subject), headers={"X-Subject": "{event.subject}"}))
    assert received.headers["x-subject"] == sent
    assert "x-evil" not in received.headers


def test_literals_in_headers_are_sent_as_they_are() -> None:
    assert message(headers={"X-A": '{{"id":"{event.id}"}} é%'}).headers == [("X-A", f'{{"id":"{ID}"}} é%')]


def test_a_replay_says_so() -> None:
    received = Received(request("form", replay=True, query={"again": "{replay}"}))
    assert received.headers["webhook-replay"] == "true"
    assert received.target == "/hooks?again=true"


def test_the_content_type_may_be_another() -> None:
    assert Received(request({"kind": "json", "content_type": "text/plain; charset=utf-8"})).headers["content-type"] == (
        "text/plain; charset=utf-8"
    )


@pytest.mark.parametrize(
    ("format", "options", "path", "said"),
    [
        ("json", {"method": Method.GET}, "method", "needs the format form"),
        ({"kind": "cloudevents", "mode": "binary"}, {"method": Method.GET}, "method", "needs the format form"),
        ("form", {"batch": True}, "batch", "form holds one"),
        ("raw", {"batch": True}, "batch", "raw holds one"),
        ({"kind": "cloudevents", "mode": "binary"}, {"batch": True}, "batch", "binary mode holds one"),
        ("json", {"headers": {"X-A": "{event.name}"}}, "headers.X-A", "there is no .event.name."),
        ("json", {"headers": {"X-A": "a\r\nX-B: {nonce}"}}, "headers.X-A", "no line break"),
        ("json", {"headers": {"X-A\r\n": "{nonce}"}}, r"headers.X-A\r\n", "a header name is"),
        ("json", {"headers": {"Host": "{nonce}"}}, "headers.Host", "the URL decides it"),
        ("json", {"headers": {"webhook-id": "{nonce}"}}, "headers.webhook-id", "kept for the signature"),
        ("json", {"headers": {"X-A": "{nonce} "}}, "headers.X-A", "begins nor ends"),
        ("json", {"headers": {"X-A": "{data}"}}, "headers.X-A", "a value and no text"),
        ("json", {"headers": {"X-A": "a" * HEADER_BYTES_MAX}}, "headers.X-A", "more than 4096 bytes"),
        ("json", {"query": {"a": "{b}"}}, "query.a", "there is no .b."),
        ("json", {"query": {"a": "b\n"}}, "query.a", "no control characters"),
        ("json", {"query": {"": "b"}}, "query.", "1 to 128"),
        ("json", {"query": {"a": "b" * 1_025}}, "query.a", "at most 1024"),
        ("json", {"query": {str(number): "b" for number in range(33)}}, "query.32", "more than 32"),
        ("json", {"query": {"a": "b" * 1_000, "b": "c" * 1_000, "c": "店" * 10}}, "query", "has 21"),
        ("json", {"query": {"a": "店" * 1_000}}, "query", "more than 2048"),
        (
            {"kind": "form", "body": {"a": "b" * 1_000, "c": "d" * 1_020}},
            {"method": Method.GET},
            "query",
            "more than 2048",
        ),
        ("json", {"batch": True, "headers": {"X-A": "{event.id}"}}, "headers.X-A", "a batch has several events"),
        ("json", {"batch": True, "query": {"a": "{event.key}"}}, "query.a", "a batch has several events"),
        (
            {"kind": "json", "body": {"a": "{nonce}"}},
            {"batch": True},
            "format.body.a",
            "each event is written for itself",
        ),
        ({"kind": "json", "content_type": "json"}, {}, "format.content_type", "a media type"),
        ({"kind": "json", "content_type": "a/b\r\nX: y"}, {}, "format.content_type", "a media type"),
        ({"kind": "json", "time": {"form": "%Q"}}, {}, "format.time.form", "there is no %Q"),
        ({"kind": "json", "time": {"zone": "Nowhere"}}, {}, "format.time.zone", "no such time zone"),
        ({"kind": "json", "thin": True, "body": {"a": "b"}}, {}, "format.thin", "leave out either"),
        (
            {"kind": "cloudevents", "mode": "binary"},
            {"headers": {"CE-Id": "1"}},
            "headers.CE-Id",
            "attributes of the CloudEvent",
        ),
        ({"kind": "cloudevents", "source": "a b"}, {}, "format.source", "no URI"),
        ({"kind": "cloudevents", "content_type": "a/b"}, {}, "format.content_type", "leave it out"),
    ],
)
def test_what_is_refused_when_it_is_written(format: Any, options: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as error:
        formatter(format, **options)
    assert error.value.path == path


SECOND = msgspec.structs.replace(
    event(b"\x00\xff", "image/png", "logo.changed"), id=EventId(bytes([1]) * 16), subject="s"
)
BATCHED: tuple[Any, ...] = (
    "json",
    "cloudevents",
    "xml",
    {"kind": "json", "thin": True},
    {"kind": "json", "body": {"i": "{event.id}", "d": "{data}", "app": "{app.id}"}},
    {"kind": "json", "time": {"form": "seconds"}},
    {"kind": "xml", "charset": "gbk", "text": "cdata", "root_attributes": {"xmlns": "urn:a"}, "batch_root": "all"},
    {"kind": "cloudevents", "mode": "batched", "source": "https://example.com/"},
    {"kind": "cloudevents", "mode": "xml"},
)


@pytest.mark.parametrize("format", BATCHED, ids=str)
def test_batches(format: Any) -> None:
    batch = formatter(format, batch=True, headers={"X-Nonce": "{nonce}"})
    made = batch.render_batch([event(), SECOND], now=NOW, random=counted, replay=True, request_id=EVENT_ID)
    assert made.id == made.values["message.id"] == format_id(REQUEST, EVENT_ID)
    received = Received(assemble(made, Timeouts()))
    assert received.headers["x-nonce"] == counted(16).hex()
    assert received.headers["webhook-replay"] == "true"
    assert len(received.body) == batch.frame_bytes + batch.added_bytes(event()) + batch.added_bytes(SECOND)
    with pytest.raises(Invalid, match="no fields"):
        made.document.put("sign", "x")


@pytest.mark.parametrize("format", [Format.JSON, Format.CLOUDEVENTS])
def test_batches_of_plain_endpoints_are_the_same_this_way(format: Format) -> None:
    batch = formatter(format.value, batch=True)
    made = batch.render_batch([event(), SECOND], now=NOW, random=counted, replay=False, request_id=EVENT_ID)
    assert made.document.encoded() == batch_body([event(), SECOND], format)


def test_the_same_arguments_make_the_same_bytes() -> None:
    headers = {"X-Nonce": "{nonce}"}
    assert request("xml", of=ABOUT, headers=headers) == request("xml", of=ABOUT, headers=headers)
