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
