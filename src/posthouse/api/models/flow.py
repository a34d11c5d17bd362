"""What an endpoint says of when, in what order and to which of its URLs it is sent; and how that goes."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from posthouse.api.models.common import Answer, Body, Time, optional_time
from posthouse.domain.circuit import Health
from posthouse.domain.endpoint import (
    Balance,
    Batch,
    EndpointConfig,
    EqualUrl,
    OnExhausted,
    Ordering,
    RateLimit,
)
from posthouse.domain.limits import (
    EQUAL_URLS_MAX,
    FALLBACK_URLS_MAX,
    MAX_AGE_SECONDS_MAX,
    RATE_BURST_REQUESTS_MAX,
    RATE_PER_SECOND_MAX,
    REQUEST_BYTES_MAX,
    REQUEST_BYTES_MIN,
    REQUEST_EVENTS_MAX,
    REQUEST_WAIT_MS_MAX,
    URL_LENGTH_MAX,
    URL_WEIGHT_MAX,
)

OrderingName = Literal["none", "endpoint", "key"]
OnExhaustedName = Literal["skip", "block"]
BalanceName = Literal["weighted", "sticky"]

TargetUrl = Annotated[
    str,
    Field(
        description="An http or https URL, without credentials and fragment.",
        json_schema_extra={"format": "uri", "maxLength": URL_LENGTH_MAX},
        examples=["https://example.com/webhooks"],
    ),
]

_BATCH: Final = Batch()


def _from_to(least: float, most: float) -> Any:
    return Field(json_schema_extra={"minimum": least, "maximum": most})


class RateLimitBody(Body):
    """At most `per_second · w + burst` requests in any span of `w` seconds, retries included; a batch is one request."""

    per_second: Annotated[
        float,
        Field(
            description="Fractions are meant: 0.0167 is one a minute.",
            json_schema_extra={"exclusiveMinimum": 0, "maximum": RATE_PER_SECOND_MAX},
            examples=[50],
        ),
    ]
    burst: Annotated[
        int | None,
        Field(
            description="Requests that may follow each other at once. Default: what a second allows, at least one.",
            json_schema_extra={"minimum": 1, "maximum": RATE_BURST_REQUESTS_MAX},
            examples=[100],
        ),
    ] = None


class BatchBody(Body):
    """Several events in one request, which goes as soon as one of these is reached."""

    max_events: Annotated[int, _from_to(1, REQUEST_EVENTS_MAX)] = _BATCH.max_events
    max_bytes: Annotated[int, _from_to(REQUEST_BYTES_MIN, REQUEST_BYTES_MAX)] = _BATCH.max_bytes
    max_wait_ms: Annotated[int, _from_to(0, REQUEST_WAIT_MS_MAX)] = _BATCH.max_wait_ms


class EqualUrlBody(Body):
    """A URL that is as good as the endpoint's own."""

    url: TargetUrl
    weight: Annotated[
        int,
        Field(
            description="Its share of the requests; the endpoint's own URL has 1.",
            json_schema_extra={"minimum": 1, "maximum": URL_WEIGHT_MAX},
        ),
    ] = 1


class FlowFields(Body):
    """What of this an endpoint and a change of one have in common."""

    rate_limit: Annotated[
        RateLimitBody | None, Field(description="Default: none.", examples=[{"per_second": 50, "burst": 100}])
    ] = None
    ordering: Annotated[
        OrderingName | None,
        Field(
            description="Which deliveries wait for the one before them: none, all of the endpoint, or those of events with the "
            "same key. Default: none.",
            examples=["key"],
        ),
    ] = None
    on_exhausted: Annotated[
        OnExhaustedName | None,
        Field(
            description="What an ordered line does when its first delivery has no attempt left: skip goes on with the next, "
            "block stands until somebody sends it again or cancels it. Default: skip.",
            examples=["block"],
        ),
    ] = None
    batch: Annotated[
        BatchBody | None,
        Field(description="Default: one event a request.", examples=[{"max_events": 100, "max_wait_ms": 200}]),
    ] = None
    fallback_urls: Annotated[
        list[TargetUrl] | None,
        Field(
            description="Tried in this order where the ones before are down.",
            json_schema_extra={"maxItems": FALLBACK_URLS_MAX},
            examples=[["https://standby.example.com/webhooks"]],
        ),
    ] = None
    equal_urls: Annotated[
        list[EqualUrlBody] | None,
        Field(
            description="Other URLs of the same receiver, each as good as url.",
            json_schema_extra={"maxItems": EQUAL_URLS_MAX},
            examples=[[{"url": "https://node-2.example.com/webhooks", "weight": 2}]],
        ),
    ] = None
    balance: Annotated[
        BalanceName | None,
        Field(
            description="How one of the equal URLs is chosen: by chance as weighted, or sticky: the same one for the same key, "
            "else subject. Default: weighted.",
            examples=["sticky"],
        ),
    ] = None
    max_age: Annotated[
        float | None,
        Field(
            description="Seconds after which an event that is not delivered is given up as expired. Default: never.",
            json_schema_extra={"exclusiveMinimum": 0, "maximum": MAX_AGE_SECONDS_MAX},
            examples=[3600],
        ),
    ] = None


DOMAIN: Final[dict[str, Any]] = {
    "rate_limit": lambda body: RateLimit(body.per_second, body.burst),
    "ordering": Ordering,
    "on_exhausted": OnExhausted,
    "batch": lambda body: Batch(body.max_events, body.max_bytes, body.max_wait_ms),
    "fallback_urls": tuple,
    "equal_urls": lambda bodies: tuple(EqualUrl(body.url, body.weight) for body in bodies),
    "balance": Balance,
    "max_age": float,
}
"""What a given field of these is in the domain's words."""


class RateLimitAnswer(Answer):
    """At most `per_second · w + burst` requests in any span of `w` seconds."""

    per_second: float
    burst: int


class BatchAnswer(Answer):
    """Several events in one request."""

    max_events: int
    max_bytes: int
    max_wait_ms: int


class EqualUrlAnswer(Answer):
    """A URL that is as good as the endpoint's own."""

    url: str
    weight: int


class FlowAnswer(Answer):
    """What of this an endpoint and its revisions tell."""

    rate_limit: RateLimitAnswer | None
    ordering: OrderingName
    on_exhausted: OnExhaustedName
    batch: BatchAnswer | None
    fallback_urls: list[str]
    equal_urls: list[EqualUrlAnswer]
    balance: BalanceName
    max_age: Annotated[float | None, Field(description="Seconds.")]


class CircuitAnswer(Answer):
    """The circuit of an endpoint: open, nothing is sent but a probe now and then, and nothing is lost."""

    state: Annotated[
        Literal["closed", "open", "half_open"],
        Field(description="half_open: a probe is under way, or more and more is sent again."),
    ]
    opened_at: Annotated[Time | None, Field(description="Since when it is not closed.")]
    next_probe_at: Annotated[Time | None, Field(description="Open: when the target is tried next.")]

    @classmethod
    def of(cls, health: Health) -> CircuitAnswer:
        return cls(
            state=health.circuit.value,
            opened_at=optional_time(health.opened_at),
            next_probe_at=optional_time(health.probe_at),
        )


def flow_fields(config: EndpointConfig) -> dict[str, Any]:
    """The fields of `FlowAnswer`."""
    rate, batch = config.rate_limit, config.batch
    return {
        "rate_limit": None if rate is None else {"per_second": rate.per_second, "burst": rate.capacity},
        "ordering": config.ordering.value,
        "on_exhausted": config.on_exhausted.value,
        "batch": None
        if batch is None
        else {"max_events": batch.max_events, "max_bytes": batch.max_bytes, "max_wait_ms": batch.max_wait_ms},
        "fallback_urls": list(config.fallback_urls),
        "equal_urls": [{"url": equal.url, "weight": equal.weight} for equal in config.equal_urls],
        "balance": config.balance.value,
        "max_age": config.max_age,
    }
