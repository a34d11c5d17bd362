"""Whether what an endpoint computes may be stored: its filters, transformation, and what its answers mean."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from posthouse.domain.access import Principal
from posthouse.domain.endpoint import BLANK, EndpointConfig
from posthouse.domain.matching import check_filters
from posthouse.domain.rules import RULE_FIELDS, expressions_in, field_of
from posthouse.manage.reaction_check import check_reactions
from posthouse.manage.transform_check import check_transform
from posthouse.ports.expressions import Expressions
from posthouse.wire.acknowledgement import check_ack


def written_by(principal: Principal, old: EndpointConfig, new: EndpointConfig) -> EndpointConfig:
    """The new configuration, which says of each of these fields whether a key of the app wrote it. What stays as it was stays
    whose it was."""
    by_app = tuple(
        [
            name
            for name in RULE_FIELDS
            if getattr(new, name)
            and (not principal.admin if getattr(new, name) != getattr(old, name) else name in old.by_app)
        ]
    )
    return new if by_app == new.by_app else msgspec.structs.replace(new, by_app=by_app)


async def check_given(
    principal: Principal, given: Mapping[str, Any], known: EndpointConfig | None, expressions: Expressions
) -> None:
    """What a change gives: as `check_rules` has it, and then its expressions, between which others have their turn. Raises
    Invalid with the path of what is wrong."""
    rules = {name: given[name] for name in RULE_FIELDS if given.get(name) is not None}
    if not rules:
        return
    old = known or BLANK
    new = written_by(principal, old, msgspec.structs.replace(old, **rules))
    check_rules(old, new)
    fields = _changed(old, new)
    for path, expression in expressions_in(new):
        if field_of(path) in fields:
            expressions.check(expression, path=path)
            await asyncio.sleep(0)


def check_rules(old: EndpointConfig, new: EndpointConfig) -> None:
    """What is new in a configuration, but for its expressions. What stays is not judged again. Raises Invalid with the path of
    what is wrong."""
    fields = _changed(old, new)
    if "transform" in fields and new.transform is not None:
        check_transform(new.transform)
    if "filters" in fields:
        check_filters(new.filters)
    if "ack" in fields and new.ack is not None:
        check_ack(new.ack)
    if "on_response" in fields:
        check_reactions(new.on_response)


def _changed(old: EndpointConfig, new: EndpointConfig) -> frozenset[str]:
    return frozenset([name for name in RULE_FIELDS if getattr(new, name) != getattr(old, name)])
