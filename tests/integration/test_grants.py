"""Events addressed by subject and grant, through a whole server: who hears of them, who does not, and why."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.serving import PATIENCE_SECONDS, ask, call, listed, serving
from tests.targets import OK, Peer, RawTarget, target

from posthouse import bootstrap

QUICK = {"schedule": [0.2, 0.2, 0.2], "jitter": 0}
ID = re.compile(rb"webhook-id: (\S+)")


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        for name in ("order.created", "order.paid", "product.changed"):
            await call(running.port, "POST", "/v1/event-types", {"name": name})
        yield running


async def an_app(port: int, uid: str, *grants: tuple[str, str], to: RawTarget | None = None, **endpoint: Any) -> None:
    """An app with grants of types and subjects, and an endpoint whose path is its uid."""
    await call(port, "POST", "/v1/apps", {"uid": uid})
    for types, subjects in grants:
        await grant(port, uid, types, subjects)
    if to is not None:
        await call(
            port,
            "POST",
            f"/v1/apps/{uid}/endpoints",
            {"url": f"http://127.0.0.1:{to.port}/{uid}", "retry": QUICK, "uid": "main"} | endpoint,
        )


async def grant(port: int, app: str, types: str, subjects: str, **more: Any) -> Any:
    return await call(
        port, "POST", f"/v1/apps/{app}/grants", {"types": types.split(), "subjects": subjects.split()} | more
    )


async def announce(port: int, event_type: str, subject: str | None = None, **more: Any) -> Any:
    return await call(port, "POST", "/v1/events", {"type": event_type, "subject": subject, "data": 1} | more)


def heard(served: RawTarget, uid: str) -> list[str]:
    """The ids of the events that the app's endpoint was sent."""
    mine = [request for request in served.requests if request.startswith(f"POST /{uid} ".encode())]
    return [found[1].decode() for request in mine if (found := ID.search(request))]


async def until(fact: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                true = fact()
                if true if isinstance(true, bool) else await true:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"waited in vain for {what}")


async def ok(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(OK)


async def test_an_event_reaches_every_app_that_a_grant_covers_and_no_other(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await an_app(port, "all", ("*", "*"), to=served)
        await an_app(port, "shop42", ("order.*", "shop:42"), to=served)
        await an_app(port, "shops", ("order.created", "shop:*"), to=served)
        await an_app(port, "other", ("order.created", "shop:7"), to=served)
        await an_app(port, "nothing", to=served)
        created = await announce(port, "order.created", "shop:42")
        assert created["apps"] == 3
        paid = await announce(port, "order.paid", "shop:42")
        assert paid["apps"] == 2
        about_nobody = await announce(port, "product.changed")
        assert about_nobody["apps"] == 1
        expected = {
            "all": [created["id"], paid["id"], about_nobody["id"]],
            "shop42": [created["id"], paid["id"]],
            "shops": [created["id"]],
            "other": [],
            "nothing": [],
        }
        await until(lambda: all(sorted(heard(served, uid)) == sorted(ids) for uid, ids in expected.items()), "all")
        for uid, ids in expected.items():
            shown = await call(port, "GET", f"/v1/apps/{uid}/events")
            assert [event["id"] for event in shown["data"]] == ids[::-1], uid
            assert all(event["app"] is None for event in shown["data"])
        everything = await call(port, "GET", "/v1/events")
        assert [event["id"] for event in everything["data"]] == [about_nobody["id"], paid["id"], created["id"]]


async def test_an_event_for_nobody_is_accepted_and_says_so(server: bootstrap.Posthouse) -> None:
    made = await announce(server.port, "order.created", "shop:42")
    assert made["apps"] == 0
    shown = await call(server.port, "GET", f"/v1/events/{made['id']}")
    assert (shown["data"], shown["subject"], shown["routes"]) == (1, "shop:42", [])


async def test_a_batch_says_of_each_event_how_many_apps_it_is_for(server: bootstrap.Posthouse) -> None:
    port = server.port
    await an_app(port, "one", ("order.created", "*"))
    batch = [{"type": name, "data": 1, "subject": "shop:1"} for name in ("order.created", "order.paid")]
    answer = await call(port, "POST", "/v1/events/batch", batch)
    assert [event["apps"] for event in answer["data"]] == [1, 0]


async def test_an_idempotency_key_makes_one_event(server: bootstrap.Posthouse) -> None:
    port = server.port
    await an_app(port, "one", ("*", "*"))
    once, body = {"Idempotency-Key": "k"}, {"type": "order.created", "data": 1}
    first = await ask(port, "POST", "/v1/events", body, headers=once)
    await an_app(port, "two", ("*", "*"))
    again = await ask(port, "POST", "/v1/events", body, headers=once)
    assert again.body["id"] == first.body["id"]
    direct = await ask(port, "POST", "/v1/apps/one/events", body, headers=once)
    assert direct.body["id"] != first.body["id"], "an app's keys are its own"
    assert (await call(port, "GET", "/v1/apps/two/events"))["data"] == []


async def test_an_app_is_heard_of_from_its_grant_on(server: bootstrap.Posthouse) -> None:
    """Reading one's own writes: what is granted, or made, before a publish is part of it."""
    port = server.port
    async with target(ok) as served:
        await an_app(port, "late", ("*", "*"), to=served)
        first = await announce(port, "order.created")
        for number in range(5):
            await an_app(port, f"new{number}", ("*", "*"), to=served)
            made = await announce(port, "order.created")
            assert made["apps"] == number + 2
            await until(lambda: heard(served, f"new{number}") == [made["id"]], f"new{number}")  # noqa: B023
        assert first["id"] not in [event for number in range(5) for event in heard(served, f"new{number}")]


async def test_a_revoked_grant_stops_what_was_not_yet_sent(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await an_app(port, "kept", ("*", "*"), to=served)
        await an_app(port, "lost", to=served)
        given = await grant(port, "lost", "order.*", "shop:*")
        await call(port, "POST", "/v1/apps/lost/endpoints/main/pause")
        made = await announce(port, "order.created", "shop:42")
        direct = await call(port, "POST", "/v1/apps/lost/events", {"type": "order.created", "data": 1})
        await until(lambda: heard(served, "kept") == [made["id"]], "the other app")
        await listed(port, "/v1/apps/lost/deliveries", lambda rows: len(rows) == 2, "both deliveries owed")
        assert (await ask(port, "DELETE", f"/v1/apps/lost/grants/{given['id']}")).status == 204
        await call(port, "POST", "/v1/apps/lost/endpoints/main/resume")
        attempts = await listed(port, "/v1/apps/lost/attempts", lambda some: len(some) == 2, "both settled")
        ends = {attempt["event"]: (attempt["outcome"], attempt["reason"], attempt["sent"]) for attempt in attempts}
        assert ends[made["id"]] == ("gave_up", "revoked", False)
        assert ends[direct["id"]] == ("delivered", "confirmed", True), "what was addressed to it needs no grant"
        assert heard(served, "lost") == [direct["id"]]
        shown = await call(port, "GET", f"/v1/events/{made['id']}")
        assert {route["state"] for route in shown["routes"]} == {"delivered", "gave_up"}


async def test_what_waits_for_its_next_try_is_settled_when_its_grant_goes(server: bootstrap.Posthouse) -> None:
    """It need not wait for its time, which may be days away."""
    port = server.port

    async def broken(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")

    async with target(broken) as served:
        slow = {"retry": {"schedule": [3600], "jitter": 0}}
        await an_app(port, "lost", to=served, **slow)
        given = await grant(port, "lost", "*", "shop:42")
        await grant(port, "lost", "*", "shop:7")
        gone = await announce(port, "order.created", "shop:42")
        stays = await announce(port, "order.created", "shop:7")
        await listed(port, "/v1/apps/lost/deliveries", lambda rows: len(rows) == 2, "both to be owed")
        assert (await ask(port, "DELETE", f"/v1/apps/lost/grants/{given['id']}")).status == 204
        (left,) = await listed(port, "/v1/apps/lost/deliveries", lambda rows: len(rows) == 1, "one to be settled")
        assert left["event"] == stays["id"]
        (last,) = (await call(port, "GET", f"/v1/events/{gone['id']}"))["routes"]
        assert (last["state"], last["reason"], last["attempts"]) == ("gave_up", "revoked", 2)


async def test_a_grant_that_ends_stops_what_was_not_yet_sent(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await an_app(port, "brief", to=served)
        await grant(port, "brief", "*", "*", expires_at="2999-01-01T00:00:00Z", uid="g")
        await call(port, "POST", "/v1/apps/brief/endpoints/main/pause")
        made = await announce(port, "order.created")
        await listed(port, "/v1/apps/brief/deliveries", lambda rows: len(rows) == 1, "it to be owed")
        soon = await soon_of(port)
        body = {"types": ["*"], "subjects": ["*"], "expires_at": soon}
        assert (await ask(port, "PUT", "/v1/apps/brief/grants/g", body)).status == 200

        # It has ended when an event is for nobody.
        async def ended() -> bool:
            return bool((await announce(port, "order.created"))["apps"] == 0)

        await until(ended, "the end of the grant")
        await call(port, "POST", "/v1/apps/brief/endpoints/main/resume")
        attempts = await listed(port, "/v1/apps/brief/attempts", bool, "it to be settled")
        assert {(a["outcome"], a["reason"]) for a in attempts} == {("gave_up", "revoked")}
        assert made["id"] in {a["event"] for a in attempts}
        assert served.requests == []


async def soon_of(port: int) -> str:
    """A second from now, by the server's clock: that of an event it just took."""
    at = datetime.fromisoformat((await announce(port, "product.changed", "nobody"))["created_at"])
    return (at + timedelta(seconds=1)).isoformat()


async def test_an_app_sees_its_audiences_events_and_no_others(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await an_app(port, "one", ("*", "shop:1"), to=served)
        await an_app(port, "two", ("*", "shop:2"), to=served)
        key = (await call(port, "POST", "/v1/keys", {"scope": "app", "app": "one"}))["key"]
        mine = await announce(port, "order.created", "shop:1")
        theirs = await announce(port, "order.created", "shop:2")
        both = (await grant(port, "one", "*", "shop:2"))["id"]  # does not show what was before
        await until(lambda: len(served.requests) == 2, "both")
        for path in ("/v1/events", "/v1/apps/one/events"):
            shown = (await ask(port, "GET", path, key=key)).body["data"]
            assert [event["id"] for event in shown] == [mine["id"]], path
        for path in (f"/v1/events/{theirs['id']}", f"/v1/apps/one/events/{theirs['id']}"):
            for more in ("", "/attempts"):
                reply = await ask(port, "GET", path + more, key=key)
                assert (reply.status, reply.body["code"]) == (404, "event_not_found")
        resend = {"event": theirs["id"], "endpoint": "main"}
        assert (await ask(port, "POST", "/v1/apps/one/deliveries/resend", resend, key=key)).status == 404
        assert both.startswith("grant_")


async def test_sending_again_after_a_grant_went_is_given_up(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await an_app(port, "one", to=served)
        given = await grant(port, "one", "*", "*")
        made = await announce(port, "order.created")
        await listed(port, "/v1/apps/one/attempts", lambda some: len(some) == 1, "the delivery")
        await ask(port, "DELETE", f"/v1/apps/one/grants/{given['id']}")
        body = {"event": made["id"], "endpoint": "main"}
        assert (await ask(port, "POST", "/v1/apps/one/deliveries/resend", body)).status == 202
        newest = await listed(port, "/v1/apps/one/attempts", lambda some: len(some) == 2, "the second")
        assert (newest[0]["reason"], newest[0]["sent"]) == ("revoked", False)
        assert len(served.requests) == 1


# Dry runs


async def explain(port: int, path: str, body: object) -> Any:
    reply = await ask(port, "POST", f"{path}?dry_run=true", body)
    assert reply.status == 200, reply
    return reply.body


async def test_a_dry_run_says_whom_an_event_would_reach_and_why_nobody_else(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await an_app(port, "reached", ("order.*", "shop:42"), to=served)
        url = f"http://127.0.0.1:{served.port}/x"
        for uid, more in (
            ("other-types", {"events": ["product.*"]}),
            ("other-channels", {"channels": ["eu"]}),
            ("off", {"enabled": False}),
            ("resting", {}),
        ):
            made = await ask(port, "POST", "/v1/apps/reached/endpoints", {"url": url, "uid": uid} | more)
            assert made.status == 201, made
        await call(port, "POST", "/v1/apps/reached/endpoints/resting/pause")
        await an_app(port, "no-endpoints", ("*", "*"))
        await an_app(port, "other-subject", ("order.created", "shop:7"), to=served)
        await an_app(port, "other-type", ("product.*", "shop:42"), to=served)
        await an_app(port, "unrelated", ("product.*", "shop:7"), to=served)
        told = await explain(port, "/v1/events", {"type": "order.created", "subject": "shop:42", "data": 1})
        reached = {app["uid"]: {e["uid"]: e["reason"] for e in app["endpoints"]} for app in told["reached"]}
        assert reached == {"reached": {"main": "matched", "resting": "paused"}, "no-endpoints": {}}
        reasons = sorted((miss["uid"], miss["reason"]) for miss in told["not_reached"])
        assert reasons == [
            ("no-endpoints", "no_endpoints"),
            ("other-subject", "no_grant_for_subject"),
            ("other-type", "no_grant_for_type"),
            ("reached", "disabled"),
            ("reached", "other_channels"),
            ("reached", "other_types"),
        ]
        assert all(miss["explanation"] for miss in told["not_reached"])
        assert (told["type"], told["subject"], told["truncated"]) == ("order.created", "shop:42", False)
        assert (await call(port, "GET", "/v1/events"))["data"] == [], "nothing was stored"
        assert served.requests == []


async def test_a_dry_run_for_one_app_and_of_a_bad_event(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await an_app(port, "one", to=served, events=["product.*"])
        body = {"type": "order.created", "data": 1}
        told = await explain(port, "/v1/apps/one/events", body)
        assert [app["endpoints"] for app in told["reached"]] == [[]]
        assert [miss["reason"] for miss in told["not_reached"]] == ["other_types"]
        for path, code in (
            ("/v1/events?dry_run=maybe", "invalid"),
            ("/v1/events?dryrun=true", "invalid"),
            ("/v1/events/batch?dry_run=true", "invalid"),
        ):
            refused = await ask(port, "POST", path, [body] if "batch" in path else body)
            assert (refused.status, refused.body["code"]) == (422, code), path
        unknown = await ask(port, "POST", "/v1/events?dry_run=true", body | {"type": "nope"})
        assert unknown.body["code"] == "event_type_not_found"
        assert (await call(port, "GET", "/v1/events"))["data"] == []


async def test_grants_that_ended_are_told_apart(server: bootstrap.Posthouse) -> None:
    port = server.port
    await an_app(port, "brief")
    await grant(port, "brief", "*", "shop:42", expires_at=await soon_of(port))

    async def ended() -> bool:
        told = await explain(port, "/v1/events", {"type": "order.created", "subject": "shop:42", "data": 1})
        return [miss["reason"] for miss in told["not_reached"]] == ["grant_ended"]

    await until(ended, "the end of the grant")


# Grants as they are managed


async def test_grants_are_made_listed_put_and_taken_away(server: bootstrap.Posthouse) -> None:
    port = server.port
    await an_app(port, "one")
    await an_app(port, "two")
    made = await grant(port, "one", "order.* product.changed", "shop:42 shop:43", uid="install-1")
    assert made == {
        "id": made["id"],
        "uid": "install-1",
        "app": (await call(port, "GET", "/v1/apps/one"))["id"],
        "types": ["order.*", "product.changed"],
        "subjects": ["shop:42", "shop:43"],
        "expires_at": None,
        "created_at": made["created_at"],
    }
    for reference in (made["id"], "install-1"):
        assert await call(port, "GET", f"/v1/apps/one/grants/{reference}") == made
    every = await grant(port, "two", "*", "*")
    for path, expected in (
        ("/v1/grants", [every, made]),
        ("/v1/grants?subject=shop:42", [every, made]),
        ("/v1/grants?subject=shop:7", [every]),
        ("/v1/grants?type=order.created", [every, made]),
        ("/v1/grants?type=user.made", [every]),
        ("/v1/grants?type=order.created&subject=shop:43", [every, made]),
        ("/v1/apps/one/grants", [made]),
        ("/v1/apps/one/grants?subject=shop:43", [made]),
        ("/v1/apps/one/grants?subject=shop:7", []),
        ("/v1/apps/one/grants?type=user.made", []),
    ):
        assert (await call(port, "GET", path))["data"] == expected, path
    (first,) = (page := await call(port, "GET", "/v1/grants?limit=1"))["data"]
    assert first == every
    assert (await call(port, "GET", f"/v1/grants?limit=1&cursor={page['next']}"))["data"] == [made]

    body = {"types": ["*"], "subjects": ["shop:42"]}
    same = await ask(port, "PUT", "/v1/apps/one/grants/install-1", body)
    assert (same.status, same.body["id"], same.body["types"]) == (200, made["id"], ["*"])
    new = await ask(port, "PUT", "/v1/apps/one/grants/install-2", body)
    assert (new.status, new.body["uid"]) == (201, "install-2")
    assert (await announce(port, "order.paid", "shop:43"))["apps"] == 1
    assert (await ask(port, "DELETE", "/v1/apps/one/grants/install-1")).status == 204
    assert (await ask(port, "DELETE", "/v1/apps/one/grants/install-1")).status == 404
    taken = await ask(port, "POST", "/v1/apps/one/grants", body | {"uid": "install-2"})
    assert (taken.status, taken.body["code"]) == (409, "uid_taken")


BAD_GRANTS: list[tuple[dict[str, object], str]] = [
    ({"types": []}, "types"),
    ({"types": ["order created"]}, "types[0]"),
    ({"types": ["ok", "order.*.x"]}, "types[1]"),
    ({"types": ["a.b.c.d.e.f.g.h.i.*"]}, "types[0]"),
    ({"subjects": []}, "subjects"),
    ({"subjects": [""]}, "subjects[0]"),
    ({"subjects": ["a\u0007"]}, "subjects[0]"),
    ({"subjects": ["x" * 257]}, "subjects[0]"),
    ({"subjects": ["a:b:c:d:e:f:g:h:i:*"]}, "subjects[0]"),
    ({"subjects": [f"shop:{n}" for n in range(1001)]}, "subjects"),
    ({"types": ["a", "b"], "subjects": [f"shop:{n}" for n in range(501)]}, "subjects"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    ({"expires_at": "2999-01-01T00:00:00"}, "expires_at"),
    ({"expires_at": "2999-01-01"}, "expires_at"),
    ({"expires_at": 32472144000}, "expires_at"),
    ({"expires_at": "32472144000"}, "expires_at"),
    ({"uid": "a b"}, "uid"),
    ({"what": 1}, "what"),
]


async def test_a_bad_grant_is_refused_with_its_place(server: bootstrap.Posthouse) -> None:
    await an_app(server.port, "one")
    for change, path in BAD_GRANTS:
        refused = await ask(server.port, "POST", "/v1/apps/one/grants", {"types": ["*"], "subjects": ["*"]} | change)
        assert (refused.status, refused.body.get("path")) == (422, path), (change, json.dumps(refused.body))


async def test_deleting_an_app_takes_its_grants(server: bootstrap.Posthouse) -> None:
    port = server.port
    await an_app(port, "one", ("*", "*"))
    assert (await announce(port, "order.created"))["apps"] == 1
    await ask(port, "DELETE", "/v1/apps/one")
    assert (await announce(port, "order.created"))["apps"] == 0
    assert (await call(port, "GET", "/v1/grants"))["data"] == []


async def test_put_replaces_by_id_too_and_makes_none_under_one(database: str) -> None:
    """As apps and endpoints are replaced."""
    async with serving(database) as server:
        port = server.port
        for app in ("one", "other"):
            await call(port, "POST", "/v1/apps", {"uid": app})
        named = await call(port, "POST", "/v1/apps/one/grants", {"types": ["*"], "subjects": ["a"], "uid": "g"})
        nameless = await call(port, "POST", "/v1/apps/one/grants", {"types": ["*"], "subjects": ["b"]})
        for made in (named, nameless):
            reply = await ask(port, "PUT", f"/v1/apps/one/grants/{made['id']}", {"types": ["x.y"], "subjects": ["c"]})
            assert (reply.status, reply.body["id"], reply.body["uid"]) == (200, made["id"], made["uid"])
            assert (await call(port, "GET", f"/v1/apps/one/grants/{made['id']}"))["subjects"] == ["c"]
        lost = named["id"]
        assert (
            await ask(port, "PUT", f"/v1/apps/other/grants/{lost}", {"types": ["*"], "subjects": ["*"]})
        ).status == 404
        assert (await ask(port, "DELETE", f"/v1/apps/one/grants/{lost}")).status == 204
        assert (
            await ask(port, "PUT", f"/v1/apps/one/grants/{lost}", {"types": ["*"], "subjects": ["*"]})
        ).status == 404
        assert [one["id"] for one in (await call(port, "GET", "/v1/apps/one/grants"))["data"]] == [nameless["id"]]
