"""/v1/asyncapi.json"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from posthouse.api.caller import Viewer
from posthouse.api.catalogue_documents import CatalogueDocuments
from posthouse.api.late_routes import late_router

JSON_CONTENT = "application/json"


def routes(documents: CatalogueDocuments) -> APIRouter:
    router = late_router(tags=["event types"])

    @router.get(
        "/v1/asyncapi.json",
        response_class=Response,
        responses={200: {"content": {JSON_CONTENT: {"schema": {"type": "object"}}}, "description": "AsyncAPI 3.0."}},
    )
    async def get_asyncapi(viewer: Viewer) -> Response:
        """The catalogue as an AsyncAPI 3.0 document: what the key's holder sees; without a key, what is public."""
        return Response(await documents.asyncapi(viewer), media_type=JSON_CONTENT)

    return router
