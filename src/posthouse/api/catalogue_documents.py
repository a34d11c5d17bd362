"""The documents made of the catalogue, made anew only where it changed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import msgspec
import structlog

from posthouse.api.asyncapi import asyncapi_document
from posthouse.api.texts.accepted import ENGLISH, Language
from posthouse.api.texts.descriptions import all_described
from posthouse.api.webhooks import with_webhooks
from posthouse.domain.access import Principal
from posthouse.domain.cache_use import CacheFacts, CacheUse
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.limits import DOCUMENT_LOOKED_AT_SECONDS, DOCUMENTS_CACHED_MAX
from posthouse.manage.catalogue import EventTypes
from posthouse.ports.clock import Clock
from posthouse.ports.event_types import EventType

log = structlog.get_logger()

_encode = msgspec.json.Encoder().encode


class CatalogueDocuments:
    """`/openapi.json` and `/v1/asyncapi.json` as bytes, kept by the catalogue's version, by what a caller sees of it
    and by the language of its descriptions.

    For callers without a key the version is looked at once a second, so that strangers cost nothing: what they get may be
    that much behind. Documents are made one at a time, and off the loop; that of the routes when somebody first asks, since
    it is most of what a process would take to start.
    """

    def __init__(self, event_types: EventTypes, clock: Clock, routes: Callable[[], dict[str, Any]]) -> None:
        """`routes` makes OpenAPI's document of the routes; it is called once, in a thread."""
        self._event_types = event_types
        self._clock = clock
        self._make_routes = routes
        self._routes: dict[str, Any] | None = None
        self._openapi_told: dict[Language, bytes] = {}
        self._made: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._use = CacheUse()
        self._making = asyncio.Lock()
        self._version = -1
        self._looked_at = -DOCUMENT_LOOKED_AT_SECONDS

    async def openapi(self, language: Language = ENGLISH) -> bytes:
        """OpenAPI, with what is public as webhooks. Without the database, as it was told last."""
        routes = await self.routes()
        try:
            self._openapi_told[language] = await self._document(
                "openapi",
                None,
                language,
                lambda types, cut: with_webhooks(all_described(routes, language), types, language, cut=cut),
            )
        except StoreUnavailable as error:
            log.warning("api.openapi_without_catalogue", error=str(error))
            if language not in self._openapi_told:
                return await asyncio.to_thread(lambda: _encode(all_described(routes, language)))
        return self._openapi_told[language]

    async def asyncapi(self, viewer: Principal | None, language: Language = ENGLISH) -> bytes:
        """AsyncAPI, of what the viewer sees; None is somebody without a key."""
        return await self._document(
            "asyncapi", viewer, language, lambda types, cut: asyncapi_document(types, language, cut=cut)
        )

    async def routes(self) -> dict[str, Any]:
        """OpenAPI, of the routes alone."""
        async with self._making:
            if self._routes is None:
                self._routes = await asyncio.to_thread(self._make_routes)
            return self._routes

    @property
    def cached(self) -> CacheFacts:
        return self._use.facts(len(self._made))

    async def _document(
        self,
        kind: str,
        viewer: Principal | None,
        language: Language,
        made_of: Callable[[Sequence[EventType], bool], dict[str, Any]],
    ) -> bytes:
        version = await self._current_version(viewer)
        names, more = None, False
        sight: object = viewer is not None
        if viewer is not None and not viewer.admin:
            # Grants come and go without the catalogue's version; apps that see the same share a document.
            names, more = await self._event_types.visible(viewer)
            sight = (sha256("\n".join(names).encode()).digest(), more)
        key = (kind, version, sight, language)
        made = self._made.get(key)
        if made is not None:
            self._use.hits += 1
            self._made.move_to_end(key)
            return made
        self._use.misses += 1
        async with self._making:
            if key not in self._made:
                if names is None:
                    names, more = await self._event_types.visible(viewer)
                types = await self._event_types.described(names)
                document = await asyncio.to_thread(lambda: _encode(made_of(types, more or len(types) < len(names))))
                while len(self._made) >= DOCUMENTS_CACHED_MAX:
                    self._made.popitem(last=False)
                self._made[key] = document
            return self._made[key]

    async def _current_version(self, viewer: Principal | None) -> int:
        """The version read before anything else: what is kept under it is never older than it says."""
        now = self._clock.boot()
        if viewer is not None or now - self._looked_at >= DOCUMENT_LOOKED_AT_SECONDS:
            if viewer is None:
                self._looked_at = now  # before it is known: others meanwhile do with the one before
            self._version = await self._event_types.version()
        return self._version
