"""Evaluates what filters ask of an event, however long that takes."""

from __future__ import annotations

from collections.abc import Iterable

from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event
from posthouse.domain.expression import Facts, Failed
from posthouse.domain.ids import AppId
from posthouse.domain.matching import Attributes, Condition, Outcomes, Verdict
from posthouse.domain.routing import Asked, distinct
from posthouse.ports.expressions import Expressions


async def outcomes_of(
    expressions: Expressions, event: Event, app_id: AppId, asked: Iterable[Asked]
) -> dict[Asked, Outcomes]:
    """What the expressions come to of all that is asked for endpoints of one app: together, but for what is of one alone."""
    asked = list(dict.fromkeys(asked))
    shared = [one for one in asked if one.endpoint is None]
    found: dict[Asked, Outcomes] = {}
    groups: list[tuple[Endpoint | None, list[Asked]]] = [(None, shared)] if shared else []
    groups += [(one.endpoint, [one]) for one in asked if one.endpoint is not None]
    for endpoint, several in groups:
        wanted = distinct(several)
        outcomes: Outcomes = {}
        if wanted:
            facts = Facts(event=event, endpoint=endpoint, app_id=app_id)
            outcomes = dict(zip(wanted, await expressions.evaluate(wanted, facts), strict=True))
        found.update([(one, outcomes) for one in several])
    return found


async def passes(expressions: Expressions, endpoint: Endpoint, event: Event) -> Verdict:
    """Whether one event passes the filters of one endpoint; or why that cannot be said."""
    asked, attributes = Asked(Condition(endpoint), endpoint), Attributes(event)
    verdict = asked.condition.judge(attributes, {})
    if not isinstance(verdict, Failed):
        return verdict
    outcomes = await outcomes_of(expressions, event, endpoint.app_id, [asked])
    return asked.condition.judge(attributes, outcomes[asked])
