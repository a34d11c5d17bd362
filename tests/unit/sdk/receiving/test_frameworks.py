"""Every framework does the same: one suite over all of them, then what each has of its own."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import fastapi
import flask as flask_package
import pytest
from tests import asgi
from tests.django_project import configure

from posthouse_sdk import ReceiverError, Webhook
from posthouse_sdk.receiving import Gate, MemoryReplayStore, ReceivedEvent, Receiver, ignore
from posthouse_sdk.receiving import fastapi as for_fastapi
from posthouse_sdk.receiving import flask as for_flask
from posthouse_sdk.testing import SECRET, SignedRequest, again, signed_batch, signed_request

configure()

from django.http import HttpResponse  # noqa: E402
from django.middleware.csrf import CsrfViewMiddleware  # noqa: E402
from django.test import AsyncRequestFactory, RequestFactory, override_settings  # noqa: E402
from rest_framework.exceptions import APIException  # noqa: E402
from rest_framework.response import Response as RestResponse  # noqa: E402

from posthouse_sdk.receiving import django as for_django  # noqa: E402
from posthouse_sdk.receiving import drf as for_drf  # noqa: E402

BODY_BYTES_MAX = 4096

Event = ReceivedEvent[Any]
Send = Callable[[SignedRequest], Awaitable[tuple[int, str]]]
Status = Callable[[Event], int]
"""What a view of the user's own answers; it may raise."""


def compressed(request: SignedRequest) -> SignedRequest:
    body = gzip.compress(request.body)
    signatures = Webhook(SECRET).sign(request.id, int(time.time()), body)
    return SignedRequest(body, request.headers | {"content-encoding": "gzip"} | signatures)


def client_of(app: Any) -> asgi.Client:
    return asgi.Client(app)


def of_fastapi(app: fastapi.FastAPI) -> Send:
    async def send(request: SignedRequest) -> tuple[int, str]:
        client = client_of(app)
        try:
            reply = await client.post("/hook", body=request.body, headers=request.headers)
        except ZeroDivisionError:
            return 500, ""  # what a server makes of it
        return reply.status, reply.body.decode()

    return send


def of_flask(app: flask_package.Flask) -> Send:
    async def send(request: SignedRequest) -> tuple[int, str]:
        reply = app.test_client().post("/hook", data=request.body, headers=request.headers)
        return reply.status_code, reply.text

    return send


def of_django(view: Any) -> Send:
    async def send(request: SignedRequest) -> tuple[int, str]:
        made = RequestFactory().generic(
            "POST", "/hook", request.body, request.content_type, headers=request.headers | {"accept": "image/png"}
        )
        try:
            reply = view(made)
        except ZeroDivisionError:
            return 500, ""
        if hasattr(reply, "render"):
            reply.render()
        return reply.status_code, reply.content.decode()

    return send


def of_async_django(view: Any) -> Send:
    async def send(request: SignedRequest) -> tuple[int, str]:
        rest = {name: value for name, value in request.headers.items() if name != "content-type"}
        made = AsyncRequestFactory().generic("POST", "/hook", request.body, request.content_type, headers=rest)
        try:
            reply = await view(made)
        except ZeroDivisionError:
            return 500, ""
        return reply.status_code, reply.content.decode()

    return send


def flask_app(view: Any) -> flask_package.Flask:
    app = flask_package.Flask("receiver")
    app.post("/hook")(view)
    return app


def fastapi_app(receiver: Receiver) -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    app.add_api_route("/hook", for_fastapi.route(receiver), methods=["POST"])
    return app


DISPATCHED: dict[str, Callable[[Receiver], Send]] = {
    "fastapi": lambda receiver: of_fastapi(fastapi_app(receiver)),
    "flask": lambda receiver: of_flask(flask_app(for_flask.view(receiver))),
    "django": lambda receiver: of_django(for_django.view(receiver)),
    "django-async": lambda receiver: of_async_django(for_django.async_view(receiver)),
    "drf": lambda receiver: of_django(for_drf.view(receiver)),
}


def gated_fastapi(gate: Gate, status: Status) -> Send:
    app = fastapi.FastAPI()
    admitted = fastapi.Depends(for_fastapi.admitted(gate))

    @app.post("/hook")
    async def hook(event: Any = admitted) -> fastapi.Response:
        answer = status(event)
        if answer >= 300:
            raise fastapi.HTTPException(answer)
        return fastapi.Response(status_code=answer)

    return of_fastapi(app)


def gated_flask(gate: Gate, status: Status) -> Send:
    @for_flask.webhook(gate)
    def hook(event: Event) -> Any:
        answer = status(event)
        return None if answer == 204 else ("", answer)

    return of_flask(flask_app(hook))


def gated_django(gate: Gate, status: Status) -> Send:
    @for_django.webhook(gate)
    def hook(request: Any, event: Event) -> Any:
        answer = status(event)
        return None if answer == 204 else HttpResponse(status=answer)

    return of_django(hook)


def gated_async_django(gate: Gate, status: Status) -> Send:
    @for_django.webhook(gate)
    async def hook(request: Any, event: Event) -> Any:
        answer = status(event)
        return None if answer == 204 else HttpResponse(status=answer)

    return of_async_django(hook)


def gated_drf(gate: Gate, status: Status) -> Send:
    @for_drf.webhook(gate)
    def hook(request: Any, event: Event) -> Any:
        answer = status(event)
        return None if answer == 204 else RestResponse({"status": answer}, status=answer)

    return of_django(hook)


GATED: dict[str, Callable[[Gate, Status], Send]] = {
    "fastapi": gated_fastapi,
    "flask": gated_flask,
    "django": gated_django,
    "django-async": gated_async_django,
    "drf": gated_drf,
}


# A receiver with handlers


@pytest.mark.parametrize("framework", DISPATCHED)
async def test_events_come_once_and_again_after_a_failure(framework: str) -> None:
    seen: list[str] = []

    def handler(event: Event) -> None:
        seen.append(event.id)
        if seen.count(event.id) == 1:
            raise ValueError

    receiver = Receiver(SECRET, store=MemoryReplayStore(), fallback=handler)
    send = DISPATCHED[framework](receiver)
    request = signed_request("order.created", {"x": 1})
    assert await send(request) == (500, "the handler failed\n")
    assert await send(again(request)) == (200, "")
    assert await send(again(request)) == (200, "this event was handled before\n")
    assert seen == [request.id] * 2


@pytest.mark.parametrize("framework", DISPATCHED)
@pytest.mark.parametrize(
    ("flaw", "status", "words"),
    [
        ("tampered", 401, "no signature"),
        ("stale", 401, "signed"),
        ("unsigned", 400, "missing"),
        ("reserialised", 500, "raw bytes"),
    ],
)
async def test_what_is_not_trusted_is_refused_with_its_cause(
    framework: str, flaw: Any, status: int, words: str
) -> None:
    seen: list[Event] = []
    send = DISPATCHED[framework](Receiver(SECRET, fallback=seen.append))
    told = await send(signed_request(data={"x": 1}, flaw=flaw))
    assert told[0] == status
    assert words in told[1]
    assert seen == []


@pytest.mark.parametrize("framework", DISPATCHED)
async def test_a_body_has_a_limit(framework: str) -> None:
    seen: list[Event] = []
    send = DISPATCHED[framework](Receiver(SECRET, body_bytes_max=BODY_BYTES_MAX, fallback=seen.append))
    assert await send(signed_request(data="x" * BODY_BYTES_MAX)) == (413, "the body is larger than 4096 bytes\n")
    assert (await send(signed_request(data="x" * (BODY_BYTES_MAX - 200))))[0] == 200
    assert len(seen) == 1


@pytest.mark.parametrize("framework", DISPATCHED)
async def test_a_compressed_body_is_verified_as_it_came_and_unpacked_up_to_that_limit(framework: str) -> None:
    seen: list[Event] = []
    send = DISPATCHED[framework](Receiver(SECRET, body_bytes_max=BODY_BYTES_MAX, fallback=seen.append))
    assert await send(compressed(signed_request(data="x" * (BODY_BYTES_MAX - 200)))) == (200, "")
    status, told = await send(compressed(signed_request(data="x" * BODY_BYTES_MAX)))
    assert (status, "4096 bytes unpacked" in told) == (413, True)
    assert [event.data for event in seen] == ["x" * (BODY_BYTES_MAX - 200)]


@pytest.mark.parametrize("framework", DISPATCHED)
def test_a_receiver_without_a_fallback_is_not_built_into_any(framework: str) -> None:
    with pytest.raises(ReceiverError, match="no fallback"):
        DISPATCHED[framework](Receiver(SECRET))


@pytest.mark.parametrize("framework", DISPATCHED)
async def test_a_batch_is_answered_event_by_event(framework: str) -> None:
    send = DISPATCHED[framework](Receiver(SECRET, fallback=ignore))
    status, body = await send(signed_batch([("a", 1), ("b", 2)], ids=["evt_1", "evt_2"]))
    assert (status, [each["id"] for each in json.loads(body)["results"]]) == (200, ["evt_1", "evt_2"])


# A view of the user's own behind a gate


@pytest.mark.parametrize("framework", GATED)
async def test_a_view_gets_each_event_once(framework: str) -> None:
    seen: list[tuple[str, Any]] = []

    def status(event: Event) -> int:
        seen.append((event.id, event.data))
        return 204

    send = GATED[framework](Gate(SECRET, store=MemoryReplayStore()), status)
    request = signed_request(data={"x": 1})
    assert await send(request) == (204, "")
    again_status, again_told = await send(again(request))
    assert again_status == 200
    assert "this event was handled before" in again_told
    assert seen == [(request.id, {"x": 1})]


@pytest.mark.parametrize("framework", GATED)
async def test_a_view_that_fails_gets_it_again(framework: str) -> None:
    tries: list[str] = []

    def status(event: Event) -> int:
        tries.append(event.id)
        match len(tries):
            case 1:
                raise ZeroDivisionError
            case 2:
                return 503
        return 201

    send = GATED[framework](Gate(SECRET, store=MemoryReplayStore()), status)
    request = signed_request()
    assert [(await send(request))[0] for _ in range(4)] == [500, 503, 201, 200]
    assert len(tries) == 3


@pytest.mark.parametrize("framework", GATED)
async def test_a_view_is_not_called_for_what_is_refused(framework: str) -> None:
    seen: list[Event] = []

    def status(event: Event) -> int:
        seen.append(event)
        return 204

    send = GATED[framework](Gate(SECRET, body_bytes_max=BODY_BYTES_MAX), status)
    told = [await send(signed_request(flaw="tampered")), await send(signed_request(data="x" * BODY_BYTES_MAX))]
    assert [status for status, _ in told] == [401, 413]
    assert "no signature was made" in told[0][1]
    assert seen == []


# Of their own


async def test_fastapi_a_middleware_may_have_read_the_body() -> None:
    app = fastapi_app(Receiver(SECRET, fallback=ignore))

    @app.middleware("http")
    async def read(request: fastapi.Request, call_next: Any) -> Any:
        await request.body()
        return await call_next(request)

    assert (await of_fastapi(app)(signed_request()))[0] == 200


async def test_fastapi_reads_no_further_than_the_limit_and_ends_with_the_sender() -> None:
    client = client_of(fastapi_app(Receiver(SECRET, body_bytes_max=BODY_BYTES_MAX, fallback=ignore)))
    reply = await client.request("POST", "/hook", body=[b"x" * 3000] * 3, hang=True)
    assert reply.status == 413
    assert (await client.request("POST", "/hook", body=[b"x"], cut_off=True)).status == 400


async def test_fastapi_tells_when_to_come_again() -> None:
    gate = Gate(SECRET, store=MemoryReplayStore())
    request = signed_request()
    gate.admit(request.body, request.headers)  # and nothing more: somebody is at it
    app = fastapi.FastAPI()
    app.post("/hook", dependencies=[fastapi.Depends(for_fastapi.admitted(gate))])(lambda: None)
    reply = await client_of(app).post("/hook", body=request.body, headers=request.headers)
    assert (reply.status, reply.headers["retry-after"]) == (409, "10")


def test_flask_asynchronous_views_and_route_parameters() -> None:
    pytest.importorskip("asgiref")
    app, seen = flask_package.Flask("receiver"), []

    @app.post("/hook/<shop>")
    @for_flask.webhook(Gate(SECRET))
    async def hook(event: Event, shop: str) -> None:
        seen.append((shop, event.data))

    request = signed_request(data=1)
    assert app.test_client().post("/hook/42", data=request.body, headers=request.headers).status_code == 204
    assert seen == [("42", 1)]


def test_django_views_are_exempt_from_csrf_and_take_post_only() -> None:
    views = [
        for_django.view(Receiver(SECRET, fallback=ignore)),
        for_django.async_view(Receiver(SECRET, fallback=ignore)),
        for_django.webhook(Gate(SECRET))(lambda request, event: None),
        for_drf.view(Receiver(SECRET, fallback=ignore)),
    ]
    for view in views:
        assert (
            CsrfViewMiddleware(lambda request: None).process_view(RequestFactory().post("/hook"), view, (), {}) is None
        )
    for view in (views[0], views[2], views[3]):
        assert view(RequestFactory().get("/hook")).status_code == 405


def test_django_a_body_that_was_read_before_is_told_of() -> None:
    request = signed_request()
    made = RequestFactory().generic("POST", "/hook", request.body, request.content_type, headers=request.headers)
    made.read()
    reply = for_django.view(Receiver(SECRET, fallback=ignore))(made)
    assert reply.status_code == 500
    assert b"the body was read before it was verified" in reply.content


def test_django_has_a_limit_of_its_own() -> None:
    request = signed_request(data="x" * 2000)
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1000):
        made = RequestFactory().generic("POST", "/hook", request.body, request.content_type, headers=request.headers)
        assert for_django.view(Receiver(SECRET, fallback=ignore))(made).status_code == 413


def test_django_the_dummy_cache_is_refused() -> None:
    from django.core.cache.backends.dummy import DummyCache

    from posthouse_sdk.receiving.stores.django_cache import DjangoCacheReplayStore

    with pytest.raises(ReceiverError, match="keeps nothing"):
        DjangoCacheReplayStore(DummyCache("x", {}))
    request, seen = signed_request(), list[Event]()
    receiver = Receiver(SECRET, store=DjangoCacheReplayStore("default"), fallback=seen.append)
    for _ in range(2):
        assert receiver.handle(request.body, request.headers).status == 200
    assert len(seen) == 1


async def test_rest_frameworks_own_exceptions_release_the_event() -> None:
    tries = []

    @for_drf.webhook(Gate(SECRET, store=MemoryReplayStore()))
    def hook(request: Any, event: Event) -> Any:
        tries.append(event.id)
        raise APIException("not today")

    send, request = of_django(hook), signed_request()
    assert [(await send(request))[0] for _ in range(2)] == [500, 500]
    assert len(tries) == 2
