"""/v1/apps/{app}/endpoints/{endpoint}/keys"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from posthouse.api.caller import Caller
from posthouse.api.late_routes import late_router
from posthouse.api.models.endpoint_key import EndpointKeyAnswer, EndpointKeys, KeyPut
from posthouse.domain.limits import OVERLAP_SECONDS
from posthouse.manage import endpoint_keys as use_cases


def routes(keys: use_cases.EndpointKeys) -> APIRouter:
    router = late_router(prefix="/v1/apps/{app}/endpoints/{endpoint}/keys", tags=["endpoints"])

    @router.get("")
    async def list_endpoint_keys(caller: Caller, app: str, endpoint: str) -> EndpointKeys:
        """The named keys of an endpoint, without their texts."""
        return EndpointKeys.of(await keys.listed(caller, app, endpoint))

    @router.put("/{key}")
    async def put_endpoint_key(caller: Caller, app: str, endpoint: str, key: str, body: KeyPut) -> EndpointKeyAnswer:
        """Make a named key, or give it a new text. The old ones are live too until the overlap ends; the text that it has
        already makes no new version."""
        overlap = OVERLAP_SECONDS if body.overlap_seconds is None else body.overlap_seconds
        found = await keys.put(caller, app, endpoint, key, body.value, overlap_seconds=overlap)
        return EndpointKeyAnswer.of(key, found)

    @router.delete("/{key}", status_code=204, response_class=Response)
    async def delete_endpoint_key(caller: Caller, app: str, endpoint: str, key: str) -> None:
        """Take a named key away with all its versions, at once."""
        await keys.delete(caller, app, endpoint, key)

    return router
