"""/v1/triggers"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response

from posthouse.api.caller import SPOKEN, Caller, Spoken
from posthouse.api.etags import Conditional, tagged
from posthouse.api.late_routes import late_router
from posthouse.api.models.trigger import (
    DiscardedAnswer,
    KindAnswer,
    KindPage,
    PlanAnswer,
    RefusalAnswerOfTrigger,
    RefusalPage,
    RetriedAnswer,
    RewindBody,
    TriggerAnswer,
    TriggerFields,
    TriggerPage,
    TriggerPatch,
    WhichRefusals,
)
from posthouse.api.pages import Cursors, PageQuery
from posthouse.domain.ids import ID_BYTES
from posthouse.domain.trigger import Trigger
from posthouse.manage.refusals import Refusals
from posthouse.manage.triggers import Triggers

SCOPE: Final = "triggers"


def routes(triggers: Triggers, refusals: Refusals, cursors: Cursors) -> APIRouter:
    router = late_router(prefix="/v1", tags=["triggers"], dependencies=[SPOKEN])

    def answer(trigger: Trigger) -> TriggerAnswer:
        return TriggerAnswer.of(trigger, triggers.shown(trigger))

    @router.get("/trigger-kinds")
    async def list_trigger_kinds(caller: Caller, language: Spoken) -> KindPage:
        """What can be watched by this server, each kind with the schema of its settings."""
        return KindPage(data=[KindAnswer.of(kind, language) for kind in triggers.kinds(caller)])

    @router.post("/triggers", status_code=201)
    async def create_trigger(caller: Caller, body: TriggerFields, response: Response) -> TriggerAnswer:
        """Watch something, and publish what happens there. What is needed there (tables, triggers, a slot) is made; where that
        cannot be done there is no trigger."""
        return tagged(response, answer(await triggers.create(caller, body.change())))

    @router.post("/triggers/plan")
    async def plan_trigger(caller: Caller, body: TriggerFields) -> PlanAnswer:
        """What making such a trigger would do where it watches, as statements. Nothing is made; its id would be another one."""
        return PlanAnswer.of(await triggers.plan(caller, body.change()))

    @router.get("/triggers")
    async def list_triggers(caller: Caller, query: Annotated[PageQuery, Query()]) -> TriggerPage:
        """Triggers, newest first, each with its health and how far behind it is."""
        rows = await triggers.page(caller, before=cursors.before(SCOPE, query), limit=query.limit + 1)
        return TriggerPage(
            data=[answer(row) for row in rows[: query.limit]],
            next=cursors.next(SCOPE, rows, query, lambda row: row.id),
        )

    @router.get("/triggers/{trigger}", response_model=TriggerAnswer)
    async def get_trigger(
        caller: Caller, trigger: str, conditions: Conditional, response: Response
    ) -> TriggerAnswer | Response:
        """One trigger, by its id or uid."""
        return conditions.answer(response, answer(await triggers.get(caller, trigger)))

    @router.put("/triggers/{trigger}", responses={201: {"description": "It was made.", "model": TriggerAnswer}})
    async def put_trigger(
        caller: Caller, trigger: str, body: TriggerFields, conditions: Conditional, response: Response
    ) -> TriggerAnswer:
        """Make the trigger with this uid (201), or replace it as a whole: what is left out takes its default (200)."""
        stored, made = await triggers.put(caller, trigger, body.change(), check=conditions.on(answer))
        response.status_code = 201 if made else 200
        return tagged(response, answer(stored))

    @router.patch("/triggers/{trigger}")
    async def change_trigger(
        caller: Caller, trigger: str, body: TriggerPatch, conditions: Conditional, response: Response
    ) -> TriggerAnswer:
        """Change a trigger. Where its settings change, what is needed there is made before what is not any more is removed."""
        changed = await triggers.change(caller, trigger, body.change(), check=conditions.on(answer))
        return tagged(response, answer(changed))

    @router.delete("/triggers/{trigger}", status_code=204, response_class=Response)
    async def delete_trigger(
        caller: Caller,
        trigger: str,
        conditions: Conditional,
        force: Annotated[
            bool, Query(description="Though what was made where it watches cannot be removed: it stays there.")
        ] = False,
    ) -> None:
        """Delete a trigger, and what was made where it watches. What it has published stays."""
        await triggers.delete(caller, trigger, force=force, check=conditions.on(answer))

    @router.get("/triggers/{trigger}/plan")
    async def plan_of_trigger(caller: Caller, trigger: str) -> PlanAnswer:
        """What it does where it watches, as statements."""
        return PlanAnswer.of(await triggers.plan_of(caller, trigger))

    @router.post("/triggers/{trigger}/pause")
    async def pause_trigger(caller: Caller, trigger: str, response: Response) -> TriggerAnswer:
        """Let it rest: nothing is published until it is resumed, and then what happened meanwhile is."""
        return tagged(response, answer(await triggers.pause(caller, trigger)))

    @router.post("/triggers/{trigger}/resume")
    async def resume_trigger(caller: Caller, trigger: str, response: Response) -> TriggerAnswer:
        """Let it go on, from where it was. What is missing where it watches is made anew."""
        return tagged(response, answer(await triggers.resume(caller, trigger)))

    @router.post("/triggers/{trigger}/rewind")
    async def rewind_trigger(caller: Caller, trigger: str, body: RewindBody, response: Response) -> TriggerAnswer:
        """Publish again what happened since a time, or all that there is, as new events."""
        to = None if body.to is None else body.to.timestamp()
        return tagged(response, answer(await triggers.rewind(caller, trigger, to)))

    @router.get("/triggers/{trigger}/refusals")
    async def list_trigger_refusals(caller: Caller, trigger: str, query: Annotated[PageQuery, Query()]) -> RefusalPage:
        """What it saw and set aside, since it could be no event, the oldest first."""
        scope = f"{SCOPE}/{trigger}/refusals"
        after = bytes(ID_BYTES) if query.cursor is None else cursors.open(scope, query.cursor)
        rows = await refusals.page(caller, trigger, after=after, limit=query.limit + 1)
        return RefusalPage(
            data=[RefusalAnswerOfTrigger.of(row) for row in rows[: query.limit]],
            next=cursors.next(scope, rows, query, lambda row: row.id),
        )

    @router.post("/triggers/{trigger}/refusals/retry")
    async def retry_trigger_refusals(caller: Caller, trigger: str, body: WhichRefusals) -> RetriedAnswer:
        """Publish what was set aside, by the trigger as it is now."""
        return RetriedAnswer.of(await refusals.retry(caller, trigger, body.ids))

    @router.post("/triggers/{trigger}/refusals/discard")
    async def discard_trigger_refusals(caller: Caller, trigger: str, body: WhichRefusals) -> DiscardedAnswer:
        """Let what was set aside be, for good."""
        return DiscardedAnswer(discarded=await refusals.discard(caller, trigger, body.ids))

    return router
