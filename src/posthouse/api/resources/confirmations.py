"""Where somebody follows a URL that a handshake brought: whoever has it may, without a key."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header

from posthouse.api.late_routes import late_router
from posthouse.api.models.verification import ConfirmedAnswer
from posthouse.domain.handshake import CONFIRM_PATH
from posthouse.manage.verification import Verifications

PATH: Final = CONFIRM_PATH + "{token}"

AllowedRate = Annotated[
    str | None,
    Header(
        alias="WebHook-Allowed-Rate",
        description="Requests a minute that may be sent, or *.",
    ),
]


def routes(verifications: Verifications) -> APIRouter:
    router = late_router(tags=["confirmations"])

    @router.get(PATH)
    async def confirm(token: str, rate: AllowedRate = None) -> ConfirmedAnswer:
        """Confirm what a handshake asked for, by the URL that it brought. It takes no key, and is good once."""
        await verifications.confirm(token, rate=rate)
        return ConfirmedAnswer()

    @router.post(PATH)
    async def confirm_by_post(token: str, rate: AllowedRate = None) -> ConfirmedAnswer:
        """The same by POST, whatever its body is."""
        await verifications.confirm(token, rate=rate)
        return ConfirmedAnswer()

    return router
