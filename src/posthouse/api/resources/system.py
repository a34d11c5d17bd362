"""/healthz, /readyz and /metrics: for machines that look after this one, without a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from posthouse.api.late_routes import late_router
from posthouse.api.models.system import Caution, Health, Readiness
from posthouse.api.problems import PROBLEM_CONTENT, language_fields, problem_body
from posthouse.api.texts.accepted import language_of
from posthouse.api.texts.reading import said
from posthouse.domain.errors import NotFound
from posthouse.manage.overview import ECHO_PATH, Installation


def routes(
    metrics: Callable[[], Awaitable[tuple[bytes, str]]],
    ready: Callable[[], Awaitable[str | None]],
    warnings: Callable[[], Sequence[tuple[str, str]]],
    installation: Installation,
) -> APIRouter:
    router = late_router(tags=["system"])

    @router.get("/healthz")
    async def healthz() -> Health:
        """The process answers."""
        return Health(status="ok")

    @router.get("/readyz", response_model=Readiness)
    async def readyz(request: Request, answer: Response) -> Readiness | Response:
        """The process can do its work; 503 with the reason where it cannot.

        `warnings` tell of what an operator must know all the same: `publishing_fails`, the database answers and does not store
        events; `log_rewound`, a failover in which accepted events were lost; `secrets_unreadable`, secrets that another master
        key sealed. The last two stay until this process ends.
        """
        reason = await ready()
        language = language_of(request.scope["headers"])
        headers = language_fields(language)
        if reason is None:
            told = [Caution(code=code, detail=said(detail, language)) for code, detail in warnings()]
            if told:
                answer.headers.update(headers)
            return Readiness(status="ok", warnings=told)
        body = problem_body(503, "not_ready", reason, language)
        return Response(body, 503, headers=headers, media_type=PROBLEM_CONTENT.decode())

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Series."}},
    )
    async def get_metrics() -> Response:
        """Prometheus series. No key is asked for: whoever must not see them is kept away by the proxy in front."""
        body, content_type = await metrics()
        return Response(body, headers={"content-type": content_type})

    @router.post(ECHO_PATH, include_in_schema=False)
    async def echo(request: Request) -> Response:
        """A target for a first event, where targets on this machine are allowed: it says how much came, keeps nothing of it,
        and gives nothing of it back."""
        if installation.echo_url is None:
            raise NotFound("there is no such route", code="route_not_found")
        return JSONResponse({"received_bytes": len(await request.body())})

    return router
