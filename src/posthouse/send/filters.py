"""Whether one event passes one endpoint's filters, evaluated for them alone."""

from __future__ import annotations

from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event
from posthouse.domain.expression import Facts, Failed
from posthouse.domain.matching import Attributes, Condition, Verdict
from posthouse.ports.expressions import Expressions


async def passes(expressions: Expressions, endpoint: Endpoint, event: Event) -> Verdict:
    """Whether it does; or why that cannot be said."""
    condition, attributes = Condition(endpoint), Attributes(event)
    verdict = condition.judge(attributes, {})
    if not isinstance(verdict, Failed):
        return verdict
    outcomes = await expressions.evaluate(condition.expressions, Facts(event=event, endpoint=endpoint))
    return condition.judge(attributes, dict(zip(condition.expressions, outcomes, strict=True)))
