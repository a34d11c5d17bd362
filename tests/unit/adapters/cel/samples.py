"""Facts for expressions."""

from __future__ import annotations

import json
from typing import Any

from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event
from posthouse.domain.exchange import NO_TIMINGS, Answer
from posthouse.domain.expression import Expression, Facts, Use
from posthouse.domain.ids import AppId, EndpointId, EventId

APP = AppId(b"a" * 16)
ENDPOINT = Endpoint(id=EndpointId(b"e" * 16), app_id=APP, partition=0, revision=1, url="https://example.com/")


def event(data: Any = None, *, payload: bytes | None = None, content_type: str = "application/json") -> Event:
    made = json.dumps(data).encode() if payload is None else payload
    return Event(EventId(b"i" * 16), 0, 1, APP, "order.paid", made, content_type, 1_700_000_000.25, 1, key="k-1")


def facts(data: Any = None, **more: Any) -> Facts:
    return Facts(event=event(data, **more))


def answered(body: bytes, *, status: int = 200, content_type: bytes = b"application/json") -> Facts:
    answer = Answer(status, ((b"content-type", content_type),), body, NO_TIMINGS)
    return Facts(event=event({}), endpoint=ENDPOINT, answer=answer, number=3)


def operators(text: str, use: Use = Use.FILTER) -> Expression:
    return Expression(text, use)


def apps(text: str, use: Use = Use.FILTER) -> Expression:
    return Expression(text, use, by_app=True)
