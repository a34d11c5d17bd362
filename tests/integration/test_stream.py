"""The live stream over a whole server: nothing is missed, nobody sees another's, and nobody is held up."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import time
from hashlib import sha256
from typing import Any, Final

import asyncpg
import pytest
from tests.serving import KEY, ask, call, exchange, listed, request, serving
from tests.streams import Following, Told, following
from tests.targets import answer_ok, target

from posthouse.api.pages import Cursors
from posthouse.domain.ids import ATTEMPT, EVENT, AttemptId, format_id, parse_id
from posthouse.domain.limits import STREAM_ID_MESSAGES_MAX, STREAMS_MAX, STREAMS_PER_APP_MAX
from posthouse.domain.position import Position, pack, unpack

PARTITIONS: Final = 4


async def make(port: int, *apps: str, types: tuple[str, ...] = ("order.created",)) -> None:
    for name in types:
        await call(port, "POST", "/v1/event-types", {"name": name})
    for app in apps:
        await call(port, "POST", "/v1/apps", {"uid": app})


async def publish(port: int, app: str, data: object = 1, *, type: str = "order.created") -> str:
    accepted = await call(port, "POST", f"/v1/apps/{app}/events", {"type": type, "data": data})
    event_id: str = accepted["id"]
    return event_id


async def key_of(port: int, app: str) -> str:
    key: str = (await call(port, "POST", "/v1/keys", {"scope": "app", "app": app}))["key"]
    return key


def ids(told: list[Told]) -> list[str]:
    return [one.data["id"] for one in told]


async def refused(port: int, *, key: str | None = KEY, last_id: str | None = None, **query: Any) -> tuple[int, str]:
    """The status and code of a stream that is refused."""
    async with following(port, key=key, last_id=last_id, **query) as followed:
        assert followed.status != 200
        problem = await followed.problem()
        assert problem["status"] == followed.status
        return followed.status, problem["code"]


async def silence(port: int, app: str, *streams: Following) -> None:
    """See that a stream tells of nothing but what follows: an event of the app."""
    last = await publish(port, app, "last")
    for followed in streams:
        assert ids(await followed.messages(1)) == [last]


# What it tells


async def test_it_begins_now_and_tells_of_events_and_attempts_at_once(database: str) -> None:
    async with target(answer_ok) as served, serving(database) as server:
        port = server.port
        await make(port, "shop")
        endpoint = await call(
            port, "POST", "/v1/apps/shop/endpoints", {"url": f"http://127.0.0.1:{served.port}/", "events": ["*"]}
        )
        before = await publish(port, "shop")
        await listed(port, "/v1/apps/shop/attempts", bool, "the attempt")
        async with following(port) as followed:
            assert followed.headers["content-type"] == "text/event-stream; charset=utf-8"
            began = time.monotonic()
            event_id = await publish(port, "shop", {"n": 1})
            event, attempt = await followed.messages(2)
            assert time.monotonic() - began < 5
        assert event.event == "event"
        assert attempt.event == "attempt"
        assert event.data == (await call(port, "GET", "/v1/apps/shop/events?limit=1"))["data"][0]
        assert event.data["id"] == event_id != before
        assert attempt.data == (await call(port, "GET", "/v1/apps/shop/attempts?limit=1"))["data"][0]
        assert attempt.data["event"] == event_id
        assert attempt.data["endpoint"] == endpoint["id"]
        assert (event.id, attempt.id) != (None, None)


async def test_data_are_there_when_asked_for_and_as_they_were_published(database: str) -> None:
    texts = {
        "numbers": b'{"type": "order.created", "data": {"price": 1.50, "big": 123456789012345678901234567890}}',
        "lines": b'{"type": "order.created", "data": {\n  "a":\n\n 1}}',
        "carriage": b'{"type": "order.created", "data": {\r\n  "a": 1\r}}',
        "unicode": '{"type": "order.created", "data": "驿站\u2028\\n"}'.encode(),
    }
    async with serving(database) as server:
        port = server.port
        await make(port, "shop")
        async with following(port, kinds="events", data="true") as followed, following(port, kinds="events") as bare:
            found = {}
            for name, body in texts.items():
                reply = await exchange(port, request("POST", "/v1/apps/shop/events", body))
                assert reply.status == 202
                (found[name],) = await followed.messages(1)
            await exchange(
                port,
                request(
                    "POST", "/v1/apps/shop/events?type=order.created", b"\x00\xff", headers={"Content-Type": "text/x"}
                ),
            )
            (raw,) = await followed.messages(1)
            plain = await bare.messages(len(texts) + 1)
    assert all("data" not in one.data and "data_base64" not in one.data for one in plain)
    assert found["numbers"].data["data"]["big"] == 123456789012345678901234567890
    assert found["lines"].data["data"] == {"a": 1}
    assert found["unicode"].data["data"] == "驿站\u2028\n"
    assert found["carriage"].data["data"] is None
    assert base64.b64decode(found["carriage"].data["data_base64"]) == b'{\r\n  "a": 1\r}'
    assert base64.b64decode(raw.data["data_base64"]) == b"\x00\xff"
    assert raw.data["content_type"] == "text/x"


async def test_what_a_type_redacts_is_masked(database: str) -> None:
    async with serving(database) as server:
        port = server.port
        await make(port, "shop", types=("plain",))
        await call(port, "POST", "/v1/event-types", {"name": "order.created", "redact": ["/card/number"]})
        async with following(port, kinds="events", data="true") as followed:
            for name in ("order.created", "plain"):
                await publish(port, "shop", {"card": {"number": 4111, "kind": "x"}}, type=name)
            masked, plain = await followed.messages(2)
    assert masked.data["data"] == {"card": {"number": "[redacted]", "kind": "x"}}
    assert plain.data["data"] == {"card": {"number": 4111, "kind": "x"}}


async def test_json_data_come_byte_for_byte(database: str) -> None:
    async with serving(database) as server:
        port = server.port
        await make(port, "shop")
        async with following(port, kinds="events", data="true") as followed:
            data = b'{ "price" :1.50,\n "e":1E+2 }'
            await exchange(port, request("POST", "/v1/apps/shop/events", b'{"type":"order.created","data":%b}' % data))
            async with asyncio.timeout(20):
                while b"\n\n" not in followed.chunked:
                    size = int(await followed.reader.readline(), 16)
                    followed.chunked += (await followed.reader.readexactly(size + 2))[:-2]
        lines = [line.removeprefix(b"data: ") for line in followed.chunked.split(b"\n") if line.startswith(b"data: ")]
        assert b'"data":' + data in b"\n".join(lines)


async def test_filters(database: str) -> None:
    async with target(answer_ok) as served, serving(database) as server:
        port = server.port
        await make(port, "shop", "other", types=("order.created", "order.item.added", "orders", "user_register"))
        for app in ("shop", "other"):
            await call(port, "POST", f"/v1/apps/{app}/endpoints", {"url": f"http://127.0.0.1:{served.port}/"})
        async with contextlib.AsyncExitStack() as stack:

            async def follow(**query: Any) -> Following:
                return await stack.enter_async_context(following(port, **query))

            orders = await follow(types="order.*,user_register", kinds="events")
            attempts = await follow(types="order.*", kinds="attempts")
            other = await follow(app="other")
            everything = await follow(types="*", kinds="events,attempts")
            sent = [
                await publish(port, app, type=name)
                for name in ("orders", "order.created", "order.item.added", "user_register")
                for app in ("shop", "other")
            ]
            assert sorted(ids(await orders.messages(6))) == sorted(sent[2:])
            seen = await attempts.messages(4)
            assert {one.event for one in seen} == {"attempt"}
            assert {one.data["event"] for one in seen} == set(sent[2:6])
            seen = await other.messages(8)
            assert {one.data["id"] for one in seen if one.event == "event"} == set(sent[1::2])
            assert {one.data["event"] for one in seen if one.event == "attempt"} == set(sent[1::2])
            assert len(await everything.messages(16)) == 16


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"types": "order.*,"}, "?types"),
    ({"types": "a b"}, "?types"),
    ({"types": ",".join(["a"] * 101)}, "?types"),
    ({"kinds": "events,everything"}, "?kinds"),
    ({"kinds": ""}, "?kinds"),
    ({"data": "perhaps"}, "?data"),
    ({"since": "now"}, "?since"),
]


async def test_what_cannot_be_asked_for_is_named(database: str) -> None:
    async with serving(database) as server:
        for query, path in WRONG:
            async with following(server.port, **query) as followed:
                assert followed.status == 422, query
                assert (await followed.problem())["path"] == path, query


# Who sees what


async def test_an_app_sees_its_own_and_nothing_else(database: str) -> None:
    async with target(answer_ok) as served, serving(database, partitions=1) as server:
        port = server.port
        await make(port, "shop", "other")
        for app in ("shop", "other"):
            await call(port, "POST", f"/v1/apps/{app}/endpoints", {"url": f"http://127.0.0.1:{served.port}/"})
        shop, other = await key_of(port, "shop"), await key_of(port, "other")
        async with (
            following(port, key=shop) as mine,
            following(port, key=other, kinds="events", data="true") as theirs,
            following(port, key=shop, app="shop", types="order.*") as named,
        ):
            sent = [await publish(port, "shop", n) for n in range(30)]
            for followed in (mine, named):
                seen = await followed.messages(60)
                assert [one.data["id"] for one in seen if one.event == "event"] == sent
                assert {one.data["event"] for one in seen if one.event == "attempt"} == set(sent)
            await silence(port, "other", theirs)
        assert await refused(port, key=shop, app="other") == (404, "app_not_found")
        assert await refused(port, key=shop, app="nobody") == (404, "app_not_found")
        assert await refused(port, app="nobody") == (404, "app_not_found")
        assert await refused(port, key=None) == (401, "unauthorised")


async def test_a_platform_event_is_told_to_its_audience_and_once_to_an_administrator(database: str) -> None:
    async with serving(database, partitions=PARTITIONS) as server:
        port = server.port
        apps = [f"app{number}" for number in range(12)]
        await make(port, *apps, "outsider")
        for app in apps:
            await call(port, "POST", f"/v1/apps/{app}/grants", {"types": ["order.*"], "subjects": ["shop:42"]})
        granted, outsider = await key_of(port, "app3"), await key_of(port, "outsider")
        async with (
            following(port) as admin,
            following(port, app="app5") as one,
            following(port, key=granted) as mine,
            following(port, key=outsider) as theirs,
        ):
            event = {"type": "order.created", "subject": "shop:42", "data": 1}
            accepted = await call(port, "POST", "/v1/events", event)
            assert accepted["apps"] == 12
            last = await publish(port, "outsider")
            assert ids(await admin.messages(2)) == [accepted["id"], last]
            assert ids(await one.messages(1)) == [accepted["id"]]
            (told,) = await mine.messages(1)
            assert told.data["id"] == accepted["id"]
            assert told.data["app"] is None
            await silence(port, "outsider", theirs) if ids(await theirs.messages(1)) == [last] else pytest.fail("more")


async def test_a_revoked_key_ends_its_streams_and_no_others(database: str) -> None:
    async with serving(database) as server:
        port = server.port
        await make(port, "shop")
        made = await call(port, "POST", "/v1/keys", {"scope": "app", "app": "shop"})
        async with following(port, key=made["key"]) as followed, following(port) as admin:
            await call(port, "DELETE", f"/v1/keys/{made['id']}")
            async with asyncio.timeout(10):
                assert await followed.end() == []
            await silence(port, "shop", admin)
        assert (await refused(port, key=made["key"]))[0] == 401


# Nothing is missed


async def test_a_client_that_comes_and_goes_misses_nothing(database: str) -> None:
    """Two publishers write to many apps while clients connect, read a little, and go without a word."""
    async with serving(database, partitions=PARTITIONS) as server:
        port = server.port
        apps = [f"app{number}" for number in range(8)]
        await make(port, *apps)
        draw = random.Random(7)
        published: list[str] = []
        done = asyncio.Event()

        async def publisher(seed: int) -> None:
            own = random.Random(seed)
            for _ in range(40):
                events = [{"type": "order.created", "data": 1}] * own.randint(1, 20)
                reply = await call(port, "POST", f"/v1/apps/{own.choice(apps)}/events/batch", events)
                published.extend(one["id"] for one in reply["data"])

        runs: list[list[str]] = []
        connected = asyncio.Semaphore(0)

        async def client(**query: Any) -> set[str]:
            seen: set[str] = set()
            last: str | None = None
            ended = False
            while not ended:
                ended = done.is_set()
                async with following(port, last_id=last, kinds="events", **query) as followed:
                    assert followed.status == 200
                    run: list[str] = []
                    runs.append(run)
                    connected.release()
                    # Every fifth time it reads what there is; else it goes in the middle of something.
                    count = 10_000 if ended else draw.randint(0, 60)
                    with contextlib.suppress(TimeoutError):
                        while len(run) < count:
                            async with asyncio.timeout(2 if ended else 0.5):
                                block = await followed.block()
                            assert block is not None
                            if block.event:
                                run.append(block.data["id"])
                    last = followed.last_id
                    seen.update(run)
            return seen

        clients = [asyncio.create_task(client(**query)) for query in ({}, {}, {"data": "true"}, {"types": "order.*"})]
        # They begin at a known place: before anything is published.
        for _ in clients:
            await connected.acquire()
        await asyncio.gather(publisher(1), publisher(2))
        done.set()
        for seen in await asyncio.gather(*clients):
            assert seen == set(published)
        assert len(runs) > 12
        places = await places_of(database)
        for run in runs:
            assert len(run) == len(set(run)), "nothing comes twice on one connection"
            for partition in range(PARTITIONS):
                seqs = [places[one][1] for one in run if places[one][0] == partition]
                assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True, "in order, without a gap"


async def test_a_client_that_takes_a_few_at_a_time_gets_on(database: str) -> None:
    """However much there is at once, and however soon it always goes."""
    async with serving(database, partitions=PARTITIONS) as server:
        port = server.port
        apps = ("app0", "app1", "app2", "app3")
        await make(port, *apps)
        async with following(port, kinds="events") as followed:
            last = followed.last_id
        published = set()
        for app in apps:
            events = [{"type": "order.created", "data": 1}] * 50
            reply = await call(port, "POST", f"/v1/apps/{app}/events/batch", events)
            published |= {one["id"] for one in reply["data"]}
        seen: set[str] = set()
        for _ in range(len(published) // STREAM_ID_MESSAGES_MAX):
            async with following(port, kinds="events", last_id=last) as followed:
                seen.update(ids(await followed.messages(STREAM_ID_MESSAGES_MAX)))
                last = followed.last_id
        assert seen == published


async def test_attempts_are_not_missed_either(database: str) -> None:
    """While results are recorded, of retries too, a client comes and goes."""
    async with target(answer_ok) as served, serving(database, partitions=PARTITIONS) as server:
        port = server.port
        await make(port, "app0", "app1", "app2")
        for number in range(3):
            await call(port, "POST", f"/v1/apps/app{number}/endpoints", {"url": f"http://127.0.0.1:{served.port}/"})
        draw = random.Random(3)
        seen: set[str] = set()
        last: str | None = None

        async def publishing() -> None:
            for _ in range(30):
                events = [{"type": "order.created", "data": 1}] * draw.randint(1, 20)
                await call(port, "POST", f"/v1/apps/app{draw.randrange(3)}/events/batch", events)

        async with following(port, kinds="attempts") as followed:
            last = followed.last_id
        publisher = asyncio.create_task(publishing())
        recorded: set[str] = set()
        async with asyncio.timeout(60):
            while not publisher.done() or seen != recorded:
                async with following(port, kinds="attempts", last_id=last) as followed:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.3):
                            for _ in range(draw.randint(1, 80)):
                                block = await followed.block()
                                assert block is not None
                                if block.event:
                                    seen.add(block.data["id"])
                    last = followed.last_id
                if publisher.done():
                    await publisher
                    recorded = await attempts_of(database)
        assert len(seen) > 100


async def attempts_of(dsn: str) -> set[str]:
    """All attempts, once there is one for each event."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT id FROM attempt")
        events = await connection.fetchval("SELECT count(*) FROM event")
    finally:
        await connection.close()
    return {format_id(ATTEMPT, row["id"].bytes) for row in rows} if len(rows) == events else set()


async def test_what_another_server_writes_is_told_too_and_a_position_serves_everywhere(database: str) -> None:
    shared = base64.b64encode(bytes(32)).decode()
    async with serving(database, master_key=shared) as one, serving(database, master_key=shared) as other:
        await make(one.port, "shop")
        async with following(one.port, kinds="events") as followed:
            sent = [await publish(other.port, "shop")]
            assert ids(await followed.messages(1)) == sent
            last = followed.last_id
        sent = [await publish(one.port, "shop"), await publish(other.port, "shop")]
        async with following(other.port, kinds="events", last_id=last) as followed:
            assert ids(await followed.messages(2)) == sent


async def places_of(dsn: str) -> dict[str, tuple[int, int]]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT id, partition, seq FROM event")
    finally:
        await connection.close()
    return {format_id(EVENT, row["id"].bytes): (row["partition"], row["seq"]) for row in rows}


async def test_an_event_that_is_committed_late_is_not_missed(database: str) -> None:
    """It has its id and its place before another one of another partition, which the client has seen by then."""
    async with serving(database, partitions=PARTITIONS) as server:
        port = server.port
        await make(port, *(f"app{number}" for number in range(8)))
        connection = await asyncpg.connect(database)
        try:
            rows = await connection.fetch("SELECT uid, id, partition FROM app WHERE uid LIKE 'app%' ORDER BY partition")
            slow, fast = rows[0], rows[-1]
            assert slow["partition"] != fast["partition"]
            async with following(port, kinds="events") as followed:
                late = await publish(port, slow["uid"], "to be copied")
                await followed.messages(1)
                async with connection.transaction():
                    await connection.execute(
                        "UPDATE log_head SET seq = seq + 1 WHERE partition = $1", slow["partition"]
                    )
                    await connection.execute(
                        "INSERT INTO event (id, partition, seq, app_id, config_version, type, content_type, payload,"
                        " created_at)"
                        " SELECT overlay(id::text placing '0000' from 20)::uuid, partition, seq + 1, app_id, config_version,"
                        " 'late', content_type, payload, created_at FROM event WHERE partition = $1",
                        slow["partition"],
                    )
                    early = await publish(port, fast["uid"])
                    assert ids(await followed.messages(1)) == [early]
                    last = followed.last_id
            async with following(port, kinds="events", last_id=last) as resumed:
                (told,) = await resumed.messages(1)
                assert told.data["type"] == "late"
                assert told.data["id"] < early, "its id is older than what was seen before"
            assert told.data["id"] != late
        finally:
            await connection.close()


async def test_it_goes_on_when_the_database_comes_back(database: str) -> None:
    async with serving(database) as server:
        port = server.port
        await make(port, "shop")
        async with following(port, kinds="events") as followed:
            sent = [await publish(port, "shop")]
            await followed.messages(1)
            connection = await asyncpg.connect(database)
            try:
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            finally:
                await connection.close()
            for _ in range(100):
                reply = await ask(port, "POST", "/v1/apps/shop/events", {"type": "order.created", "data": 2})
                if reply.status == 202:
                    break
                await asyncio.sleep(0.2)
            sent.append(reply.body["id"])
            assert ids(await followed.messages(1)) == sent[1:]


async def test_a_quiet_stream_is_kept_alive_with_its_position(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.api.resources.stream.STREAM_KEEP_ALIVE_SECONDS", 0.2)
    async with serving(database) as server:
        port = server.port
        await make(port, "shop", types=("order.created", "user_register"))
        async with following(port, types="user_register") as followed:
            first = followed.last_id
            await publish(port, "shop")
            async with asyncio.timeout(20):
                blocks = [await followed.block() for _ in range(5)]
            assert all(block is not None and block.comment == "keep-alive" and not block.event for block in blocks)
            last = followed.last_id
        assert first is not None
        assert last is not None
        # It has moved past what was not wanted.
        before, after = (sum((position(one).events or {}).values()) for one in (first, last))
        assert after == before + 1


def position(last_id: str) -> Position:
    """A position looked into, its seal left aside."""
    raw = base64.urlsafe_b64decode(last_id + "=" * (-len(last_id) % 4))
    return unpack(raw[:-12])


# Positions that do not serve


async def cursors_of(dsn: str) -> Cursors:
    """What seals positions there."""
    connection = await asyncpg.connect(dsn)
    try:
        found = await connection.fetchval("SELECT id FROM installation")
    finally:
        await connection.close()
    return Cursors(sha256(b"cursor" + found.bytes).digest())


async def test_positions_that_do_not_serve_are_refused_and_said_why(database: str) -> None:
    async with serving(database, partitions=PARTITIONS, retention_days=2) as server:
        port = server.port
        await make(port, "shop", "other")
        shop = await key_of(port, "shop")
        async with following(port, kinds="events") as followed:
            last = followed.last_id
            assert last is not None
        async with following(port, key=shop, kinds="events") as followed:
            its = followed.last_id
        seal = (await cursors_of(database)).seal
        now = position(last)
        assert now.events is not None

        def made(**changes: Any) -> str:
            return seal("stream", pack(Position(**{"events": now.events, "attempts": None, "at": now.at, **changes})))

        assert made() == last
        unknown = (422, "position_unknown")
        assert await refused(port, last_id=last[:-3] + "abc", kinds="events") == unknown
        assert await refused(port, last_id="nonsense", kinds="events") == unknown
        assert await refused(port, last_id=its, kinds="events") == unknown, "an app's, with an administrator's key"
        assert await refused(port, key=shop, last_id=last, kinds="events") == unknown
        assert await refused(port, last_id=last, kinds="events", app="shop") == unknown, "of all, for one"
        assert await refused(port, last_id=made(events={**now.events, 0: 10}), kinds="events") == unknown, "ahead"
        for kinds in ("attempts", "events,attempts"):
            assert await refused(port, last_id=last, kinds=kinds) == (422, "position_of_other_kinds")
        expired = (422, "position_expired")
        assert await refused(port, last_id=made(at=now.at - 3 * 86400), kinds="events") == expired
        attempts = dict.fromkeys(range(PARTITIONS), AttemptId(bytes(16)))
        old = made(events=None, attempts=attempts, at=now.at - 3 * 86400)
        assert await refused(port, last_id=old, kinds="attempts") == expired
        async with following(port, last_id=made(at=now.at - 86400), kinds="events") as followed:
            assert followed.status == 200


async def test_a_gap_is_told_and_never_passed_over(database: str) -> None:
    async with serving(database) as server:
        port = server.port
        await make(port, "shop")
        async with following(port, kinds="events") as followed:
            last = followed.last_id
        first = await publish(port, "shop")
        await publish(port, "shop")
        connection = await asyncpg.connect(database)
        try:
            # As retention does it, but for a day as a whole.
            await connection.execute("DELETE FROM event WHERE id = encode($1, 'hex')::uuid", parse_id(EVENT, first))
        finally:
            await connection.close()
        async with following(port, last_id=last, kinds="events") as followed:
            (told,) = await followed.end()
        assert told.event == "problem"
        assert told.data["code"] == "position_expired"
        assert told.id is None


# Bounds


async def test_a_client_that_reads_nothing_holds_nobody_up_and_catches_up(database: str) -> None:
    async with serving(database) as server:
        port = server.port
        await make(port, "shop")
        big = "x" * 200_000
        async with (
            following(port, kinds="events", data="true", small=True) as slow,
            following(port, kinds="events") as quick,
        ):
            sent = []
            for number in range(100):
                sent.append(await publish(port, "shop", [number, big]))
                assert ids(await quick.messages(1)) == sent[-1:]
            # 20 MB, which no buffer between us held.
            assert ids(await slow.messages(100)) == sent


async def test_the_number_of_streams_is_bounded(database: str) -> None:
    async with serving(database) as server:
        port = server.port
        await make(port, "shop")
        shop = await key_of(port, "shop")
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(STREAMS_PER_APP_MAX):
                assert (await stack.enter_async_context(following(port, key=shop))).status == 200
            async with following(port, key=shop) as followed:
                assert followed.status == 503
                assert int(followed.headers["retry-after"]) > 0
                assert str(STREAMS_PER_APP_MAX) in (await followed.problem())["detail"]
            for _ in range(STREAMS_MAX - STREAMS_PER_APP_MAX):
                assert (await stack.enter_async_context(following(port))).status == 200
            async with following(port) as followed:
                assert followed.status == 503
                assert str(STREAMS_MAX) in (await followed.problem())["detail"]
            assert (await ask(port, "GET", "/v1/apps")).status == 200, "the rest goes on"
        async with asyncio.timeout(20):
            while True:
                async with following(port, key=shop) as followed:
                    if followed.status == 200:
                        break
                await asyncio.sleep(0.05)


async def test_a_server_that_stops_waits_for_no_stream(database: str) -> None:
    async with contextlib.AsyncExitStack() as clients:
        async with serving(database) as server:
            port = server.port
            await make(port, "shop")
            idle = await clients.enter_async_context(following(port))
            await clients.enter_async_context(following(port, data="true", small=True))
            for _ in range(60):
                await publish(port, "shop", "x" * 200_000)
            await idle.messages(60)
            began = time.monotonic()
            server.stop()
            assert await idle.end() == []
            assert time.monotonic() - began < 1
        assert time.monotonic() - began < 5, "not even for the one that reads nothing"
