"""Trying an endpoint, and looking at what it would be sent: what is asked, and what is told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field

from posthouse.api.models.common import Answer, Body, Time, time_of
from posthouse.api.models.endpoint import EndpointPatch
from posthouse.api.models.exchange import (
    RequestAnswer,
    ResponseAnswer,
    TimingsAnswer,
    request_answer,
    response_answer,
    timings_of,
)
from posthouse.api.texts.reading import Said
from posthouse.domain.callback import CONFIRMED
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Answer as ExchangeAnswer
from posthouse.domain.exchange import Failure
from posthouse.domain.ids import EVENT, format_id
from posthouse.domain.limits import TEXT_LENGTH_MAX
from posthouse.manage.preview import Preview, Sample, Step
from posthouse.manage.trial import Trial
from posthouse.wire.answer import stored_body, stored_headers


class TrialRun(Body):
    """What to send."""

    type: Annotated[str | None, Field(description="An event type; its first example is sent. Else a line of text.")] = (
        None
    )
    data: Annotated[Any, Field(description="The data to send instead.")] = None

    def json_data(self) -> bytes | None:
        return msgspec.json.encode(self.data) if "data" in self.model_fields_set else None


class RuleMet(Answer):
    """The response rule that an answer meets."""

    place: Annotated[
        str,
        Field(description="Where it is: of the endpoint, or the header of the answer.", examples=["on_response[0]"]),
    ]
    then: Annotated[str, Field(description="What it makes happen. A test does not do it.", examples=["retry"])]


class TrialAnswer(Answer):
    """A request that was made just now, and the answer to it. It is on no list, and is not tried again."""

    event: Annotated[str, Field(description="The webhook-id that it had.")]
    type: str
    outcome: Annotated[
        Literal["delivered", "failed"],
        Field(description="As it would be of a delivery: whether the target confirmed it."),
    ]
    reason: Annotated[str, Field(examples=["confirmed", "http_status", "not_acknowledged", "address_refused"])]
    rule: Annotated[RuleMet | None, Field(description="The response rule that would count. null: none.")]
    status: int | None
    url: str
    address: str
    started_at: Time
    timings: TimingsAnswer
    error: Annotated[str | None, Field(description="More of the reason, in words.")]
    request: RequestAnswer
    response: ResponseAnswer | None

    @classmethod
    def of(cls, trial: Trial) -> TrialAnswer:
        result, timings, judgement = trial.result, trial.result.timings, trial.judgement
        rule = judgement.rule
        answer = result if isinstance(result, ExchangeAnswer) else None
        request = request_answer(trial.request)
        assert request is not None
        return cls(
            event=format_id(EVENT, trial.event_id),
            type=trial.type,
            outcome="delivered" if judgement.reason == CONFIRMED else "failed",
            reason=judgement.reason,
            rule=None if rule is None else RuleMet(place=judgement.place, then=str(rule.__struct_config__.tag)),
            status=result.status,
            url=trial.url,
            address=result.address,
            started_at=time_of(trial.at),
            timings=TimingsAnswer(**timings_of(timings)),
            error=result.detail if isinstance(result, Failure) else judgement.words,
            request=request,
            response=None
            if answer is None
            else response_answer(answer.status, stored_headers(answer), stored_body(answer)),
        )


class PreviewRun(Body):
    """Of which event: one that was published, or one as it might be."""

    event: Annotated[str | None, Field(description="Id of a stored event; then nothing else of it is given.")] = None
    type: Annotated[str | None, Field(description="Its event type; default: endpoint.test.")] = None
    data: Annotated[Any, Field(description="Its data; default: the first example of the type.")] = None
    subject: str | None = None
    key: str | None = None
    source: Annotated[str | None, Field(max_length=TEXT_LENGTH_MAX)] = None
    channels: list[str] | None = None
    attributes: dict[str, str] | None = None
    changes: Annotated[
        EndpointPatch | None,
        Field(
            description="As if the endpoint were changed so, as by PATCH; it stays as it is. Keys that a profile would make "
            "are made up."
        ),
    ] = None

    def sample(self) -> Sample | None:
        """None: it is a stored event. Raises Invalid."""
        given = self.model_fields_set - {"changes"}
        if self.event is not None:
            if given != {"event"}:
                raise Invalid("a stored event is what it is: leave the rest out", path="event")
            return None
        return Sample(
            type=self.type,
            data=msgspec.json.encode(self.data) if "data" in given else None,
            subject=self.subject,
            key=self.key,
            source=self.source,
            channels=tuple(self.channels or ()),
            attributes=self.attributes or {},
        )


class PreviewAnswer(Answer):
    """What the endpoint would be sent of an event. Nothing was sent."""

    event: Annotated[str, Field(description="Its id; of one that was not published, a new one.")]
    type: str
    matches: Annotated[bool, Field(description="Whether the endpoint hears of it.")]
    match_reason: Annotated[
        Literal[
            "matched", "paused", "unverified", "disabled", "other_types", "other_channels", "filtered", "filter_failed"
        ],
        Field(description="Why, or why not."),
    ]
    filter_error: Annotated[Said | None, Field(description="Why its filters have no value.")]
    url: Annotated[str | None, Field(description="Where it would go.")]
    reason: Annotated[
        str | None,
        Field(description="Why there would be no request.", examples=["transform_failed", "no_url", "unsendable"]),
    ]
    error: Annotated[Said | None, Field(description="More of the reason, in words.")]
    masked: Annotated[
        bool,
        Field(description="The type of the stored event redacts data: the request is made of what is left of them."),
    ]
    steps: Annotated[
        list[Step],
        Field(description="What is done to the request before it is sent, and is not shown."),
    ]
    request: Annotated[
        RequestAnswer | None, Field(description="null where there is none, or nothing can be made of what is masked.")
    ]

    @classmethod
    def of(cls, preview: Preview) -> PreviewAnswer:
        return cls(
            event=format_id(EVENT, preview.event_id),
            type=preview.type,
            matches=preview.heard.matches,
            match_reason=preview.heard.value,
            filter_error=preview.filter_words,
            url=preview.url,
            reason=preview.reason,
            error=preview.words,
            masked=preview.masked,
            steps=list(preview.steps),
            request=request_answer(preview.request),
        )
