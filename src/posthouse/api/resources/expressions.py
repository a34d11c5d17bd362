"""/v1/expressions"""

from __future__ import annotations

from fastapi import APIRouter

from posthouse.api.caller import SPOKEN, Caller
from posthouse.api.late_routes import late_router
from posthouse.api.models.expressions import ExpressionAnswer, ExpressionCheck
from posthouse.manage.expressions import ExpressionTrials, SampleEvent


def routes(trials: ExpressionTrials) -> APIRouter:
    router = late_router(prefix="/v1/expressions", tags=["expressions"], dependencies=[SPOKEN])

    @router.post("/check")
    async def check_expression(caller: Caller, body: ExpressionCheck) -> ExpressionAnswer:
        """Whether an expression may be stored, and what it comes to of a sample. Nothing is stored. It is evaluated as one
        that an app wrote is: in a limited process."""
        event = SampleEvent() if body.event is None else body.event.sample()
        answer = None if body.response is None else body.response.sample()
        return ExpressionAnswer.of(await trials.run(caller, body.expression, body.wanted_use(), event, answer))

    return router
