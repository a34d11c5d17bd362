"""Replays over HTTP: asked for, counted, looked at and steered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.api_world import OWNER, World, ago, raw, world_over

from posthouse.adapters.postgres.jobs import PostgresJobs
from posthouse.dispatch.replays import Replays
from posthouse.domain.delivery import AttemptOutcome, DeliveryClass, OwedReason
from posthouse.domain.endpoint import Ordering
from posthouse.domain.event import Event
from posthouse.domain.ids import EVENT, REPLAY, format_id
from posthouse.domain.limits import REPLAYS_LIVE_PER_APP_MAX
from posthouse.domain.order import line_of

REPLAYS = "/v1/apps/shop/replays"


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        await made.app("shop")
        yield made


async def app_id(world: World) -> str:
    found: str = (await world.admin.get("/v1/apps/shop")).json()["id"]
    return found


async def some(world: World, count: int, **fields: Any) -> list[Event]:
    return await world.publish(await app_id(world), *[b"1"] * count, **fields)


def runner(world: World) -> Replays:
    return Replays(PostgresJobs(world.database), world.clock, owner=OWNER, epochs=world._epochs)


async def asked(world: World, **fields: Any) -> dict[str, Any]:
    reply = await world.admin.post(REPLAYS, {"endpoint": "main", "since": ago(3600), "select": "all"} | fields)
    assert reply.status == 202, reply.body
    found: dict[str, Any] = reply.json()
    return found


async def test_a_replay_from_asking_to_its_end(world: World) -> None:
    endpoint = await world.endpoint("shop", uid="main")
    events = await some(world, 3)
    await world.record(events, endpoint, AttemptOutcome.GAVE_UP)
    dry = await world.admin.post(
        f"{REPLAYS}?dry_run=true", {"endpoint": "main", "since": ago(3600), "select": "failed", "types": ["order.*"]}
    )
    assert dry.status == 200, dry.body
    assert {name: dry.json()[name] for name in ("dry_run", "selected", "exact", "scanned")} == {
        "dry_run": True,
        "selected": 3,
        "exact": True,
        "scanned": 3,
    }
    assert (await world.admin.get(REPLAYS)).json() == {"data": [], "next": None}
    made = await asked(world, select="failed", types=["order.*"])
    assert made["id"].startswith("rpl_")
    assert (made["app"], made["endpoint"]) == (await app_id(world), endpoint)
    assert (made["select"], made["types"], made["state"]) == ("failed", ["order.*"], "pending")
    assert made["progress"] == {"scanned": 0, "selected": 0, "sent": 0, "total": None}
    assert made["eta_seconds"] is made["reason"] is made["finished_at"] is None
    carrying = runner(world)
    for _ in range(4):
        await carrying.round()
    shown = (await world.admin.get(f"{REPLAYS}/{made['id']}")).json()
    assert shown["state"] == "running"
    assert shown["progress"] == {"scanned": 3, "selected": 3, "sent": 0, "total": 3}
    assert 0 < shown["eta_seconds"] < 10
    owed = (await world.admin.get("/v1/apps/shop/deliveries")).json()["data"]
    assert {(one["reason"], one["class"], one["attempt"]) for one in owed} == {("replayed", "replay", 1)}
    rows = [(event.partition, raw("ep", endpoint), event.id) for event in events]
    await world.journal(settled=tuple(rows))
    for _ in range(3):
        await carrying.round()
    ended = (await world.admin.get(REPLAYS)).json()["data"]
    assert [(one["state"], one["eta_seconds"], one["progress"]["sent"]) for one in ended] == [("finished", 0.0, 3)]
    assert ended[0]["finished_at"] is not None


async def test_a_dry_run_says_where_it_counted_at_least(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = await world.endpoint("shop", uid="main")
    events = await some(world, 6)
    await world.record(events[:5], endpoint)
    body = {"endpoint": "main", "since": ago(3600), "select": "all"}
    reply = (await world.admin.post(f"{REPLAYS}?dry_run=true", body)).json()
    assert (reply["selected"], reply["exact"]) == (5, False), "the last one is being dispatched"
    await world.record(events[5:], endpoint)
    monkeypatch.setattr("posthouse.manage.replays.REPLAY_STEP_EVENTS_MAX", 2)
    monkeypatch.setattr("posthouse.manage.replays.REPLAY_COUNTED_MAX", 3)
    reply = (await world.admin.post(f"{REPLAYS}?dry_run=true", body)).json()
    assert (reply["selected"], reply["exact"], reply["scanned"]) == (4, False, 4)
    monkeypatch.setattr("posthouse.manage.replays.REPLAY_DRY_RUN_SECONDS_MAX", 0.0)
    reply = (await world.admin.post(f"{REPLAYS}?dry_run=true", body)).json()
    assert (reply["selected"], reply["exact"]) == (0, False)


async def test_the_end_is_now_where_none_is_given_or_it_is_yet_to_come(world: World) -> None:
    await world.endpoint("shop", uid="main")
    for until in ({}, {"until": None}, {"until": "2999-01-01T00:00:00Z"}):
        made = await asked(world, **until)
        assert ago(60) < made["until"].replace("Z", "+00:00") <= ago(-60)


async def test_it_is_paused_resumed_and_cancelled(world: World) -> None:
    endpoint = await world.endpoint("shop", uid="main")
    await world.record(await some(world, 2), endpoint)
    made = await asked(world)
    url = f"{REPLAYS}/{made['id']}"
    for word, state in (("pause", "paused"), ("pause", "paused"), ("resume", "pending"), ("resume", "pending")):
        reply = await world.admin.post(f"{url}/{word}")
        assert (reply.status, reply.json()["state"]) == (200, state)
    carrying = runner(world)
    for _ in range(3):
        await carrying.round()
    assert await world.query("SELECT count(*) FROM delivery") == [(2,)]
    reply = await world.admin.post(f"{url}/cancel")
    assert (reply.json()["state"], reply.json()["progress"]["sent"]) == ("cancelled", 0)
    assert await world.query("SELECT count(*) FROM delivery") == [(0,)]
    assert (await world.admin.post(f"{url}/cancel")).status == 200
    for word in ("pause", "resume"):
        refused = await world.admin.post(f"{url}/{word}")
        assert (refused.status, refused.code) == (409, "replay_ended")
    actions = [action for action, thing in await world.audit() if thing == made["id"]]
    assert actions == ["replay.created", "replay.paused", "replay.resumed", "replay.cancelled"]


async def test_a_disabled_endpoint_is_not_replayed_to(world: World) -> None:
    await world.endpoint("shop", uid="main")
    made = await asked(world)
    await world.admin.post(f"{REPLAYS}/{made['id']}/pause")
    await world.admin.patch("/v1/apps/shop/endpoints/main", {"enabled": False})
    reply = await world.admin.post(REPLAYS, {"endpoint": "main", "since": ago(10), "select": "all"})
    assert (reply.status, reply.code, reply.path) == (409, "endpoint_disabled", "endpoint")
    assert (await world.admin.post(f"{REPLAYS}/{made['id']}/resume")).code == "endpoint_disabled"
    await world.admin.patch("/v1/apps/shop/endpoints/main", {"enabled": True})
    assert (await world.admin.post(f"{REPLAYS}/{made['id']}/resume")).status == 200
    await world.admin.delete("/v1/apps/shop/endpoints/main")
    reply = await world.admin.post(REPLAYS, {"endpoint": "main", "since": ago(10), "select": "all"})
    assert (reply.status, reply.code, reply.path) == (404, "endpoint_not_found", "endpoint")


async def test_bad_input_names_the_field(world: World) -> None:
    await world.endpoint("shop", uid="main")
    good: dict[str, Any] = {"endpoint": "main", "since": ago(3600), "select": "failed"}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"select": "some"}, "select"),
        ({"select": None}, "select"),
        ({"since": None}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"since": ago(-60)}, "since"),
        ({"since": "0001-01-01T00:00:00Z"}, "since"),
        ({"since": ago(91 * 86_400)}, "since"),
        ({"until": ago(3600.1)}, "until"),
        ({"until": ago(7200)}, "until"),
        ({"until": 1}, "until"),
        ({"endpoint": 7}, "endpoint"),
        ({"endpoint": "\0"}, "endpoint"),
        ({"types": "order.*"}, "types"),
        ({"types": ["order.created", "order*"]}, "types[1]"),
        ({"types": [1]}, "types[0]"),
        ({"types": ["a"] * 101}, "types"),
        ({"filter": "x"}, "filter"),
    ]
    for query in ("", "?dry_run=true"):
        for change, path in cases:
            reply = await world.admin.post(f"{REPLAYS}{query}", good | change)
            assert (reply.status, reply.path) == (422, path), (change, reply.body)
        for missing in good:
            reply = await world.admin.post(
                f"{REPLAYS}{query}", {name: value for name, value in good.items() if name != missing}
            )
            assert (reply.status, reply.path) == (422, missing)
    assert (await world.admin.post(f"{REPLAYS}?dry_run=perhaps", good)).path == "?dry_run"
    assert (await world.admin.post(f"{REPLAYS}?dry=1", good)).path == "?dry"
    for reference in ("nope", "rpl_x", format_id(REPLAY, b"x" * 16), format_id(EVENT, b"x" * 16), "%00"):
        assert (await world.admin.get(f"{REPLAYS}/{reference}")).code == "replay_not_found"
        for word in ("pause", "resume", "cancel"):
            assert (await world.admin.post(f"{REPLAYS}/{reference}/{word}")).code == "replay_not_found"
    assert await world.query("SELECT count(*) FROM job") == [(0,)]


async def test_an_app_has_a_bounded_number_of_them(world: World) -> None:
    await world.endpoint("shop", uid="main")
    made = [await asked(world) for _ in range(REPLAYS_LIVE_PER_APP_MAX)]
    reply = await world.admin.post(REPLAYS, {"endpoint": "main", "since": ago(10), "select": "all"})
    assert (reply.status, reply.code) == (409, "too_many_replays")
    listed: list[Any] = []
    url = f"{REPLAYS}?limit=7"
    while True:
        page = (await world.admin.get(url)).json()
        listed += page["data"]
        if page["next"] is None:
            break
        url = f"{REPLAYS}?limit=7&cursor={page['next']}"
    assert [one["id"] for one in listed] == [one["id"] for one in reversed(made)]
    assert [one["reason"] for one in listed] == ["behind_another"] * (len(made) - 1) + [None]


async def test_an_app_replays_to_its_own_endpoints(world: World) -> None:
    await world.endpoint("shop", uid="main")
    await world.app("other")
    mine = await asked(world)
    client, other = await world.client_of("shop"), await world.client_of("other")
    assert (await client.post(REPLAYS, {"endpoint": "main", "since": ago(10), "select": "all"})).status == 202
    assert (await client.get(f"{REPLAYS}/{mine['id']}")).status == 200
    assert (await other.get(f"{REPLAYS}/{mine['id']}")).code == "app_not_found"
    assert (await other.get(f"/v1/apps/other/replays/{mine['id']}")).code == "replay_not_found"
    assert (await other.post(f"/v1/apps/other/replays/{mine['id']}/cancel")).code == "replay_not_found"
    theirs = await other.post("/v1/apps/other/replays", {"endpoint": "main", "since": ago(10), "select": "all"})
    assert theirs.code == "endpoint_not_found"


# Sent again by hand, in order


async def resend(world: World, event: Event) -> dict[str, Any]:
    reply = await world.admin.post(
        "/v1/apps/shop/deliveries/resend", {"event": format_id(EVENT, event.id), "endpoint": "main"}
    )
    assert reply.status == 202, reply.body
    shown: dict[str, Any] = reply.json()
    return shown


async def ordered(world: World) -> str:
    endpoint = await world.endpoint("shop", uid="main")
    await world.database.execute('UPDATE endpoint SET config = config::jsonb || \'{"ordering": "key"}\'')
    return endpoint


async def lines(world: World) -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for row in await world.query("SELECT seq, key_hash, reason, kind, isfinite(due_at) FROM delivery ORDER BY seq")
    ]


async def test_those_of_all_apps_stand_in_one_list(world: World) -> None:
    await world.app("other")
    await world.endpoint("shop", uid="main")
    await world.endpoint("other", uid="main")
    body = {"endpoint": "main", "since": ago(3600), "select": "all"}
    made = [(await world.admin.post(f"/v1/apps/{app}/replays", body)).json() for app in ("shop", "other", "shop")]
    first = (await world.admin.get("/v1/replays?limit=2")).json()
    assert [one["id"] for one in first["data"]] == [made[2]["id"], made[1]["id"]]
    rest = (await world.admin.get(f"/v1/replays?limit=2&cursor={first['next']}")).json()
    assert ([one["id"] for one in rest["data"]], rest["next"]) == ([made[0]["id"]], None)
    of_one = (await world.admin.get("/v1/replays?app=other")).json()["data"]
    assert [one["id"] for one in of_one] == [made[1]["id"]]
    assert (await world.admin.get("/v1/replays?app=nobody")).code == "app_not_found"
    other = await world.client_of("other")
    assert [one["id"] for one in (await other.get("/v1/replays")).json()["data"]] == [made[1]["id"]]
    assert (await other.get("/v1/replays?app=shop")).code == "app_not_found"


async def test_what_is_sent_again_stands_in_its_own_line_in_order(world: World) -> None:
    endpoint = await ordered(world)
    first, second = await some(world, 2, key="a")
    (alone,) = await some(world, 1)
    await world.record([first, second, alone], endpoint)
    line = line_of(Ordering.KEY, "a", DeliveryClass.REPLAY)
    assert (await resend(world, second))["due_at"] is not None
    assert (await resend(world, first))["due_at"] is not None
    await resend(world, alone)
    assert await lines(world) == [
        (first.seq, line, "resent", "replay", True),
        (second.seq, line, "resent", "replay", False),
        (alone.seq, 0, "resent", "replay", True),
    ]
    assert (await resend(world, second))["due_at"] is None, "it waits for the first one, however often it is asked for"


async def test_what_blocks_its_line_is_tried_again_in_it(world: World) -> None:
    endpoint = await ordered(world)
    first, second = await some(world, 2, key="a")
    line = line_of(Ordering.KEY, "a", DeliveryClass.LIVE)
    infinity = float("inf")
    await world.owe([first], endpoint, due_at=infinity, number=9, reason=OwedReason.BLOCKED, line=line)
    await world.owe([second], endpoint, due_at=infinity, number=1, reason=OwedReason.BEHIND, line=line)
    shown = await resend(world, first)
    assert (shown["attempt"], shown["class"], shown["reason"]) == (9, "live", "resent")
    assert shown["due_at"] is not None
    assert await lines(world) == [
        (first.seq, line, "resent", "live", True),
        (second.seq, line, "behind", "live", False),
    ]
