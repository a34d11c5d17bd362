"""Whom an event would reach."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from posthouse.api.models.common import Answer
from posthouse.api.texts.accepted import Language
from posthouse.api.texts.reading import Said, read_in
from posthouse.domain.ids import APP, ENDPOINT, format_id
from posthouse.domain.limits import EXPLAINED_APPS_MAX, EXPLAINED_ENDPOINTS_MAX
from posthouse.manage.explain import Explanation, NotReached, Reached, Reason


class ReachedEndpoint(Answer):
    """An endpoint that would be sent to; one that is paused as soon as it is resumed, and one that is unverified as soon as it
    is verified."""

    endpoint: str
    uid: str | None
    url: Annotated[
        str | None, Field(description="Where the event would go; null where its dynamic URL comes to nothing.")
    ]
    reason: Reason
    explanation: Annotated[
        Said | None,
        Field(
            description="Where it would be sent though a filter has no value, or nowhere since no URL comes of it: why that "
            "is. For a platform route: why it hears of the event."
        ),
    ]


class ReachedApp(Answer):
    """An app that the event is for; or `platform`, whose endpoints hear of it where an app has none that does."""

    app: str
    uid: str | None
    endpoints: list[ReachedEndpoint]

    @classmethod
    def of(cls, reached: Reached) -> ReachedApp:
        return cls(
            app=format_id(APP, reached.app.app_id),
            uid=reached.app.uid,
            endpoints=[
                ReachedEndpoint(
                    endpoint=format_id(ENDPOINT, target.endpoint.id),
                    uid=target.endpoint.uid,
                    url=target.url,
                    reason=target.reason,
                    explanation=target.explanation,
                )
                for target in reached.endpoints
            ],
        )


class NotReachedAnswer(Answer):
    """An app, or an endpoint of an app that the event is for, that would not hear of it."""

    app: str
    uid: str | None
    endpoint: str | None
    reason: Reason
    explanation: Annotated[Said, Field(examples=["it listens to product.*, and none of these is order.created"])]

    @classmethod
    def of(cls, missed: NotReached) -> NotReachedAnswer:
        return cls(
            app=format_id(APP, missed.app.app_id),
            uid=missed.app.uid,
            endpoint=None if missed.endpoint is None else format_id(ENDPOINT, missed.endpoint.id),
            reason=missed.reason,
            explanation=missed.explanation,
        )


class ExplanationAnswer(Answer):
    """Whom the event would reach if it were published now, and why every other candidate would not hear of it. Candidates
    are the apps to which its type or its subject is granted, and their endpoints."""

    type: str
    subject: str | None
    reached: list[ReachedApp]
    not_reached: list[NotReachedAnswer]
    truncated: Annotated[
        bool,
        Field(
            description=f"More than {EXPLAINED_APPS_MAX} apps or {EXPLAINED_ENDPOINTS_MAX} endpoints: not all are shown."
        ),
    ]

    @classmethod
    def of(cls, explanation: Explanation) -> ExplanationAnswer:
        return cls(
            type=explanation.type,
            subject=explanation.subject,
            reached=[ReachedApp.of(reached) for reached in explanation.reached],
            not_reached=[NotReachedAnswer.of(missed) for missed in explanation.not_reached],
            truncated=explanation.truncated,
        )


def explanation_body(explanation: Explanation, language: Language) -> bytes:
    """The answer to a dry run, as JSON."""
    read_in(language)
    return ExplanationAnswer.of(explanation).model_dump_json().encode()
