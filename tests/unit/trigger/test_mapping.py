"""What a trigger saw, as an event."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.fakes import FakeClock
from tests.making import new_app, new_id

from posthouse.adapters.cel.expressions import CelExpressions
from posthouse.domain.errors import NotFound, StoreUnavailable
from posthouse.domain.event import Draft
from posthouse.domain.ids import TRIGGER, AppId, TriggerId, format_id
from posthouse.domain.trigger import Trigger, TriggerConfig
from posthouse.domain.verdict import Postponed, Refused
from posthouse.ports.sources import Observation
from posthouse.trigger.mapping import LeftOut, Mapped, Mapping

APP = new_app()
SEEN: dict[str, Any] = {"op": "update", "new": {"id": 7, "total": 120, "shop": 42}, "old": {"id": 7, "total": 80}}


@pytest.fixture
async def expressions() -> AsyncIterator[CelExpressions]:
    made = CelExpressions()
    yield made
    await made.close()


async def find_app(reference: str) -> AppId:
    if reference == "down":
        raise StoreUnavailable("no answer")
    if reference != "acme":
        raise NotFound(f"there is no app {reference!r}", code="app_not_found")
    return APP


async def mapped(
    expressions: CelExpressions,
    seen: dict[str, Any] | bytes = SEEN,
    *,
    app_id: AppId | None = None,
    observed: dict[str, Any] | None = None,
    **config: Any,
) -> tuple[Trigger, Mapped]:
    trigger = Trigger(
        id=TriggerId(new_id()),
        uid="orders",
        app_id=app_id,
        generation=3,
        config=TriggerConfig(**{"kind": "shelf", "type": "order.{op}"} | config),
    )
    mapping = Mapping(trigger, expressions, FakeClock(), find_app, payload_bytes_max=1_000)
    raw = seen if isinstance(seen, bytes) else json.dumps(seen).encode()
    observation = Observation(**{"key": "7/1", "seen": raw, "event_key": "7"} | (observed or {}))
    return trigger, await mapping.draft_of(observation)


async def test_by_templates_alone(expressions: CelExpressions) -> None:
    trigger, draft = await mapped(expressions, subject="shop:{new.shop}")
    assert isinstance(draft, Draft)
    assert (draft.type, draft.subject, draft.key, draft.app_id) == ("order.update", "shop:42", "7", None)
    assert json.loads(draft.payload) == SEEN
    assert draft.idempotency_key == f"{format_id(TRIGGER, trigger.id)}/3/7/1"
    assert json.loads(draft.attributes or b"") == {"trigger": "orders"}
    _, other = await mapped(expressions, key="{new.shop}", subject="{old.shop}", seen=SEEN | {"old": None})
    assert isinstance(other, Draft)
    assert (other.key, other.subject) == ("42", None)


async def test_the_data_that_its_source_chose(expressions: CelExpressions) -> None:
    _, draft = await mapped(expressions, observed={"data": b"<a/>", "content_type": "application/xml"})
    assert isinstance(draft, Draft)
    assert (draft.payload, draft.content_type) == (b"<a/>", "application/xml")


async def test_what_it_does_not_want(expressions: CelExpressions) -> None:
    for when in ("event.data.new.total > 200", "event.type == 'order.insert'"):
        assert (await mapped(expressions, when=when))[1] == LeftOut()
    assert (await mapped(expressions, map="null"))[1] == LeftOut()
    _, kept = await mapped(expressions, when="event.data.new.total > event.data.old.total")
    assert isinstance(kept, Draft)


async def test_mapped(expressions: CelExpressions) -> None:
    text = """{"type": "order.grew", "subject": "shop:" + string(event.data.new.shop), "key": "k", "app": "acme",
               "data": {"id": event.data.new.id}}"""
    _, draft = await mapped(expressions, map=text, observed={"data": b"<a/>", "content_type": "application/xml"})
    assert isinstance(draft, Draft)
    assert (draft.type, draft.subject, draft.key, draft.app_id) == ("order.grew", "shop:42", "k", APP)
    assert (json.loads(draft.payload), draft.content_type) == ({"id": 7}, "application/json")
    _, same = await mapped(expressions, map='{"key": null}')
    assert isinstance(same, Draft)
    assert (same.type, same.key, json.loads(same.payload)) == ("order.update", None, SEEN)


@pytest.mark.parametrize(
    ("config", "code", "told"),
    [
        ({"type": "order.{nothing}"}, "nothing_to_fill_in", "there is no nothing"),
        ({"type": "{new.id} x"}, "invalid_event_type", "type: an event type is made of"),
        ({"subject": "{new}"}, "nothing_to_fill_in", "an object"),
        ({"when": "event.data.gone > 1"}, "when_failed", "error"),
        ({"map": "[1]"}, "map_failed", "null, or to an object"),
        ({"map": '{"colour": 1}'}, "map_failed", "app, data, key, subject, type"),
        ({"map": '{"type": 7}'}, "map_failed", "type is no text"),
        ({"map": '{"app": "nobody"}'}, "app_not_found", "nobody"),
        ({"map": '{"app": "acme"}', "app_id": APP}, "map_failed", "has one itself"),
        ({"map": '{"subject": ""}'}, "invalid", "subject"),
        ({"observed": {"data": b"1" * 1_001}}, "too_large", "1001 bytes"),
        ({"observed": {"data": b'{"a": '}}, "malformed_json", "column 7"),
        ({"observed": {"key": ""}}, "no_key", "1 to 128"),
        ({"observed": {"key": "a\nb"}}, "no_key", "printable"),
        ({"seen": b'{"op": "\xff"}'}, "malformed_json", "UTF-8"),
        ({"seen": b'{"op": '}, "malformed_json", "malformed"),
    ],
)
async def test_what_cannot_be_an_event(
    expressions: CelExpressions, config: dict[str, Any], code: str, told: str
) -> None:
    _, refused = await mapped(expressions, **config)
    assert isinstance(refused, Refused), refused
    assert refused.code == code, refused
    assert told in refused.reason


async def test_a_fault_of_our_own_is_none_of_the_events(expressions: CelExpressions) -> None:
    _, postponed = await mapped(expressions, map='{"app": "down"}')
    assert isinstance(postponed, Postponed)


def test_a_trigger_is_stored_as_json() -> None:
    config = TriggerConfig(kind="shelf", type="a")
    assert msgspec.json.decode(msgspec.json.encode(config), type=TriggerConfig) == config
