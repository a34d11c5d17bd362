"""What a trigger saw, as an event: by its templates, its condition and its map.

First the templates make type, subject and key. Then `when` and `map` look at the event as it would be, whose data are all that
was seen: `event.data.new.total > 100`. What `map` comes to is null, which leaves it out, or an object with what it wants to be
otherwise: `type`, `subject`, `key`, `app`, `data`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from posthouse.domain.errors import Invalid, PosthouseError, StoreUnavailable
from posthouse.domain.event import JSON_CONTENT, Draft, Event
from posthouse.domain.expression import Expression, Facts, Failed, FailedBecause, Use
from posthouse.domain.ids import TRIGGER, AppId, EventId, format_id
from posthouse.domain.json_text import decoded
from posthouse.domain.limits import TRIGGER_KEY_LENGTH_MAX
from posthouse.domain.seen import Missing, Template, readable
from posthouse.domain.trigger import Trigger
from posthouse.domain.verdict import Postponed, Refused
from posthouse.intake.parse import EventBody, check, decode_json
from posthouse.ports.clock import Clock
from posthouse.ports.expressions import Expressions
from posthouse.ports.sources import Observation

WHEN: Final = Use.FILTER
MAP: Final = Use.VALUE

FindApp = Callable[[str], Awaitable[AppId]]
"""The app with an id or uid. Raises NotFound."""


class LeftOut(msgspec.Struct, frozen=True):
    """It is no event: the trigger does not want it."""


Mapped = Draft | LeftOut | Refused | Postponed

_FIELDS: Final = frozenset({"type", "subject", "key", "app", "data"})
_NO_DATA: Final = msgspec.Raw(b"null")


def check_templates(trigger: Trigger) -> None:
    """Raises Invalid with the path of a template that is none."""
    for name in ("type", "subject", "key"):
        text: str | None = getattr(trigger.config, name)
        if text is not None:
            _template(text, name)


def expressions_of(trigger: Trigger) -> list[tuple[str, Expression]]:
    """The expressions of a trigger, each with the name of its field."""
    config = trigger.config
    found = (("when", config.when, WHEN), ("map", config.map, MAP))
    return [(name, Expression(text, use)) for name, text, use in found if text is not None]


class Mapping:
    """Maps what one trigger sees; made anew when the trigger was changed."""

    def __init__(
        self, trigger: Trigger, expressions: Expressions, clock: Clock, find_app: FindApp, *, payload_bytes_max: int
    ) -> None:
        config = trigger.config
        self._trigger = trigger
        self._expressions = expressions
        self._clock = clock
        self._find_app = find_app
        self._payload_bytes_max = payload_bytes_max
        self._type = _template(config.type, "type")
        self._subject = None if config.subject is None else _template(config.subject, "subject")
        self._key = None if config.key is None else _template(config.key, "key")
        self._asked = expressions_of(trigger)
        self._key_prefix = f"{format_id(TRIGGER, trigger.id)}/{trigger.generation}/"
        self._attributes = msgspec.json.encode({"trigger": trigger.reference})

    async def draft_of(self, observation: Observation) -> Mapped:
        """The event of it; or why there is none."""
        try:
            return await self._draft_of(observation)
        except Missing as error:
            return Refused("nothing_to_fill_in", str(error))
        except Invalid as error:
            return Refused(error.code, f"{error.path}: {error}" if error.path else str(error))
        except StoreUnavailable as error:
            return Postponed(str(error))
        except PosthouseError as error:
            return Refused(error.code, str(error))

    async def _draft_of(self, observation: Observation) -> Mapped:
        if not 0 < len(observation.key) <= TRIGGER_KEY_LENGTH_MAX or not observation.key.isprintable():
            return Refused("no_key", f"its source gave it no key of 1 to {TRIGGER_KEY_LENGTH_MAX} printable characters")
        seen = decode_json(readable, observation.seen, prefix="seen")
        payload = observation.seen
        if observation.data is not None:
            payload = observation.data
            if observation.content_type == JSON_CONTENT:
                decode_json(decoded, payload, prefix="data")
        body = EventBody(
            type=self._type.fill(seen) or "",
            data=_NO_DATA,
            subject=None if self._subject is None else self._subject.fill(seen),
            key=observation.event_key if self._key is None else self._key.fill(seen),
        )
        app_id = self._trigger.app_id
        for name, expression in self._asked:
            (outcome,) = await self._expressions.evaluate([expression], self._facts(body, app_id, observation))
            if isinstance(outcome, Failed):
                if outcome.because is FailedBecause.UNAVAILABLE:
                    return Postponed(f"{name}: {outcome.told}")
                return Refused(f"{name}_failed", outcome.told)
            if name == "when":
                if outcome.value is not True:
                    return LeftOut()
                continue
            if outcome.value is None:
                return LeftOut()
            body, payload, app_id = await self._mapped(outcome.value, body, payload)
        check(body, prefix="")
        if len(payload) > self._payload_bytes_max:
            return Refused(
                "too_large", f"its data have {len(payload)} bytes; an event has at most {self._payload_bytes_max}"
            )
        return Draft(
            id=EventId(self._clock.new_id()),
            app_id=app_id,
            type=body.type,
            payload=payload,
            content_type=observation.content_type if body.data is _NO_DATA else JSON_CONTENT,
            subject=body.subject,
            key=body.key,
            attributes=self._attributes,
            idempotency_key=self._key_prefix + observation.key,
        )

    async def _mapped(self, value: Any, body: EventBody, payload: bytes) -> tuple[EventBody, bytes, AppId | None]:
        """What the map came to, on top of what was there. Raises Invalid, NotFound (the app)."""
        if not isinstance(value, dict) or not _FIELDS.issuperset(value):
            raise Invalid(
                f"the map has to come to null, or to an object with some of {', '.join(sorted(_FIELDS))}",
                code="map_failed",
            )
        for name in ("type", "subject", "key", "app"):
            if not isinstance(value.get(name, ""), str | None):
                raise Invalid(f"the map's {name} is no text", code="map_failed")
        app_id = self._trigger.app_id
        if value.get("app") is not None:
            if app_id is not None:
                raise Invalid("the map names an app, and the trigger has one itself", code="map_failed")
            app_id = await self._find_app(value["app"])
        changed = {name: value[name] for name in ("type", "subject", "key") if name in value}
        if "data" in value:
            payload = msgspec.json.encode(value["data"])
            changed["data"] = msgspec.Raw(payload)
        return msgspec.structs.replace(body, **changed), payload, app_id

    def _facts(self, body: EventBody, app_id: AppId | None, observation: Observation) -> Facts:
        event = Event(
            EventId(bytes(16)),
            0,
            0,
            app_id,
            body.type,
            observation.seen,
            JSON_CONTENT,
            self._clock.now() if observation.at is None else observation.at,
            0,
            subject=body.subject,
            key=body.key,
            attributes=self._attributes,
        )
        return Facts(event=event)


def _template(text: str, path: str) -> Template:
    try:
        return Template(text)
    except Invalid as error:
        error.path = path
        raise
