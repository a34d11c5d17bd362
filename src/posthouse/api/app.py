"""The HTTP application: the gate, the framework behind it, and whatever is put in front of both."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from posthouse import __version__
from posthouse.api.catalogue_documents import CatalogueDocuments
from posthouse.api.credentials import SessionCookie
from posthouse.api.gate import BODY_BYTES_MAX, App, Gate
from posthouse.api.late_routes import made
from posthouse.api.openapi import DESCRIPTION, completed
from posthouse.api.pages import Cursors
from posthouse.api.problems import (
    PROBLEM_CONTENT,
    as_fields,
    fields_of,
    language_fields,
    problem_body,
    problem_bytes,
    status_of,
)
from posthouse.api.resources import (
    apps,
    audit,
    confirmations,
    documents,
    endpoint_keys,
    endpoints,
    event_types,
    expressions,
    grants,
    keys,
    overview,
    portal,
    profiles,
    replays,
    schedules,
    session,
    stream,
    system,
    traffic,
    triggers,
)
from posthouse.api.static_pages import StaticPages
from posthouse.api.texts.accepted import language_of
from posthouse.api.texts.catalogue import chinese, chinese_descriptions
from posthouse.domain.access import Page
from posthouse.domain.cache_use import CacheFacts, of_function
from posthouse.domain.egress import AllowedEgress
from posthouse.domain.errors import PosthouseError, QuotaExceeded, Unreadable
from posthouse.domain.ids import AppId
from posthouse.domain.limits import BODY_READ_SECONDS, RETENTION_DAYS
from posthouse.manage.apps import Apps
from posthouse.manage.audit import AuditTrail
from posthouse.manage.authenticator import Authenticator
from posthouse.manage.catalogue import EventTypes
from posthouse.manage.deliveries import Deliveries
from posthouse.manage.endpoint_keys import EndpointKeys
from posthouse.manage.endpoint_secrets import EndpointSecrets
from posthouse.manage.endpoints import NO_PROFILES, NOTHING_ALLOWED, CheckTarget, Endpoints
from posthouse.manage.explain import Explainer
from posthouse.manage.expressions import ExpressionTrials
from posthouse.manage.grants import GrantBook
from posthouse.manage.keys import Keys
from posthouse.manage.overview import Installation
from posthouse.manage.portal import Portal
from posthouse.manage.preview import Previews
from posthouse.manage.profiles import Profiles
from posthouse.manage.refusals import Refusals
from posthouse.manage.replays import Replays
from posthouse.manage.schedules import Schedules
from posthouse.manage.sessions import Sessions
from posthouse.manage.stream import Streams
from posthouse.manage.traffic import TrafficCharts
from posthouse.manage.trial import Trials
from posthouse.manage.triggers import Triggers
from posthouse.manage.verification import Verifications
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Directory
from posthouse.ports.expressions import NO_EXPRESSIONS, Expressions
from posthouse.ports.grants import Grants
from posthouse.ports.inspect import Inspector
from posthouse.ports.jobs import ReplayBook
from posthouse.ports.store import Store
from posthouse.ports.stream import StreamSource
from posthouse.ports.transport import Transport
from posthouse.ports.writing import WRITTEN_HERE, Writer

log = structlog.get_logger()

OPENAPI_PATH: Final = "/openapi.json"


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the API needs.

    `metrics` gives the series and their content type; `ready` why this process cannot do its work, None if it can, and
    `warnings` the code and the words of what an operator must know of all the same. `front`
    wraps everything: the publish routes, which pass on what is not theirs. `watch_cache` is told of the API's own caches.
    Pages that have no cookie in `cookies` are not there, and nobody signs in to them.
    """

    event_types: EventTypes
    apps: Apps
    grants: GrantBook
    endpoints: Endpoints
    endpoint_secrets: EndpointSecrets
    endpoint_keys: EndpointKeys
    deliveries: Deliveries
    replays: Replays
    schedules: Schedules
    triggers: Triggers
    refusals: Refusals
    profiles: Profiles
    trials: Trials
    previews: Previews
    verifications: Verifications
    expression_trials: ExpressionTrials
    streams: Streams
    charts: TrafficCharts
    installation: Installation
    keys: Keys
    sessions: Sessions
    portal: Portal
    audit: AuditTrail
    authenticator: Authenticator
    clock: Clock
    cursor_key: bytes
    metrics: Callable[[], Awaitable[tuple[bytes, str]]]
    ready: Callable[[], Awaitable[str | None]]
    warnings: Callable[[], Sequence[tuple[str, str]]] = tuple
    front: Callable[[App], App] | None = None
    watch_cache: Callable[[str, Callable[[], CacheFacts]], None] = lambda _name, _read: None
    body_bytes_max: int = BODY_BYTES_MAX
    body_seconds: float = BODY_READ_SECONDS
    cookies: Mapping[Page, SessionCookie] = field(default_factory=dict)
    public_url: str = ""
    platform_name: str = ""

    @classmethod
    def over(
        cls,
        directory: Directory,
        grants: Grants,
        inspector: Inspector,
        clock: Clock,
        *,
        store: Store,
        replay_book: ReplayBook,
        schedules: Schedules,
        triggers: Triggers,
        refusals: Refusals,
        transport: Transport,
        verifications: Verifications,
        stream_source: StreamSource,
        charts: TrafficCharts,
        installation: Installation,
        explainer: Explainer,
        check_target: CheckTarget,
        cursor_key: bytes,
        metrics: Callable[[], Awaitable[tuple[bytes, str]]],
        ready: Callable[[], Awaitable[str | None]],
        warnings: Callable[[], Sequence[tuple[str, str]]] = tuple,
        front: Callable[[App], App] | None = None,
        watch_cache: Callable[[str, Callable[[], CacheFacts]], None] = lambda _name, _read: None,
        body_bytes_max: int = BODY_BYTES_MAX,
        body_seconds: float = BODY_READ_SECONDS,
        retention_days: int = RETENTION_DAYS,
        quota_refused: Callable[[AppId, QuotaExceeded], None] = lambda _app, _refusal: None,
        egress: AllowedEgress = NOTHING_ALLOWED,
        expressions: Expressions = NO_EXPRESSIONS,
        writer: Writer = WRITTEN_HERE,
        profiles: Profiles = NO_PROFILES,
        public_url: str = "",
        pages: Collection[Page] = ("console", "portal"),
        platform_name: str = "",
        unverified: Callable[[], object] = lambda: None,
    ) -> Services:
        """Every use case over these ports."""
        authenticator = Authenticator(directory, clock)
        return cls(
            event_types=EventTypes(directory, clock),
            apps=Apps(directory, clock, authenticator),
            grants=GrantBook(directory, grants, clock),
            endpoints=Endpoints(
                directory,
                clock,
                check_target=check_target,
                quota_refused=quota_refused,
                egress=egress,
                expressions=expressions,
                profiles=profiles,
                public_url=public_url,
                unverified=unverified,
            ),
            profiles=profiles,
            endpoint_secrets=EndpointSecrets(directory, clock),
            endpoint_keys=EndpointKeys(directory, clock),
            deliveries=Deliveries(directory, inspector, clock, explainer, expressions, writer),
            replays=Replays(directory, replay_book, inspector, clock),
            schedules=schedules,
            triggers=triggers,
            refusals=refusals,
            trials=Trials(directory, store, transport, clock, expressions, writer),
            previews=Previews(directory, inspector, store, clock, expressions, writer),
            verifications=verifications,
            expression_trials=ExpressionTrials(expressions, clock),
            streams=Streams(stream_source, directory, clock, retention_days=retention_days),
            charts=charts,
            installation=installation,
            keys=Keys(directory, clock, authenticator),
            sessions=Sessions(directory, clock, authenticator),
            portal=Portal(directory, clock, authenticator),
            audit=AuditTrail(directory),
            authenticator=authenticator,
            clock=clock,
            cursor_key=cursor_key,
            metrics=metrics,
            ready=ready,
            warnings=warnings,
            front=front,
            watch_cache=watch_cache,
            body_bytes_max=body_bytes_max,
            body_seconds=body_seconds,
            cookies={page: SessionCookie(cursor_key, public_url, page) for page in pages},
            public_url=public_url,
            platform_name=platform_name,
        )


def build_app(services: Services) -> App:
    """The ASGI application."""
    app = FastAPI(
        title="Posthouse",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={PosthouseError: _problem, RequestValidationError: _invalid, Exception: _problem},
    )
    cursors = Cursors(services.cursor_key)

    def add(router: APIRouter) -> None:
        # As they are: of a router that is included each route is made anew, and not late.
        app.router.routes.extend(router.routes)

    add(event_types.routes(services.event_types, cursors))
    add(apps.routes(services.apps, cursors))
    add(grants.routes(services.grants, cursors))
    add(
        endpoints.routes(
            services.endpoints,
            services.endpoint_secrets,
            services.deliveries,
            services.trials,
            services.previews,
            services.verifications,
            cursors,
            services.clock,
        )
    )
    add(endpoint_keys.routes(services.endpoint_keys))
    add(confirmations.routes(services.verifications))
    add(endpoints.platform_routes(services.endpoints, cursors))
    add(profiles.routes(services.profiles))
    add(expressions.routes(services.expression_trials))
    add(traffic.routes(services.deliveries, cursors))
    add(overview.routes(services.charts, services.installation, services.clock))
    add(replays.routes(services.replays, cursors))
    add(schedules.routes(services.schedules, cursors))
    add(triggers.routes(services.triggers, services.refusals, cursors))
    add(stream.routes(services.streams, cursors))
    add(keys.routes(services.keys, cursors))
    if services.cookies:
        add(session.routes(services.sessions, services.portal, services.apps, services.cookies, services.platform_name))
    if "console" in services.cookies:
        add(session.link_routes(services.sessions, services.public_url))
    if "portal" in services.cookies:
        add(portal.routes(services.portal, services.public_url))
    add(audit.routes(services.audit, cursors))
    add(system.routes(services.metrics, services.ready, services.warnings, services.installation))
    written = CatalogueDocuments(services.event_types, services.clock, lambda: openapi_document(app))
    add(documents.routes(written))
    services.watch_cache("documents", lambda: written.cached)
    services.watch_cache("api_keys", lambda: services.authenticator.known_cached)
    services.watch_cache("unknown_api_keys", lambda: services.authenticator.unknown_cached)
    services.watch_cache("chinese_texts", of_function(chinese))
    services.watch_cache("chinese_descriptions", of_function(chinese_descriptions))

    async def openapi(request: Request) -> Response:
        language = language_of(request.scope["headers"])
        body = await written.openapi(language)
        return Response(body, headers=language_fields(language), media_type="application/json")

    app.add_route(OPENAPI_PATH, openapi, include_in_schema=False)
    app.add_exception_handler(HTTPException, _no_such_route(written))
    gate: App = Gate(
        cast("App", app),
        services.authenticator,
        cookies=services.cookies,
        body_bytes_max=services.body_bytes_max,
        body_seconds=services.body_seconds,
    )
    if services.cookies:
        gate = StaticPages(gate, services.cookies)
    return gate if services.front is None else services.front(gate)


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1 for all routes, those of publishing too."""
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=made(app.routes))
    return completed(schema)


async def _problem(request: Request, error: Exception) -> Response:
    if isinstance(error, PosthouseError) and (status_of(error) >= 500 or isinstance(error, Unreadable)):
        log.warning("api.unavailable", error=str(error), code=error.code)
    return _response(*problem_bytes(error, language_of(request.scope["headers"])))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _response(*problem_bytes(fields_of(error.errors()), language_of(request.scope["headers"])))


def _no_such_route(documents: CatalogueDocuments) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Answers 404 and 405; which methods a path has, the document says: the framework names one route's only."""

    async def allowed(path: str) -> set[str]:
        known = (await documents.routes())["paths"].items()
        found = (
            operations for template, operations in known if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path)
        )
        return {method.upper() for operations in found for method in operations}

    async def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        match error.status_code:
            case 404:
                code, detail = "route_not_found", "there is no such route"
            case 405:
                code, detail = "method_not_allowed", f"this route does not answer {request.method}"
                if methods := await allowed(request.url.path):
                    headers["Allow"] = ", ".join(sorted(methods))
            case _:
                code, detail = "http_error", str(error.detail)
        language = language_of(request.scope["headers"])
        headers |= language_fields(language)
        body = problem_body(error.status_code, code, detail, language)
        return Response(body, error.status_code, headers=headers, media_type=PROBLEM_CONTENT.decode())

    return answer


def _response(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> Response:
    return Response(body, status, headers=as_fields(headers))
