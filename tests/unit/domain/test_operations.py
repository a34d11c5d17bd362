"""What operators are told, and how."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import jsonschema_rs
import msgspec
import pytest
from tests.fakes import EPOCH, an_endpoint, an_event
from tests.making import attempt

from posthouse.domain.delivery import AttemptOutcome, EffectKind
from posthouse.domain.event import is_type_name
from posthouse.domain.ids import ENDPOINT, AppId, EventId, format_id, uuid7
from posthouse.domain.operations import (
    OPERATIONS_APP,
    TYPES,
    News,
    callback_failed,
    callback_notified,
    chain_stopped,
    circuit_closed,
    circuit_opened,
    delivery_exhausted,
    draft_of,
    draft_of_news,
    endpoint_disabled,
    endpoint_recovered,
    endpoint_verification_failed,
    endpoint_verified,
    follow_ups,
    log_rewound,
    quota_reached,
    replay_finished,
    schedule_failing,
    trigger_failing,
)

APP: Final = AppId(uuid7(1, 1))
HERE: Final = an_endpoint().id
LAST: Final = attempt(an_event(), HERE, number=3, outcome=AttemptOutcome.GAVE_UP, reason="http_status", status=503)
ALL: Final[tuple[News, ...]] = (
    endpoint_disabled(APP, HERE, reason="gone", at=EPOCH),
    endpoint_recovered(APP, HERE, failing_since=EPOCH - 60, at=EPOCH),
    endpoint_verified(APP, HERE, at=EPOCH),
    endpoint_verification_failed(APP, HERE, reason="wrong_answer", at=EPOCH),
    delivery_exhausted(LAST, "order.created", at=EPOCH),
    circuit_opened(APP, HERE, probe_at=EPOCH + 5, at=EPOCH),
    circuit_closed(APP, HERE, opened_at=EPOCH - 5.25, at=EPOCH),
    replay_finished(APP, HERE, replay="job_1", state="finished", deliveries=5, at=EPOCH),
    quota_reached(APP, quota="quota_endpoints", limit=5, at=EPOCH),
    schedule_failing(
        APP, schedule="tick", event_type="tick", scheduled_at=EPOCH - 1, code="invalid", reason="no", at=EPOCH
    ),
    trigger_failing(
        APP, trigger="orders", kind="table", code="slot_taken", reason="no", failing_since=EPOCH - 9, at=EPOCH
    ),
    log_rewound([3, 1], last_seen_at=EPOCH - 2, at=EPOCH),
    callback_notified(
        APP, HERE, event=LAST.event_id, event_type="order.created", attempt=LAST.id, message="sold out", at=EPOCH
    ),
    callback_failed(APP, HERE, event=LAST.event_id, action="emit", reason="data: no value", at=EPOCH),
    chain_stopped(APP, HERE, event=LAST.event_id, reason="depth", limit=8, at=EPOCH),
)


def test_everything_that_is_listed_can_be_told() -> None:
    assert [news.type for news in ALL] == list(TYPES)
    assert all(is_type_name(name) for name in TYPES)


@pytest.mark.parametrize("news", ALL, ids=lambda news: news.type)
def test_the_data_are_as_their_schema_says(news: News) -> None:
    data = msgspec.json.decode(news.data)
    jsonschema_rs.validator_for(msgspec.json.schema(TYPES[news.type]), validate_formats=True).validate(data)
    assert news.app_id is None or data["app"].startswith("app_")
    assert datetime.fromisoformat(data["at"]).timestamp() == EPOCH
    assert data["at"].endswith("Z")


def test_times_are_cut_to_the_millisecond() -> None:
    data = msgspec.json.decode(circuit_closed(APP, HERE, opened_at=EPOCH + 0.1239, at=EPOCH + 0.001).data)
    assert data["opened_at"].endswith(".123000Z")
    assert data["at"].endswith(".001000Z")


def test_an_attempts_follow_ups_have_ids_of_their_own_and_are_the_same_each_time() -> None:
    effects = follow_ups(LAST, ALL[:3])
    assert effects == follow_ups(LAST, ALL[:3])
    assert len({LAST.id, *(effect.id for effect in effects)}) == 4
    assert {effect.kind for effect in effects} == {EffectKind.EMIT}
    assert [(e.reason, e.data, e.partition, e.endpoint_id) for e in effects] == [
        (news.type, news.data, LAST.partition, HERE) for news in ALL[:3]
    ]
    assert follow_ups(LAST, ALL[1:2], first=2) == (msgspec.structs.replace(effects[1], id=effects[1].id),)


def test_nothing_is_told_of_the_operators_own_endpoints() -> None:
    assert follow_ups(msgspec.structs.replace(LAST, app_id=OPERATIONS_APP), ALL) == ()


def test_what_is_told_of_an_endpoint_is_published_in_its_order() -> None:
    (effect,) = follow_ups(LAST, ALL[:1])
    made = draft_of(effect, EventId(uuid7(5, 5)))
    assert (made.app_id, made.type, made.payload) == (OPERATIONS_APP, "endpoint.disabled", ALL[0].data)
    assert made.key == format_id(ENDPOINT, HERE) == draft_of_news(ALL[5], EventId(uuid7(5, 6)), once="x").key
    assert made.idempotency_key is None
    assert draft_of_news(ALL[6], EventId(uuid7(5, 7)), once="x").idempotency_key == "x"
