"""Endpoints and their secrets."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from pydantic import Field

from posthouse.api.models import connection, flow, rules, speech
from posthouse.api.models.common import Answer, Body, Metadata, Time, Uid, optional_time, time_of
from posthouse.api.models.connection import ConnectionAnswer, ConnectionFields, connection_fields
from posthouse.api.models.endpoint_key import GivenKeys
from posthouse.api.models.flow import CircuitAnswer, FlowAnswer, FlowFields, TargetUrl, flow_fields
from posthouse.api.models.redaction import RedactAnswerAnswer, RedactAnswerBody
from posthouse.api.models.retry import RetryAnswer, RetryBody, more_than_zero, retry_fields
from posthouse.api.models.rules import RuleAnswer, RuleFields, rule_fields
from posthouse.api.models.secret import GivenSecret, public_key, secret_text
from posthouse.api.models.speech import SpeechAnswer, SpeechFields, speech_fields
from posthouse.domain.endpoint import EndpointConfig, Secret, Timeouts
from posthouse.domain.ids import APP, ENDPOINT, format_id
from posthouse.domain.limits import (
    CHANNELS_MAX,
    CONCURRENCY_MAX,
    EVENT_PATTERNS_MAX,
    LANE_CONCURRENCY,
    TEXT_LENGTH_MAX,
    TIMEOUT_SECONDS_MAX,
)
from posthouse.manage.endpoint_change import EndpointChange
from posthouse.ports.directory import StoredEndpoint

Timeout = Annotated[float, more_than_zero(TIMEOUT_SECONDS_MAX)]

_TIMEOUTS = Timeouts()


class TimeoutsBody(Body):
    """Seconds allowed for each phase of an attempt; `total` bounds them all."""

    connect: Annotated[Timeout, Field(description="For DNS, TCP and TLS, each.")] = _TIMEOUTS.connect
    first_byte: Timeout = _TIMEOUTS.first_byte
    total: Timeout = _TIMEOUTS.total


class BasicFields(Body):
    """What it is, what it hears of, and how it is spoken to."""

    description: Annotated[str | None, Field(json_schema_extra={"maxLength": TEXT_LENGTH_MAX})] = None
    uid: Uid = None
    profile: Annotated[
        str | None,
        Field(
            description="A preset of how it is spoken to (GET /v1/profiles): its fields are written into this endpoint where "
            "they are not given. Default: none.",
            examples=["github", "wecom"],
        ),
    ] = None
    profile_settings: Annotated[
        dict[str, str] | None,
        Field(description="What the profile has to be told.", examples=[{"corp_id": "ww5823bf96d3bd56c7"}]),
    ] = None
    metadata: Metadata = None
    enabled: Annotated[bool | None, Field(description="false: events pass it by. Default: true.")] = None
    paused: Annotated[bool | None, Field(description="true: deliveries wait, and are kept. Default: false.")] = None
    events: Annotated[
        list[str] | None,
        Field(
            description="Which event types it hears: names, beginnings such as order.*, or *. Default: all.",
            json_schema_extra={"maxItems": EVENT_PATTERNS_MAX},
            examples=[["order.*"]],
        ),
    ] = None
    channels: Annotated[
        list[str] | None,
        Field(
            description="It hears events that share a channel with it. Default: all.",
            json_schema_extra={"maxItems": CHANNELS_MAX},
        ),
    ] = None
    headers: Annotated[
        dict[str, str] | None, Field(description="Sent with each request.", examples=[{"X-Shop": "42"}])
    ] = None
    retry: RetryBody | None = None
    timeouts: TimeoutsBody | None = None
    concurrency: Annotated[
        int | None,
        Field(
            description=f"Requests at the same time, at most. Default: {LANE_CONCURRENCY}.",
            json_schema_extra={"minimum": 1, "maximum": CONCURRENCY_MAX},
        ),
    ] = None
    redact_answer: Annotated[
        RedactAnswerBody | None,
        Field(description="What is masked of its answers before they are stored. Default: nothing."),
    ] = None


class EndpointFields(
    RuleFields, SpeechFields, ConnectionFields, FlowFields, BasicFields
):  # the fields of the last base come first
    """What an endpoint and a change of one have in common."""

    def change(self) -> EndpointChange:
        """What was given, in the domain's words; null stays. Raises Invalid with the path of what is wrong."""
        given: dict[str, Any] = {}
        for name in EndpointChange.__struct_fields__:
            if name in self.model_fields_set:
                value = getattr(self, name)
                given[name] = value if value is None or name not in _DOMAIN else _DOMAIN[name](value)
        return EndpointChange(**given)


_DOMAIN: Final[dict[str, Any]] = {
    "events": tuple,
    "channels": tuple,
    "retry": RetryBody.settings,
    "timeouts": lambda body: Timeouts(body.connect, body.first_byte, body.total),
    "redact_answer": RedactAnswerBody.rules,
    **flow.DOMAIN,
    **connection.DOMAIN,
    **speech.DOMAIN,
    **rules.DOMAIN,
}


class EndpointCreate(EndpointFields):
    """A new endpoint."""

    url: TargetUrl
    secret: GivenSecret = None
    keys: GivenKeys = None


class EndpointPut(EndpointFields):
    """An endpoint as it shall be: what is left out takes its default."""

    url: TargetUrl
    secret: Annotated[
        GivenSecret,
        Field(
            description=(
                "whsec_… or whsk_… of a new endpoint; by default a new whsec_… is made. One that is there keeps its secrets: "
                "the one that signs may be given again, and another one is refused."
            ),
            repr=False,
        ),
    ] = None
    keys: GivenKeys = None


class EndpointPatch(EndpointFields):
    """Fields that are left out stay as they are; null brings a field's default back. A field is replaced as a whole."""

    url: TargetUrl = Field(default_factory=str)  # never read where it was left out; null is refused


class TimeoutsAnswer(Answer):
    """Seconds."""

    connect: float
    first_byte: float
    total: float


class BasicAnswer(Answer):
    """What it is, how it has been doing, what it hears of and how it is spoken to."""

    id: Annotated[str, Field(examples=["ep_06b1v8k3m5x7q2n9r4t6w8y0aa"])]
    app: Annotated[str, Field(description="Id of its app.")]
    uid: str | None
    url: str
    description: str
    profile: Annotated[str | None, Field(description="Whose fields were written into this endpoint.")]
    profile_settings: dict[str, str]
    metadata: dict[str, Any]
    enabled: bool
    disabled_reason: Annotated[
        str | None, Field(description="by_hand, gone (it answered 410) or failing_for_days.", examples=["gone"])
    ]
    disabled_at: Time | None
    paused: bool
    failing_since: Annotated[Time | None, Field(description="Since when it has confirmed nothing.")]
    held_until: Annotated[
        Time | None, Field(description="Nothing is sent before: it asked so (Retry-After with 429 or 503).")
    ]
    circuit: CircuitAnswer
    events: list[str]
    channels: list[str]
    headers: dict[str, str]
    retry: RetryAnswer
    timeouts: TimeoutsAnswer
    concurrency: int
    redact_answer: RedactAnswerAnswer | None


class EndpointAnswer(RuleAnswer, SpeechAnswer, ConnectionAnswer, FlowAnswer, BasicAnswer):
    """An endpoint: a target URL, with all that describes how to speak to it."""

    keys: Annotated[list[str], Field(description="The names of its named keys.")]
    revision: Annotated[int, Field(description="Counts the changes of what its requests are made with.")]
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, endpoint: StoredEndpoint) -> EndpointAnswer:
        return cls(**_fields(endpoint))


class EndpointCreated(EndpointAnswer):
    """A new endpoint with its signing secret."""

    secret: str
    public_key: Annotated[str | None, Field(description="whpk_…, where the secret is whsk_…")]
    made_keys: Annotated[
        dict[str, str],
        Field(
            description="Keys that its profile asked for and nobody gave, as the target needs them: secrets, and of key pairs "
            "the public half. They are not shown again."
        ),
    ]

    @classmethod
    def with_secret(cls, endpoint: StoredEndpoint, secret: Secret, made_keys: dict[str, str]) -> EndpointCreated:
        return cls(**_fields(endpoint), secret=secret_text(secret), public_key=public_key(secret), made_keys=made_keys)


class BasicConfigAnswer(Answer):
    """What it hears of, and how it is spoken to."""

    url: str
    description: str
    profile: str | None
    profile_settings: dict[str, str]
    events: list[str]
    channels: list[str]
    headers: dict[str, str]
    retry: RetryAnswer
    timeouts: TimeoutsAnswer
    concurrency: int
    redact_answer: RedactAnswerAnswer | None


class ConfigAnswer(RuleAnswer, SpeechAnswer, ConnectionAnswer, FlowAnswer, BasicConfigAnswer):
    """What requests are made with."""


class EndpointPage(Answer):
    """Endpoints, newest first."""

    data: list[EndpointAnswer]
    next: str | None


def _fields(endpoint: StoredEndpoint) -> dict[str, Any]:
    return {
        "id": format_id(ENDPOINT, endpoint.id),
        "app": format_id(APP, endpoint.app_id),
        "uid": endpoint.uid,
        "metadata": endpoint.metadata,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "disabled_at": optional_time(endpoint.disabled_at),
        "paused": endpoint.paused,
        "failing_since": optional_time(endpoint.health.failing_since),
        "held_until": optional_time(endpoint.health.held_until),
        "circuit": CircuitAnswer.of(endpoint.health),
        **config_fields(endpoint.config),
        "keys": list(endpoint.keys),
        "revision": endpoint.revision,
        "created_at": time_of(endpoint.created_at),
        "updated_at": time_of(endpoint.updated_at),
    }


def config_fields(config: EndpointConfig) -> dict[str, Any]:
    return {
        "url": config.url,
        "description": config.description,
        "profile": config.profile or None,
        "profile_settings": config.profile_settings,
        "events": list(config.events),
        "channels": list(config.channels),
        "headers": config.headers,
        "retry": retry_fields(config.retry),
        "timeouts": msgspec.to_builtins(config.timeouts),
        "concurrency": config.concurrency,
        "redact_answer": None if config.redact_answer is None else msgspec.to_builtins(config.redact_answer),
        **flow_fields(config),
        **connection_fields(config),
        **speech_fields(config),
        **rule_fields(config),
    }
