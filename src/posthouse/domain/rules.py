"""The expressions that an endpoint's configuration has, each with its place in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import assert_never

from posthouse.domain.acknowledgement import Ack
from posthouse.domain.endpoint import Endpoint, EndpointConfig
from posthouse.domain.expression import Expression, Use
from posthouse.domain.filters import Filters
from posthouse.domain.reaction import (
    AnyEffect,
    AnyRule,
    CallRule,
    EmitRule,
    ForwardRule,
    NotifyRule,
    SetRule,
    ThrottleRule,
)

RULE_FIELDS = ("filter", "filters", "dynamic_url", "transform", "ack", "on_response")
"""The fields that hold expressions. Who wrote each of them last is remembered (`by_app`)."""


def expressions_in(config: Endpoint | EndpointConfig) -> Iterator[tuple[str, Expression]]:
    """Each with its path."""
    yield from _expressions(config, itertools.chain(_to_send(config), _of_answers(config)))


def field_of(path: str) -> str:
    """Which of RULE_FIELDS an expression with this path stands in."""
    return path.partition(".")[0].partition("[")[0]


def judging(endpoint: Endpoint) -> list[tuple[str, Expression]]:
    """Those that judge an answer, with their paths: of `ack`, and the `when` of each of `on_response`."""
    return list(_expressions(endpoint, (found for found in _of_answers(endpoint) if found[2] is Use.RULE)))


def effect_texts(effect: AnyEffect) -> dict[str, tuple[str, Use]]:
    """The expressions of an effect, by the names of its fields; of `set`, by those of the values."""
    match effect:
        case EmitRule():
            texts = {
                "data": (effect.data, Use.ANSWER_VALUE),
                "subject": (effect.subject, Use.ANSWER_TEXT),
                "key": (effect.key, Use.ANSWER_TEXT),
            }
        case ForwardRule():
            texts = {"data": (effect.data, Use.ANSWER_VALUE)}
        case NotifyRule():
            texts = {"message": (effect.message, Use.ANSWER_TEXT)}
        case SetRule():
            texts = {name: (text, Use.ANSWER_VALUE) for name, text in effect.metadata.items()}
        case ThrottleRule() | CallRule():
            texts = {}
        case _:
            assert_never(effect)
    return {name: each for name, each in texts.items() if each[0]}


def _expressions(
    config: Endpoint | EndpointConfig, found: Iterable[tuple[str, str, Use]]
) -> Iterator[tuple[str, Expression]]:
    for path, text, use in found:
        yield path, Expression(text, use, field_of(path) in config.by_app)


def _to_send(config: Endpoint | EndpointConfig) -> Iterator[tuple[str, str, Use]]:
    if config.filter:
        yield "filter", config.filter, Use.FILTER
    yield from _of_filters(config.filters, "filters")
    if config.dynamic_url is not None and config.dynamic_url.choose:
        yield "dynamic_url.choose", config.dynamic_url.choose, Use.TEXT
    transform = config.transform
    if transform is not None:
        if transform.data:
            yield "transform.data", transform.data, Use.VALUE
        for name, text in transform.headers.items():
            yield f"transform.headers.{name}", text, Use.TEXT
        for name, text in transform.query.items():
            yield f"transform.query.{name}", text, Use.TEXT


def _of_answers(config: Endpoint | EndpointConfig) -> Iterator[tuple[str, str, Use]]:
    if config.ack is not None:
        yield from _of_ack(config.ack, "ack")
    for index, rule in enumerate(config.on_response):
        yield from _of_rule(rule, f"on_response[{index}]")


def _of_filters(filters: Filters, path: str) -> Iterator[tuple[str, str, Use]]:
    for index, dialect in enumerate(filters):
        at = f"{path}[{index}]"
        if dialect.cel is not None:
            yield f"{at}.cel", dialect.cel, Use.FILTER
        yield from _of_filters(dialect.all or (), f"{at}.all")
        yield from _of_filters(dialect.any or (), f"{at}.any")
        if dialect.not_ is not None:
            for inner, text, use in _of_filters((dialect.not_,), ""):
                yield f"{at}.not{inner.removeprefix('[0]')}", text, use


def _of_ack(ack: Ack, path: str) -> Iterator[tuple[str, str, Use]]:
    if ack.when:
        yield f"{path}.when", ack.when, Use.RULE
    for name, several in (("any", ack.any), ("all", ack.all)):
        for index, each in enumerate(several):
            yield from _of_ack(each, f"{path}.{name}[{index}]")


def _of_rule(rule: AnyRule, path: str) -> Iterator[tuple[str, str, Use]]:
    if rule.when:
        yield f"{path}.when", rule.when, Use.RULE
    if isinstance(rule, AnyEffect):
        within = f"{path}.metadata" if isinstance(rule, SetRule) else path
        for name, (text, use) in effect_texts(rule).items():
            yield f"{within}.{name}", text, use
    for index, effect in enumerate(rule.also):
        yield from _of_rule(effect, f"{path}.also[{index}]")
