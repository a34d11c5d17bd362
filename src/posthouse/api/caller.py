"""Who asks, as the gate found out."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from posthouse.api.gate import PRINCIPAL
from posthouse.domain.access import Principal


async def _caller(request: Request) -> Principal:
    principal: Principal = request.scope[PRINCIPAL]
    return principal


Caller = Annotated[Principal, Depends(_caller)]


async def _viewer(request: Request) -> Principal | None:
    principal: Principal | None = request.scope[PRINCIPAL]
    return principal


Viewer = Annotated[Principal | None, Depends(_viewer)]
"""As `Caller`, on a path that answers without a key too (`gate.WITHOUT_KEY`)."""
