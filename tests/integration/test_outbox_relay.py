"""The relay, over a real outbox (SQLite's, which needs nothing) and a server that a test decides about."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.commands import rows, run, running
from tests.outboxes import Place, installed, sqlite_place
from tests.serving import KEY, call, listed, serving

from posthouse_sdk.outbox import NotInstalledError, emit
from posthouse_sdk.outbox.answers import Accepted, Answer, Faulty, HeldBack, Refused, Unavailable
from posthouse_sdk.outbox.monitor import metrics, monitored
from posthouse_sdk.outbox.relay import Relay, RelaySettings
from posthouse_sdk.outbox.store import store_of

PATIENCE_SECONDS = 20
SETTINGS = RelaySettings(lease_seconds=1, poll_seconds=0.005, backoff_seconds_max=0.05)


class Server:
    """Answers as `answer` says, and keeps what it accepted, in its order."""

    def __init__(self, answer: Callable[[str | None, list[Any]], Answer | None] = lambda _app, _data: None) -> None:
        self.answer = answer
        self.requests: list[list[Any]] = []
        self.accepted: list[Any] = []
        self.keys: list[str] = []

    async def publish(self, app: str | None, body: bytes, events: int) -> Answer:
        told = json.loads(body)
        assert len(told) == events
        data = [event["data"] for event in told]
        self.requests.append(data)
        answer = self.answer(app, data)
        if answer is None:
            self.accepted += data
            self.keys += [event["idempotency_key"] for event in told]
            return Accepted(time.time())
        return answer

    async def close(self) -> None:
        pass


@pytest.fixture
def outbox(tmp_path: Path) -> Place:
    return installed(sqlite_place(tmp_path))


def put(outbox: Place, *data: object, **about: Any) -> None:
    with closing(outbox.connect()) as connection:
        for one in data:
            emit(connection, "order.created", one, **about)
        connection.commit()


@asynccontextmanager
async def relaying(outbox: Place, server: Server, settings: RelaySettings = SETTINGS) -> AsyncIterator[Relay]:
    store = store_of(outbox.dsn)
    relay = Relay(store, server, settings)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        relay.stop()
        await asyncio.wait_for(task, PATIENCE_SECONDS)
        await store.close()


async def until(fact: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not fact():  # noqa: ASYNC110 - of another task, or of the database
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"waited in vain for {what}")


async def test_what_is_committed_goes_out_in_batches_and_in_order(outbox: Place) -> None:
    put(outbox, *range(25))
    server = Server()
    async with relaying(outbox, server, RelaySettings(rows_max=10, poll_seconds=0.005)):
        await until(lambda: len(server.accepted) == 25, "25 events")
        put(outbox, "more")
        await until(lambda: "more" in server.accepted, "one more")
        await until(lambda: outbox.pending() == [], "an empty outbox")
    assert server.accepted == [*range(25), "more"]
    assert [len(request) for request in server.requests] == [10, 10, 5, 1]
    assert len(set(server.keys)) == 26
    assert outbox.execute("SELECT owner FROM posthouse_outbox_lease") == [(None,)], "given back"


async def test_what_the_server_refuses_is_found_and_set_aside(outbox: Place) -> None:
    put(outbox, *range(40))

    def answer(_: str | None, data: list[Any]) -> Answer | None:
        return Refused("schema_mismatch") if {7, 23} & set(data) else None

    server = Server(answer)
    async with relaying(outbox, server) as relay:
        await until(lambda: len(server.accepted) == 38, "all others")
        await until(lambda: outbox.pending() == [], "an empty outbox")
        assert relay.gauges.refused == 2
    assert server.accepted == [n for n in range(40) if n not in (7, 23)], "the others in order"
    dead = outbox.execute("SELECT data, reason FROM posthouse_outbox_dead ORDER BY id")
    assert dead == [("7", "schema_mismatch"), ("23", "schema_mismatch")]


async def test_the_one_that_the_server_names_needs_no_search(outbox: Place) -> None:
    put(outbox, *range(40))

    def answer(_: str | None, data: list[Any]) -> Answer | None:
        return Refused("no", at=data.index(31)) if 31 in data else None

    server = Server(answer)
    async with relaying(outbox, server):
        await until(lambda: outbox.pending() == [], "an empty outbox")
    assert [len(request) for request in server.requests] == [40, 31, 1, 8]


async def test_an_unknown_app_is_refused_at_once_and_hurts_nobody(outbox: Place) -> None:
    put(outbox, *range(10), app="gone")
    put(outbox, 10, 11, app="there")
    put(outbox, 12)
    server = Server(lambda app, _: Refused("no such app", whole=True) if app == "gone" else None)
    async with relaying(outbox, server):
        await until(lambda: outbox.pending() == [], "an empty outbox")
    assert sorted(server.accepted) == [10, 11, 12]
    assert outbox.execute("SELECT count(*) FROM posthouse_outbox_dead") == [(10,)]


async def test_a_key_at_which_the_server_fails_holds_only_itself(outbox: Place) -> None:
    broken = True
    put(outbox, "a1", key="a")
    put(outbox, "b1", key="b")
    put(outbox, "a2", key="a")
    put(outbox, "b2", key="b")
    put(outbox, "free")

    def answer(_: str | None, data: list[Any]) -> Answer | None:
        return Faulty("500") if broken and "a1" in data else None

    server = Server(answer)
    async with relaying(outbox, server) as relay:
        await until(lambda: len(server.accepted) == 3, "the others")
        put(outbox, "b3", key="b")
        put(outbox, "a3", key="a")
        await until(
            lambda: outbox.pending() == ['"a1"', '"a2"', '"a3"'],
            "only the rows of the key that waits, since b3 was accepted and its row is gone",
        )
        assert server.accepted == ["b1", "b2", "free", "b3"]
        assert relay.gauges.held == 1
        broken = False
        await until(lambda: outbox.pending() == [], "an empty outbox")
    assert [one for one in server.accepted if one[0] == "a"] == ["a1", "a2", "a3"]
    assert outbox.execute("SELECT count(*) FROM posthouse_outbox_dead") == [(0,)], (
        "a fault of the server's is no refusal"
    )


async def test_an_app_over_its_quota_holds_only_itself(outbox: Place) -> None:
    full = True
    put(outbox, 1, 2, app="full")
    put(outbox, 3, app="other")
    server = Server(lambda app, _: HeldBack("429", 0.02) if app == "full" and full else None)
    async with relaying(outbox, server):
        await until(lambda: server.accepted == [3], "the other app's")
        put(outbox, 4, app="full")
        put(outbox, 5, app="other")
        await until(lambda: server.accepted == [3, 5], "the other app's, still")
        full = False
        await until(lambda: outbox.pending() == [], "an empty outbox")
    assert server.accepted == [3, 5, 1, 2, 4]


async def test_a_server_that_is_down_costs_nothing_and_is_told_once(
    outbox: Place, caplog: pytest.LogCaptureFixture
) -> None:
    down = True
    put(outbox, *range(5))
    server = Server(lambda *_: Unavailable("no connection") if down else None)
    with caplog.at_level(logging.INFO, "posthouse.relay"):
        async with relaying(outbox, server) as relay:
            await until(lambda: len(server.requests) >= 5, "some tries")
            assert relay.gauges.failing_since is not None
            assert relay.gauges.why_unhealthy(relay.gauges.failing_since + 60) == "no connection"
            assert relay.gauges.why_unhealthy(relay.gauges.failing_since + 1) is None, "a restart is no illness"
            down = False
            await until(lambda: outbox.pending() == [], "an empty outbox")
            await until(lambda: relay.gauges.failing_since is None, "the relay to be well")
    assert server.accepted == list(range(5))
    assert outbox.execute("SELECT count(*) FROM posthouse_outbox_dead") == [(0,)]
    assert sum("no connection" in record.message for record in caplog.records) == 1


async def test_a_server_that_fails_at_everything_is_down(outbox: Place) -> None:
    failing = True
    put(outbox, *range(50))
    server = Server(lambda *_: Faulty("500") if failing else None)
    async with relaying(outbox, server) as relay:
        await until(lambda: relay.gauges.failing_since is not None, "the relay to take it for down")
        assert len(server.requests) < 25, "it did not try each of them alone"
        failing = False
        await until(lambda: outbox.pending() == [], "an empty outbox")
    assert sorted(server.accepted) == list(range(50))


async def test_what_a_server_takes_beside_what_it_does_not_is_removed(outbox: Place) -> None:
    put(outbox, 1, app="a")
    put(outbox, 2, app="b")
    server = Server(lambda app, _: Unavailable("down") if app == "b" else None)
    async with relaying(outbox, server):
        await until(lambda: outbox.pending() == ["2"], "the one to be removed")
    assert server.accepted == [1]


async def _nothing(*_: object) -> None:
    pass


async def test_of_several_relays_one_works_and_another_follows(outbox: Place) -> None:
    server = Server()
    put(outbox, *range(3))
    async with relaying(outbox, server) as first:
        await until(lambda: first.gauges.working, "the first to work")
        async with relaying(outbox, server) as second:
            await until(lambda: outbox.pending() == [], "an empty outbox")
            assert not second.gauges.working
            # As after kill -9: nothing is released, and nothing renewed.
            first._claim = _nothing  # type: ignore[method-assign]
            first._store.release = _nothing  # type: ignore[method-assign,assignment]
            await until(lambda: second.gauges.working, "the second to take over")
            put(outbox, "later")
            await until(lambda: "later" in server.accepted, "the second to publish")
    assert server.accepted == [0, 1, 2, "later"]


async def test_without_the_lease_nothing_is_sent(outbox: Place) -> None:
    put(outbox, 1)
    outbox.execute("UPDATE posthouse_outbox_lease SET owner = 'another', until = 9e9")
    server = Server()
    async with relaying(outbox, server) as relay:
        await until(lambda: relay._leased_until == 0.0, "a try to get it")
        await asyncio.sleep(0.05)
        assert server.requests == []
        outbox.execute("UPDATE posthouse_outbox_lease SET owner = NULL")
        await until(lambda: server.accepted == [1], "the event")


async def test_a_database_that_goes_away_is_waited_for(outbox: Place, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    async with relaying(outbox, server) as relay:
        put(outbox, 1)
        await until(lambda: server.accepted == [1], "the first")
        await until(lambda: outbox.pending() == [], "its removal: else it would be published again")
        outbox.execute("ALTER TABLE posthouse_outbox RENAME TO away")
        await until(lambda: relay.gauges.failing_since is not None, "the relay to notice")
        assert "posthouse outbox install" in relay.gauges.reason
        outbox.execute("ALTER TABLE away RENAME TO posthouse_outbox")
        put(outbox, 2)
        await until(lambda: server.accepted == [1, 2], "the second")


async def test_a_missing_outbox_is_told_at_the_start(tmp_path: Path) -> None:
    store = store_of(sqlite_place(tmp_path).dsn)
    with pytest.raises(NotInstalledError, match="posthouse outbox install"):
        await Relay(store, Server()).run()
    await store.close()


async def test_a_clock_that_is_wrong_is_told(outbox: Place, caplog: pytest.LogCaptureFixture) -> None:
    class Late(Server):
        async def publish(self, app: str | None, body: bytes, events: int) -> Answer:
            await super().publish(app, body, events)
            return Accepted(time.time() - 600)

    put(outbox, 1)
    server = Late()
    with caplog.at_level(logging.WARNING, "posthouse.relay"):
        async with relaying(outbox, server):
            await until(lambda: outbox.pending() == [], "an empty outbox")
    assert "the clock of the server is 600 s behind this machine's; set both by NTP" in caplog.text


async def test_it_tells_what_it_does(outbox: Place) -> None:
    put(outbox, 1, 2)
    async with relaying(outbox, Server()) as relay, monitored(relay.gauges, "127.0.0.1", 0) as port:
        await until(lambda: relay.gauges.published == 2, "two events")

        async def get(path: str) -> str:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            told = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
            writer.close()
            return told.decode()

        assert "posthouse_relay_published_events_total 2\n" in await get("/metrics")
        assert "# TYPE posthouse_relay_oldest_seconds gauge" in metrics(relay.gauges)
        assert (await get("/healthz")).endswith("\r\n\r\nworks\n")
        health = ""
        while not health.startswith("HTTP/1.1 503 "):
            relay.gauges.failing_since, relay.gauges.reason = -1e9, "no connection"  # until the relay looks again
            health = await get("/healthz")
        assert (await get("/else")).startswith("HTTP/1.1 404 ")


async def test_an_outbox_in_the_servers_own_database_needs_no_relay(database: str) -> None:
    place = installed(Place("postgresql", database, lambda: psycopg.connect(database)))
    async with serving(database) as server:
        await call(server.port, "POST", "/v1/event-types", {"name": "order.created"})
        await call(server.port, "POST", "/v1/apps", {"uid": "acme"})
        with closing(place.connect()) as connection:
            emit(connection, "order.created", {"order": 1}, app="acme", key="k")
            emit(connection, "order.gone", {"order": 2}, app="acme", key="k")
            emit(connection, "order.created", {"order": 3}, app="nobody")
            emit(connection, "order.created", {"order": 4}, app="acme", key="k")
            connection.commit()
            emit(connection, "order.created", {"order": 5}, app="acme")
            connection.rollback()
        events = await listed(server.port, "/v1/apps/acme/events", lambda found: len(found) == 2, "two events")
        assert {event["type"] for event in events} == {"order.created"}
        await until(lambda: place.pending() == [], "an empty outbox")
    dead = place.execute("SELECT data, reason FROM posthouse_outbox_dead ORDER BY id")
    assert [row[0] for row in dead] == ['{"order":2}', '{"order":3}']
    assert "order.gone" in dead[0][1]
    assert "posthouse event-types create" in dead[0][1]
    assert "posthouse apps create" in dead[1][1]
    assert place.execute("SELECT owner FROM posthouse_outbox_lease") == [(None,)]


async def test_the_command_relays_over_http(database: str, outbox: Place) -> None:
    async with serving(database) as server:
        await call(server.port, "POST", "/v1/event-types", {"name": "order.created"})
        put(outbox, *range(3))
        reach = {"POSTHOUSE_URL": f"http://127.0.0.1:{server.port}", "POSTHOUSE_KEY": KEY}

        def relay() -> str:
            with running("relay", "--dsn", outbox.dsn, "--listen", "127.0.0.1:0", **reach) as command:
                port = command.until(r"healthz on http://127\.0\.0\.1:(\d+)")[1]
                command.until(r"works")
                deadline = time.monotonic() + PATIENCE_SECONDS
                while outbox.pending() and time.monotonic() < deadline:
                    time.sleep(0.01)
                command.process.terminate()
                command.until(r"relay ended: 3 published")
                assert command.process.wait(PATIENCE_SECONDS) == 0
                return port

        await asyncio.to_thread(relay)
        assert outbox.pending() == []
        assert len((await call(server.port, "GET", "/v1/events"))["data"]) == 3
        put(outbox, 4)
        status = await asyncio.to_thread(run, "outbox", "status", "--dsn", outbox.dsn)
        (told,) = rows(status, 1)
        assert (told["pending"], told["relay"]) == (1, None)
        outbox.execute("UPDATE posthouse_outbox SET type = 'order.gone'")
        refused = await asyncio.to_thread(_relay_until_dead, outbox, reach)
        assert "order.gone" in refused
        (dead,) = rows(await asyncio.to_thread(run, "outbox", "list", "--dsn", outbox.dsn))
        assert (dead["type"], dead["data"]) == ("order.gone", "4")
        again = await asyncio.to_thread(run, "outbox", "retry", "--all", "--dsn", outbox.dsn)
        assert "1 goes out again" in again.stderr
        assert outbox.pending() == ["4"]
        again = await asyncio.to_thread(run, "outbox", "retry", str(dead["id"]), "--dsn", outbox.dsn)
        assert (again.returncode, f"none of them was refused: {dead['id']};" in again.stderr) == (4, True)


def _relay_until_dead(outbox: Place, reach: dict[str, str]) -> str:
    with running("relay", "--dsn", outbox.dsn, **reach) as command:
        return command.until(r"set aside .*")[0]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("relay", "--dsn", "oracle://x", "--key", "k"), 2, "postgresql://user:password@host"),
        (("relay", "--dsn", "sqlite:////no/such/file", "--key", "k"), 1, "is that the database of your application?"),
        (("relay", "--dsn", "sqlite:///x", "--key", "k", "--listen", "9187"), 2, "give HOST:PORT"),
        (("relay", "--dsn", "sqlite:///x"), 3, "set POSTHOUSE_KEY"),
        (("relay", "--dsn", "postgresql://u:p@127.0.0.1:1/x", "--key", "k", "--url", "nowhere"), 2, "https://"),
        (("outbox", "sql", "--dialect", "oracle"), 2, "postgresql, mysql, sqlite"),
        (("outbox", "status", "--dsn", "postgresql://u:secret@127.0.0.1:1/x"), 7, "cannot be reached"),
        (("outbox", "retry", "--dsn", "sqlite:///x"), 2, "or give --all"),
    ],
)
def test_what_is_set_up_wrongly_is_told(words: tuple[str, ...], code: int, said: str) -> None:
    told = run(*words)
    assert (told.returncode, said in told.stderr) == (code, True), told.stderr
    assert "secret" not in told.stderr
