"""Events as requests, answers as verdicts, and when to try again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse_sdk import (
    ConfigurationError,
    Event,
    FieldError,
    ForbiddenError,
    InvalidEventError,
    NotFoundError,
    RefusedError,
    UnauthorisedError,
    UnavailableError,
)
from posthouse_sdk.publishing.exchange import (
    BACKOFF_SECONDS_MAX,
    RETRY_AFTER_SECONDS_MAX,
    Accepted,
    Again,
    Patience,
    Refused,
    judge,
    one,
    pause,
    retry_after,
    server_of,
    several,
)
from posthouse_sdk.publishing.http1 import Answer

SERVER = server_of("http://127.0.0.1:8080")
EVENT = Event("order.created", {"n": 1}, idempotency_key="k")
ONE = one(EVENT)
TWO = several("acme", [EVENT, Event("a", 1)])


def answer(status: int, body: Any, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, content, True)


def problem(status: int, code: str, **more: Any) -> Answer:
    headers = {"retry_after": more.pop("after")} if "after" in more else {}
    return answer(status, {"code": code, "detail": "it is so", **more}, **headers)


@pytest.mark.parametrize(
    ("url", "shown", "authority"),
    [
        ("https://p.example", "https://p.example", "p.example"),
        ("https://p.example:8443/hooks/", "https://p.example:8443/hooks", "p.example:8443"),
        ("http://[::1]:8080", "http://[::1]:8080", "[::1]:8080"),
    ],
)
def test_where_the_server_is(url: str, shown: str, authority: str) -> None:
    server = server_of(url)
    assert (server.url, server.authority) == (shown, authority)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("p.example", "like https://"),
        ("ftp://p.example", "like https://"),
        ("https://", "like https://"),
        ("https://key@p.example", "belongs in api_key"),
        ("https://p.example/v1", "ends before /v1"),
        ("https://p.example/?a=b", "ends before /v1"),
        ("https://p.example:port", "cannot be read"),
        ("https://p.example/a b", "need encoding"),
        ("https://例子.example", "need encoding"),
    ],
)
def test_a_url_that_cannot_be_is_told(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        server_of(url)


def test_requests() -> None:
    request = one(Event("a", 1, app="a/b")).request(server_of("http://h:1/pre"), "ph_key", "agent")
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /pre/v1/apps/a%2Fb/events HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer ph_key\r\n")
    assert json.loads(body)["type"] == "a"
    assert b"Idempotency-Key" not in head, "it is in the body, for this event alone"
    raw = one(Event("a.b", b"<x/>", subject="shop:4 2", content_type="application/xml", idempotency_key="k"))
    assert raw.path == "/v1/events?type=a.b&subject=shop%3A4%202"
    assert raw.headers == {"Content-Type": "application/xml", "Idempotency-Key": "k"}
    assert (TWO.path, len(json.loads(TWO.body))) == ("/v1/apps/acme/events/batch", 2)


def test_what_was_accepted() -> None:
    row = {"id": "evt_1", "type": "order.created", "created_at": "2026-11-28T06:00:00.5Z"}
    verdict = judge(ONE, answer(202, row | {"apps": 3}), now=0)
    assert isinstance(verdict, Accepted)
    (receipt,) = verdict.receipts
    assert receipt == ("evt_1", "order.created", datetime(2026, 11, 28, 6, 0, 0, 500_000, UTC), 3)
    both = judge(TWO, answer(202, {"data": [row, row]}), now=0)
    assert isinstance(both, Accepted)
    assert [receipt.apps for receipt in both.receipts] == [None, None]


@pytest.mark.parametrize("body", [b"<html>", b"[]", {"data": []}, {"id": 1}, b"\xff", {"data": [{"id": 1}]}])
def test_a_202_of_somebody_else_is_none(body: Any) -> None:
    for call in (ONE, TWO):
        verdict = judge(call, answer(202, body), now=0)
        assert isinstance(verdict, Refused)
        assert "Is url that of a Posthouse server" in str(verdict.error)


@pytest.mark.parametrize(
    ("status", "code", "kind", "step"),
    [
        (401, "unauthorised", UnauthorisedError, "POSTHOUSE_API_KEY"),
        (403, "forbidden", ForbiddenError, "scope publish"),
        (404, "app_not_found", NotFoundError, "posthouse apps"),
        (404, "event_type_not_found", NotFoundError, "catalogue push"),
        (404, "", NotFoundError, "Is url that"),
        (413, "too_large", InvalidEventError, ""),
        (422, "schema_mismatch", InvalidEventError, "event-types get"),
        (418, "teapot", RefusedError, ""),
    ],
)
def test_refusals_say_what_to_do(status: int, code: str, kind: type[RefusedError], step: str) -> None:
    verdict = judge(ONE, problem(status, code, path="data.n"), now=0)
    assert isinstance(verdict, Refused)
    error = verdict.error
    assert type(error) is kind
    assert (error.status, error.code, error.path) == (status, code, "data.n")
    assert str(error).startswith(f"data.n: it is so ({status}")
    assert step in str(error)


def test_all_wrong_fields_are_told() -> None:
    told = [{"path": "type", "detail": "is none"}, {"path": "key", "detail": "too long"}]
    verdict = judge(ONE, problem(422, "invalid", path="type", errors=told), now=0)
    assert isinstance(verdict, Refused)
    assert verdict.error.fields == (FieldError("type", "is none"), FieldError("key", "too long"))
    assert "type: it is so; key: too long" in str(verdict.error)


def test_a_redirect_is_no_answer() -> None:
    verdict = judge(ONE, answer(301, b"", location="https://other"), now=0)
    assert isinstance(verdict, Refused)
    assert "https://other" in str(verdict.error)


@pytest.mark.parametrize(
    ("path", "at"), [("[1].data.x", 1), ("[1]", 1), ("data", None), ("[x].y", None), ("[12", None)]
)
def test_the_event_at_fault_is_named(path: str, at: int | None) -> None:
    verdict = judge(TWO, problem(422, "invalid", path=path), now=0)
    assert isinstance(verdict, Refused)
    assert verdict.at == at
    alone = judge(ONE, problem(422, "invalid", path="[1].data"), now=0)
    assert isinstance(alone, Refused)
    assert alone.at is None


@pytest.mark.parametrize(
    ("status", "code", "in_doubt", "everywhere"),
    [
        (503, "overloaded", False, True),
        (503, "store_unavailable", True, True),
        (500, "internal_error", True, True),
        (502, "", True, True),
        (408, "body_timeout", False, True),
        (429, "quota_publish_rate", False, False),
        (409, "idempotency_in_progress", False, True),
    ],
)
def test_what_may_pass(status: int, code: str, in_doubt: bool, everywhere: bool) -> None:
    verdict = judge(ONE, problem(status, code, after="7"), now=0)
    assert isinstance(verdict, Again)
    assert (verdict.after, verdict.in_doubt, verdict.everywhere) == (7, in_doubt, everywhere)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("3", 3),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("soon", 0),
        ("-5", 0),
        ("9" * 30, RETRY_AFTER_SECONDS_MAX),
    ],
)
def test_retry_after(value: str | None, seconds: float) -> None:
    assert retry_after(value, now=10) == seconds


@given(tries=st.integers(1, 10_000), after=st.floats(0, 3_600), draw=st.floats(0, 1))
def test_a_pause_is_bounded_and_as_long_as_asked(tries: int, after: float, draw: float) -> None:
    assert after <= pause(tries, after, draw=draw) <= after + BACKOFF_SECONDS_MAX
    assert pause(tries + 1, after, draw=draw) >= pause(tries, after, draw=draw)


def test_patience_ends() -> None:
    patience = Patience(10.0, server=SERVER)
    assert patience.wait(Again("no", reused=True), now=0, draw=0) == 0, "a connection from before: at once"
    assert patience.wait(Again("no", reused=True), now=0, draw=0) > 0, "but not for ever"
    with pytest.raises(UnavailableError, match=r"not taken by http://127\.0\.0\.1:8080, after 3 tries: busy") as told:
        patience.wait(Again("busy", after=10), now=0, draw=0)
    assert (told.value.tries, told.value.in_doubt) == (3, False)
    with pytest.raises(UnavailableError, match="it may be published") as told:
        Patience(1.0, server=SERVER).wait(Again("lost", in_doubt=True), now=1, draw=0)
    assert told.value.in_doubt
