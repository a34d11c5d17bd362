"""What an endpoint says of which events it gets, what is sent of them, and what its answers mean."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field, WithJsonSchema

from posthouse.api.models.common import Answer, Body
from posthouse.api.models.structs import schema_of
from posthouse.domain.acknowledgement import Ack
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.fields import read_field
from posthouse.domain.filters import Dialect, OnFilterError
from posthouse.domain.limits import EXPRESSION_LENGTH_MAX, FILTERS_MAX, RESPONSE_RULES_MAX
from posthouse.domain.reaction import AnyRule
from posthouse.domain.transformation import DynamicUrl, Transform

_TEXT: Final = {"type": "string", "maxLength": EXPRESSION_LENGTH_MAX}
_FILTERS: Final = {"type": "array", "maxItems": FILTERS_MAX, "items": schema_of(Dialect)}
_TRANSFORM: Final = {"anyOf": [_TEXT, schema_of(Transform)]}
_ACK: Final = {"anyOf": [_TEXT, schema_of(Ack)]}
_ON_RESPONSE: Final = {"type": "array", "maxItems": RESPONSE_RULES_MAX, "items": schema_of(AnyRule)}

FiltersValue = Annotated[Any, WithJsonSchema(_FILTERS)]
DynamicUrlValue = Annotated[Any, WithJsonSchema(schema_of(DynamicUrl))]
TransformValue = Annotated[Any, WithJsonSchema(_TRANSFORM)]
AckValue = Annotated[Any, WithJsonSchema(_ACK)]
OnResponseValue = Annotated[Any, WithJsonSchema(_ON_RESPONSE)]


class RuleFields(Body):
    """What of this an endpoint and a change of one have in common."""

    filter: Annotated[
        str | None,
        Field(
            description="An expression over event, app and endpoint: only events for which it is true are sent. Default: all.",
            json_schema_extra={"maxLength": EXPRESSION_LENGTH_MAX},
            examples=["event.data.total > 100"],
        ),
    ] = None
    filters: Annotated[
        FiltersValue | None,
        Field(
            description="Filters in the dialects of CloudEvents Subscriptions: exact, prefix, suffix, all, any, not, cel. All "
            "of them must match, and the expression too where there is one. Default: none.",
            examples=[[{"prefix": {"type": "order."}}]],
        ),
    ] = None
    on_filter_error: Annotated[
        Literal["deliver", "skip"] | None,
        Field(description="What becomes of an event whose filter has no value. Default: deliver."),
    ] = None
    dynamic_url: Annotated[
        DynamicUrlValue | None,
        Field(
            description="Where an event goes, in place of url: a template whose hosts are declared, or an expression that "
            "comes to a name among declared URLs. Default: to url.",
            examples=[{"template": "https://{event.data.region}.example.com/hook", "hosts": ["*.example.com"]}],
        ),
    ] = None
    transform: Annotated[
        TransformValue | None,
        Field(
            description="What is sent in place of the event's data: an expression, or an object with data, headers, query and "
            "schema. Default: the data as they are.",
            examples=["{'order': event.data.id, 'paid': event.data.total}"],
        ),
    ] = None
    ack: Annotated[
        AckValue | None,
        Field(
            description="Which answers confirm: an expression over response, or an object with status, header, text, when, any "
            "and all. Default: any 2xx.",
            examples=["response.body.code == 0", {"text": "success", "ignore_case": True}],
        ),
    ] = None
    on_response: Annotated[
        OnResponseValue | None,
        Field(
            description="What answers make happen; the first rule that matches counts. Default: nothing.",
            examples=[[{"when": "response.body.code == 429", "then": "retry", "after": 60}]],
        ),
    ] = None


DOMAIN: Final[dict[str, Any]] = {
    "on_filter_error": OnFilterError,
    **{name: partial(read_field, name) for name in ("filters", "dynamic_url", "transform", "ack", "on_response")},
}
"""What a given field of these is in the domain's words. Raises Invalid with the path of what is wrong."""


class RuleAnswer(Answer):
    """What of this an endpoint and its revisions tell."""

    filter: str
    filters: FiltersValue
    on_filter_error: Literal["deliver", "skip"]
    dynamic_url: DynamicUrlValue | None
    transform: TransformValue | None
    ack: Annotated[AckValue | None, Field(description="null: any 2xx confirms.")]
    on_response: OnResponseValue


def rule_fields(config: EndpointConfig) -> dict[str, Any]:
    """The fields of `RuleAnswer`."""
    return {
        "filter": config.filter,
        "filters": msgspec.to_builtins(config.filters),
        "on_filter_error": config.on_filter_error.value,
        "dynamic_url": None if config.dynamic_url is None else msgspec.to_builtins(config.dynamic_url),
        "transform": None if config.transform is None else msgspec.to_builtins(config.transform),
        "ack": None if config.ack is None else msgspec.to_builtins(config.ack),
        "on_response": msgspec.to_builtins(config.on_response),
    }
