"""Calls of callback handlers in Python: which answers ask for one, what a handler is given, and what became of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from posthouse.domain.action import AnyAction
from posthouse.domain.delivery import Attempt, Effect, EffectKind
from posthouse.domain.exchange import Answer
from posthouse.domain.ids import ATTEMPT, EVENT, AttemptId, EventId, effect_id, format_id, parse_id
from posthouse.domain.limits import CALL_BACKOFF_SECONDS, CALL_TYPES_CACHED_MAX
from posthouse.domain.routing import matches_type

CALL_ORDINAL: Final = 256
"""Of the one call that an attempt may cause; other follow-ups of an attempt have smaller ones."""

_encode: Final = msgspec.json.Encoder().encode


class Patterns:
    """The event types for which there is a handler. Bounded: types come from outside."""

    __slots__ = ("_known", "patterns")

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._known: dict[str, bool] = {}

    def __call__(self, event_type: str) -> bool:
        wanted = self._known.get(event_type)
        if wanted is None:
            if len(self._known) >= CALL_TYPES_CACHED_MAX:
                self._known.clear()
            wanted = self._known[event_type] = bool(self.patterns) and matches_type(self.patterns, event_type)
        return wanted


class KeptAnswer(msgspec.Struct, frozen=True, gc=False):
    """An answer as it is kept for a handler: masked as it goes on record, but as long as it was read."""

    status: int
    headers: tuple[tuple[str, str], ...]  # in order, names lower-case
    body: bytes
    truncated: bool = False


class CallData(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The `data` of an effect of kind CALL: what cannot be read elsewhere when its time comes."""

    event: str  # evt_…
    attempt: str  # att_…
    number: int
    kind: str
    outcome: str
    reason: str
    url: str
    started_at: float
    response: KeptAnswer | None = None  # None: no complete answer came
    error: str | None = None

    @property
    def event_id(self) -> EventId:
        raw = parse_id(EVENT, self.event)
        assert raw is not None, "it was written by call_effect"
        return EventId(raw)

    @property
    def attempt_id(self) -> AttemptId:
        raw = parse_id(ATTEMPT, self.attempt)
        assert raw is not None, "it was written by call_effect"
        return AttemptId(raw)


def call_effect(attempt: Attempt, event_type: str, answer: Answer | None) -> Effect:
    """The follow-up that calls the handlers for an attempt's event: one for each attempt, however often it is asked for.
    `answer` is the complete answer, masked as it goes on record, None where none came."""
    data = CallData(
        event=format_id(EVENT, attempt.event_id),
        attempt=format_id(ATTEMPT, attempt.id),
        number=attempt.number,
        kind=attempt.kind.value,
        outcome=attempt.outcome.value,
        reason=attempt.reason,
        url=attempt.url,
        started_at=attempt.started_at,
        response=None if answer is None else _kept(answer),
        error=attempt.error,
    )
    return Effect(
        id=AttemptId(effect_id(attempt.id, CALL_ORDINAL)),
        partition=attempt.partition,
        endpoint_id=attempt.endpoint_id,
        kind=EffectKind.CALL,
        reason=event_type,
        data=_encode(data),
    )


def _kept(answer: Answer) -> KeptAnswer:
    headers = tuple([(_text(name), _text(value)) for name, value in answer.headers])
    return KeptAnswer(answer.status, headers, answer.body, answer.truncated)


def _text(value: bytes) -> str:
    return value.decode("latin-1").replace("\0", " ")


read_call: Final = msgspec.json.Decoder(CallData).decode


# What a handler is given


class CalledEvent(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: str
    time: float  # unix seconds
    content_type: str
    payload: bytes
    subject: str | None = None
    key: str | None = None


class CalledApp(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    uid: str | None = None
    name: str = ""


class CalledEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    url: str
    uid: str | None = None
    description: str = ""
    metadata: dict[str, object] = {}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call as a handler's process is told of it."""

    id: str  # eff_…
    event: CalledEvent
    app: CalledApp
    endpoint: CalledEndpoint
    about: CallData
    tries: int = 0  # that failed before


# What became of it


class FailedBecause(StrEnum):
    """Why a call failed."""

    RAISED = "raised"  # the handler did
    DEADLINE = "deadline"
    DIED = "died"  # the process of the handler: it ended itself, or was ended
    BAD_ACTION = "bad_action"  # it returned something that cannot be done


class Done(msgspec.Struct, frozen=True):
    """All handlers for the event were called; these are their actions. Without `handlers`, there is none for it any more."""

    actions: tuple[AnyAction, ...] = ()
    handlers: int = 1


class CallFailed(msgspec.Struct, frozen=True):
    """`detail` is for a person: a short traceback, or what happened to the process."""

    because: FailedBecause
    detail: str


class Unavailable(msgspec.Struct, frozen=True):
    """It was not begun, and not by its own fault: no process can be had."""

    detail: str


Called = Done | CallFailed | Unavailable


def again_after(tries: int) -> float | None:
    """Seconds until a call that has failed so many times is made again; None: not any more."""
    return CALL_BACKOFF_SECONDS[tries - 1] if tries <= len(CALL_BACKOFF_SECONDS) else None
