"""When an endpoint's deliveries are tried again."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import Field

from posthouse.api.models.common import Answer, Body
from posthouse.domain.limits import DELAY_SECONDS_MAX, EXPONENTIAL_FACTOR_MAX, RETRY_TYPES_MAX
from posthouse.domain.retry import ATTEMPTS_MAX, DEFAULT_SCHEDULE, Delays, Exponential, RetrySettings


def more_than_zero(most: float) -> Any:
    return Field(json_schema_extra={"exclusiveMinimum": 0, "maximum": most})


Delay = Annotated[float, more_than_zero(DELAY_SECONDS_MAX)]

_EXPONENTIAL = Exponential()


class ExponentialBody(Body):
    """`base`, `base · factor`, … seconds, at most `max`; `attempts` counts the first one too."""

    base: Delay = _EXPONENTIAL.base
    factor: Annotated[float, Field(json_schema_extra={"minimum": 1, "maximum": EXPONENTIAL_FACTOR_MAX})] = (
        _EXPONENTIAL.factor
    )
    max: Delay = _EXPONENTIAL.max
    attempts: Annotated[int, Field(json_schema_extra={"minimum": 1, "maximum": ATTEMPTS_MAX})] = _EXPONENTIAL.attempts


class DelaysBody(Body):
    """A list of delays in seconds, or an exponential."""

    schedule: Annotated[
        list[Delay] | None,
        Field(
            description="Seconds before each further attempt.",
            json_schema_extra={"minItems": 1, "maxItems": ATTEMPTS_MAX},
            examples=[list(DEFAULT_SCHEDULE)],
        ),
    ] = None
    exponential: ExponentialBody | None = None

    def delays(self) -> Delays:
        curve = self.exponential
        return Delays(
            schedule=None if self.schedule is None else tuple(self.schedule),
            exponential=None if curve is None else Exponential(curve.base, curve.factor, curve.max, curve.attempts),
        )


class RetryBody(DelaysBody):
    """When a failed delivery is tried again: a list of delays in seconds, or an exponential."""

    jitter: Annotated[
        float,
        Field(
            description="How far chance may move a delay: 0.1 is up to a tenth earlier or later.",
            json_schema_extra={"minimum": 0, "maximum": 1},
        ),
    ] = 0.1
    by_type: Annotated[
        dict[str, DelaysBody] | None,
        Field(
            description="Delays of events whose type matches a pattern: an exact name goes before beginnings such as order.*, "
            "of these the longest, and * comes last. Default: none.",
            json_schema_extra={"maxProperties": RETRY_TYPES_MAX},
            examples=[{"trade.*": {"schedule": [15, 30, 180]}}],
        ),
    ] = None

    def settings(self) -> RetrySettings:
        delays = self.delays()
        return RetrySettings(
            schedule=delays.schedule,
            exponential=delays.exponential,
            jitter=self.jitter,
            by_type={pattern: body.delays() for pattern, body in (self.by_type or {}).items()},
        )


class ExponentialAnswer(Answer):
    """`base`, `base · factor`, … seconds, at most `max`; `attempts` counts the first one too."""

    base: float
    factor: float
    max: float
    attempts: int


class DelaysAnswer(Answer):
    """Either a schedule or an exponential."""

    schedule: list[float] | None
    exponential: ExponentialAnswer | None


class RetryAnswer(DelaysAnswer):
    """Either a schedule or an exponential, and those of single event types."""

    jitter: float
    by_type: dict[str, DelaysAnswer]


def retry_fields(retry: RetrySettings) -> dict[str, Any]:
    """The fields of `RetryAnswer`."""
    return {
        **_delays(retry),
        "jitter": retry.jitter,
        "by_type": {pattern: _delays(delays) for pattern, delays in retry.by_type.items()},
    }


def _delays(delays: Delays) -> dict[str, Any]:
    curve = delays.exponential
    return {
        "schedule": None if curve is not None else list(delays.written_out()),
        "exponential": None if curve is None else msgspec.to_builtins(curve),
    }
