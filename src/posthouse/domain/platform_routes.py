"""Platform routes: endpoints that operators make for events of apps that have none of their own.

They are the endpoints of one reserved app. An event of an app none of whose enabled endpoints listens to its type and channels
is handed to them: it is published once more, in that app. That is a follow-up, recorded with an attempt of the event which
says so and is its home: the app's own id stands in it for the endpoint that the app has not. Nothing of the reserved app is
handed on, so that no event is handed over twice.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final

import msgspec

from posthouse.domain.delivery import Attempt, AttemptOutcome, DeliveryClass, DeliveryKey, Effect, EffectKind
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import APP, AppId, AttemptId, EndpointId, EventId, effect_id, format_id
from posthouse.domain.limits import CHAIN_DEPTH_MAX
from posthouse.domain.operations import OPERATIONS_APP

PLATFORM_APP: Final = AppId(bytes.fromhex("00000000000070008000000000000002"))
"""The reserved app (migrations/0020_platform.sql makes it, in partition 0)."""

PLATFORM_UID: Final = "platform"
PLATFORM_NAME: Final = "Posthouse platform routes"
PLATFORM_ROUTE: Final = "platform_route"
"""Why a delivery ended: the event was handed to the platform routes."""

RESERVED_APPS: Final = frozenset({OPERATIONS_APP, PLATFORM_APP})
"""Apps in which nobody but Posthouse publishes, and whose events are handed to nobody."""

APP_ATTRIBUTE: Final = "app"
"""The attribute of what is handed over that has the id of the app it was for."""


class Handover(msgspec.Struct, frozen=True, gc=False):
    """The `data` of an effect of kind ROUTE: which event, of the effect's partition, and the app it was for; None: for nobody,
    an event of the platform that no grant covers. `size` is what its payload and attributes have of bytes."""

    event: bytes
    app: bytes | None
    size: int


encode_handover: Final = msgspec.json.Encoder().encode
read_handover: Final = msgspec.json.Decoder(Handover).decode
_read_attributes: Final = msgspec.json.Decoder(dict[str, str]).decode


def stand_in(app_id: AppId) -> EndpointId:
    """What stands for the endpoint in the record of an event of this app that was handed over."""
    return EndpointId(app_id)


def was_handed(app_id: AppId, event: Event, recorded: Set[DeliveryKey]) -> bool:
    """Whether it is on record that the event was handed over for an app."""
    return (stand_in(app_id), event.id) in recorded


def handed_over(attempt_id: AttemptId, event: Event, app_id: AppId, *, now: float) -> tuple[Attempt, Effect]:
    """What goes on record where an event is handed over for an app; for `PLATFORM_APP`: as nobody is there to hear it.

    It is `delivered`, without a request: nothing is owed of it any more, and what becomes of it is on record with the event
    that is made of it."""
    attempt = Attempt(
        id=attempt_id,
        partition=event.partition,
        app_id=app_id,
        endpoint_id=stand_in(app_id),
        event_id=event.id,
        seq=event.seq,
        number=1,
        kind=DeliveryClass.LIVE,
        outcome=AttemptOutcome.DELIVERED,
        reason=PLATFORM_ROUTE,
        revision=0,
        url="",
        started_at=now,
        sent=False,
    )
    effect = Effect(
        id=AttemptId(effect_id(attempt_id, 0)),
        partition=event.partition,
        endpoint_id=attempt.endpoint_id,
        kind=EffectKind.ROUTE,
        reason=event.type,
        data=encode_handover(Handover(event.id, None if app_id == PLATFORM_APP else app_id, event.size)),
    )
    return attempt, effect


def attributes_for(app: bytes | None, attributes: bytes | None) -> bytes | None:
    """The attributes that an event has once it is handed over: its own, and the app that it was for."""
    own = {} if attributes is None else _read_attributes(attributes)
    own.pop(APP_ATTRIBUTE, None)  # nobody else says for which app it was
    if app is not None:
        own[APP_ATTRIBUTE] = format_id(APP, app)
    return msgspec.json.encode(own) if own else None


def draft_of_handover(handover: Handover, event: Event, event_id: EventId) -> Draft:
    """The event that is made of one that was handed over. Whether it is is decided by the effect, once: the id may be any.

    However long its chain is, it is one event and no more, so that it never ends a chain: the answer to it may."""
    return Draft(
        id=event_id,
        app_id=PLATFORM_APP,
        type=event.type,
        payload=event.payload,
        content_type=event.content_type,
        subject=event.subject,
        key=event.key,
        source=event.source,
        channels=event.channels,
        attributes=attributes_for(handover.app, event.attributes),
        expires_at=event.expires_at,
        cause=event.id,
        depth=min(event.depth + 1, CHAIN_DEPTH_MAX),
    )
