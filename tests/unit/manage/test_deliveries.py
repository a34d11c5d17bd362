"""Pages of ids, and a request made again from what it was made of."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook
from tests.evaluating import ScriptedExpressions

from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.event import Event
from posthouse.domain.exchange import Timings
from posthouse.domain.expression import Failed, FailedBecause
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId, lower_bound, uuid7
from posthouse.domain.transformation import DynamicUrl, Transform
from posthouse.manage.access import NEWEST
from posthouse.manage.deliveries import span
from posthouse.manage.requests import request_of
from posthouse.ports.inspect import AttemptFacts, AttemptRecord

APP = AppId(b"a" * 16)
EVENT = Event(
    id=EventId(b"v" * 16),
    partition=1,
    seq=7,
    app_id=APP,
    type="order.created",
    payload=b'{"total": 1.50}',
    content_type="application/json",
    created_at=1_700_000_000.0,
    config_version=1,
)
FACTS = AttemptFacts(
    id=AttemptId(b"t" * 16),
    app_id=APP,
    event_id=EVENT.id,
    endpoint_id=EndpointId(b"e" * 16),
    type="order.created",
    number=1,
    kind="live",
    outcome="delivered",
    reason="confirmed",
    sent=True,
    status=200,
    revision=2,
    url="https://example.com/hooks?x=1",
    address="192.0.2.1",
    started_at=1_700_000_001.9,
    timings=Timings(total_us=1000),
    error=None,
)
RECORD = AttemptRecord(
    pinned_schemas={},
    facts=FACTS,
    response_headers=None,
    response_body=None,
    event=EVENT,
    config=EndpointConfig(url="https://example.com/hooks?x=1", headers={"X-Shop": "42"}),
)


async def test_a_request_is_made_again_without_its_signature() -> None:
    request = await request_of(RECORD)
    assert request is not None
    assert (request.method, request.url) == ("POST", "https://example.com/hooks?x=1")
    headers = {name.lower(): value for name, value in request.headers}
    assert headers["host"] == "example.com"
    assert headers["x-shop"] == "42"
    assert headers["webhook-timestamp"] == "1700000001"
    assert "webhook-signature" not in headers
    assert "webhook-replay" not in headers
    assert request.body == (b'{"type":"order.created","timestamp":"2023-11-14T22:13:20.000Z","data":{"total": 1.50}}')
    # It is what a receiver was shown: a signature over it verifies.
    webhook = Webhook("whsec_" + "A" * 32)
    at = datetime.fromtimestamp(1_700_000_001, UTC)
    assert webhook.sign(headers["webhook-id"], at, request.body.decode()).startswith("v1,")


async def test_a_replay_says_so() -> None:
    record = msgspec.structs.replace(RECORD, facts=msgspec.structs.replace(FACTS, kind="replay"))
    request = await request_of(record)
    assert request is not None
    assert ("webhook-replay", "true") in request.headers


@pytest.mark.parametrize("missing", [{"event": None}, {"config": None}])
async def test_what_is_gone_is_not_made_up(missing: dict[str, Any]) -> None:
    assert await request_of(msgspec.structs.replace(RECORD, **missing)) is None


async def test_what_was_not_sent_has_no_request() -> None:
    record = msgspec.structs.replace(RECORD, facts=msgspec.structs.replace(FACTS, sent=False))
    assert await request_of(record) is None


async def test_a_transformed_request_is_made_again_of_what_may_be_shown() -> None:
    config = EndpointConfig(
        url="https://example.com/",
        transform=Transform(data="made"),
        dynamic_url=DynamicUrl(choose="gone", among={"a": "x"}),
    )
    record = msgspec.structs.replace(
        RECORD, config=config, facts=msgspec.structs.replace(FACTS, url="https://shop.example.com/x")
    )
    expressions = ScriptedExpressions({"made": lambda facts: {"n": len(facts.event.payload)}})
    request = await request_of(record, expressions)
    assert request is not None
    assert json.loads(request.body)["data"] == {"n": len(EVENT.payload)}
    headers = {name.lower(): value for name, value in request.headers}
    assert (request.url, headers["host"]) == ("https://shop.example.com/x", "shop.example.com")
    assert headers["webhook-timestamp"] == "1700000001"
    assert "webhook-signature" not in headers
    masked = ScriptedExpressions({"made": Failed(FailedBecause.ERROR, "no such field")})
    assert await request_of(record, masked) is None


def test_a_page_of_ids_lies_between_its_times_and_below_its_cursor() -> None:
    everything = span(before=NEWEST, since=None, until=None, limit=3)
    assert everything.since == bytes(16)
    assert everything.before == NEWEST
    cursor = uuid7(2_000, 5)
    assert span(before=cursor, since=None, until=5.0, limit=3).before == cursor
    assert span(before=cursor, since=None, until=1.0, limit=3).before == lower_bound(1_000)
    bounded = span(before=NEWEST, since=1.0, until=2.0, limit=3)
    assert bounded.since <= uuid7(1_000, 0) < bounded.before
    assert not uuid7(2_000, 0) < bounded.before
