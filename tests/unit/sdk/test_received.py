"""A request becomes an event, whatever the format; and errors that name the cause."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from posthouse_sdk import (
    BodyNotJsonError,
    MalformedBodyError,
    NoMatchingSignatureError,
    ReserialisedBodyError,
    SecretError,
    SeveralEventsError,
    Webhook,
    WrongSecretKindError,
    generate_hmac_key,
    generate_signing_key,
)
from posthouse_sdk.diagnosis import DIAGNOSED_BYTES_MAX
from posthouse_sdk.received import ReceivedEvent, events_of
from posthouse_sdk.testing import SECRET, signed_batch, signed_request

NOW = 1_767_323_045
PAIR = generate_signing_key(b"e" * 32)
BODY = '{"type":"order.created","timestamp":"2026-01-02T03:04:05.678Z","data":{"name":"陶","total":1}}'.encode()
BINARY = bytes(range(256))


def receiver(*secrets: str) -> Webhook:
    return Webhook(list(secrets) or SECRET, clock=lambda: NOW)


def headers(body: bytes, *secrets: str, **more: str) -> dict[str, str]:
    signed = Webhook(list(secrets) or SECRET).sign("evt_1", NOW, body)
    return signed | {name.replace("_", "-"): value for name, value in more.items()}


def unwrapped(body: bytes, content_type: str = "application/json", **more: str) -> ReceivedEvent[Any]:
    return receiver().unwrap(body, headers(body, content_type=content_type, **more))


# Formats


def test_the_standard_envelope() -> None:
    event = unwrapped(BODY)
    assert event.id == event.message_id == "evt_1"
    assert event.type == "order.created"
    assert event.data == {"name": "陶", "total": 1}
    assert event.timestamp == datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    assert event.signed_at == datetime.fromtimestamp(NOW, UTC)
    assert (event.subject, event.key, event.source, event.claim) == (None, None, None, None)
    assert not event.replay
    assert not event.batched


def test_headers_alone_will_do_for_json() -> None:
    assert receiver().unwrap(BODY.decode(), headers(BODY)).type == "order.created"


def test_a_replay_says_so() -> None:
    assert unwrapped(BODY, webhook_replay="true").replay
    assert not unwrapped(BODY, webhook_replay="no").replay


def test_other_members_of_an_envelope_are_kept() -> None:
    body = b'{"type":"a.b","data":1,"subject":"shop:42","key":"42","version":3,"timestamp":"yesterday"}'
    event = unwrapped(body)
    assert (event.subject, event.key, event.attributes, event.timestamp) == ("shop:42", "42", {"version": 3}, None)


def test_a_thin_event_has_no_data_and_a_foreign_one_is_its_own() -> None:
    assert unwrapped(b'{"type":"a.b","timestamp":"2026-01-02T03:04:05Z"}').data is None
    assert unwrapped(b'{"type":"a.b","object":{"x":1}}').data == {"type": "a.b", "object": {"x": 1}}


@pytest.mark.parametrize("body", [b"[1,2]", b'"text"', b"[]", b'{"kind":"a.b"}', b'{"type":7,"data":1}', b"null"])
def test_json_that_names_no_type_has_none(body: bytes) -> None:
    event = unwrapped(body)
    assert (event.type, event.data) == (None, json.loads(body))


def test_another_content_is_handed_on_as_it_came() -> None:
    event = unwrapped(BINARY, "image/png")
    assert (event.type, event.data, event.content_type) == (None, BINARY, "image/png")


def test_a_text_does_not_pass_for_an_event_of_a_type() -> None:
    """Its author is not the platform."""
    event = unwrapped(BODY, "text/plain; charset=utf-8")
    assert (event.type, event.data) == (None, BODY)


def test_a_cloudevent() -> None:
    body = {
        "specversion": "1.0", "id": "evt_1", "source": "posthouse", "type": "order.created", "subject": "shop:42",
        "time": "2026-01-02T03:04:05.678Z", "partitionkey": "42", "datacontenttype": "application/json", "data": {"x": 1},
        "traceparent": "00-1",
    }  # fmt: skip
    event = unwrapped(json.dumps(body).encode(), "application/cloudevents+json; charset=utf-8")
    assert (event.id, event.type, event.source, event.subject, event.key) == (
        "evt_1", "order.created", "posthouse", "shop:42", "42",
    )  # fmt: skip
    assert (event.data, event.attributes) == ({"x": 1}, {"traceparent": "00-1"})
    assert event.timestamp == datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def test_a_cloudevent_with_other_content() -> None:
    body = b'{"specversion":"1.0","id":"e","type":"t","datacontenttype":"image/png","data_base64":"AAEC/w=="}'
    event = unwrapped(body, "application/cloudevents+json")
    assert (event.data, event.content_type) == (b"\0\1\2\xff", "image/png")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"specversion":"1.0","type":"t"}', "application/cloudevents+json"),
        (b"[]", "application/cloudevents+json"),
        (b'{"specversion":"1.0","id":"e","type":"t","data_base64":"!"}', "application/cloudevents+json"),
        (b'{"specversion":"1.0","id":"e","type":"t","data_base64":7}', "application/cloudevents+json"),
        (b'{"specversion":"1.0","id":"e","type":"t"}', "application/cloudevents-batch+json"),
        (b"[]", "application/cloudevents-batch+json"),
    ],
)
def test_what_is_no_event_of_its_format(body: bytes, content_type: str) -> None:
    with pytest.raises(MalformedBodyError, match="the signature is right"):
        receiver().unwrap_all(body, headers(body, content_type=content_type))


def test_what_is_no_json() -> None:
    for body in (b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(BodyNotJsonError):
            unwrapped(body)


@pytest.mark.parametrize("format", ["json", "cloudevents"])
def test_a_batch(format: Any) -> None:
    request = signed_batch([("a.b", 1), ("c.d", {"x": 2})], at=NOW, ids=["evt_1", "evt_2"], format=format)
    events = receiver().unwrap_all(request.body, request.headers)
    assert [(event.id, event.type, event.data, event.batched) for event in events] == [
        ("evt_1", "a.b", 1, True), ("evt_2", "c.d", {"x": 2}, True),
    ]  # fmt: skip
    assert {event.message_id for event in events} == {request.id}
    with pytest.raises(SeveralEventsError, match="2 events in a batch: use unwrap_all"):
        receiver().unwrap(request.body, request.headers)


def test_a_batch_of_one_is_still_a_batch_and_may_hold_other_content() -> None:
    body = b'[{"id":"evt_1","type":"logo.changed","timestamp":"x","content_type":"image/png","data_base64":"AAEC/w=="}]'
    (event,) = receiver().unwrap_all(body, headers(body))
    assert (event.id, event.data, event.content_type) == ("evt_1", b"\0\1\2\xff", "image/png")
    with pytest.raises(SeveralEventsError):
        receiver().unwrap(body, headers(body))


def test_a_time_that_no_calendar_has() -> None:
    (event,) = events_of(b"1", {}, "evt_1", 10**12 - 1)
    assert event.signed_at == datetime.max.replace(tzinfo=UTC)


# Why no signature fits


def spellings() -> list[bytes | str]:
    parsed = json.loads(BODY)
    return [
        json.dumps(parsed),
        json.dumps(parsed, ensure_ascii=False),
        json.dumps(parsed, indent=2),
        json.dumps(parsed, sort_keys=True),
        json.dumps(parsed, separators=(",", ":")),
        BODY + b"\n",
        b"\xef\xbb\xbf" + BODY,
        BODY.replace(b'"data"', b'\r\n"data"').replace(b"\r\n", b" "),
    ]


@pytest.mark.parametrize("body", spellings())
def test_a_body_that_was_parsed_and_written_anew_is_told_from_a_wrong_secret(body: bytes | str) -> None:
    with pytest.raises(ReserialisedBodyError, match=r"re-serialised.*The secret is right; pass the raw bytes"):
        receiver().unwrap(body, headers(BODY))


def test_the_public_key_finds_it_too() -> None:
    with pytest.raises(ReserialisedBodyError):
        receiver(PAIR.verifying_key.text).unwrap(json.dumps(json.loads(BODY)), headers(BODY, PAIR.text))


def test_line_ends_that_a_proxy_changed() -> None:
    body = b'{\n"type":"a",\n"data":1}'
    with pytest.raises(ReserialisedBodyError):
        receiver().unwrap(body.replace(b"\n", b"\r\n"), headers(body))
    with pytest.raises(ReserialisedBodyError):
        receiver().unwrap(body, headers(body.replace(b"\n", b"\r\n")))


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[" * 60_000, b"1e999", b'"\\ud800"', BODY.replace(b"1", b"2"), b"9" * 9_000]
)
def test_another_content_is_not(body: bytes) -> None:
    with pytest.raises(NoMatchingSignatureError, match="not this endpoint's") as caught:
        receiver().unwrap(body, headers(BODY))
    assert type(caught.value) is NoMatchingSignatureError


def test_it_is_not_looked_for_in_large_bodies() -> None:
    body = json.dumps({"type": "a", "data": "x" * DIAGNOSED_BYTES_MAX}, separators=(",", ":")).encode()
    with pytest.raises(NoMatchingSignatureError) as caught:
        receiver().unwrap(json.dumps(json.loads(body)), headers(body))
    assert type(caught.value) is NoMatchingSignatureError


def test_the_other_kind_of_secret() -> None:
    with pytest.raises(
        WrongSecretKindError, match=r"signed with an ed25519 key .*, and what is given here is a shared"
    ):
        receiver().unwrap(BODY, headers(BODY, PAIR.text))
    with pytest.raises(
        WrongSecretKindError, match=r"signed with a shared secret .*, and what is given here is an ed25519"
    ):
        receiver(PAIR.verifying_key.text).unwrap(BODY, headers(BODY))
    other = generate_hmac_key(b"o" * 32).text
    with pytest.raises(NoMatchingSignatureError) as caught:
        receiver(other).unwrap(BODY, headers(BODY, SECRET, PAIR.text))
    assert type(caught.value) is NoMatchingSignatureError


def test_a_version_that_nobody_knows() -> None:
    with pytest.raises(NoMatchingSignatureError, match="of a version known here"):
        receiver().unwrap(BODY, headers(BODY) | {"webhook-signature": "v9,AAAA"})


def test_an_api_key_is_no_secret() -> None:
    with pytest.raises(SecretError, match="this is an API key"):
        Webhook("ph_" + "x" * 40)


def test_during_a_rotation_either_secret_will_do() -> None:
    old, new = generate_hmac_key(b"o" * 32).text, generate_hmac_key(b"n" * 32).text
    for given, signed in [([old, new], [new]), ([old, new], [old]), ([new], [old, new]), ([old], [old, new])]:
        assert receiver(*given).unwrap(BODY, headers(BODY, *signed)).id == "evt_1"


def test_requests_of_the_factory_are_what_they_say() -> None:
    request = signed_request("order.created", {"x": 1}, at=NOW, id="evt_7", subject="s", key="k", format="cloudevents")
    event = receiver().unwrap(request.body, request.headers)
    assert (event.id, event.type, event.data, event.subject, event.key) == (
        "evt_7",
        "order.created",
        {"x": 1},
        "s",
        "k",
    )
