"""Around a WSGI application: what goes by is what would have gone by without it, and its event is known in time."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import flask as flask_package
import pytest
from tests.django_project import configure
from tests.listening import Heard

from posthouse_sdk.listening import AsgiListener, Rule, WsgiListener
from posthouse_sdk.listening.sink import Durable

configure()

from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.urls import path  # noqa: E402
from tests import asgi  # noqa: E402

CREATED = Rule("POST", "/orders", "order_create", status=201)
JSON = [("Content-Type", "application/json")]
ANSWER = b'{"id": 7}'


class Reply:
    """What a server got of an application: the answer itself, and what became of it."""

    def __init__(self) -> None:
        self.statuses: list[str] = []
        self.headers: dict[str, str] = {}
        self.written: list[bytes] = []
        self.answer: Any = None
        self.pieces: list[bytes] = []

    @property
    def status(self) -> int:
        return int(self.statuses[-1][:3])

    @property
    def body(self) -> bytes:
        return b"".join((*self.written, *self.pieces))


def environ_of(method: str, url: str, body: bytes | None, headers: dict[str, str]) -> dict[str, Any]:
    path_, _, query = url.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path_.encode().decode("latin-1"),
        "QUERY_STRING": query,
    }
    environ |= {"SCRIPT_NAME": "", "wsgi.input": io.BytesIO(body or b""), "CONTENT_LENGTH": str(len(body or b""))}
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    environ |= {} if body is None else {"CONTENT_TYPE": headers.get("content-type", "application/json")}
    setup_testing_defaults(environ)
    return environ


def ask(
    app: Callable[..., Iterable[bytes]],
    method: str = "POST",
    url: str = "/orders",
    body: bytes | None = None,
    **headers: str,
) -> Reply:
    reply = Reply()

    def start_response(status: str, told: list[tuple[str, str]], *_: Any) -> Callable[[bytes], None]:
        reply.statuses.append(status)
        reply.headers = {name.lower(): value for name, value in told}
        return reply.written.append

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply.answer = app(environ_of(method, url, body, named), start_response)
    try:
        for piece in reply.answer:
            reply.pieces.append(piece)
    finally:
        if hasattr(reply.answer, "close"):
            reply.answer.close()
    return reply


def answering(*pieces: bytes, status: str = "201 Created", headers: Any = JSON, whole: bool = False) -> Any:
    def app(_: Any, start_response: Any) -> Iterable[bytes]:
        start_response(status, list(headers))
        return list(pieces) if whole else iter(pieces)

    return app


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("length", [[], [("Content-Length", "9")]])
def test_an_answer_becomes_an_event_and_goes_out_as_it_is(whole: bool, length: list[tuple[str, str]]) -> None:
    heard = Heard(CREATED)
    reply = ask(WsgiListener(answering(ANSWER[:3], ANSWER[3:], headers=JSON + length, whole=whole), heard.listener))
    assert (reply.status, reply.pieces) == (201, [ANSWER[:3], ANSWER[3:]])
    assert isinstance(reply.answer, list) is whole
    assert heard.events == [("order_create", {"id": 7})]


@pytest.mark.parametrize(("method", "url"), [("GET", "/orders"), ("POST", "/orders/")])
def test_of_what_no_rule_matches_the_application_gets_the_very_same(method: str, url: str) -> None:
    heard = Heard(CREATED)
    given: list[Any] = []
    answer: list[bytes] = []

    def app(*arguments: Any) -> list[bytes]:
        given.extend(arguments)
        return answer

    environ, start_response = environ_of(method, url, b"x", {}), lambda *_: lambda _: None
    stream = environ["wsgi.input"]
    assert WsgiListener(app, heard.listener)(environ, start_response) is answer
    assert given[0] is environ
    assert given[1] is start_response
    assert environ["wsgi.input"] is stream


@pytest.mark.parametrize("rule", [CREATED, Rule("POST", "/orders", "x", data="none")])
def test_a_file_keeps_the_way_in_which_a_server_sends_it(rule: Rule) -> None:
    heard = Heard(rule)
    file = FileWrapper(io.BytesIO(b"x" * 100))

    def app(_: Any, start_response: Any) -> FileWrapper:
        start_response("201 Created", [("Content-Type", "text/csv")])
        return file

    assert ask(WsgiListener(app, heard.listener)).answer is file
    assert len(heard.events + heard.misses) == 1


def test_names_of_paths_are_unicode() -> None:
    heard = Heard(Rule("POST", "/店/{name}", "order_create", data={"name": "{name}"}))
    ask(WsgiListener(answering(ANSWER), heard.listener), url="/店/李")
    assert heard.events == [("order_create", {"name": "李"})]


@pytest.mark.parametrize(
    "read",
    [
        lambda stream: stream.read(),
        lambda stream: stream.read(-1),
        lambda stream: stream.read(None),
        lambda stream: stream.read(3) + stream.read(100),
        lambda stream: stream.read(3) + stream.read1(100) + stream.read1(5),
        lambda stream: stream.readline() + stream.readline(100),
        lambda stream: b"".join(stream.readlines()),
        lambda stream: b"".join(stream.readlines(5) + stream.readlines(5)),
        lambda stream: b"".join(stream),
        lambda stream: bytes((buffer := bytearray(100))[: stream.readinto(buffer)]),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_bodies_of_requests_are_seen_as_the_application_reads_them(read: Any, known: bool) -> None:
    heard = Heard(Rule("POST", "/orders", "order_create", data="request"))
    body = b'{"a":\n1}'
    found: list[bytes] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        found.append(read(environ["wsgi.input"]))
        if not known:
            assert environ["wsgi.input"].read(1) == b""
        start_response("201 Created", JSON)
        return [ANSWER]

    def without_length(environ: Any, start_response: Any) -> Iterable[bytes]:
        if not known:
            del environ["CONTENT_LENGTH"]
        return WsgiListener(app, heard.listener)(environ, start_response)

    assert ask(without_length, body=body).body == ANSWER
    assert found == [body]
    assert heard.events == [("order_create", {"a": 1})]


def test_a_request_that_is_not_read_makes_no_event_of_its_body() -> None:
    heard = Heard(Rule("POST", "/orders", "order_create", data="request"))
    assert ask(WsgiListener(answering(ANSWER), heard.listener), body=b"{}").body == ANSWER
    assert heard.misses == ["unread"]


# The answer waits for its event, and for nothing else


@pytest.mark.parametrize(
    ("headers", "out"), [(JSON, [ANSWER[:3], ANSWER[3:]]), ([*JSON, ("Content-Length", "9")], [ANSWER[:3]])]
)
def test_the_end_of_an_answer_goes_out_once_its_event_is_put(headers: Any, out: list[bytes]) -> None:
    """Before its last piece, where its length is known, else before the word that it is over."""
    heard = Heard(CREATED)
    went: list[bytes] = []
    at: list[list[bytes]] = []

    def waits() -> None:
        at.append(list(went))

    heard.sink.durable = waits
    app = WsgiListener(answering(ANSWER[:3], ANSWER[3:], headers=headers), heard.listener)
    for piece in app(environ_of("POST", "/orders", None, {}), lambda *_: lambda _: None):
        went.append(piece)  # noqa: PERF402
    assert at == [out]
    assert went == [ANSWER[:3], ANSWER[3:]]


def test_it_does_not_wait_for_ever() -> None:
    heard = Heard(CREATED)
    heard.sink.hold_seconds = 0.01
    heard.sink.durable = Durable
    assert ask(WsgiListener(answering(ANSWER), heard.listener)).body == ANSWER
    assert heard.listener.gauges().late == 1


def test_pieces_pass_one_by_one() -> None:
    heard = Heard(CREATED)
    made: list[int] = []

    def pieces() -> Iterator[bytes]:
        for n in range(3):
            made.append(n)
            yield [b'{"n"', b":", b"1}"][n]

    def app(_: Any, start_response: Any) -> Iterator[bytes]:
        start_response("201 Created", JSON)
        return pieces()

    for n, _ in enumerate(
        WsgiListener(app, heard.listener)(environ_of("POST", "/orders", None, {}), lambda *_: lambda _: None)
    ):
        assert made == list(range(n + 1))
    assert heard.events == [("order_create", {"n": 1})]


def test_what_is_written_by_hand_is_seen() -> None:
    heard = Heard(CREATED)

    def app(_: Any, start_response: Any) -> list[bytes]:
        write = start_response("201 Created", JSON)
        write(ANSWER[:3])
        write(ANSWER[3:])
        return []

    assert ask(WsgiListener(app, heard.listener)).written == [ANSWER[:3], ANSWER[3:]]
    assert heard.events == [("order_create", {"id": 7})]


def test_an_application_may_change_its_mind_before_anything_goes_out() -> None:
    heard = Heard(CREATED, Rule("POST", "/orders", "failed", status=500, data="none"))

    def app(_: Any, start_response: Any) -> Iterator[bytes]:
        start_response("201 Created", JSON)
        start_response("500 Internal Server Error", JSON, (None, None, None))
        yield b"{}"

    assert ask(WsgiListener(app, heard.listener)).status == 500
    assert heard.events == [("failed", {})]


# What goes wrong is not the user's


@pytest.mark.parametrize("body", [b'{"id"', b"x" * 300_000, b""])
def test_an_answer_that_cannot_be_read_goes_out(body: bytes) -> None:
    heard = Heard(CREATED)
    assert ask(WsgiListener(answering(body), heard.listener)).body == body
    assert heard.events == []
    assert heard.listener.gauges().failed == 1


def test_a_sink_that_fails_is_told_and_costs_no_answer() -> None:
    heard = Heard(CREATED)
    heard.sink.error = ZeroDivisionError("broken")
    assert ask(WsgiListener(answering(ANSWER), heard.listener)).body == ANSWER
    assert heard.misses == ["broken"]


@pytest.mark.parametrize("method", ["start", "end", "answer"])
def test_a_fault_of_our_own_is_told_and_costs_no_answer(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(CREATED)
    monkeypatch.setattr(f"posthouse_sdk.listening.observation.Observation.{method}", lambda *_, **__: 1 // 0)
    assert ask(WsgiListener(answering(ANSWER), heard.listener)).body == ANSWER
    assert heard.misses == ["broken"]


@pytest.mark.parametrize("status", ["two hundred", ""])
def test_a_status_that_is_none_passes(status: str) -> None:
    heard = Heard(CREATED)
    assert ask(WsgiListener(answering(ANSWER, status=status), heard.listener)).statuses == [status]
    assert heard.misses == ["broken"]


def test_an_exception_passes() -> None:
    heard = Heard(CREATED)

    def early(*_: Any) -> list[bytes]:
        raise KeyError("x")

    def in_the_middle(_: Any, start_response: Any) -> Iterator[bytes]:
        start_response("201 Created", JSON)
        yield ANSWER[:3]
        raise KeyError("x")

    for app in (early, in_the_middle):
        with pytest.raises(KeyError):
            ask(WsgiListener(app, heard.listener))
    assert (heard.events, heard.misses) == ([], ["cut_off"])


def test_a_client_that_goes_away_is_told_to_the_application() -> None:
    heard = Heard(CREATED)
    closed: list[bool] = []

    class Answer:
        def __iter__(self) -> Iterator[bytes]:
            yield from (ANSWER[:3], ANSWER[3:])

        def close(self) -> None:
            closed.append(True)

    def app(_: Any, start_response: Any) -> Answer:
        start_response("201 Created", JSON)
        return Answer()

    answer: Any = WsgiListener(app, heard.listener)(environ_of("POST", "/orders", None, {}), lambda *_: lambda _: None)
    next(answer)
    answer.close()
    assert closed == [True]
    assert heard.misses == ["cut_off"]


@pytest.mark.filterwarnings("ignore::wsgiref.validate.WSGIWarning")
def test_it_keeps_to_the_rules_of_wsgi() -> None:
    heard = Heard(Rule("POST", "/orders", "order_create", data="both"))

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        told = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start_response("201 Created", [*JSON])
        return iter([json.dumps(told).encode()])

    checked = validator(WsgiListener(validator(app), heard.listener))
    reply = ask(checked, body=b'{"a": 1}')
    assert reply.body == b'{"a": 1}'
    assert heard.events == [("order_create", {"request": {"a": 1}, "answer": {"a": 1}})]


# The frameworks

BOTH = Rule("POST", "/shops/<int:shop>/orders", "order_create", status=201, subject="shop:{shop}", data="both")


def test_flask() -> None:
    heard = Heard(
        BOTH,
        Rule("POST", "/shops/<int:shop>/read", "read", data="both"),
        Rule("GET", "/stream", "streamed", data="none"),
    )
    app = flask_package.Flask("shop")
    app.wsgi_app = WsgiListener(app.wsgi_app, heard.listener)  # type: ignore[method-assign]

    @app.post("/shops/<int:shop>/orders")
    def create(shop: int) -> tuple[dict[str, Any], int]:
        return {"id": shop + 1}, 201

    @app.post("/shops/<int:shop>/read")
    def read(shop: int) -> tuple[dict[str, Any], int]:
        return {"id": shop, **flask_package.request.get_json()}, 201

    @app.get("/stream")
    def stream() -> flask_package.Response:
        return flask_package.Response((f"{n}\n" for n in range(3)), mimetype="text/plain")

    client = app.test_client()
    assert client.post("/shops/41/orders", json={"n": 1}).json == {"id": 42}
    assert heard.misses == ["unread"], "a view that does not look into the body does not read it"
    assert client.post("/shops/41/read", json={"n": 1}).json == {"id": 41, "n": 1}
    assert client.get("/stream").text == "0\n1\n2\n"
    assert heard.events == [("read", {"request": {"n": 1}, "answer": {"id": 41, "n": 1}}), ("streamed", {})]


def create(request: HttpRequest, shop: int) -> HttpResponse:
    return JsonResponse({"id": shop, **json.loads(request.body)}, status=201)


def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"hello {request.POST['name']}")


def stream(_: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b'{"a":', b"1}"]), content_type="application/json")


urlpatterns = [path("shops/<int:shop>/orders", create), path("form", form), path("stream", stream)]
DJANGO = (
    BOTH,
    Rule("POST", "/form", "form_sent", data={"name": "{request.name}"}),
    Rule("GET", "/stream", "streamed"),
)
EVENTS = [
    ("order_create", {"request": {"n": 1}, "answer": {"id": 41, "n": 1}}),
    ("form_sent", {"name": "李"}),
    ("streamed", {"a": 1}),
]
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def urls() -> Iterator[None]:
    """Django has those of this module."""
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.mark.usefixtures("urls")
def test_django() -> None:
    heard = Heard(*DJANGO)
    app = WsgiListener(WSGIHandler(), heard.listener)
    assert ask(app, url="/shops/41/orders", body=b'{"n": 1}').body == b'{"id": 41, "n": 1}'
    assert ask(app, url="/form", body=b"name=%E6%9D%8E", content_type=FORM["content-type"]).body == "hello 李".encode()
    assert ask(app, "GET", "/stream").body == b'{"a":1}'
    assert heard.events == EVENTS
    assert heard.sink.occurrences[0].made.subject == "shop:41"


@pytest.mark.usefixtures("urls")
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators")
async def test_django_on_asgi() -> None:
    heard = Heard(*DJANGO)
    listening = AsgiListener(ASGIHandler(), heard.listener)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def lowered(message: Any) -> None:  # Django writes names of headers as people do
            if "headers" in message:
                message["headers"] = [(name.lower(), value) for name, value in message["headers"]]
            await send(message)

        await listening(scope, receive, lowered)

    client = asgi.Client(app)
    reply = await client.post("/shops/41/orders", {"n": 1})
    assert (reply.status, reply.json()) == (201, {"id": 41, "n": 1})
    assert (await client.post("/form", body=b"name=%E6%9D%8E", headers=FORM)).body == "hello 李".encode()
    assert (await client.get("/stream")).body == b'{"a":1}'
    assert heard.events == EVENTS
