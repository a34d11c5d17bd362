"""Domain objects for tests: valid, different from each other, and short to write."""

from __future__ import annotations

import itertools
import time
from typing import Any

from posthouse.domain.delivery import Attempt, AttemptOutcome, DeliveryClass, Owed, OwedReason
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.event import Draft, Event
from posthouse.domain.grant import Grant
from posthouse.domain.ids import AppId, AttemptId, EndpointId, EventId, GrantId, uuid7

_count = itertools.count(1)


def new_id(*, at: float | None = None) -> bytes:
    """An id made now, or at some other time; later calls at one time give greater ids."""
    return uuid7(int((time.time() if at is None else at) * 1000), next(_count) << 40)


def new_app() -> AppId:
    return AppId(new_id())


def new_endpoint() -> EndpointId:
    return EndpointId(new_id())


def new_owner() -> bytes:
    return new_id()


def draft(app_id: AppId | None, **fields: Any) -> Draft:
    """An event for an app, or for whom grants cover; not yet in the log."""
    made: dict[str, Any] = {"id": EventId(new_id()), "app_id": app_id, "type": "order.created", "payload": b"{}"}
    return Draft(**made | fields)


def app_of(event: Event | Draft) -> AppId:
    """The app that an event is addressed to."""
    assert event.app_id is not None
    return event.app_id


def grant(app_id: AppId, types: str = "*", subjects: str = "*", **fields: Any) -> Grant:
    """A grant; types and subjects are separated by spaces."""
    made: dict[str, Any] = {"types": tuple(types.split()), "subjects": tuple(subjects.split())}
    return Grant(id=GrantId(new_id()), app_id=app_id, **made | fields)


def config(url: str = "https://example.com/hook", **fields: Any) -> EndpointConfig:
    return EndpointConfig(url=url, **fields)


def owed(event: Event, endpoint_id: EndpointId, **fields: Any) -> Owed:
    """A row for an event and an endpoint, due at 1000 after one failed attempt."""
    row: dict[str, Any] = {
        "partition": event.partition,
        "endpoint_id": endpoint_id,
        "event_id": event.id,
        "seq": event.seq,
        "number": 2,
        "due_at": 1000.0,
        "reason": OwedReason.FAILED,
        "payload_bytes": len(event.payload),
    }
    return Owed(**row | fields)


def attempt(event: Event, endpoint_id: EndpointId, **fields: Any) -> Attempt:
    """An attempt for an event and an endpoint: the first one, delivered."""
    made: dict[str, Any] = {
        "id": AttemptId(new_id()),
        "partition": event.partition,
        "app_id": event.app_id,
        "endpoint_id": endpoint_id,
        "event_id": event.id,
        "seq": event.seq,
        "number": 1,
        "kind": DeliveryClass.LIVE,
        "outcome": AttemptOutcome.DELIVERED,
        "reason": "confirmed",
        "revision": 1,
        "url": "https://example.com/hook",
        "started_at": float(int(time.time())),
    }
    return Attempt(**made | fields)
