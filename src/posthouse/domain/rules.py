"""The expressions that an endpoint's configuration has, each with its place in it."""

from __future__ import annotations

from collections.abc import Iterator

from posthouse.domain.acknowledgement import Ack
from posthouse.domain.endpoint import Endpoint, EndpointConfig
from posthouse.domain.expression import Expression, Use
from posthouse.domain.filters import Filters
from posthouse.domain.reaction import AnyRule, EmitRule, ForwardRule, NotifyRule, SetRule

RULE_FIELDS = ("filter", "filters", "dynamic_url", "transform", "ack", "on_response")
"""The fields that hold expressions. Who wrote each of them last is remembered (`by_app`)."""


def expressions_in(config: Endpoint | EndpointConfig) -> Iterator[tuple[str, Expression]]:
    """Each with its path."""
    for path, text, use in _texts(config):
        field = path.partition(".")[0].partition("[")[0]
        yield path, Expression(text, use, field in config.by_app)


def judging(endpoint: Endpoint) -> list[tuple[str, Expression]]:
    """Those that judge an answer, with their paths: of `ack`, and the `when` of each of `on_response`."""
    found = [] if endpoint.ack is None else [(path, text, "ack") for path, text, _ in _of_ack(endpoint.ack, "ack")]
    rules = enumerate(endpoint.on_response)
    found += [(f"on_response[{index}].when", rule.when, "on_response") for index, rule in rules if rule.when]
    return [(path, Expression(text, Use.RULE, field in endpoint.by_app)) for path, text, field in found]


def _texts(config: Endpoint | EndpointConfig) -> Iterator[tuple[str, str, Use]]:
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
    match rule:
        case EmitRule():
            found = (
                ("data", rule.data, Use.ANSWER_VALUE),
                ("subject", rule.subject, Use.ANSWER_TEXT),
                ("key", rule.key, Use.ANSWER_TEXT),
            )
            yield from [(f"{path}.{name}", text, use) for name, text, use in found if text]
        case ForwardRule() if rule.data:
            yield f"{path}.data", rule.data, Use.ANSWER_VALUE
        case NotifyRule() if rule.message:
            yield f"{path}.message", rule.message, Use.ANSWER_TEXT
        case SetRule():
            yield from [(f"{path}.metadata.{name}", text, Use.ANSWER_VALUE) for name, text in rule.metadata.items()]
        case _:
            pass
    for index, effect in enumerate(rule.also):
        yield from _of_rule(effect, f"{path}.also[{index}]")
