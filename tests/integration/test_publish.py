"""Publishing over HTTP: what is accepted, and every bad input answered clearly, with nothing written."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from tests.serving import KEY, Reply, ask, call, exchange, reply_of, request, serving

from posthouse import bootstrap
from posthouse.api.arriving import Room
from posthouse.domain.limits import JSON_DEPTH_MAX

EVENTS = "/v1/apps/acme/events"
GOOD = {"type": "order.created", "data": {"id": 1}}


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database, payload_bytes_max=4096, body_seconds=1.0, pending_bytes_max=1024 * 1024) as running:
        schema = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
        await call(running.port, "POST", "/v1/event-types", {"name": "order.created", "schema": schema})
        await call(running.port, "POST", "/v1/event-types", {"name": "file.stored"})
        await call(running.port, "POST", "/v1/apps", {"uid": "acme"})
        await call(running.port, "POST", "/v1/apps", {"uid": "other"})
        yield running


async def stored(port: int) -> list[Any]:
    """All events: on a busy machine a page may be empty, since it is looked for but for a moment."""
    page = await call(port, "GET", EVENTS)
    events = list(page["data"])
    while page["next"] is not None:
        page = await call(port, "GET", f"{EVENTS}?cursor={page['next']}")
        events += page["data"]
    return events


async def test_an_event_is_accepted_and_kept_as_it_came(server: bootstrap.Posthouse) -> None:
    body = (
        b'{"type":"order.created","subject":"shop:42","data":{"id":1,"big":123456789012345678.1,"a\\u0000":"\\u0000"}}'
    )
    reply = await ask(server.port, "POST", EVENTS, body)
    assert reply.status == 202
    assert reply.body["type"] == "order.created"
    assert reply.body["id"].startswith("evt_")
    (event,) = await stored(server.port)
    assert event["id"] == reply.body["id"]
    raw = await exchange(server.port, request("GET", f"{EVENTS}/{event['id']}"))
    assert raw.body["subject"] == "shop:42"
    assert raw.body["data"]["a\0"] == "\0"


async def test_other_content_goes_in_as_it_is(server: bootstrap.Posthouse) -> None:
    pdf = {"Content-Type": "application/pdf"}
    reply = await ask(server.port, "POST", f"{EVENTS}?type=file.stored", b"%PDF-\xff\x00", headers=pdf)
    assert reply.status == 202
    refused = await ask(server.port, "POST", EVENTS, b"%PDF", headers=pdf)
    assert (refused.status, refused.body["code"]) == (422, "type_missing")


async def test_a_body_that_is_compressed_is_not_taken_for_what_it_is_not(server: bootstrap.Posthouse) -> None:
    squeezed = gzip.compress(b"text")
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/json"}):
        headers = headers | {"Content-Encoding": "gzip"}
        refused = await ask(server.port, "POST", f"{EVENTS}?type=file.stored", squeezed, headers=headers)
        assert (refused.status, refused.body["path"]) == (415, "Content-Encoding")


async def test_there_is_one_key(server: bootstrap.Posthouse) -> None:
    for key in (KEY, "ph_another"):
        sent = request("POST", EVENTS, GOOD).replace(b"\r\n", f"\r\nAuthorization: Bearer {key}\r\n".encode(), 1)
        refused = await exchange(server.port, sent)
        assert (refused.status, refused.body["code"]) == (400, "malformed_request")


@pytest.mark.parametrize("data", [b"1e400", b'{"id":1e400}'])
async def test_what_no_schema_can_judge_is_refused(server: bootstrap.Posthouse, data: bytes) -> None:
    await ask(server.port, "POST", EVENTS, GOOD)  # from here on the short way knows the type, the app and the key
    for _ in range(2):
        refused = await ask(server.port, "POST", EVENTS, b'{"type":"order.created","data":%b}' % data)
        assert (refused.status, refused.body["code"]) == (422, "schema_mismatch")
    dry = await ask(server.port, "POST", f"{EVENTS}?dry_run=true", b'{"type":"order.created","data":%b}' % data)
    assert dry.status == 422
    assert (await ask(server.port, "POST", EVENTS, b'{"type":"file.stored","data":%b}' % data)).status == 202
    checked = await ask(server.port, "POST", "/v1/event-types/file.stored/check", {"schema": {"type": "object"}})
    assert (checked.status, checked.body["recent"]["fit"]) == (200, 0)


async def test_what_is_too_deep_is_refused_and_what_is_as_deep_as_may_be_is_judged(server: bootstrap.Posthouse) -> None:
    for event_type in (b"order.created", b"file.stored"):  # the first has a schema
        for levels in (JSON_DEPTH_MAX + 1, 900):
            body = b'{"type":"%b","data":%b}' % (event_type, b"[" * levels + b"]" * levels)
            for path in (EVENTS, f"{EVENTS}?dry_run=true"):
                refused = await ask(server.port, "POST", path, body)
                assert (refused.status, refused.body["code"]) == (400, "malformed_json")
        deep = b"[" * (JSON_DEPTH_MAX - 1) + b"]" * (JSON_DEPTH_MAX - 1)
        body = b'{"type":"%b","data":{"id":1,"deep":%b}}' % (event_type, deep)
        assert (await ask(server.port, "POST", EVENTS, body)).status == 202


async def test_batches_are_all_or_nothing(server: bootstrap.Posthouse) -> None:
    reply = await ask(server.port, "POST", f"{EVENTS}/batch", [GOOD, GOOD])
    assert (reply.status, len(reply.body["data"])) == (202, 2)
    lines = b"\n".join(json.dumps(GOOD).encode() for _ in range(3)) + b"\n\n"
    reply = await ask(server.port, "POST", f"{EVENTS}/batch", lines, headers={"Content-Type": "application/x-ndjson"})
    assert (reply.status, len(reply.body["data"])) == (202, 3)
    for body, path in (
        ([GOOD, {"type": "order.created", "data": {"id": "x"}}], "[1].data.id"),
        ([GOOD, {"type": "order created", "data": 1}], "[1].type"),
        ([GOOD, {"type": "order.created"}], "data"),
    ):
        refused = await ask(server.port, "POST", f"{EVENTS}/batch", body)
        assert refused.status == 422
        assert refused.body["path"].endswith(path), refused.body
    assert (await ask(server.port, "POST", f"{EVENTS}/batch", [])).status == 422
    assert len(await stored(server.port)) == 5


async def test_an_idempotency_key_makes_one_event(server: bootstrap.Posthouse) -> None:
    once = {"Idempotency-Key": "order-1"}
    first = await ask(server.port, "POST", EVENTS, GOOD, headers=once)
    again = await ask(server.port, "POST", EVENTS, GOOD, headers=once)
    assert (first.status, again.status) == (202, 202)
    assert again.body == first.body
    other = await ask(server.port, "POST", EVENTS, GOOD | {"data": {"id": 2}}, headers=once)
    assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")
    elsewhere = await ask(server.port, "POST", "/v1/apps/other/events", GOOD, headers=once)
    assert elsewhere.body["id"] != first.body["id"], "a key is its app's own"
    batch = [GOOD, GOOD]
    one = await ask(server.port, "POST", f"{EVENTS}/batch", batch, headers={"Idempotency-Key": "batch"})
    two = await ask(server.port, "POST", f"{EVENTS}/batch", batch, headers={"Idempotency-Key": "batch"})
    assert one.body == two.body
    for bad in ("", "x" * 256):
        assert (await ask(server.port, "POST", EVENTS, GOOD, headers={"Idempotency-Key": bad or " "})).status == 422


async def test_an_event_of_a_batch_has_an_idempotency_key_of_its_own(server: bootstrap.Posthouse) -> None:
    one, two, three = (GOOD | {"data": {"id": n}, "idempotency_key": f"row-{n}"} for n in (1, 2, 3))
    first = await ask(server.port, "POST", f"{EVENTS}/batch", [one, two])
    again = await ask(server.port, "POST", f"{EVENTS}/batch", [two, three, GOOD], headers={"Idempotency-Key": "batch"})
    alone = await ask(server.port, "POST", EVENTS, three, headers={"Idempotency-Key": "another"})
    assert (first.status, again.status, alone.status) == (202, 202, 202)
    assert again.body["data"][0] == first.body["data"][1], "whatever it comes with"
    assert alone.body == again.body["data"][1], "its own key goes before the request's"
    assert len(await stored(server.port)) == 4
    changed = await ask(server.port, "POST", f"{EVENTS}/batch", [GOOD, two | {"subject": "shop:2"}, GOOD])
    assert (changed.status, changed.body["code"]) == (422, "idempotency_key_reused")
    longer = await ask(server.port, "POST", f"{EVENTS}/batch", [GOOD] * 4, headers={"Idempotency-Key": "batch"})
    assert (longer.status, longer.body["code"]) == (422, "idempotency_key_reused"), "[2] of it was there: GOOD"
    assert len(await stored(server.port)) == 4, "all or nothing"
    twice = await ask(server.port, "POST", f"{EVENTS}/batch", [GOOD, three, three])
    assert (twice.status, twice.body["path"]) == (422, "[2].idempotency_key")
    bad = await ask(server.port, "POST", f"{EVENTS}/batch", [GOOD | {"idempotency_key": "x" * 256}])
    assert (bad.status, bad.body["path"]) == (422, "[0].idempotency_key")


async def test_the_same_key_at_the_same_time_is_one_event(server: bootstrap.Posthouse) -> None:
    once = {"Idempotency-Key": "now"}
    replies = await asyncio.gather(*(ask(server.port, "POST", EVENTS, GOOD, headers=once) for _ in range(12)))
    assert {r.status for r in replies} <= {202, 409}
    assert len({r.body["id"] for r in replies if r.status == 202}) == 1
    assert len(await stored(server.port)) == 1


BAD: list[tuple[str, bytes, int, str, str]] = [
    ("cut off", b'{"type": "order.created",\n "data": {"id": ', 400, "malformed_json", "line 2"),
    ("trailing comma", b'{"type": "order.created", "data": {"id": 1,}}', 400, "malformed_json", "line 1, column 4"),
    ("nothing", b"", 400, "malformed_json", "empty"),
    ("wrong type", b'{"type": 5, "data": 1}', 422, "invalid", "expected str, got int"),
    ("no data", b'{"type": "order.created"}', 422, "invalid", "missing"),
    ("unknown field", b'{"type": "order.created", "data": {"id": 1}, "extra": 1}', 422, "invalid", "unknown field"),
    ("type with a space", b'{"type": "order created", "data": 1}', 422, "invalid_event_type", "letters"),
    ("type with NUL", b'{"type": "order\\u0000", "data": 1}', 422, "invalid_event_type", "letters"),
    (
        "subject with NUL",
        b'{"type": "order.created", "data": {"id": 1}, "subject": "a\\u0000b"}',
        422,
        "invalid",
        "U+0000",
    ),
    ("no UTF-8", b'{"type": "order.created", "data": {"id": 1, "x": "\xff"}}', 400, "malformed_json", "UTF-8"),
    (
        "too deep",
        b'{"type": "order.created", "data": ' + b"[" * 1900 + b"]" * 1900 + b"}",
        400,
        "malformed_json",
        "deep",
    ),
    ("unknown event type", b'{"type": "order.lost", "data": 1}', 404, "event_type_not_found", "POST /v1/event-types"),
    ("against its schema", b'{"type": "order.created", "data": {"id": "one"}}', 422, "schema_mismatch", "integer"),
    (
        "expiry without zone",
        b'{"type": "order.created", "data": {"id": 1}, "expires_at": "2030-01-01T00:00:00"}',
        422,
        "invalid",
        "",
    ),
    (
        "too large",
        b'{"type": "order.created", "data": {"id": 1, "x": "' + b"x" * 5000 + b'"}}',
        413,
        "too_large",
        "4096",
    ),
]


async def test_bad_bodies(server: bootstrap.Posthouse) -> None:
    for name, body, status, code, says in BAD:
        reply = await ask(server.port, "POST", EVENTS, body)
        assert (reply.status, reply.body["code"]) == (status, code), (name, reply.body)
        assert reply.headers["content-type"] == "application/problem+json", name
        assert says in reply.body["detail"], name
        assert await stored(server.port) == [], name


async def test_in_one_piece_or_in_several_the_answer_is_the_same(server: bootstrap.Posthouse) -> None:
    """Whether there is a way past ASGI for it (where all that it takes is known already) or not."""
    await ask(server.port, "POST", EVENTS, GOOD)
    plain = {"Accept-Language": "zh"}
    mine, whole_platform, of_acme = [
        (await call(server.port, "POST", "/v1/keys", about))["key"]
        for about in ({"scope": "app", "app": "acme"}, {"scope": "publish"}, {"scope": "publish", "app": "acme"})
    ]
    requests = [
        *[request("POST", EVENTS, body) for _, body, *_ in BAD],
        *[request("POST", EVENTS, body, headers=plain) for _, body, *_ in BAD[:5]],
        request("POST", EVENTS, GOOD),
        request("POST", EVENTS, GOOD, headers={"Content-Type": ""}),
        request("POST", EVENTS, GOOD, headers={"Content-Type": "text/json"}),
        request("POST", EVENTS, GOOD, headers={"Idempotency-Key": "k"}),
        request("POST", EVENTS, GOOD, headers={"ce-id": "1", "ce-specversion": "1.0"}),
        request("POST", EVENTS, GOOD, key=None),
        request("POST", EVENTS, GOOD, key=mine),
        *[request("POST", EVENTS, GOOD, key=key) for key in (whole_platform, of_acme) for _ in range(2)],
        *[request("POST", "/v1/events", GOOD, key=key) for key in (whole_platform, of_acme) for _ in range(2)],
        *[request("POST", "/v1/apps/other/events", GOOD, key=key) for key in (whole_platform, of_acme)],
        request("POST", EVENTS, GOOD, headers={"Authorization": "Basic eDp5"}),
        request("POST", "/v1/events", GOOD),
        request("POST", "/v1/apps/%61cme/events", GOOD),
        request("POST", "/v1/apps/nobody/events", GOOD),
        request("POST", "/v1/apps/a/b/events", GOOD),
        request("POST", "/v1/apps//events", GOOD),
        request("POST", "/v1/other/events", GOOD),
    ]
    for data in requests:
        whole, cut = await exchange(server.port, data), await _in_two_pieces(server.port, data)
        assert (whole.status, _without_ids(whole.body)) == (cut.status, _without_ids(cut.body)), data
        assert whole.headers.keys() == cut.headers.keys(), data


def _without_ids(body: Any) -> Any:
    return {name: value for name, value in body.items() if name not in ("id", "created_at")}


async def _in_two_pieces(port: int, data: bytes) -> Reply:
    """The head first: ASGI has it then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    at = data.index(b"\r\n\r\n") + 4
    writer.write(data[:at])
    await writer.drain()
    await asyncio.sleep(0.05)  # so that these are two reads; were they one, this would be the other case
    writer.write(data[at:])
    answer = await reader.read()
    writer.close()
    return reply_of(answer)


async def test_who_may_publish(server: bootstrap.Posthouse) -> None:
    mine, whole, bound = [
        (await call(server.port, "POST", "/v1/keys", about))["key"]
        for about in ({"scope": "app", "app": "acme"}, {"scope": "publish"}, {"scope": "publish", "app": "acme"})
    ]
    other = await call(server.port, "GET", "/v1/apps/other")
    await call(server.port, "POST", "/v1/apps/other/events", GOOD)  # from here on everything is known
    for key in (whole, bound):
        assert (await ask(server.port, "POST", "/v1/apps/nobody/events", GOOD, key=key)).status == 404
    for key, path, status in (
        (None, EVENTS, 401),
        ("ph_unknown", EVENTS, 401),
        (mine, EVENTS, 403),
        (mine, "/v1/apps/other/events", 404),
        (mine, "/v1/apps/nobody/events", 404),
        (bound, "/v1/apps/other/events", 404),
        (bound, f"/v1/apps/{other['id']}/events", 404),
        (bound, "/v1/events", 403),
        (bound, "/v1/apps/operations/events", 404),
        (whole, "/v1/apps/operations/events", 403),
        (whole, "/v1/apps/other/events", 202),
        (whole, "/v1/events", 202),
    ):
        reply = await ask(server.port, "POST", path, GOOD, key=key)
        assert reply.status == status, (key, path, reply)
    assert "bearer" in (await ask(server.port, "POST", EVENTS, GOOD, key=None)).headers["www-authenticate"].lower()
    assert await stored(server.port) == []


@pytest.mark.parametrize(
    ("sqlstate", "english", "chinese"),
    [
        ("53100", "the disk of the database is full, and nothing was changed", "数据库的磁盘已满"),
        ("25006", "the database takes no writes now, and nothing was changed", "数据库目前不接受写入"),
        ("53300", "the database has no connection left, and nothing was changed", "数据库已没有空闲连接"),
        ("58030", "the database did not answer, and nothing was changed", "数据库没有应答"),
    ],
)
async def test_what_the_database_says_of_itself_is_told(
    server: bootstrap.Posthouse, database: str, sqlstate: str, english: str, chinese: str
) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(f"""
            CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN RAISE EXCEPTION ''on db.internal'' USING ERRCODE = ''{sqlstate}''; END';
            CREATE TRIGGER no BEFORE INSERT ON event EXECUTE FUNCTION no()
        """)
    finally:
        await connection.close()
    for path in (EVENTS, "/v1/events"):
        for headers, told in (({}, english), ({"Accept-Language": "zh-CN"}, chinese)):
            reply = await ask(server.port, "POST", path, GOOD, headers=headers)
            assert (reply.status, reply.body["code"]) == (503, "store_unavailable")
            assert reply.body["detail"].startswith(told)
            assert "db.internal" not in str(reply.body)
            assert reply.headers["retry-after"] == "2"


async def test_a_deleted_app_takes_nothing_though_it_was_cached(server: bootstrap.Posthouse) -> None:
    assert (await ask(server.port, "POST", "/v1/apps/other/events", GOOD)).status == 202
    assert (await ask(server.port, "DELETE", "/v1/apps/other")).status == 204
    assert (await ask(server.port, "POST", "/v1/apps/other/events", GOOD)).status == 404
    again = await call(server.port, "POST", "/v1/apps", {"uid": "other"})
    reply = await ask(server.port, "POST", "/v1/apps/other/events", GOOD)
    assert reply.status == 202, "the uid names another app now"
    assert len((await call(server.port, "GET", f"/v1/apps/{again['id']}/events"))["data"]) == 1


async def test_slow_and_cut_off_uploads_leave_nothing(server: bootstrap.Posthouse) -> None:
    whole = request("POST", EVENTS, GOOD)
    slow = await exchange(server.port, whole[:-5])
    assert (slow.status, slow.body["code"]) == (408, "body_timeout")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(whole[:-5])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert reader is not None
    assert await stored(server.port) == []
    assert (await ask(server.port, "POST", EVENTS, GOOD)).status == 202


async def test_overload_is_refused_before_memory_grows(database: str) -> None:
    async with serving(database, pending_events_max=1, pending_bytes_max=2048) as server:
        await call(server.port, "POST", "/v1/event-types", {"name": "order.created"})
        await call(server.port, "POST", "/v1/apps", {"uid": "acme"})
        large = {"type": "order.created", "data": "x" * 3000}
        reply = await ask(server.port, "POST", EVENTS, large)
        assert (reply.status, reply.body["code"]) == (503, "overloaded")
        assert int(reply.headers["retry-after"]) >= 1
        replies = await asyncio.gather(*(ask(server.port, "POST", EVENTS, GOOD) for _ in range(40)))
        accepted = [r.body["id"] for r in replies if r.status == 202]
        assert accepted
        assert {r.status for r in replies} <= {202, 503}
        assert {e["id"] for e in (await call(server.port, "GET", f"{EVENTS}?limit=250"))["data"]} == set(accepted)


async def test_an_unknown_type_is_made_where_that_is_asked_for(database: str) -> None:
    async with serving(database, auto_create_event_types=True) as server:
        await call(server.port, "POST", "/v1/apps", {"uid": "acme"})
        assert (await ask(server.port, "POST", EVENTS, {"type": "brand.new", "data": None})).status == 202
        assert (await call(server.port, "GET", "/v1/event-types/brand.new"))["name"] == "brand.new"


async def test_the_whole_is_observable(server: bootstrap.Posthouse) -> None:
    await ask(server.port, "POST", EVENTS, GOOD)
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert (await ask(server.port, "GET", path, key=None)).status == 200
    metrics = (await ask(server.port, "GET", "/metrics", key=None)).body.decode()
    assert "posthouse_events_published_total 1.0" in metrics
    for series in ("posthouse_attempts_total", "posthouse_deliveries_owed", "posthouse_partitions_owned 64.0"):
        assert series in metrics


# CloudEvents

CE = {"specversion": "1.0", "id": "o-1", "source": "/shop/42", "type": "order.created", "subject": "shop:42"}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCHED = {"Content-Type": "application/cloudevents-batch+json"}


async def test_cloudevents_come_in_all_three_modes(server: bootstrap.Posthouse) -> None:
    port = server.port
    structured = await ask(port, "POST", EVENTS, CE | {"data": {"id": 1}}, headers=STRUCTURED)
    assert structured.status == 202
    binary = {f"ce-{name}": value for name, value in (CE | {"id": "o-2"}).items()} | {"ce-total": "7%20EUR"}
    assert (await ask(port, "POST", EVENTS, {"id": 2}, headers=binary)).status == 202
    many = [CE | {"id": f"o-{n}", "data": {"id": n}} for n in (3, 4)]
    for path in (EVENTS, f"{EVENTS}/batch"):
        reply = await ask(port, "POST", path, many, headers=BATCHED)
        assert (reply.status, len(reply.body["data"])) == (202, 2)
    assert (await ask(port, "POST", EVENTS, [], headers=BATCHED)).body == {"data": []}
    shown = [await call(port, "GET", f"{EVENTS}/{event['id']}") for event in await stored(port)]
    assert [event["data"] for event in shown] == [{"id": n} for n in (4, 3, 2, 1)], "source and id make it one event"
    assert {(event["type"], event["subject"], event["source"]) for event in shown} == {
        ("order.created", "shop:42", "/shop/42")
    }
    assert shown[2]["attributes"] == {"id": "o-2", "total": "7 EUR"}
    assert structured.body["id"] == shown[3]["id"]


async def test_bad_cloudevents_are_refused_with_their_place(server: bootstrap.Posthouse) -> None:
    binary = {f"ce-{name}": value for name, value in CE.items() if name != "source"}
    for path, body, headers, wrong in (
        (EVENTS, CE | {"specversion": "0.3"}, STRUCTURED, "specversion"),
        (EVENTS, CE | {"data": {"id": "x"}}, STRUCTURED, "data.id"),
        (EVENTS, CE | {"type": "a b"}, STRUCTURED, "type"),
        (EVENTS, {"id": 1}, binary, "ce-source"),
        (EVENTS, [CE | {"data": {"id": 1}}] * 2, BATCHED, "[1].id"),
        (EVENTS, [CE | {"data": {"id": 1}}, CE | {"id": "2", "data": {"id": "x"}}], BATCHED, "[1].data.id"),
        (f"{EVENTS}/batch", CE, STRUCTURED, "Content-Type"),
        (EVENTS, CE, {"Content-Type": "application/cloudevents+xml"}, "Content-Type"),
    ):
        refused = await ask(server.port, "POST", path, body, headers=headers)
        assert (refused.status in (415, 422), refused.body["path"]) == (True, wrong), refused.body
    assert await stored(server.port) == []


async def test_a_cloudevent_of_the_platform(server: bootstrap.Posthouse) -> None:
    port = server.port
    await call(port, "POST", "/v1/apps/other/grants", {"types": ["order.*"], "subjects": ["shop:*"]})
    reply = await ask(port, "POST", "/v1/events", CE | {"data": {"id": 1}}, headers=STRUCTURED)
    assert (reply.status, reply.body["apps"]) == (202, 1)
    again = await ask(port, "POST", "/v1/events", CE | {"data": {"id": 2}}, headers=STRUCTURED)
    assert again.body["id"] == reply.body["id"]
    dry = await ask(port, "POST", "/v1/events?dry_run=true", CE | {"data": {"id": 1}}, headers=STRUCTURED)
    assert [app["uid"] for app in dry.body["reached"]] == ["other"]


async def test_bodies_that_arrive_slowly_have_a_limit_together(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.api.publish.Room", lambda _: Room(1_000))
    async with serving(database) as server:
        await call(server.port, "POST", "/v1/event-types", {"name": "order.created"})
        head = (
            f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
        )
        event = json.dumps({"type": "order.created", "data": "x" * 500}).encode()

        async def begin() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n{len(event):x}\r\n".encode() + event + b"\r\n")
            return reader, writer

        async def status(reader: asyncio.StreamReader) -> bytes:
            return (await reader.readuntil(b"\r\n")).split()[1]

        one, other = await begin(), await begin()
        first = {asyncio.create_task(status(reader)): writer for reader, writer in (one, other)}
        done, waiting = await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [b"503"]
        (left,) = waiting
        first[left].write(b"0\r\n\r\n")
        assert await left == b"202"
        again = await begin()
        again[1].write(b"0\r\n\r\n")
        assert await status(again[0]) == b"202", "what they took was given back"
        for _, writer in (one, other, again):
            writer.close()
