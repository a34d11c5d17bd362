"""Both hubs against a server that misbehaves as it is told: the same promises from threads and on a loop."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import trustme
from tests.answering import CUT, DROP, HANG, Answering, Step, answering, problem

from posthouse_sdk import (
    AsyncPosthouse,
    ClosedError,
    ConfigurationError,
    Event,
    EventError,
    InvalidEventError,
    Posthouse,
    UnauthorisedError,
    UnavailableError,
)
from posthouse_sdk.publishing import exchange, recording

Publish = Callable[..., Any]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BACKOFF_SECONDS", 0.02)


@pytest.fixture(params=["threads", "loop"])
def hub_of(request: pytest.FixtureRequest) -> Callable[..., Publish]:
    """A function of a server's URL, which returns how to publish there; several publishes may go through one hub."""

    def threads(url: str, **options: Any) -> Publish:
        hub = Posthouse(url, "ph_key", **options)

        def publish(*events: Any, many: bool = False, **about: Any) -> Any:
            return hub.publish_many(*events) if many else hub.publish(*events, **about)

        return publish

    def loop(url: str, **options: Any) -> Publish:
        def publish(*events: Any, many: bool = False, times: int = 1, **about: Any) -> Any:
            async def run() -> Any:
                async with AsyncPosthouse(url, "ph_key", **options) as hub:
                    return await (hub.publish_many(*events) if many else hub.publish(*events, **about))

            return asyncio.run(run())

        return publish

    return threads if request.param == "threads" else loop


def published(hub_of: Callable[..., Publish], *steps: Step, **options: Any) -> tuple[Any, Answering]:
    with answering(*steps) as server:
        return hub_of(server.url, **options)("order.created", {"n": 1}, subject="shop:42"), server


def test_an_event_is_published(hub_of: Callable[..., Publish]) -> None:
    receipt, server = published(hub_of)
    assert (receipt.type, receipt.apps) == ("order.created", 2)
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/v1/events")
    assert asked.headers["authorization"] == "Bearer ph_key"
    assert asked.headers["user-agent"].startswith("posthouse-sdk/")
    assert asked.events == [asked.events[0] | {"type": "order.created", "data": {"n": 1}, "subject": "shop:42"}]


def test_one_app(hub_of: Callable[..., Publish]) -> None:
    with answering() as server:
        hub_of(server.url)("a", 1, app="acme")
        assert server.asked[0].path == "/v1/apps/acme/events"


def test_several_at_once(hub_of: Callable[..., Publish]) -> None:
    with answering() as server:
        receipts = hub_of(server.url)([Event("a", 1, app="acme"), Event("b", 2, app="acme")], many=True)
        assert [receipt.type for receipt in receipts] == ["a", "b"]
        assert server.asked[0].path == "/v1/apps/acme/events/batch"


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([], "1 to 1000 events"),
        ([Event("a", 1)] * 1_001, "these are 1001"),
        ([Event("a", 1), Event("a", 1, app="acme")], "for one app"),
        ([Event("a", 1, idempotency_key="k")] * 2, "same idempotency key"),
        ([Event("a", b"", content_type="text/plain")], "goes alone"),
    ],
)
def test_what_is_no_batch_is_told(hub_of: Callable[..., Publish], events: list[Event], told: str) -> None:
    with pytest.raises(EventError, match=told):
        hub_of("http://127.0.0.1:9")(events, many=True)


@pytest.mark.parametrize(
    "fault", [DROP, CUT, problem(503, "overloaded", retry_after="0"), 500, problem(409, "in_progress")]
)
def test_it_is_tried_again_with_the_same_key(hub_of: Callable[..., Publish], fault: Step) -> None:
    receipt, server = published(hub_of, fault, fault, 202)
    assert receipt.type == "order.created"
    assert len(server.asked) == 3
    assert len({asked.body for asked in server.asked}) == 1
    assert len({key for asked in server.asked for key in asked.keys}) == 1


def test_a_retry_after_is_honoured(hub_of: Callable[..., Publish]) -> None:
    begun = time.monotonic()
    published(hub_of, problem(503, "overloaded", retry_after="1"), 202)
    assert time.monotonic() - begun >= 1.0


def test_a_retry_after_beyond_the_time_ends_it_at_once(hub_of: Callable[..., Publish]) -> None:
    with pytest.raises(UnavailableError, match="busy") as told:
        published(hub_of, problem(503, "overloaded", "busy", retry_after="600"), timeout=30.0)
    assert not told.value.in_doubt


@pytest.mark.parametrize(("step", "in_doubt"), [(HANG, True), (DROP, True), (503, True), (problem(429, "q"), False)])
def test_it_ends_in_time(hub_of: Callable[..., Publish], step: Step, in_doubt: bool) -> None:
    begun = time.monotonic()
    with pytest.raises(UnavailableError) as told:
        # Of a try that the end cuts off nobody knows: where all are to be answered there is time enough between them.
        published(hub_of, step, timeout=0.5 if in_doubt else 2)
    assert time.monotonic() - begun < 5
    assert told.value.in_doubt is in_doubt


def test_an_attempt_has_a_time_of_its_own(hub_of: Callable[..., Publish]) -> None:
    _, server = published(hub_of, HANG, 202, attempt_timeout=0.2)
    assert len(server.asked) == 2


def test_nobody_there(hub_of: Callable[..., Publish]) -> None:
    with answering() as server:
        url = server.url
    with pytest.raises(UnavailableError, match=r"no connection: .*refused") as told:
        hub_of(url, timeout=0.3)("a", 1)
    assert not told.value.in_doubt


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (problem(401, "unauthorised"), UnauthorisedError),
        (problem(422, "schema_mismatch", path="data.n"), InvalidEventError),
    ],
)
def test_refusals_are_not_tried_again(hub_of: Callable[..., Publish], step: Step, kind: type[Exception]) -> None:
    with answering(step) as server:
        with pytest.raises(kind):
            hub_of(server.url)("a", 1)
        assert len(server.asked) == 1


def test_what_talks_something_else_is_told(hub_of: Callable[..., Publish]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"220 mail.example ESMTP\r\n\r\n")
                    connection.recv(65536)

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(UnavailableError, match="no answer of an HTTP server: '220 mail"):
            hub_of(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.5)("a", 1)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_tls_with_a_ca_of_ones_own(hub_of: Callable[..., Publish]) -> None:
    authority = trustme.CA()
    of_server, of_client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(of_server)
    authority.configure_trust(of_client)
    with answering(context=of_server) as server:
        url = f"https://localhost:{server.port}"
        publish = hub_of(url, ssl_context=of_client)
        publish("a", 1)
        publish("a", 2)
        assert [asked.events[0]["data"] for asked in server.asked] == [1, 2]
        with pytest.raises(UnavailableError, match=r"no connection: .*certificate verify failed") as told:
            hub_of(url, timeout=3.0)("a", 3)
        assert not told.value.in_doubt


def test_connections_are_kept() -> None:
    with answering() as server, Posthouse(server.url, "k") as hub:
        for _ in range(5):
            hub.publish("a", 1)
        assert {asked.connection for asked in server.asked} == {1}


def test_a_kept_connection_that_ended_is_noticed() -> None:
    """The server closes it after its answer, as servers do after a while: no try is spent on it."""
    with answering(problem(503, "overloaded", retry_after="0"), 202) as server, Posthouse(server.url, "k") as hub:
        hub.publish("a", 1)
        for connection in server._connections:
            connection.shutdown(2)
        hub.publish("a", 1)
        assert [asked.connection for asked in server.asked] == [1, 1, 2]


async def test_connections_of_a_loop_are_kept_and_bounded() -> None:
    with answering() as server:
        async with AsyncPosthouse(server.url, "k") as hub:
            await hub.publish("a", 1)
            await hub.publish("a", 1)
            assert {asked.connection for asked in server.asked} == {1}
            await asyncio.gather(*(hub.publish("a", n) for n in range(200)))
            assert len(server.asked) == 202
            assert max(asked.connection for asked in server.asked) <= 64


def test_threads_share_a_hub() -> None:
    with answering() as server, Posthouse(server.url, "k") as hub:
        threads = [threading.Thread(target=lambda: [hub.publish("a", n) for n in range(20)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.asked) == 160
        assert max(asked.connection for asked in server.asked) <= 8


def test_where_and_as_whom_is_found_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "lenient", False)
    for name in ("POSTHOUSE_URL", "POSTHOUSE_API_KEY", "POSTHOUSE_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="set POSTHOUSE_URL"):
        Posthouse()
    with answering() as server:
        monkeypatch.setenv("POSTHOUSE_URL", server.url)
        with pytest.raises(ConfigurationError, match="set POSTHOUSE_API_KEY"):
            Posthouse()
        monkeypatch.setenv("POSTHOUSE_KEY", "ph_old")
        Posthouse().publish("a", 1)
        monkeypatch.setenv("POSTHOUSE_API_KEY", "ph_new")
        Posthouse().publish("a", 1)
        keys = [asked.headers["authorization"] for asked in server.asked]
        assert keys == ["Bearer ph_old", "Bearer ph_new"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"api_key": "two words"}, "no key has"),
        ({"api_key": "new\nline"}, "no key has"),
        ({"timeout": 0}, "more than 0"),
        ({"buffer_events": 0}, "buffer_events is more than 0"),
        ({"batch_events": 2_000}, "at most 1000 events"),
        ({"when_full": "explode"}, "block, raise or drop"),
        ({"exit_seconds": -1}, "0 or more"),
    ],
)
def test_a_hub_that_cannot_work_is_not_made(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Posthouse("http://127.0.0.1:9", **{"api_key": "k"} | options)


async def test_a_loop_is_not_blocked() -> None:
    with pytest.raises(ConfigurationError, match="must not be blocked"):
        AsyncPosthouse("http://127.0.0.1:9", "k", when_full="block")


def test_a_closed_hub_takes_nothing() -> None:
    hub = Posthouse("http://127.0.0.1:9", "k")
    hub.close()
    hub.close()
    with pytest.raises(ClosedError):
        hub.publish("a", 1)
    with pytest.raises(ClosedError):
        hub.on_event("a", 1)


def test_what_is_shown_holds_no_key() -> None:
    hub = Posthouse("http://127.0.0.1:9", "ph_secret")
    assert repr(hub) == "Posthouse('http://127.0.0.1:9')"
