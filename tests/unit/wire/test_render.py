"""Rendered requests: the exact head, the signature over the body, and no way to put a line into a head."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse import __version__
from posthouse.domain.endpoint import Endpoint, Secret, Timeouts
from posthouse.domain.errors import Invalid
from posthouse.domain.event import Event
from posthouse.domain.exchange import Request
from posthouse.domain.ids import EVENT, AppId, EndpointId, EventId, format_id
from posthouse.wire.render import Renderer
from posthouse.wire.standard import envelope
from posthouse_sdk import HmacKey, SecretError, SigningKey, Webhook

NOW = 1767323050.9
HMAC = Secret("v1", b"k" * 32)
OLD_HMAC = Secret("v1", b"o" * 24)
ED25519 = Secret("v1a", b"s" * 32)
EVENT_ID = EventId(bytes(range(16)))


def endpoint(
    *,
    url: str = "https://example.com/hooks",
    headers: tuple[tuple[str, str], ...] = (),
    secrets: tuple[Secret, ...] = (HMAC,),
) -> Endpoint:
    return Endpoint(
        id=EndpointId(bytes(16)),
        app_id=AppId(bytes(16)),
        partition=0,
        revision=1,
        url=url,
        headers=headers,
        secrets=secrets,
        timeouts=Timeouts(total=7.0),
    )


def event(payload: bytes = b'{"id":1}', content_type: str = "application/json", type: str = "order.created") -> Event:
    return Event(
        id=EVENT_ID,
        partition=0,
        seq=1,
        app_id=AppId(bytes(16)),
        type=type,
        payload=payload,
        content_type=content_type,
        created_at=1767323045.678,
        config_version=1,
    )


def parse_head(head: bytes) -> tuple[bytes, list[tuple[str, str]]]:
    """RFC 9112 taken strictly: one request line, `name: value` lines without folding, one blank line and no more."""
    lines = head.split(b"\r\n")
    assert lines[-2:] == [b"", b""]
    headers = []
    for line in lines[1:-2]:
        assert not set(line) & {0, 10, 13}
        name, colon, value = line.partition(b": ")
        assert colon
        assert name
        assert not set(name) & set(b" \t:")
        headers.append((name.decode("ascii"), value.decode("latin-1")))
    assert not set(lines[0]) & {0, 10, 13}
    assert lines[0].count(b" ") == 2
    return lines[0], headers


def headers_of(request: Request) -> dict[str, str]:
    _, headers = parse_head(request.head)
    assert len({name.lower() for name, _ in headers}) == len(headers)
    return dict(headers)


def test_the_whole_request() -> None:
    request = Renderer(endpoint(headers=(("X-Shop", "42"),))).render(event(), now=NOW, replay=False)
    signature = HmacKey(HMAC.key).sign(b"evt_000g40r40m30e209185gr38e1w.1767323050.", request.body).decode()
    assert format_id(EVENT, EVENT_ID) == "evt_000g40r40m30e209185gr38e1w"
    assert request.body == b'{"type":"order.created","timestamp":"2026-01-02T03:04:05.678Z","data":{"id":1}}'
    assert request.head.decode() == (
        "POST /hooks HTTP/1.1\r\n"
        "Host: example.com\r\n"
        f"User-Agent: Posthouse/{__version__}\r\n"
        "Accept: */*\r\n"
        "Accept-Encoding: identity\r\n"
        "X-Shop: 42\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: 79\r\n"
        "webhook-id: evt_000g40r40m30e209185gr38e1w\r\n"
        "webhook-timestamp: 1767323050\r\n"
        f"webhook-signature: {signature}\r\n"
        "\r\n"
    )
    assert request.target.authority == "example.com"
    assert request.timeouts == Timeouts(total=7.0)


def test_the_receiver_verifies_what_is_sent_with_any_of_its_secrets() -> None:
    request = Renderer(endpoint(secrets=(HMAC, ED25519, OLD_HMAC))).render(event(), now=NOW, replay=False)
    headers = headers_of(request)
    assert [part.split(",")[0] for part in headers["webhook-signature"].split(" ")] == ["v1", "v1a", "v1"]
    public = SigningKey(ED25519.key).verifying_key
    for secret in (HmacKey(HMAC.key).text, HmacKey(OLD_HMAC.key).text, public.text):
        assert Webhook(secret, clock=lambda: NOW).verify(request.body, headers) == json.loads(request.body)


def test_a_body_made_before_gives_the_same_request() -> None:
    renderer = Renderer(endpoint())
    assert renderer.render(event(), now=NOW, replay=False, body=envelope(event())) == renderer.render(
        event(), now=NOW, replay=False
    )


def test_the_timestamp_is_of_the_attempt_and_the_id_of_the_event() -> None:
    renderer = Renderer(endpoint())
    first = headers_of(renderer.render(event(), now=NOW, replay=False))
    later = headers_of(renderer.render(event(), now=NOW + 300, replay=False))
    assert first["webhook-id"] == later["webhook-id"]
    assert int(later["webhook-timestamp"]) == int(first["webhook-timestamp"]) + 300


def test_a_replay_says_so() -> None:
    renderer = Renderer(endpoint())
    assert headers_of(renderer.render(event(), now=NOW, replay=True))["webhook-replay"] == "true"
    assert "webhook-replay" not in headers_of(renderer.render(event(), now=NOW, replay=False))


def test_user_agent_and_accept_may_be_replaced() -> None:
    renderer = Renderer(endpoint(headers=(("user-agent", "Shop/1"), ("ACCEPT", "text/plain"))))
    headers = headers_of(renderer.render(event(), now=NOW, replay=False))
    assert headers["user-agent"] == "Shop/1"
    assert headers["ACCEPT"] == "text/plain"


def test_without_secrets_nothing_is_signed() -> None:
    headers = headers_of(Renderer(endpoint(secrets=())).render(event(), now=NOW, replay=False))
    assert "webhook-signature" not in headers


def test_raw_content_keeps_its_type_and_is_signed() -> None:
    raw = event(b"\x00\xff<x/>", "application/xml; charset=gbk")
    request = Renderer(endpoint()).render(raw, now=NOW, replay=False)
    headers = headers_of(request)
    assert request.body == b"\x00\xff<x/>"
    assert headers["Content-Type"] == "application/xml; charset=gbk"
    Webhook(HmacKey(HMAC.key).text, clock=lambda: NOW).check(request.body, headers)


@pytest.mark.parametrize("content_type", ["text/plain\r\nX-Evil: 1", "", "驿", "text"])
def test_a_content_type_that_cannot_be_sent_does_not_stop_the_event(content_type: str) -> None:
    headers = headers_of(Renderer(endpoint()).render(event(b"x", content_type), now=NOW, replay=False))
    assert headers["Content-Type"] == "application/octet-stream"
    assert "X-Evil" not in headers


def test_an_endpoint_that_cannot_be_sent_to_is_refused() -> None:
    with pytest.raises(Invalid, match="port"):
        Renderer(endpoint(url="https://example.com:0/"))
    with pytest.raises(Invalid, match="cannot be set"):
        Renderer(endpoint(headers=(("Host", "evil.example"),)))
    with pytest.raises(SecretError):
        Renderer(endpoint(secrets=(Secret("v1", b"short"),)))


BUILT_IN = ["Host", "User-Agent", "Accept", "Accept-Encoding"]
DYNAMIC = ["Content-Type", "Content-Length", "webhook-id", "webhook-timestamp", "webhook-signature"]
hostile = st.text(st.sampled_from("aZ0-_:;/?&=%@#. \t\r\n\0\x0b\x0c\x1f\x7f\x85\xa0é驿\u2028\ud800[]"), max_size=24)


@given(
    path=hostile,
    headers=st.lists(st.tuples(st.one_of(hostile, st.sampled_from(["X-A", "X-B", "Host"])), hostile), max_size=3),
    content_type=st.one_of(st.just("application/json"), hostile, hostile.map("text/plain;{}".format)),
    event_type=hostile.filter(lambda text: "\ud800" not in text),
    payload=st.binary(max_size=60),
    replay=st.booleans(),
)
def test_no_configuration_and_no_event_puts_a_line_into_a_head(
    path: str,
    headers: list[tuple[str, str]],
    content_type: str,
    event_type: str,
    payload: bytes,
    replay: bool,
) -> None:
    try:
        renderer = Renderer(endpoint(url="https://example.com/" + path, headers=tuple(headers)))
    except Invalid:
        return
    request = renderer.render(event(payload, content_type, event_type), now=NOW, replay=replay)
    line, parsed = parse_head(request.head)
    assert line == b"POST %b HTTP/1.1" % request.target.path.encode("ascii")
    own = [name for name, _ in headers]
    replaced = {name.lower() for name in own}
    built_in = [name for name in BUILT_IN if name.lower() not in replaced]
    assert [name for name, _ in parsed] == built_in + own + DYNAMIC + (["webhook-replay"] if replay else [])
    found = dict(parsed)
    assert found["Host"] == "example.com"
    assert int(found["Content-Length"]) == len(request.body)
    assert all(found[name] == value for name, value in headers)
    Webhook(HmacKey(HMAC.key).text, clock=lambda: NOW).check(request.body, found)
