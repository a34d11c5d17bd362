"""Testing help: the target does what it is told, and the factory's requests are what they are called."""

from __future__ import annotations

import asyncio
import http.client
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest

from posthouse_sdk import NoMatchingSignatureError, SecretError, Webhook, generate_signing_key
from posthouse_sdk.testing import OTHER_SECRET, SECRET, SignedRequest, Target, again, signed_batch, signed_request


def post(target: Target, request: SignedRequest, path: str = "/hook") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(target.url).netloc, timeout=10)
    try:
        connection.request("POST", path, request.body, request.headers)
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


def later(*calls: Any) -> threading.Thread:
    thread = threading.Thread(target=lambda: [call() for call in calls])
    thread.start()
    return thread


def test_it_verifies_and_keeps_what_came() -> None:
    with Target(SECRET) as target:
        request = signed_request("order.created", {"x": 1})
        assert post(target, request, "/hook?a=1").status == 204
        assert post(target, signed_request(flaw="tampered")).status == 401
        assert [(event.id, event.data) for event in target.wait_for(1)] == [(request.id, {"x": 1})]
        good, bad = target.wait_for_requests(2)
    assert (good.method, good.path, good.body, good.status, good.error) == (
        "POST",
        "/hook?a=1",
        request.body,
        204,
        None,
    )
    assert good.headers["webhook-id"] == request.id
    assert isinstance(bad.error, NoMatchingSignatureError)
    assert (bad.events, bad.confirmed) == ((), False)


def test_waiting_ends_with_the_fact() -> None:
    with Target() as target:
        requests = [signed_request("a", n) for n in range(3)]
        thread = later(*(lambda request=request: post(target, request) for request in requests))
        assert [event.data for event in target.wait_for(3)] == [0, 1, 2]
        thread.join()
        target.clear()
        assert target.requests == []


def test_waiting_in_vain_tells_what_there_is() -> None:
    with Target() as target:
        post(target, signed_request(flaw="stale"))
        with pytest.raises(AssertionError, match=r"for 1 confirmed events; there are 0; .* POST /hook 401 \(signed"):
            target.wait_for(1, timeout=0.01)
        with pytest.raises(AssertionError, match="that hang; there are 0"):
            target.wait_until_hanging(timeout=0.01)


def test_it_fails_as_often_as_it_is_told() -> None:
    with Target() as target:
        target.fail(503, retry_after=7, times=2)
        request = signed_request()
        answers = [post(target, again(request)) for _ in range(3)]
        assert [(answer.status, answer.getheader("Retry-After")) for answer in answers] == [
            (503, "7"), (503, "7"), (204, None),
        ]  # fmt: skip
        assert len(target.events) == 1
        assert len(target.requests) == 3
        target.fail(times=None)
        assert [post(target, request).status for _ in range(3)] == [500] * 3
        target.heal()
        assert post(target, request).status == 204


def test_it_redirects_drops_and_answers_anything() -> None:
    with Target() as target:
        target.redirect("http://127.0.0.1:9/elsewhere")
        target.drop()
        target.answer(299, b"body", [("X-Own", "1")])
        request = signed_request()
        redirected = post(target, request)
        assert (redirected.status, redirected.getheader("Location")) == (307, "http://127.0.0.1:9/elsewhere")
        with pytest.raises((http.client.HTTPException, OSError)):
            post(target, request)
        assert (other := post(target, request)).status == 299
        assert other.getheader("X-Own") == "1"
        assert [arrival.status for arrival in target.requests] == [307, None, 299]


def test_it_hangs_until_it_is_released() -> None:
    with Target() as target:
        target.hang()
        thread = later(lambda: post(target, signed_request("slow")))
        target.wait_until_hanging()
        assert target.requests == []
        assert post(target, signed_request("quick")).status == 204
        target.release()
        assert [event.type for event in target.wait_for(2)] == ["quick", "slow"]
        thread.join()


def test_it_ends_with_those_that_hang() -> None:
    outcome: list[int | str] = []

    def try_it() -> None:
        try:
            outcome.append(post(target, signed_request()).status)
        except (OSError, http.client.HTTPException) as error:
            outcome.append(type(error).__name__)

    with Target() as target:
        target.hang(times=None)
        thread = later(try_it)
        target.wait_until_hanging()
    thread.join(10)
    assert not thread.is_alive()
    assert len(outcome) == 1


async def test_on_an_event_loop() -> None:
    async with Target() as target:
        sending = asyncio.to_thread(post, target, signed_request("a"))
        (event,), _ = await asyncio.gather(target.await_for(1), sending)
        assert event.type == "a"
        assert len(await target.await_for_requests(1)) == 1


def test_a_chunked_body_and_other_methods() -> None:
    with Target(None) as target:
        connection = http.client.HTTPConnection(urlsplit(target.url).netloc, timeout=10)
        for method, body in (("PUT", iter([b"ab", b"cde"])), ("GET", None), ("HEAD", None)):
            connection.request(method, "/", body, encode_chunked=body is not None)
            assert connection.getresponse().read() == b""
        connection.close()
        assert [(each.method, each.body, each.confirmed) for each in target.requests] == [
            ("PUT", b"abcde", True), ("GET", b"", True), ("HEAD", b"", True),
        ]  # fmt: skip


def test_a_batch_brings_its_events() -> None:
    with Target() as target:
        post(target, signed_batch([("a", 1), ("b", 2)]))
        assert [event.type for event in target.wait_for(2)] == ["a", "b"]


def test_another_attempt_has_the_same_id_and_a_signature_of_its_own() -> None:
    request = signed_request(at=1000)
    second = again(request, at=2000)
    assert (second.id, second.body) == (request.id, request.body)
    Webhook(SECRET, clock=lambda: 2000).check(second.body, second.headers)
    assert Webhook(SECRET, clock=lambda: 1000).unwrap(request.body, request.headers).type == "test.event"


def test_requests_are_signed_with_any_secrets() -> None:
    pair = generate_signing_key(b"e" * 32)
    request = signed_request(secret=[pair.text, OTHER_SECRET])
    for secret in (pair.verifying_key.text, OTHER_SECRET):
        Webhook(secret).check(request.body, request.headers)
    with pytest.raises(SecretError):
        signed_request(secret=pair.verifying_key.text)


def test_headers_as_wsgi_names_them() -> None:
    environ = signed_request(headers={"x-own": "1"}).environ
    assert environ["CONTENT_TYPE"] == "application/json"
    assert environ["HTTP_X_OWN"] == "1"
    assert {"HTTP_WEBHOOK_ID", "HTTP_WEBHOOK_TIMESTAMP", "HTTP_WEBHOOK_SIGNATURE"} <= environ.keys()
