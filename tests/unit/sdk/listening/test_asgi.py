"""Around an ASGI application: what goes by is what would have gone by without it, and its event is known in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import fastapi
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket
from tests import asgi
from tests.listening import Heard

from posthouse_sdk.listening import AsgiListener, Rule
from posthouse_sdk.listening.sink import Durable
from posthouse_sdk.publishing.emitted import FakeHub

CREATED = Rule("POST", "/orders", "order_create", status=201)
Message = dict[str, Any]


def scope(method: str = "POST", path: str = "/orders", **more: Any) -> Message:
    headers = [(b"content-type", b"application/json")]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": headers,
        "root_path": "",
    } | more


def messages(body: bytes = b'{"id": 7}', status: int = 201, kind: bytes = b"application/json") -> list[Message]:
    return [
        {"type": "http.response.start", "status": status, "headers": [(b"Content-Type", kind)]},
        {"type": "http.response.body", "body": body[:3], "more_body": True},
        {"type": "http.response.body", "body": body[3:]},
    ]


async def run(
    heard: Heard, app: Callable[..., Awaitable[None]], told: Message | None = None, *received: Message
) -> list[Message]:
    """What comes out of an application under the listener."""
    came = list(received)
    sent: list[Message] = []

    async def receive() -> Message:
        return came.pop(0) if came else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await AsgiListener(app, heard.listener)(told or scope(), receive, send)
    return sent


def answering(*said: Message) -> Callable[..., Awaitable[None]]:
    async def app(_: Any, __: Any, send: Any) -> None:
        for message in said:
            await send(message)

    return app


async def test_an_answer_becomes_an_event_and_goes_out_as_it_is() -> None:
    heard = Heard(CREATED)
    said = messages()
    assert await run(heard, answering(*said)) == said
    assert heard.events == [("order_create", {"id": 7})]
    assert heard.listener.gauges().observed == 1


@pytest.mark.parametrize("told", [scope("GET"), scope(path="/orders/"), {"type": "websocket", "path": "/orders"}])
async def test_of_what_no_rule_matches_the_application_gets_the_very_same(told: Message) -> None:
    heard = Heard(CREATED)
    given: list[Any] = []

    async def app(*arguments: Any) -> None:
        given.extend(arguments)

    async def receive() -> Message:
        raise AssertionError

    async def send(_: Message) -> None:
        raise AssertionError

    await AsgiListener(app, heard.listener)(told, receive, send)  # type: ignore[arg-type]
    assert given == [told, receive, send]
    assert given[0] is told


async def test_what_the_request_needs_not_is_not_watched() -> None:
    heard = Heard(CREATED, Rule("POST", "/orders", "x", when={"header.x": "1"}))
    given: list[Any] = []

    async def app(_: Any, receive: Any, send: Any) -> None:
        given.append(receive)
        await answering(*messages())(_, receive, send)

    async def receive() -> Message:
        raise AssertionError

    async def send(_: Message) -> None: ...

    await AsgiListener(app, heard.listener)(scope(), receive, send)  # type: ignore[arg-type]
    assert given == [receive], "no rule needs the request's body"
    assert len(heard.events) == 1


async def test_the_path_is_that_within_the_application() -> None:
    heard = Heard(CREATED)
    await run(heard, answering(*messages()), scope(path="/api/orders", root_path="/api"))
    await run(heard, answering(*messages()), scope(path="/orders", root_path="/api"))
    await run(heard, answering(*messages()), scope(path="/apiorders", root_path="/api"))
    assert len(heard.events) == 2


async def test_bodies_of_requests_are_seen_as_the_application_reads_them() -> None:
    heard = Heard(Rule("POST", "/orders", "order_create", data="request"))
    read: list[bytes] = []

    async def app(_: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            read.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        await answering(*messages())(_, receive, send)

    pieces: list[Message] = [
        {"type": "http.request", "body": b'{"a"', "more_body": True}, {"type": "http.request", "body": b":1}"},
    ]  # fmt: skip
    await run(heard, app, scope(), *pieces)
    assert read == [b'{"a"', b":1}"]
    assert heard.events == [("order_create", {"a": 1})]


async def test_a_request_that_is_not_read_makes_no_event_of_its_body() -> None:
    heard = Heard(Rule("POST", "/orders", "order_create", data="request"))
    said = messages()
    assert await run(heard, answering(*said)) == said
    assert (heard.events, heard.misses) == ([], ["unread"])


# The answer waits for its event, and for nothing else


async def test_the_end_of_an_answer_waits_until_its_event_is_durable() -> None:
    heard = Heard(CREATED)
    durable, put = Durable(), asyncio.Event()

    def waits() -> Durable:
        put.set()
        return durable

    heard.sink.durable = waits
    sent: list[Message] = []

    async def send(message: Any) -> None:
        sent.append(message)

    said = messages()
    task = asyncio.create_task(AsgiListener(answering(*said), heard.listener)(scope(), None, send))  # type: ignore[arg-type]
    await put.wait()
    await asyncio.sleep(0)
    assert sent == said[:2]
    durable.set_result(True)
    await task
    assert sent == said
    assert heard.listener.gauges().late == 0


async def test_the_last_piece_may_be_known_by_the_length() -> None:
    """A client has the whole answer then, whatever the application still does."""
    heard = Heard(CREATED)
    out: list[int] = []
    start, *pieces = messages()
    start["headers"].append((b"Content-Length", b"9"))

    async def send(_: Any) -> None:
        out.append(len(heard.events))

    said = [start, *(piece | {"more_body": True} for piece in pieces), {"type": "http.response.body", "body": b""}]
    await AsgiListener(answering(*said), heard.listener)(scope(), None, send)  # type: ignore[arg-type]
    assert out == [0, 0, 1, 1]


async def test_it_does_not_wait_for_ever() -> None:
    heard = Heard(CREATED)
    heard.sink.hold_seconds = 0.01
    heard.sink.durable = Durable
    said = messages()
    assert await run(heard, answering(*said)) == said
    assert heard.listener.gauges().late == 1


async def test_what_needs_no_body_is_durable_before_the_head_goes_out() -> None:
    heard = Heard(Rule("POST", "/orders", "order_create", data="none"))
    seen: list[int] = []

    async def send(_: Any) -> None:
        seen.append(len(heard.events))

    await AsgiListener(answering(*messages()), heard.listener)(scope(), None, send)  # type: ignore[arg-type]
    assert seen == [1, 1, 1]


# What goes wrong is not the user's


@pytest.mark.parametrize("body", [b'{"id"', b"x" * 300_000, b""])
async def test_an_answer_that_cannot_be_read_goes_out(body: bytes) -> None:
    heard = Heard(CREATED)
    said = messages(body)
    assert await run(heard, answering(*said)) == said
    assert heard.events == []
    assert heard.listener.gauges().failed == 1


async def test_a_sink_that_fails_is_told_and_costs_no_answer() -> None:
    heard = Heard(CREATED)
    heard.sink.error = ZeroDivisionError("broken")
    said = messages()
    assert await run(heard, answering(*said)) == said
    assert heard.misses == ["broken"]
    assert heard.told[0].error is heard.sink.error


async def test_a_fault_of_our_own_is_told_and_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(Rule("POST", "/orders", "order_create", data="both"))
    said = messages()
    for name in ("posthouse_sdk.listening.observation.Observation.start", "posthouse_sdk.listening.observation.Body"):
        with monkeypatch.context() as broken:
            broken.setattr(name, lambda *_, **__: 1 // 0)
            assert await run(heard, answering(*said)) == said
    assert heard.misses == ["broken", "broken"]


async def test_headers_that_cannot_be_read_are_told_and_cost_no_answer() -> None:
    heard = Heard(CREATED)
    said = messages()
    assert await run(heard, answering(*said), scope(headers=[(None, b"x")])) == said
    assert heard.misses == ["broken"]


async def test_on_error_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard(CREATED)
    heard.listener._on_error = lambda miss: 1 // 0
    said = messages(b"{")
    assert await run(heard, answering(*said)) == said
    assert "on_error raised" in caplog.text


async def test_the_same_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard(CREATED)
    for _ in range(5):
        await run(heard, answering(*messages(b"{")))
    assert caplog.text.count("no event of POST /orders -> order_create: not_json") == 1
    assert heard.listener.gauges().misses == {"not_json": 5}


async def test_an_exception_passes() -> None:
    heard = Heard(CREATED)

    async def early(*_: Any) -> None:
        raise KeyError("x")

    async def in_the_middle(_: Any, __: Any, send: Any) -> None:
        await answering(*messages()[:2])(_, __, send)
        raise KeyError("x")

    async def at_the_end(_: Any, __: Any, send: Any) -> None:
        await answering(*messages())(_, __, send)
        raise KeyError("x")

    for app in (early, in_the_middle, at_the_end):
        with pytest.raises(KeyError):
            await run(heard, app)
    assert heard.misses == ["cut_off"]
    assert len(heard.events) == 1, "that of the answer that was whole"


async def test_a_client_that_goes_away_changes_nothing() -> None:
    """The application finds out by `send`, or is cancelled."""
    heard = Heard(CREATED)

    async def gone(_: Any) -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await AsgiListener(answering(*messages()), heard.listener)(scope(), None, gone)  # type: ignore[arg-type]
    assert heard.misses == ["cut_off"]

    async def hanging(_: Any, __: Any, send: Any) -> None:
        await send(messages()[0])
        await asyncio.Event().wait()

    began = asyncio.Event()

    async def send(_: Any) -> None:
        began.set()

    task = asyncio.create_task(AsgiListener(hanging, heard.listener)(scope(), None, send))  # type: ignore[arg-type]
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard.misses == ["cut_off", "cut_off"]


async def test_a_file_that_the_server_sends_by_itself_passes() -> None:
    heard = Heard(CREATED)
    said: list[Message] = [messages()[0], {"type": "http.response.pathsend", "path": "/x"}]
    assert await run(heard, answering(*said)) == said
    assert heard.misses == ["cut_off"]


# The frameworks


async def order(request: Request) -> Response:
    told = await request.json()
    return JSONResponse({"id": 7, "shop": told["shop"]}, 201)


def client_of(app: Any) -> asgi.Client:
    return asgi.Client(app)


def starlette(heard: Heard, *more: Any, **options: Any) -> Starlette:
    app = Starlette(routes=[Route("/orders", order, methods=["POST"]), *more], **options)
    app.add_middleware(AsgiListener, listener=heard.listener)
    return app


async def test_starlette() -> None:
    heard = Heard(Rule("POST", "/orders", "order_create", status=201, subject="shop:{answer.shop}", data="both"))
    reply = await client_of(starlette(heard)).post("/orders", {"shop": 42})
    assert (reply.status, reply.json()) == (201, {"id": 7, "shop": 42})
    (occurrence,) = heard.sink.occurrences
    assert occurrence.made.subject == "shop:42"
    assert occurrence.made.data == {"request": {"shop": 42}, "answer": {"id": 7, "shop": 42}}


async def test_fastapi() -> None:
    heard = Heard(Rule("PUT", "/shops/{shop:int}/orders/{id}", "order_{answer.state}", key="{id}"))
    app = fastapi.FastAPI()
    app.add_middleware(AsgiListener, listener=heard.listener)

    @app.put("/shops/{shop}/orders/{order}")
    def put(shop: int, order: str) -> dict[str, Any]:
        return {"state": "paid", "order": order, "shop": shop}

    assert (await client_of(app).put("/shops/42/orders/a")).status == 200
    assert (await client_of(app).put("/shops/x/orders/a")).status == 422
    assert heard.events == [("order_paid", {"state": "paid", "order": "a", "shop": 42})]
    assert heard.sink.occurrences[0].made.key == "a"


async def test_a_mounted_application_has_paths_of_its_own() -> None:
    heard = Heard(CREATED)
    app = Starlette(routes=[Mount("/api", starlette(heard))])
    assert (await client_of(app).post("/api/orders", {"shop": 1})).status == 201
    assert len(heard.events) == 1


async def test_background_tasks_run_after_the_answer() -> None:
    heard = Heard(Rule("GET", "/job", "job_begun"))
    ran: list[str] = []

    async def job(_: Request) -> Response:
        return JSONResponse({"n": 1}, background=BackgroundTask(ran.append, "done"))

    assert (await client_of(starlette(heard, Route("/job", job))).get("/job")).status == 200
    assert ran == ["done"]
    assert heard.events == [("job_begun", {"n": 1})]


@pytest.mark.parametrize("inside", [True, False])
async def test_a_compressed_answer_is_read(inside: bool) -> None:
    heard = Heard(Rule("GET", "/big", "big_read"))

    async def big(_: Request) -> Response:
        return JSONResponse({"text": "x" * 5000})

    app: ASGIApp = Starlette(routes=[Route("/big", big)])
    app = (
        GZipMiddleware(AsgiListener(app, heard.listener))
        if inside
        else AsgiListener(GZipMiddleware(app), heard.listener)
    )
    reply = await client_of(app).get("/big", headers={"accept-encoding": "gzip"})
    assert reply.headers["content-encoding"] == "gzip"
    assert heard.events == [("big_read", {"text": "x" * 5000})]


async def test_streams_pass_piece_by_piece() -> None:
    """What no rule looks into is not kept, and goes on as it comes."""
    heard = Heard(
        Rule("GET", "/stream", "stream_opened", data="none"), Rule("GET", "/stream", "stream_read"), body_bytes_max=100
    )  # fmt: skip
    arrived = [asyncio.Event() for _ in range(3)]

    async def pieces() -> AsyncIterator[str]:
        for n in range(3):
            yield f"data: {n}\n\n"
            await arrived[n].wait()  # it is with the client before there is another

    async def stream(_: Request) -> Response:
        return StreamingResponse(pieces(), media_type="text/event-stream")

    sent: list[Message] = []

    async def send(message: Any) -> None:
        if message.get("body"):
            arrived[len(sent) - 1].set()
        sent.append(message)

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {}

    app = starlette(heard, Route("/stream", stream))
    await app(scope("GET", "/stream", asgi={"spec_version": "2.4"}), receive, send)
    assert b"".join(message.get("body", b"") for message in sent) == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
    assert heard.events == [("stream_opened", {})]
    assert heard.misses == ["not_json"]


async def test_an_upload_is_not_kept() -> None:
    heard = Heard(Rule("POST", "/files", "file_stored", data={"name": "{answer.name}", "note": "{request.note}"}))
    sizes: list[int] = []

    async def store(request: Request) -> Response:
        sizes.extend([len(piece) async for piece in request.stream()])
        return JSONResponse({"name": "a"})

    app = starlette(heard, Route("/files", store, methods=["POST"]))
    kind = {"content-type": "multipart/form-data; boundary=x"}
    reply = await client_of(app).post("/files", body=[b"x" * 100_000] * 5, headers=kind)
    assert reply.status == 200
    assert sum(sizes) == 500_000
    assert heard.events == [("file_stored", {"name": "a"})], "without what the upload holds"


async def test_the_listener_lives_as_long_as_the_server() -> None:
    """It starts with it, and ends after the application did."""
    heard = Heard(CREATED)
    told: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, int]]:
        told.append(f"up, started: {heard.sink.started}")
        yield {"state": 7}
        told.append(f"down, closed: {heard.sink.closed}")

    app = starlette(heard, lifespan=lifespan)
    for closed in (1, 2):
        said: list[Message] = []
        came: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive(came: list[Message] = came) -> Message:
            return came.pop(0)

        async def send(message: Any, said: list[Message] = said) -> None:
            told.append(f"{message['type']}, started: {heard.sink.started}")
            said.append(message)

        await app({"type": "lifespan", "state": {}}, receive, send)
        assert [message["type"] for message in said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert heard.sink.closed == closed
    assert told[:4] == [
        "up, started: False", "lifespan.startup.complete, started: True", "down, closed: 0",
        "lifespan.shutdown.complete, started: False",
    ]  # fmt: skip
    assert told[4:7] == ["up, started: False", "lifespan.startup.complete, started: True", "down, closed: 1"]


async def test_websockets_pass() -> None:
    heard = Heard(Rule("*", "/{rest:path}", "anything"))

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    came: list[Message] = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}]
    said: list[Message] = []

    async def receive() -> Message:
        return came.pop(0)

    async def send(message: Any) -> None:
        said.append(message)

    told = {"type": "websocket", "path": "/ws", "headers": [], "query_string": b"", "root_path": "", "subprotocols": []}
    await starlette(heard, WebSocketRoute("/ws", echo))(told, receive, send)
    assert [message["type"] for message in said] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert said[1]["text"] == "hello"
    assert heard.events == []


async def test_an_application_without_lifespan_stays_one() -> None:
    heard = Heard(CREATED)

    async def app(told: Message, _: Any, __: Any) -> None:
        raise ValueError(told["type"])

    with pytest.raises(ValueError, match="lifespan"):
        await run(heard, app, {"type": "lifespan"})
    assert not heard.sink.started
    await run(heard, answering(*messages()))
    assert heard.sink.started


async def test_a_listener_that_cannot_close_does_not_keep_the_server() -> None:
    heard = Heard(CREATED)
    heard.sink.close = lambda _: 1 // 0  # type: ignore[assignment,method-assign]
    assert await run(heard, answering({"type": "lifespan.shutdown.complete"}), {"type": "lifespan"})
    assert heard.misses == ["broken"]


async def test_with_the_fake_hub_nothing_leaves_the_process(posthouse: FakeHub) -> None:
    heard = Heard(CREATED)
    posthouse.schemas["order_create"] = {"required": ["shop"]}
    app = starlette(heard)
    await client_of(app).post("/orders", {"shop": 42})
    posthouse.assert_emitted("order_create", {"id": 7, "shop": 42})
    assert (heard.events, heard.sink.started) == ([], False)
    await run(heard, answering(*messages()))
    assert heard.misses == ["broken"], "it does not fit its schema"


async def test_plain_text_makes_an_event_of_its_head() -> None:
    heard = Heard(Rule("GET", "/ping", "pinged", data={"by": "{query.by}"}))

    async def ping(_: Request) -> Response:
        return PlainTextResponse("pong")

    assert (await client_of(starlette(heard, Route("/ping", ping))).get("/ping?by=li%20lei")).body == b"pong"
    assert heard.events == [("pinged", {"by": "li lei"})]
