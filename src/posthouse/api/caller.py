"""Who asks, as the gate found out."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.responses import Response

from posthouse.api.gate import PRINCIPAL
from posthouse.api.problems import language_fields
from posthouse.api.texts.accepted import Language, language_of
from posthouse.api.texts.reading import read_in
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


async def _spoken(request: Request, response: Response) -> Language:
    language = language_of(request.scope["headers"])
    response.headers.update(language_fields(language))
    read_in(language)
    return language


SPOKEN: Final = Depends(_spoken)
Spoken = Annotated[Language, SPOKEN]
"""The language of an answer that has texts in it, as the caller prefers; the answer says which it is."""
