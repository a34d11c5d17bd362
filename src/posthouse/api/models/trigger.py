"""Triggers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET
from pydantic import Field

from posthouse.api.models.common import Answer, Body, Instant, Time, Uid, optional_time, text_or_base64, time_of
from posthouse.api.texts.accepted import Language
from posthouse.api.texts.descriptions import all_described
from posthouse.api.texts.reading import Said
from posthouse.domain.ids import APP, REFUSAL, TRIGGER, format_id
from posthouse.domain.limits import NAME_LENGTH_MAX, TRIGGER_TEMPLATE_LENGTH_MAX
from posthouse.domain.trigger import SETTINGS_UNREADABLE, Trigger, TriggerState
from posthouse.manage.refusals import NAMED_MAX, Retried
from posthouse.manage.trigger_change import TriggerChange
from posthouse.ports.sources import Plan, TriggerKind
from posthouse.ports.triggers import Refusal

_ID = "trg_06b1v8k3m5x7q2n9r4t6w8y0aa"


class TriggerPatch(Body):
    """What changes of a trigger: fields that are left out stay as they are, null brings a field's default back."""

    uid: Uid = None
    name: Annotated[str | None, Field(description="What people call it.", max_length=NAME_LENGTH_MAX)] = None
    kind: Annotated[
        str | None,
        Field(
            description="What is watched: `table`, `changes`, `inbound`, or a kind that a package brings. It stays.",
            examples=["table"],
        ),
    ] = None
    type: Annotated[
        str | None,
        Field(
            description=(
                "The type of its events, a template: `{op}` stands for what was done, `{new.status}` for a field of what was "
                "seen."
            ),
            json_schema_extra={"maxLength": TRIGGER_TEMPLATE_LENGTH_MAX},
            examples=["order.{op}"],
        ),
    ] = None
    subject: Annotated[
        str | None,
        Field(description="Their subject, a template. Null in it: no subject.", examples=["shop:{row.shop_id}"]),
    ] = None
    key: Annotated[
        str | None,
        Field(
            description=(
                "Their key, by which endpoints may keep order, a template. Default: what the kind says, such as a primary key."
            ),
            examples=["{row.order_id}"],
        ),
    ] = None
    app: Annotated[
        str | None, Field(description="The app that they are for: id or uid. Default: every app that a grant covers.")
    ] = None
    when: Annotated[
        str | None,
        Field(
            description="CEL -> bool: what becomes an event. `event.data` is all that was seen.",
            examples=["event.data.new.total > 100"],
        ),
    ] = None
    map: Annotated[
        str | None,
        Field(
            description=(
                "CEL -> null (no event), or an object with what the event should be otherwise: `type`, `subject`, `key`, "
                "`app`, `data`."
            ),
            examples=['{"data": {"id": event.data.new.id}}'],
        ),
    ] = None
    settings: Annotated[
        dict[str, Any] | None,
        Field(
            description=(
                "What the kind wants to know: `GET /v1/trigger-kinds` has a schema of each. Of a change, those that are given "
                "take the place of those that were there. Secrets are not shown again."
            )
        ),
    ] = None
    enabled: Annotated[bool | None, Field(description="false: it rests. Default: true.")] = None

    def change(self) -> TriggerChange:
        given: dict[str, Any] = {}
        for name in self.model_fields_set:
            value = getattr(self, name)
            given[name] = _NULL_IS[name] if value is None and name in _NULL_IS else value
        return TriggerChange(**given)


_NULL_IS: dict[str, Any] = {"name": "", "kind": UNSET, "type": UNSET, "settings": {}, "enabled": True}


class TriggerFields(TriggerPatch):
    """A trigger."""

    kind: Annotated[str, Field(description="What is watched.", examples=["table"])]
    type: Annotated[str, Field(description="The type of its events, a template.", examples=["order.{op}"])]


class TriggerFailure(Answer):
    """Why nothing of it is published now. It is tried again until it goes."""

    code: Annotated[
        str, Field(examples=["source_unavailable", "source_refused", "too_many_set_aside", SETTINGS_UNREADABLE])
    ]
    detail: Said
    since: Time
    times: Annotated[int, Field(description="How often in a row.")]
    retry_at: Time | None


class TriggerLag(Answer):
    """How far behind it is, as it was looked at last; null: its source does not know."""

    seconds: Annotated[float | None, Field(description="Age of the oldest that is not published; 0: none.")]
    pending: Annotated[int | None, Field(description="How many are not published.")]
    retained_bytes: Annotated[int | None, Field(description="What the source keeps because of them.")]


class TriggerCounts(Answer):
    """What became of what it saw, since it was made."""

    published: int
    repeated: Annotated[int, Field(description="Seen again, and published before.")]
    left_out: Annotated[int, Field(description="What its `when` or `map` did not want.")]
    set_aside: Annotated[int, Field(description="What waits for somebody to look: it could be no event.")]
    unverified: Annotated[int, Field(description="Requests that nobody vouched for, of kind `inbound`.")]


class TriggerAnswer(Answer):
    """A trigger, and how it goes."""

    id: Annotated[str, Field(examples=[_ID])]
    uid: str | None
    name: str
    kind: str
    type: str
    subject: str | None
    key: str | None
    app: Annotated[str | None, Field(description="Id of the app; null: for every app that a grant covers.")]
    when: str | None
    map: str | None
    settings: Annotated[
        dict[str, Any], Field(description="Without secrets. Empty where they do not open: see `failure`.")
    ]
    enabled: bool
    state: Annotated[
        Literal["starting", "active", "paused", "failing", "stopped"],
        Field(description="failing: see `failure`; stopped: too much was set aside, and somebody has to look."),
    ]
    failure: TriggerFailure | None
    alarm: Annotated[Said | None, Field(description="What somebody has to look at, although it goes on.")]
    counts: TriggerCounts
    lag: TriggerLag
    position: Annotated[str | None, Field(description="How far it is, in the source's own words.")]
    generation: Annotated[int, Field(description="How often it was rewound.")]
    published_at: Annotated[Time | None, Field(description="When it published last.")]
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, trigger: Trigger, settings: dict[str, Any]) -> TriggerAnswer:
        config, standing = trigger.config, trigger.standing
        return cls(
            id=format_id(TRIGGER, trigger.id),
            uid=trigger.uid,
            name=trigger.name,
            kind=config.kind,
            type=config.type,
            subject=config.subject,
            key=config.key,
            app=None if trigger.app_id is None else format_id(APP, trigger.app_id),
            when=config.when,
            map=config.map,
            settings=settings,
            enabled=trigger.enabled,
            state="paused" if not trigger.enabled else _state(trigger),
            failure=_failure(trigger),
            alarm=standing.alarm,
            counts=TriggerCounts(
                published=standing.published,
                repeated=standing.repeated,
                left_out=standing.left_out,
                set_aside=standing.set_aside,
                unverified=standing.unverified,
            ),
            lag=TriggerLag(
                seconds=standing.lag_seconds, pending=standing.pending, retained_bytes=standing.retained_bytes
            ),
            position=trigger.position,
            generation=trigger.generation,
            published_at=optional_time(standing.published_at),
            created_at=time_of(trigger.created_at),
            updated_at=time_of(trigger.updated_at),
        )


def _state(trigger: Trigger) -> Literal["starting", "active", "failing", "stopped"]:
    if trigger.unreadable is not None:
        return "failing"
    match trigger.standing.state:
        case TriggerState.ACTIVE:
            return "active"
        case TriggerState.FAILING:
            return "failing"
        case TriggerState.STOPPED:
            return "stopped"
        case _:
            return "starting"


def _failure(trigger: Trigger) -> TriggerFailure | None:
    standing = trigger.standing
    if trigger.unreadable is not None:
        return TriggerFailure(
            code=SETTINGS_UNREADABLE,
            detail=(
                f"its settings do not open: {trigger.unreadable}. Or PUT it with all of its settings, or delete it with "
                "force=true: what was made where it watches stays there then"
            ),
            # Who cannot open them writes nothing down: it was well when somebody last did.
            since=time_of(standing.failing_since or max(trigger.updated_at, standing.told_at or 0.0)),
            times=max(standing.failures, 1),
            retry_at=None,
        )
    if standing.error is None or standing.error_code is None or standing.failing_since is None:
        return None
    return TriggerFailure(
        code=standing.error_code,
        detail=standing.error,
        since=time_of(standing.failing_since),
        times=standing.failures,
        retry_at=optional_time(standing.retry_at),
    )


class TriggerPage(Answer):
    """Triggers, newest first."""

    data: list[TriggerAnswer]
    next: str | None


class PlanAnswer(Answer):
    """What a trigger does where it watches."""

    install: Annotated[list[str], Field(description="The statements that make it ready, in order.")]
    remove: Annotated[list[str], Field(description="Those that remove all traces.")]
    remarks: Annotated[list[Said], Field(description="What somebody should know about it.")]

    @classmethod
    def of(cls, plan: Plan) -> PlanAnswer:
        return cls(install=list(plan.install), remove=list(plan.remove), remarks=list(plan.remarks))


class RewindBody(Body):
    """How far back."""

    to: Annotated[
        Instant | None,
        Field(
            description="To this time; left out: to the beginning, which is everything that the kind can show again."
        ),
    ] = None


class KindAnswer(Answer):
    """A kind of trigger that there is here."""

    name: Annotated[str, Field(examples=["table"])]
    settings: Annotated[dict[str, Any], Field(description="JSON Schema (2020-12) of `settings`.")]

    @classmethod
    def of(cls, kind: TriggerKind, language: Language) -> KindAnswer:
        return cls(name=kind.name, settings=all_described(dict(kind.expects), language))


class KindPage(Answer):
    """Kinds of triggers, by name."""

    data: list[KindAnswer]
    next: None = None


class RefusalAnswerOfTrigger(Answer):
    """Something that was seen and could be no event."""

    id: Annotated[str, Field(examples=["ref_06b1v8k3m5x7q2n9r4t6w8y0aa"])]
    code: Annotated[str, Field(examples=["schema_mismatch", "event_type_not_found"])]
    reason: Said
    tries: int
    seen: Annotated[Any, Field(description="What was seen; as a text where it is no JSON.")]
    at: Annotated[Time | None, Field(description="When it happened, where the source knows.")]
    created_at: Annotated[Time, Field(description="When it was set aside.")]

    @classmethod
    def of(cls, refusal: Refusal) -> RefusalAnswerOfTrigger:
        seen: Any
        try:
            seen = msgspec.json.decode(refusal.observation.seen)
        except msgspec.DecodeError:
            text, encoded = text_or_base64(refusal.observation.seen)
            seen = text if text is not None else encoded
        return cls(
            id=format_id(REFUSAL, refusal.id),
            code=refusal.code,
            reason=refusal.reason,
            tries=refusal.tries,
            seen=seen,
            at=optional_time(refusal.observation.at),
            created_at=time_of(refusal.created_at),
        )


class RefusalPage(Answer):
    """What a trigger set aside, the oldest first."""

    data: list[RefusalAnswerOfTrigger]
    next: str | None


class WhichRefusals(Body):
    """Which of what was set aside."""

    ids: Annotated[
        list[str] | None, Field(description=f"These, at most {NAMED_MAX}; left out: all of it.", max_length=NAMED_MAX)
    ] = None


class RetriedAnswer(Answer):
    """What became of what was tried again."""

    published: int
    left_out: int
    refused: Annotated[int, Field(description="They stay set aside, with the reason of now.")]
    postponed: Annotated[Said | None, Field(description="Why it ended before all were tried; null: it did not.")]

    @classmethod
    def of(cls, told: Retried) -> RetriedAnswer:
        return cls(published=told.published, left_out=told.left_out, refused=told.refused, postponed=told.postponed)


class DiscardedAnswer(Answer):
    """What was let be."""

    discarded: int
