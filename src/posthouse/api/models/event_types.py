"""Event types, their versions, and what another schema would mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field

from posthouse.api.models.common import Answer, Body, Time, time_of
from posthouse.api.texts.reading import Said, SaidOfData
from posthouse.domain.event_type import Visibility
from posthouse.domain.evolution import Change, Verdict
from posthouse.domain.ids import APP, ENDPOINT, EVENT, format_id
from posthouse.domain.limits import (
    EXAMPLES_MAX,
    NAME_LENGTH_MAX,
    REDACTED_NAMES_MAX,
    SAMPLE_EVENTS_MAX,
    SAMPLE_SEARCHED_MAX,
    SUBSCRIBERS_COUNTED_MAX,
    SUBSCRIBERS_SHOWN_MAX,
    TEXT_LENGTH_MAX,
)
from posthouse.manage.catalogue import EventTypeChange
from posthouse.manage.schema_check import Misfit, SchemaCheck
from posthouse.ports.event_types import EventType, EventTypeVersion, Subscriber

TypeName = Annotated[
    str,
    Field(
        description="Words of letters, digits and _, joined by . or -.",
        json_schema_extra={"maxLength": NAME_LENGTH_MAX},
        examples=["order.created"],
    ),
]
VisibilityName = Literal["public", "granted", "private"]
VerdictName = Literal["safe", "unknown", "breaks"]
SchemaField = Annotated[
    dict[str, Any] | None,
    Field(alias="schema", description="JSON Schema (2020-12) that the data of each event must fit; null: anything."),
]


class EventTypeFields(Body):
    """What can be changed of an event type."""

    description: Annotated[str | None, Field(max_length=TEXT_LENGTH_MAX)] = None
    schema_: SchemaField = None
    examples: Annotated[list[Any] | None, Field(max_length=EXAMPLES_MAX, description="Data that fit the schema.")] = (
        None
    )
    visibility: Annotated[
        VisibilityName | None,
        Field(
            description=(
                "Which apps see it in the catalogue: every one (the default), those with a grant that covers it, or none. A "
                "private one is never part of a platform event's audience: its events reach an app only by name."
            )
        ),
    ] = None
    redact: Annotated[
        list[str] | None,
        Field(
            description=(
                "JSON pointers into the data that are masked wherever a payload is shown (events, requests of attempts, "
                "streams), and not where it is delivered. Of these types, data that are not JSON are masked as a whole."
            ),
            json_schema_extra={"maxItems": REDACTED_NAMES_MAX},
            examples=[["/card/number"]],
        ),
    ] = None

    def change(self) -> EventTypeChange:
        given = self.model_fields_set
        return EventTypeChange(
            description=(self.description or "") if "description" in given else msgspec.UNSET,
            schema=self.schema_ if "schema_" in given else msgspec.UNSET,
            examples=tuple(self.examples or ()) if "examples" in given else msgspec.UNSET,
            visibility=Visibility(self.visibility or "public") if "visibility" in given else msgspec.UNSET,
            redact=tuple(self.redact or ()) if "redact" in given else msgspec.UNSET,
        )


class EventTypeCreate(EventTypeFields):
    """A new event type."""

    name: TypeName


class EventTypePut(EventTypeFields):
    """An event type as a whole: what is left out takes its default."""

    name: Annotated[TypeName | None, Field(description="As in the path, or left out.")] = None


class EventTypePatch(EventTypeFields):
    """Fields that are left out stay as they are."""

    archived: Annotated[bool | None, Field(description="true does as DELETE does; false brings it back.")] = None

    def change(self) -> EventTypeChange:
        change = super().change()
        if "archived" in self.model_fields_set:
            change = msgspec.structs.replace(change, archived=bool(self.archived))
        return change


class EventTypeAnswer(Answer):
    """An event type."""

    name: str
    description: str
    schema_: Annotated[dict[str, Any] | bool | None, Field(alias="schema")]
    examples: list[Any]
    visibility: VisibilityName
    redact: Annotated[list[str], Field(description="What is masked where its data are shown.")]
    version: Annotated[int, Field(description="Counts the changes of the schema.")]
    archived: bool
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, entry: EventType) -> EventTypeAnswer:
        return cls(
            name=entry.name,
            description=entry.description,
            schema_=_schema(entry.schema),
            examples=list(entry.examples),
            visibility=entry.visibility.value,
            redact=list(entry.redact),
            version=entry.version,
            archived=entry.archived_at is not None,
            created_at=time_of(entry.created_at),
            updated_at=time_of(entry.updated_at),
        )


class EventTypePage(Answer):
    """Event types by name."""

    data: list[EventTypeAnswer]
    next: str | None


class EventTypeVersionAnswer(Answer):
    """A version of an event type's schema, and the examples it was last shown with."""

    version: int
    schema_: Annotated[dict[str, Any] | bool | None, Field(alias="schema")]
    examples: list[Any]
    created_at: Time

    @classmethod
    def of(cls, row: EventTypeVersion) -> EventTypeVersionAnswer:
        return cls(
            version=row.version,
            schema_=_schema(row.schema),
            examples=list(row.examples),
            created_at=time_of(row.created_at),
        )


class EventTypeVersionPage(Answer):
    """Versions, newest first."""

    data: list[EventTypeVersionAnswer]
    next: str | None


class SchemaToCheck(Body):
    """A schema that the event type might get."""

    schema_: SchemaField


class ChangeAnswer(Answer):
    """One thing that would change."""

    path: Annotated[
        str, Field(description="Where it shows in the data; empty for the whole.", examples=["items[].sku", "meta.*"])
    ]
    kind: Annotated[str, Field(examples=["property_removed", "nullable_added", "required_added"])]
    consumers: Annotated[VerdictName, Field(description="For receivers that rely on the old schema.")]
    publishers: Annotated[VerdictName, Field(description="For publishers that go on sending what fitted the old one.")]
    detail: Said

    @classmethod
    def of(cls, change: Change) -> ChangeAnswer:
        return cls(
            path=change.path,
            kind=change.kind,
            consumers=_verdict(change.consumers),
            publishers=_verdict(change.publishers),
            detail=change.detail,
        )


class SubscriberAnswer(Answer):
    """An enabled endpoint that hears of the type."""

    app: Annotated[str, Field(description="Id of its app.")]
    app_uid: str | None
    endpoint: str
    uid: str | None
    url: str

    @classmethod
    def of(cls, row: Subscriber) -> SubscriberAnswer:
        return cls(
            app=format_id(APP, row.app_id),
            app_uid=row.app_uid,
            endpoint=format_id(ENDPOINT, row.id),
            uid=row.uid,
            url=row.url,
        )


class SubscribersAnswer(Answer):
    """Whom a change that breaks consumers would break."""

    data: Annotated[list[SubscriberAnswer], Field(description=f"The first {SUBSCRIBERS_SHOWN_MAX}, by app.")]
    total: Annotated[int, Field(description=f"How many there are; {SUBSCRIBERS_COUNTED_MAX} are that many or more.")]
    truncated: bool


class MisfitAnswer(Answer):
    """A stored event that would not fit."""

    event: str
    path: Annotated[str, Field(examples=["data.items[0].sku"])]
    detail: SaidOfData

    @classmethod
    def of(cls, row: Misfit) -> MisfitAnswer:
        return cls(event=format_id(EVENT, row.event_id), path=row.path, detail=row.detail)


class SampleAnswer(Answer):
    """How stored events of late would do."""

    events: Annotated[
        int,
        Field(
            description=(
                f"How many were looked at: the newest {SAMPLE_EVENTS_MAX} at most, among the newest {SAMPLE_SEARCHED_MAX} "
                "events of all types."
            )
        ),
    ]
    fit: int
    errors: Annotated[list[MisfitAnswer], Field(description="The first few that do not fit.")]


class SchemaCheckAnswer(Answer):
    """What another schema would break, and whom. It is advice: such a schema may be set all the same."""

    name: str
    version: Annotated[int, Field(description="The version that the schema was compared with.")]
    consumers: Annotated[
        VerdictName, Field(description="safe: all that fits the new schema fits the old one. The worst of the changes.")
    ]
    publishers: Annotated[VerdictName, Field(description="safe: all that fits the old schema fits the new one.")]
    changes: list[ChangeAnswer]
    truncated: Annotated[bool, Field(description="There are more changes than are told.")]
    subscribers: SubscribersAnswer
    recent: SampleAnswer

    @classmethod
    def of(cls, check: SchemaCheck) -> SchemaCheckAnswer:
        return cls(
            name=check.entry.name,
            version=check.entry.version,
            consumers=_verdict(check.evolution.consumers),
            publishers=_verdict(check.evolution.publishers),
            changes=[ChangeAnswer.of(change) for change in check.evolution.changes],
            truncated=check.evolution.truncated,
            subscribers=SubscribersAnswer(
                data=[SubscriberAnswer.of(row) for row in check.subscribers],
                total=check.subscribers_counted,
                truncated=check.subscribers_counted > len(check.subscribers),
            ),
            recent=SampleAnswer(
                events=check.sample.events,
                fit=check.sample.fit,
                errors=[MisfitAnswer.of(row) for row in check.sample.misfits],
            ),
        )


def _schema(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


def _verdict(verdict: Verdict) -> VerdictName:
    return verdict.value
