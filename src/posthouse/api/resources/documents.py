"""/v1/asyncapi.json"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from posthouse.api.caller import Viewer
from posthouse.api.catalogue_documents import CatalogueDocuments
from posthouse.api.late_routes import late_router
from posthouse.api.problems import language_fields
from posthouse.api.texts.accepted import language_of

JSON_CONTENT = "application/json"


def routes(documents: CatalogueDocuments) -> APIRouter:
    router = late_router(tags=["event types"])

    @router.get(
        "/v1/asyncapi.json",
        response_class=Response,
        responses={200: {"content": {JSON_CONTENT: {"schema": {"type": "object"}}}, "description": "AsyncAPI 3.0."}},
    )
    async def get_asyncapi(viewer: Viewer, request: Request) -> Response:
        """The catalogue as an AsyncAPI 3.0 document: what the key's holder sees; without a key, what is public."""
        language = language_of(request.scope["headers"])
        body = await documents.asyncapi(viewer, language)
        return Response(body, headers=language_fields(language), media_type=JSON_CONTENT)

    return router
