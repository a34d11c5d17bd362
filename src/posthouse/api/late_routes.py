"""Routes that are made as they are first asked for. FastAPI looks closely at a route as it makes it, for a millisecond: for all
of ours a tenth of a second, which a process would spend before it is ready, on routes that it may never be asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send


class LateRoute(Route):
    """Stands where an `APIRoute` of these arguments would, and makes it once it is wanted."""

    def __init__(self, path: str, endpoint: Callable[..., Any], *, methods: list[str], **options: Any) -> None:
        super().__init__(path, endpoint, methods=methods)
        self._make = partial(APIRoute, path, endpoint, methods=methods, **options)
        self._made: APIRoute | None = None

    @property
    def made(self) -> APIRoute:
        if self._made is None:
            self._made = self._make()
            self._made.unique_id = self._made.name
        return self._made

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self.made
        await self.made.handle(scope, receive, send)


def late_router(*, prefix: str = "", tags: list[str] | None = None, dependencies: Sequence[Any] = ()) -> APIRouter:
    """A router whose routes are late."""
    return APIRouter(
        prefix=prefix,
        tags=list(tags or ()),
        dependencies=list(dependencies),
        route_class=cast("type[APIRoute]", LateRoute),
    )


def made(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """All of them as they are: the late ones made."""
    return [route.made if isinstance(route, LateRoute) else route for route in routes]
